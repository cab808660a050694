"""Tests of the formulas: laws, the article, load, money."""
