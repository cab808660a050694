"""Tests of facts counted from config.json."""
