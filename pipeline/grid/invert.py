"""The largest whole number that still keeps a promise, for every row at once, exactly."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
from polars import col

Load = Callable[[pl.DataFrame], pl.Series]
CHORDS = 5
"""Turns in which a chord is tried before halving; then the bracket halves. Source: step-time study, inversions."""


def largest(rows: pl.DataFrame, top: pl.Expr, load: Load) -> pl.Series:
    """Largest whole `probe` from 0 to `top` whose load, which only grows with it, is at most 1.

    Chords between the nearest probe within and the nearest beyond while they pay, then halves; only
    open rows are evaluated. A row closes when n is within and n + 1 is beyond: the answer is exact.

    Args:
        rows: what the load reads, one row each.
        top: largest probe to consider.
        load: rows with a column `probe` -> how much of the promise is used.

    Returns:
        One Int64 per row, 0 where not even 1 is within.
    """
    state = rows.select(
        row=pl.int_range(pl.len()), low=pl.lit(0, pl.Int64), high=top.cast(pl.Int64) + 1, low_load=pl.lit(0.0), high_load=pl.lit(None, pl.Float64)
    )
    closed = []
    turn = 0
    while True:
        closed.append(state.filter(col("high") - col("low") <= 1).select("row", "low"))
        state = state.filter(col("high") - col("low") > 1)
        if state.is_empty():
            return pl.concat(closed).sort("row")["low"].alias("largest")
        state = state.with_columns(probe=guess(turn).clip(col("low") + 1, col("high") - 1))
        state = narrowed(state.with_columns(load=load(rows[state["row"]].with_columns(probe=state["probe"]))))
        turn += 1


def guess(turn: int) -> pl.Expr:
    """Where to look next: the top first, then along the chord and one above it in turn, then the middle."""
    middle = (col("low") + col("high")) // 2
    if turn == 0:
        return col("high") - 1
    share = (1.0 - col("low_load")) / (col("high_load") - col("low_load"))
    chord = (col("low") + (share * (col("high") - col("low"))).clip(0.0, 1e15)).cast(pl.Int64, strict=False)
    return pl.coalesce(chord + turn % 2, middle) if turn <= CHORDS else middle


def narrowed(state: pl.DataFrame) -> pl.DataFrame:
    """The brackets after a look: the probe becomes the lower or the upper end."""
    within = col("load") <= 1
    return state.with_columns(
        low=pl.when(within).then("probe").otherwise("low"),
        low_load=pl.when(within).then("load").otherwise("low_load"),
        high=pl.when(within).then("high").otherwise("probe"),
        high_load=pl.when(within).then("high_load").otherwise("load"),
    )
