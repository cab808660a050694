"""Tests of fleets, demands and mixes."""
