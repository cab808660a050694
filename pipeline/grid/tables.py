"""The two published tables of some axes: curves by batch, and the answers that are solved, not searched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from polars import col

from pipeline.core.quantity import Book, Quantity, evaluate, in_order
from pipeline.estimators.book import book
from pipeline.grid.axes import KEYS
from pipeline.grid.invert import largest
from pipeline.grid.plan import by_grain
from pipeline.grid.schema import ANSWERS, SHARED, stored

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.grid.axes import Axes

AT_BATCH_MAX = ["output_tokens_per_s", "usd_per_mtok_output"]
SOLVED = {"batch", "batch_slo", *(f"batch_max_{name}" for name in AT_BATCH_MAX)}


def book_for(models: pl.DataFrame) -> Book:
    """The formulas that these models need: kinds of layers that none of them has are left out."""
    return book(lambda count: count in models.columns and bool((models[count] > 0).any()))


def estimates_of(axes: Axes) -> pl.DataFrame:
    """The curves: every feasible plan, workload and batch."""
    return stored(by_grain(axes, book_for(axes["model"]), list(SHARED)), "estimates").collect()


def capacity_of(axes: Axes) -> pl.DataFrame:
    """The answers: every feasible plan and workload, with the batch that it would run at.

    batch_max and context_max_tokens are closed forms; batch_slo is inverted exactly from the same
    expressions that make the curves.
    """
    formulas = book_for(axes["model"])
    wanted = [name for name in [*SHARED, *ANSWERS] if name not in SOLVED]
    plans = {name: frame for name, frame in axes.items() if name != "batch"}
    given = {column for frame in plans.values() for column in frame.columns}
    late = depending_on("batch", in_order(formulas, [*wanted, "slo_load_ratio"], given | {"batch"}))
    made_late = {q.name for q in late}
    early = [
        *(name for name in wanted if name not in made_late),
        *(c for q in late for c in q.inputs if c not in made_late | {"batch"}),
    ]
    rows = by_grain(plans, formulas, [*KEYS, *early]).collect()
    rows = with_batches(rows, late)
    at_max = evaluate(rows.lazy().with_columns(batch=col("batch_top").clip(1)), late_for(AT_BATCH_MAX, late))
    rows = rows.with_columns(
        at_max.select(
            pl.when(batch_max=0).then(None).otherwise(name).alias(f"batch_max_{name}") for name in AT_BATCH_MAX
        ).collect()
    )
    return stored(evaluate(rows.lazy(), late_for(wanted, late)), "capacity").collect()


def with_batches(rows: pl.DataFrame, late: list[Quantity]) -> pl.DataFrame:
    """Rows with the largest batch that runs, the largest that meets the objectives, and the one to run at."""
    objectives = late_for(["slo_load_ratio"], late)

    def load(probes: pl.DataFrame) -> pl.Series:
        return (
            evaluate(probes.lazy().rename({"probe": "batch"}), objectives)
            .select("slo_load_ratio")
            .collect()
            .to_series()
        )

    reads = list(dict.fromkeys(c for q in objectives for c in q.inputs if c in rows.columns))
    rows = rows.with_columns(batch_top=pl.min_horizontal("batch_max", col("sequences_max") * col("dp")))
    rows = rows.with_columns(batch_slo=largest(rows.select(*reads, "batch_top"), col("batch_top"), load))
    chosen = pl.when(col("batch_slo") > 0).then("batch_slo").otherwise(col("batch_top").clip(1))
    return rows.with_columns(batch=chosen)


def depending_on(column: str, order: Iterable[Quantity]) -> list[Quantity]:
    """The quantities of an order that a column reaches."""
    reached = {column}
    late = []
    for q in order:
        if reached.intersection(q.inputs):
            reached.add(q.name)
            late.append(q)
    return late


def late_for(names: Iterable[str], late: list[Quantity]) -> list[Quantity]:
    """Of the quantities that depend on the batch, those that lead to these names."""
    book = {q.name: q for q in late}
    given = {column for q in late for column in q.inputs if column not in book}
    return in_order(book, [name for name in names if name in book], given)
