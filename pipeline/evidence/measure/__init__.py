"""The experiment itself, on the machine at hand."""
