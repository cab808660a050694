"""What every published column means: generated from the functions that make them."""

from __future__ import annotations

from functools import cache

import polars as pl

from pipeline.core.quantity import Book
from pipeline.core.units import unit_of
from pipeline.estimators.book import book
from pipeline.facts.schema import SCHEMAS
from pipeline.grid.schema import DESCRIBED, TABLES

COLUMNS = {"column": pl.String, "table_name": pl.String, "type": pl.String, "unit": pl.String, "description": pl.String,
           "source": pl.String, "inputs": pl.String}  # fmt: skip


def columns_table() -> pl.DataFrame:
    """One row for every column of every published table."""
    return pl.DataFrame(
        [described(name, table) for table, columns in TABLES.items() for name in columns], schema=COLUMNS
    )


def described(name: str, table: str) -> dict[str, str]:
    """One column: its unit from its name, the rest from its function."""
    column, q = TABLES[table][name], formulas().get(name)
    return {
        "column": name,
        "table_name": table,
        "type": "Text" if column.dtype == pl.Enum else str(column.dtype),
        "unit": unit_of(name),
        "description": meaning(name),
        "source": q.source if q else "catalog, or key of the grid: see facts",
        "inputs": ", ".join(q.inputs) if q else "",
    }


@cache
def formulas() -> Book:
    """Every formula there is."""
    return book()


def meaning(name: str) -> str:
    """What a column means: its formula's first line, or what its catalog says."""
    q = formulas().get(name)
    return DESCRIBED.get(name) or (q.summary if q else field_description(name))


def field_description(name: str) -> str:
    """What a catalog field means, as its schema says."""
    found = (schema.to_schema().columns.get(name) for schema in SCHEMAS.values())
    return next((column.description for column in found if column is not None and column.description), "")
