"""Predicted beside measured: rows read, estimates held against them, constants fitted, replicas simulated."""
