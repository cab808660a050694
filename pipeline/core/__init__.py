"""What a quantity is, what a unit is, and how to say what went wrong."""
