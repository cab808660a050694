"""What one device's memory is taken by, and how many sequences fit into the rest."""
