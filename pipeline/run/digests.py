"""What rows are made from: a digest of every entry of every axis, kept in the files that hold the rows."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import TYPE_CHECKING

import polars as pl

from pipeline.run.code import closure_of, definitions, imports_of, tree

if TYPE_CHECKING:
    from pipeline.grid.axes import Axes

BEGIN = ("estimators/book.py", "grid/tables.py", "grid/schema.py", "core/files.py")
"""Files that the code of rows begins with."""
GIVEN = ("grid/axes.py",)
"""Files behind which code only makes entries: what they are is in their digests."""
DIGITS = 16
CODE = "code"
NAMES = {"parallel": ("tp", "pp", "ep", "dp")}
"""Columns that name an entry, where it is not the one called as the axis."""
Entries = dict[str, dict[str, str]]
"""Axis, name of an entry, digest of what is said of it."""


@cache
def code_of_rows() -> str:
    """A fingerprint of the code that makes rows; docstrings and comments do not count."""
    decisive = closure_of(BEGIN, lambda name: () if name in GIVEN else imports_of(name))
    files = {name: definitions(tree(name)) for name in sorted(decisive)}
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


def entries(axes: Axes) -> Entries:
    """Every entry of every axis with a digest of all that is said of it, and the code that makes rows of them."""
    said = {axis: dict(zip(entry_names(frame, axis), row_digests(frame), strict=True)) for axis, frame in axes.items()}
    return {**said, CODE: {CODE: code_of_rows()}}


def entry_names(frame: pl.DataFrame, axis: str) -> list[str]:
    """How entries are called, as text.

    >>> entry_names(pl.DataFrame({"tp": [2], "pp": [1], "ep": [1], "dp": [1]}), "parallel")
    ['2 1 1 1']
    """
    return frame.select(entry_name(axis)).to_series().to_list()


def entry_name(axis: str) -> pl.Expr:
    """How the entry of a row is called, as text."""
    return pl.concat_str([pl.col(each).cast(pl.String) for each in NAMES.get(axis, (axis,))], separator=" ")


def row_digests(frame: pl.DataFrame) -> list[str]:
    """A digest of each row, its columns' names among it."""
    columns = repr(frame.columns)
    return [hashlib.sha256(f"{columns}{row!r}".encode()).hexdigest()[:DIGITS] for row in frame.iter_rows()]


def rows_key(axes: Axes, said: Entries) -> str:
    """The content key of rows: equal code, and equal entries in an equal order, give an equal one.

    The names that columns are coded by are among it: files of one run must be readable as one table.
    """
    coded = {axis: categories(frame, axis) for axis, frame in axes.items() if is_coded(frame, axis)}
    return hashlib.sha256(json.dumps([said, coded]).encode()).hexdigest()


def is_coded(frame: pl.DataFrame, axis: str) -> bool:
    """Whether entries of an axis are an Enum."""
    return isinstance(frame.schema.get(axis), pl.Enum)


def categories(frame: pl.DataFrame, axis: str) -> list[str]:
    """The names that an axis is coded by, those of other parts of the grid among them."""
    dtype = frame.schema[axis]
    return list(dtype.categories) if isinstance(dtype, pl.Enum) else []


def gone_entries(before: Entries, now: Entries) -> dict[str, list[str]]:
    """The entries of each axis that are no more."""
    found = {axis: [name for name in its if name not in now.get(axis, {})] for axis, its in before.items()}
    return {axis: its for axis, its in found.items() if its}


def lacking(before: Entries, now: Entries) -> tuple[str, list[str]] | None:
    """The one axis with entries that are new or other than before, and these; None where nothing else is left."""
    other = {
        axis: [name for name, digest in its.items() if before.get(axis, {}).get(name) != digest]
        for axis, its in now.items()
    }
    changed = [axis for axis, its in other.items() if its]
    if len(changed) > 1 or {"model", CODE}.intersection(changed):
        return None
    axis = changed[0] if changed else "batch"
    return None if len(other[axis]) == len(now[axis]) else (axis, other[axis])


def sort_rows(rows: pl.DataFrame, axes: Axes) -> pl.DataFrame:
    """Rows in the order of the axes, the first axis slowest."""
    rank = pl.lit(0, pl.Int64)
    for axis, frame in axes.items():
        if axis in rows.columns or axis in NAMES:
            size, place = place_of(frame, axis)
            rank = rank * size + place
    return rows.sort(rank)


def place_of(frame: pl.DataFrame, axis: str) -> tuple[int, pl.Expr]:
    """How many places an axis has, and the place of a row's entry among them."""
    if is_coded(frame, axis):
        return len(categories(frame, axis)), pl.col(axis).to_physical().cast(pl.Int64)
    own = entry_names(frame, axis)
    return len(own), entry_name(axis).replace_strict(own, range(len(own)), return_dtype=pl.Int64)
