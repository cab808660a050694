"""The nightly report: one page, and the same figures as Markdown."""
