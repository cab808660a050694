"""What every entry of a catalog promises: fields, types, bounds."""
