"""What a plan and a fleet cost, and the energy that they take."""
