"""Axes crossed into plans, quantities evaluated by grain, rows checked."""
