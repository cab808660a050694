"""Axes crossed one after another; each quantity evaluated as soon as the axes that it depends on have met."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import polars as pl

from pipeline.core.quantity import Book, Quantity, evaluate, in_order
from pipeline.estimators.feasible import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pipeline.grid.axes import Axes


def by_grain(axes: Axes, book: Book, wanted: Sequence[str], rules: Sequence[str] = RULES) -> pl.LazyFrame:
    """All feasible rows of the axes, with the wanted columns, each made at its own grain.

    Rows are in the order of the axes, the first slowest. A rule drops rows as soon as its inputs
    have met, before anything else is computed for them.
    """
    given = {column for frame in axes.values() for column in frame.columns}
    left = in_order(book, [*rules, *wanted], given)
    grid = pl.LazyFrame({"": [0]})
    met: set[str] = set()
    for frame in axes.values():
        grid = grid.join(frame.lazy(), how="cross", maintain_order="left_right")
        met |= set(frame.columns)
        now, left = ready(left, met)
        first = leading_to([q.name for q in now if q.name in rules], now)
        grid = evaluate(grid, first)
        grid = kept(grid, [q.name for q in first if q.name in rules])
        grid = evaluate(grid, [q for q in now if q not in first])
        met |= {q.name for q in now}
    return grid.select(list(dict.fromkeys(wanted)))


def crossed_first(axes: Axes, book: Book, wanted: Sequence[str], rules: Sequence[str] = RULES) -> pl.LazyFrame:
    """The same rows, everything evaluated on the full grid: the plain way that tests hold by_grain to."""
    grid = pl.LazyFrame({"": [0]})
    for frame in axes.values():
        grid = grid.join(frame.lazy(), how="cross", maintain_order="left_right")
    order = in_order(book, [*rules, *wanted], {column for frame in axes.values() for column in frame.columns})
    return kept(evaluate(grid, order), rules).select(list(dict.fromkeys(wanted)))


def kept(grid: pl.LazyFrame, rules: Sequence[str]) -> pl.LazyFrame:
    """The rows that meet all of these rules; in Polars 2 an empty filter would keep none."""
    return grid.filter(*map(pl.col, rules)) if rules else grid


def ready(order: Iterable[Quantity], met: set[str]) -> tuple[list[Quantity], list[Quantity]]:
    """The quantities that can be made from these columns and one another, and the rest; order kept."""
    have = set(met)
    now: list[Quantity] = []
    later: list[Quantity] = []
    for q in order:
        if have.issuperset(q.inputs):
            have.add(q.name)
            now.append(q)
        else:
            later.append(q)
    return now, later


def leading_to(names: Iterable[str], order: Sequence[Quantity]) -> list[Quantity]:
    """Of some quantities, those that the named ones need, and themselves; order kept."""
    wanted = set(names)
    for q in reversed(order):
        if q.name in wanted:
            wanted |= set(q.inputs)
    return [q for q in order if q.name in wanted]


@dataclass(frozen=True)
class Census:
    """How many plans a grid crosses, how many can run, and why the others cannot."""

    crossed: int
    kept: int
    dropped: Mapping[str, int]

    def __add__(self, other: Census) -> Census:
        """Both grids together."""
        reasons = dict.fromkeys([*self.dropped, *other.dropped])
        dropped = {each: self.dropped.get(each, 0) + other.dropped.get(each, 0) for each in reasons}
        return Census(self.crossed + other.crossed, self.kept + other.kept, dropped)


def census(axes: Axes, book: Book, rules: Sequence[str] = RULES) -> Census:
    """Count plans without computing them, however many they are.

    Only the axes that rules read are crossed, and of these only what is left to decide: plans that no further rule
    can tell apart are one row with a count. A combination that a rule drops stands for all plans that it would have
    become, so that crossed = kept + dropped, exactly.
    """
    given = {column for frame in axes.values() for column in frame.columns}
    left = in_order(book, rules, given)
    needed = {column for q in left for column in q.inputs}
    frames = [
        frame.select(columns) for frame in axes.values() if (columns := [c for c in frame.columns if c in needed])
    ]
    later = [prod(frame.height for frame in frames[place + 1 :]) for place in range(len(frames))]
    grid, met, dropped = pl.DataFrame({PLANS: [1]}, schema={PLANS: pl.Int64}), set[str](), dict.fromkeys(rules, 0)
    for frame, times in zip(frames, later, strict=True):
        grid = grid.join(merge_alike(frame), how="cross", suffix="_more").with_columns(
            pl.col(PLANS) * pl.col(f"{PLANS}_more")
        )
        met |= set(frame.columns)
        now, left = ready(left, met)
        grid = evaluate(grid, now)
        met |= {q.name for q in now}
        for name in [q.name for q in now if q.name in dropped]:
            before, grid = plans_in(grid), grid.filter(pl.col(name))
            dropped[name] += (before - plans_in(grid)) * times
        grid = merge_alike(grid.select(PLANS, *(c for c in grid.columns if any(c in q.inputs for q in left))))
    return Census(prod(frame.height for frame in frames), plans_in(grid), dropped)


PLANS = "plans that are alike"


def plans_in(frame: pl.DataFrame) -> int:
    """How many plans the rows stand for."""
    return int(frame[PLANS].sum())


def merge_alike(frame: pl.DataFrame) -> pl.DataFrame:
    """Each different row once, with how many plans it stands for."""
    columns = [column for column in frame.columns if column != PLANS]
    count = pl.col(PLANS).sum() if PLANS in frame.columns else pl.len().cast(pl.Int64).alias(PLANS)
    return frame.group_by(columns, maintain_order=True).agg(count) if columns else frame.select(count)
