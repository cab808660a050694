"""Constants from a user's own measurements, and the errors that they leave."""
