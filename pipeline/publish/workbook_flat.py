"""Sized fleets as CSV and Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from pipeline.grid.files import whole
from pipeline.publish.workbook_cells import HOSTILE

if TYPE_CHECKING:
    from pathlib import Path


def write_csv(frame: pl.DataFrame, path: Path) -> None:
    """Rows as CSV that a spreadsheet opens without running anything."""
    with whole(path) as temporary:
        safe(frame).write_csv(temporary)


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Rows as Parquet, texts as they are."""
    with whole(path) as temporary:
        as_text(frame).write_parquet(temporary)


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Names as text: the categories of two files need not agree."""
    return frame.with_columns(pl.col(pl.Enum).cast(pl.String))


def safe(frame: pl.DataFrame) -> pl.DataFrame:
    """Texts as a CSV may hold them: what a spreadsheet would take for a formula gets an apostrophe before it.

    >>> safe(pl.DataFrame({"name": ["=1+1", "h100"], "usd": [-1, 2]})).rows()
    [("'=1+1", -1), ('h100', 2)]
    """
    begins = pl.col(pl.String).str.slice(0, 1).is_in(HOSTILE)
    escaped = pl.lit("'") + pl.col(pl.String)
    return as_text(frame).with_columns(pl.when(begins).then(escaped).otherwise(pl.col(pl.String)))
