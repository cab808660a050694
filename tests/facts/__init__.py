"""Tests of catalogs and their entries."""
