"""Every fact that a formula reads says where it comes from, and every study that is cited stands in docs/studies."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import polars as pl
import pytest

from pipeline.answers.provenance import Provenance
from pipeline.estimators.book import book
from pipeline.estimators.load.book import load_book
from pipeline.grid.axes import axes_of
from pipeline.grid.selection import Grid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.facts.catalog import Catalogs
    from pipeline.grid.axes import Axes

AS_OF = date(2026, 11, 22)
BOOK = book()
READ = {column for q in [*BOOK.values(), *load_book().values()] for column in q.inputs} - BOOK.keys()
"""Columns that formulas read and none makes."""
KINDS = {"models": "model", "weights": "format", "kv": "format", "engines": "engine", "accelerators": "accelerator",
         "workloads": "workload"}  # fmt: skip


@pytest.fixture(scope="module")
def axes(bundled_catalogs: Catalogs) -> Axes:
    """Every entry of every catalog that a plan can name."""
    every = {name: tuple(bundled_catalogs.frames[kind][kind]) for name, kind in KINDS.items()}
    once = dict.fromkeys(("tp", "pp", "ep", "dp"), 1)
    return axes_of(bundled_catalogs, Grid("every", **every, parallel=(once,), batches=(1,)), AS_OF)


def plans(axes: Axes, axis: str) -> Iterator[Axes]:
    """A plan for each entry of one axis."""
    first = {name: frame.head(1) for name, frame in axes.items()}
    for place in range(axes[axis].height):
        yield first | {axis: axes[axis].slice(place, 1)}


@pytest.mark.parametrize("axis", ["model", "weights", "kv", "accelerator", "engine", "workload", "parallel", "batch"])
def test_every_fact_of_every_entry_has_a_source(axis: str, axes: Axes, bundled_catalogs: Catalogs) -> None:
    """What `explain` says of it: a catalog's source, a default that is called so, or that the entry leaves it out."""
    columns = [column for column in axes[axis].columns if column in READ]
    assert columns or axis == "weights"
    without = {}
    for plan in plans(axes, axis):
        told = Provenance(plan, bundled_catalogs)
        without |= {column: plan[axis][axis].item() if axis in plan[axis] else "" for column in columns if not told.source(column)}
    assert not without


def test_formulas_read_nothing_else(axes: Axes) -> None:
    """Facts of plans are columns of axes: none comes from elsewhere."""
    known = {column for frame in axes.values() for column in frame.columns}
    print(sorted(READ - known))
