"""Tests of the whole from outside: command line, browser, workbook, faults, hostile input."""
