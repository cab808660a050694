"""The largest whole number that still keeps a promise, for every row at once, exactly."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
from polars import col

Load = Callable[[pl.DataFrame], pl.Series]
CHORDS = 5
"""Turns that look where a chord points; they close three rows in four. Source: step-time study, section 1."""
SECTIONS = 16
"""Parts into which a bracket is cut from then on: a turn costs as much as 40,000 looks, so few wide turns."""


def largest(rows: pl.DataFrame, top: pl.Expr, load: Load) -> pl.Series:
    """Largest whole `probe` from 0 to `top` whose load, which only grows with it, is at most 1.

    Chords between the largest probe within and the smallest beyond while they pay, then sections;
    only open rows are looked at. A row closes when n is within and n + 1 is beyond: the answer is
    exact.

    Args:
        rows: what the load reads, one row each.
        top: largest probe to consider.
        load: rows with a column `probe` -> how much of the promise is used.

    Returns:
        One Int64 per row, 0 where not even 1 is within.
    """
    state = rows.select(
        row=pl.int_range(pl.len()),
        low=pl.lit(0, pl.Int64),
        high=top.cast(pl.Int64) + 1,
        low_load=pl.lit(0.0),
        high_load=pl.lit(None, pl.Float64),
    )
    closed = []
    turn = 0
    while True:
        closed.append(state.filter(col("high") - col("low") <= 1).select("row", "low"))
        state = state.filter(col("high") - col("low") > 1)
        if state.is_empty():
            return pl.concat(closed).sort("row")["low"].alias("largest")
        looks = chord(state, turn) if turn <= CHORDS else cut(state)
        state = narrow_brackets(looks.with_columns(load=load(rows[looks["row"]].with_columns(probe=looks["probe"]))))
        turn += 1


def chord(state: pl.DataFrame, turn: int) -> pl.DataFrame:
    """One look a row: at the top first, then where the chord points and one above it in turn."""
    share = (1.0 - col("low_load")) / (col("high_load") - col("low_load"))
    pointed = col("low") + (share * (col("high") - col("low"))).clip(0.0, 1e15).cast(pl.Int64, strict=False)
    guess = pl.coalesce(pointed + turn % 2, (col("low") + col("high")) // 2) if turn else col("high") - 1
    return state.with_columns(probe=guess.clip(col("low") + 1, col("high") - 1))


def cut(state: pl.DataFrame) -> pl.DataFrame:
    """Several looks a row, evenly spaced in its bracket."""
    places = pl.DataFrame({"place": range(1, SECTIONS)})
    step = (col("high") - col("low")) * col("place") // SECTIONS
    return state.join(places, how="cross", maintain_order="left_right").with_columns(
        probe=(col("low") + step).clip(col("low") + 1, col("high") - 1)
    )


def narrow_brackets(looks: pl.DataFrame) -> pl.DataFrame:
    """The brackets after some looks: the largest within becomes the lower end, the smallest beyond the upper."""
    within = col("load") <= 1
    moved = looks.with_columns(
        low=pl.when(within).then("probe").otherwise("low"),
        low_load=pl.when(within).then("load").otherwise("low_load"),
        high=pl.when(within).then("high").otherwise("probe"),
        high_load=pl.when(within).then("high_load").otherwise("load"),
    )
    if looks["row"].is_unique().all():
        return moved.drop("probe", "load", "place", strict=False)
    ends = [pl.max("low", "low_load"), pl.min("high", "high_load")]  # loads grow with probes, so ends keep their loads
    return moved.group_by("row", maintain_order=True).agg(ends)
