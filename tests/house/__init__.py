"""Tests of the house itself: how modules import, what documentation says, one change in one place."""
