"""What people read outside the command line: workbooks, reports."""
