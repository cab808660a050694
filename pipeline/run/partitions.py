"""What is computed together: models that are alike; of a model that is too large, a cut at a time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pipeline.grid.axes import Axes

ROWS_A_PARTITION = 800_000
"""Rows of estimates crossed at once: enough to plan once for many, few enough for memory."""
ROWS_A_CUT = 1_000_000
"""A model that crosses more is cut: a worker's memory must not grow with the grid."""
CUT = ("accelerator", "weights", "parallel", "engine", "kv", "workload")
"""Axes that a model is cut along, in turn. Devices first: a question is mostly about some of them, and an edited price
is one device's. Batches are never cut: an answer is looked for among all."""
FEW_MODELS = 5


@dataclass(frozen=True)
class Span:
    """Some neighbouring entries of one axis."""

    axis: str
    start: int
    stop: int


@dataclass(frozen=True)
class Partition:
    """Models to compute together, and which part of them where they are cut."""

    models: tuple[str, ...]
    spans: tuple[Span, ...] = ()
    part: int = 0

    def axes(self, whole: Axes, models: Sequence[str] | None = None) -> Axes:
        """The axes of the partition, or of some of its models."""
        ids = pl.col("model").cast(pl.String)
        cut = {each.axis: whole[each.axis][each.start : each.stop] for each in self.spans}
        return {**whole, **cut, "model": whole["model"].filter(ids.is_in(self.models if models is None else models))}


def partitions(axes: Axes, most: int = ROWS_A_PARTITION, most_of_a_model: int = ROWS_A_CUT) -> list[Partition]:
    """Models to compute together: alike, and at most so many rows before infeasible ones are dropped."""
    rows_a_model = prod(frame.height for name, frame in axes.items() if name != "model")
    groups = [models["model"].to_list() for models in by_kinds(axes["model"])]
    if rows_a_model > most_of_a_model:
        cuts = spans(axes, most_of_a_model)
        return [
            Partition((model,), cut, part) for models in groups for model in models for part, cut in enumerate(cuts)
        ]
    return [Partition(part) for group in groups for part in deal(group, -(-len(group) * rows_a_model // most))]


def spans(axes: Axes, most: int) -> list[tuple[Span, ...]]:
    """The axes but the models', cut along one after another until no part crosses more rows than that."""
    rows = prod(frame.height for name, frame in axes.items() if name != "model")
    found: list[list[Span]] = []
    for name in CUT:
        if rows > most:
            entries = axes[name].height
            wide = max(1, entries * most // rows)
            found.append([Span(name, at, min(at + wide, entries)) for at in range(0, entries, wide)])
            rows = rows // entries * wide
    return list(product(*found))


def by_kinds(models: pl.DataFrame) -> list[pl.DataFrame]:
    """Models in groups that need the same formulas; groups of a few models share one group.

    A model computed among others of its kind never computes what it has not; planning costs as much
    as ten thousand rows, so that a group of its own pays from some models on.
    """
    counts = sorted(each for each in models.columns if each.endswith("_layers"))
    signature = pl.concat_str([(pl.col(each) > 0).cast(pl.Int8) for each in counts])
    rare = pl.len().over(signature) < FEW_MODELS
    groups = models.with_columns(pl.when(rare).then(pl.lit("rare")).otherwise(signature).alias(""))
    return groups.partition_by("", maintain_order=True, include_key=False)


def deal(models: list[str], parts: int) -> list[tuple[str, ...]]:
    """Some models in so many parts of about one size.

    >>> deal(["a", "b", "c"], 2)
    [('a', 'c'), ('b',)]
    """
    return [tuple(models[start::parts]) for start in range(min(parts, len(models)))]


def part_path(folder: Path, table: str, model: str, part: int = 0) -> Path:
    """Where a part of a model's rows stands."""
    return folder / table / f"model={model}" / f"part-{part}.parquet"


def part_files(folder: Path, table: str, model: str) -> list[Path]:
    """The files of a model's rows, in their order."""
    found = (folder / table / f"model={model}").glob("part-*.parquet")
    return sorted(found, key=lambda path: int(path.stem.removeprefix("part-")))


def files_of(partition: Partition, folder: Path, table: str) -> Iterator[Path]:
    """The files of one table that a partition makes."""
    return (part_path(folder, table, model, partition.part) for model in partition.models)
