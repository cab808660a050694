"""The rows of two runs side by side: the same plans joined once, then looked at a column at a time.

A column of a table is read when it is looked at, and let go after, so that memory does not grow with columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl
from polars import col

from pipeline.answers.diff.reach import AXES
from pipeline.grid.schema import TABLES
from pipeline.grid.selection import PARALLEL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SAME_RATIO = 1e-6
"""Numbers so close are the same: tables are stored as Float32, which is good for 6e-8."""
NAMES = (*AXES[:6], "device_count", *PARALLEL)
ROW = (*AXES[:6], *PARALLEL)
"""What tells the rows of `capacity` apart; lengths follow from the workload, and may change with it."""
DEMANDED = ("model", "workload", "demand_requests_per_s")


@dataclass(frozen=True)
class Pair:
    """One table of two runs."""

    table: str
    old_file: Path
    new_file: Path
    old: pl.DataFrame
    """The names of each row, in the order of the file."""
    new: pl.DataFrame
    keys: Sequence[str]

    @cached_property
    def matched(self) -> pl.DataFrame:
        """Places of the rows that both have: `old_row`, `new_row`."""
        a, b = (
            self.old.select(self.keys).with_row_index("old_row"),
            self.new.select(self.keys).with_row_index("new_row"),
        )
        return a.join(b, on=self.keys, maintain_order="left", nulls_equal=True).select("old_row", "new_row")

    def alone(self, *, is_new: bool) -> pl.DataFrame:
        """The names of rows that only one run has."""
        own, other = (self.new, self.old) if is_new else (self.old, self.new)
        return own.join(other, on=self.keys, how="anti", nulls_equal=True, maintain_order="left")

    @property
    def columns(self) -> list[str]:
        """What both tables have besides names."""
        old, new = (pl.read_parquet_schema(file) for file in (self.old_file, self.new_file))
        return [name for name in old if name in new and name in TABLES[self.table] and name not in self.keys]

    def values(self, column: str, *, is_new: bool) -> pl.Series:
        """One column of one run, whole; names as texts."""
        file = self.new_file if is_new else self.old_file
        read = pl.read_parquet(file, columns=[column], glob=False)[column]
        return read.cast(pl.String) if read.dtype == pl.Enum else read

    def changed(self, column: str) -> pl.DataFrame:
        """The rows that both have and in which a column differs: their names, `old_value`, `new_value`."""
        rows = self.matched
        old = self.values(column, is_new=False).gather(rows["old_row"]).rename("old_value")
        new = self.values(column, is_new=True).gather(rows["new_row"]).rename("new_value")
        if old.dtype != new.dtype:
            old, new = old.cast(pl.String), new.cast(pl.String)
        places = pl.DataFrame([old, new]).with_row_index("").filter(differs(old.dtype))
        names = self.old[rows["old_row"].gather(places[""])]
        return names.hstack(places.drop(""))


def differs(dtype: pl.DataType) -> pl.Expr:
    """Whether two values are not the same."""
    old, new = col("old_value"), col("new_value")
    if not dtype.is_float():
        return old.ne_missing(new)
    far = (old.cast(pl.Float64) - new.cast(pl.Float64)).abs() > SAME_RATIO * pl.max_horizontal(old.abs(), new.abs())
    return far.fill_null(False) | (old.is_null() != new.is_null())


def capacity_pair(a: Path, b: Path) -> Pair:
    """The answers of two runs."""
    return pair("capacity", a / "capacity.parquet", b / "capacity.parquet", NAMES, ROW)


def fleet_pair(a: Path, b: Path) -> Pair:
    """The fleets of two runs; a demand is known by its model, workload, rate, and place among alike ones."""
    names = (*NAMES, *DEMANDED[2:], "prompt_tokens", "output_tokens", "ttft_slo_s", "tpot_slo_s")
    return pair("fleet", a / "fleet.parquet", b / "fleet.parquet", names, (*ROW, "demand"), is_demanded=True)


def pair(table: str, a: Path, b: Path, names: Sequence[str], keys: Sequence[str], *, is_demanded: bool = False) -> Pair:
    """A table of two runs, their names as Enums of one kind: they join as numbers."""
    old, new = (pl.read_parquet(file, columns=list(names), glob=False) for file in (a, b))
    for axis in AXES[:6]:
        known = [frame[axis].cast(pl.String).unique() for frame in (old, new)]
        kind = pl.Enum(pl.concat(known).unique().drop_nulls().sort())
        old, new = (frame.with_columns(col(axis).cast(pl.String).cast(kind)) for frame in (old, new))
    if is_demanded:
        old, new = with_demand(old), with_demand(new)
    return Pair(table, a, b, with_parallel(old), with_parallel(new), keys)


def with_parallel(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows with their parallel plan as a word, as grids are told."""
    words = frame.select(PARALLEL).unique()
    told = words.with_columns(parallel=pl.format(" ".join(f"{each}={{}}" for each in PARALLEL), *PARALLEL))
    return frame.join(told, on=PARALLEL, how="left", maintain_order="left")


def with_demand(frame: pl.DataFrame) -> pl.DataFrame:
    """Fleets with the demand that each is for, as a word."""
    whole = [*DEMANDED, "prompt_tokens", "output_tokens", "ttft_slo_s", "tpot_slo_s"]
    place = pl.int_range(pl.len()).over(DEMANDED)
    kinds = frame.select(whole).unique(maintain_order=True).with_columns(place=place)
    rate = col("demand_requests_per_s").cast(pl.Float64).round(6).cast(pl.String).str.strip_suffix(".0")
    nth = pl.when(col("place") > 0).then(pl.format(" ({})", col("place") + 1)).otherwise(pl.lit(""))
    told = kinds.with_columns(demand=pl.format("{} {}/s {}{}", "model", rate, "workload", nth)).drop("place")
    return frame.join(told, on=whole, how="left", maintain_order="left", nulls_equal=True)
