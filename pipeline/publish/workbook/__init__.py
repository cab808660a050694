"""A fleet as a spreadsheet whose formulas live."""
