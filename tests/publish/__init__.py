"""Tests of the night, the report and exports."""
