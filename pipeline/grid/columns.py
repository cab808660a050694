"""What every published column means: generated from the functions that make them."""

from __future__ import annotations

from functools import cache

import polars as pl

from pipeline.core.quantity import Book
from pipeline.core.units import unit_of
from pipeline.estimators.book import book
from pipeline.estimators.load.book import load_book
from pipeline.estimators.money.fleet import BOOK
from pipeline.facts.schema.kinds import SCHEMAS
from pipeline.grid.schema import DESCRIBED, OF_FLEET, TABLES

COLUMNS = ("column", "table_name", "type", "unit", "description", "source", "inputs")


def columns_table() -> pl.DataFrame:
    """One row for every column of every published table."""
    return pl.DataFrame(
        [described(name, table) for table, columns in TABLES.items() for name in columns],
        schema=dict.fromkeys(COLUMNS, pl.String),
    )


def described(name: str, table: str) -> dict[str, str]:
    """One column: its unit from its name, the rest from its function."""
    column, q = TABLES[table][name], formulas(table).get(name)
    return {
        "column": name,
        "table_name": table,
        "type": "Text" if column.dtype == pl.Enum else str(column.dtype),
        "unit": unit_of(name),
        "description": meaning(name, table),
        "source": q.source if q else "catalog, or key of the grid: see facts",
        "inputs": ", ".join(q.inputs) if q else "",
    }


@cache
def formulas(table: str = "") -> Book:
    """Every formula there is; those of a replica under load and of the bill first in the table `fleet`."""
    own = book()
    return {**own, **load_book(), **BOOK} if table == "fleet" else {**load_book(), **BOOK, **own}


def meaning(name: str, table: str = "") -> str:
    """What a column means: its formula's first line, or what its catalog says."""
    q = formulas(table).get(name)
    told = OF_FLEET.get(name, "") if table == "fleet" or name not in DESCRIBED else ""
    return told or DESCRIBED.get(name) or (q.summary if q else field_description(name))


def field_description(name: str) -> str:
    """What a catalog field means, as its schema says."""
    found = (schema.to_schema().columns.get(name) for schema in SCHEMAS.values())
    return next((column.description for column in found if column is not None and column.description), "")
