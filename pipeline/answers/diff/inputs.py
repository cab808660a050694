"""What went into a run, read back from its folder: facts as catalogs, the grid, the day, the code."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl
from polars import col

from pipeline.core.errors import RunError
from pipeline.estimators.attention import KINDS
from pipeline.facts.catalog import with_defaults
from pipeline.facts.entries import columns_of
from pipeline.facts.schema.kinds import SCHEMAS
from pipeline.grid.selection import Grid
from pipeline.run.finished import CODE, check_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pipeline.run.code import Definitions

FACT = ["kind", "name", "field"]
"""What tells two facts apart."""


@dataclass(frozen=True)
class Inputs:
    """Everything that a run's numbers follow from, but the code."""

    facts: pl.DataFrame
    frames: Mapping[str, pl.DataFrame]
    """The facts as the frames of catalogs."""
    grid: Grid
    as_of: date

    def with_facts(self, kind: str, facts: pl.DataFrame) -> Inputs:
        """The same with other facts of one kind."""
        whole = pl.concat([self.facts.filter(col("kind") != kind), facts])
        return replace(self, facts=whole, frames={**self.frames, kind: frame_of(kind, facts)})


@dataclass(frozen=True)
class Run:
    """A complete run: its folder, its manifest, and what it was made from."""

    folder: Path
    manifest: dict[str, Any]
    inputs: Inputs
    code: Definitions | None
    """Fingerprints of its formulas; none where it was made before they were kept."""

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.manifest.get("run", self.folder.name))


def read_run(folder: Path) -> Run:
    """A complete run.

    Raises:
        RunError: unfinished or damaged.
    """
    manifest = check_run(folder)
    try:
        known = {each.name for each in fields(Grid)}
        said = {name: frozen(value) for name, value in manifest["grid"].items() if name in known}
        facts = pl.read_parquet(folder / "facts.parquet", glob=False)
        frames = {kind: frame_of(kind, facts) for kind in SCHEMAS}
        inputs = Inputs(facts, frames, Grid(**said), date.fromisoformat(str(manifest["as_of"])))
        about = pl.read_parquet_metadata(folder / "columns.parquet").get(CODE)
        return Run(folder, manifest, inputs, json.loads(about) if about else None)
    except (KeyError, TypeError, ValueError, OSError, pl.exceptions.PolarsError) as error:
        message = f"{folder}: the run is damaged, or too old to be compared ({error}); `capgrid run` makes it again"
        raise RunError(message) from error


def frozen(value: Any) -> Any:
    """A list of a manifest as a grid has it."""
    return tuple(value) if isinstance(value, list) else value


# ----- facts as catalogs


def frame_of(kind: str, facts: pl.DataFrame) -> pl.DataFrame:
    """The frame of one catalog, as catalogs are loaded; fields that no fact states are unknown."""
    said = facts.filter(col("kind") == kind).select(col("name").alias(""), "field", "value")
    wide = said.pivot("field", index="", values="value", aggregate_function="first", maintain_order=True)
    typed = [
        parsed("" if name == kind else name, dtype, wide.columns).alias(name)
        for name, (dtype, _) in columns_of(kind).items()
    ]
    frame = wide.select(typed).clear() if wide.is_empty() else wide.select(typed)
    frame = with_defaults(kind, frame)
    return frame.hstack(layer_counts(wide)) if kind == "model" else frame


def parsed(name: str, dtype: pl.DataType, known: list[str]) -> pl.Expr:
    """A column of texts as what they say; unknown where nobody says."""
    if name not in known:
        return pl.lit(None, dtype)
    text = col(name)
    if isinstance(dtype, pl.List):
        none = pl.lit([], dtype)
        return pl.when(text == "").then(none).otherwise(text.str.split(", ").cast(dtype))
    if dtype == pl.Boolean:
        return text == "true"
    return text.str.to_date("%Y-%m-%d") if dtype == pl.Date else text.cast(dtype)


def layer_counts(wide: pl.DataFrame) -> pl.DataFrame:
    """How many layers of each kind each model has: `layers` says `full = 8, sliding = 40`."""
    text = col("layers") if "layers" in wide.columns else pl.lit("")
    counts = {f"{kind}_layers": text.str.extract(rf"(?:^|, ){kind} = (\d+)", 1).cast(pl.Int64) for kind in KINDS}
    return wide.select(count.fill_null(0).alias(name) for name, count in counts.items())
