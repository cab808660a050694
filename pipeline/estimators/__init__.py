"""Formulas only, Polars expressions in and out; no files, no settings, no frames."""
