"""Parquet becomes a database, SQL files become answers, a number becomes its tree of reasons."""
