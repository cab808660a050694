"""Tests of axes, plans and inversion."""
