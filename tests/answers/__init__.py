"""Tests of questions, accounts and differences."""
