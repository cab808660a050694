"""The tests of capgrid: laws, promised numbers, and one change in one place."""
