"""One plan at one batch: every quantity, through the same expressions as a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.core.errors import PipelineError, UnknownNameError, UsageError
from pipeline.core.quantity import evaluate, in_order
from pipeline.estimators.feasible import RULES
from pipeline.facts.catalog import out_of_bounds
from pipeline.facts.values import WORDS, as_dtype, fits_dtype, value_text
from pipeline.grid.axes import axes_of
from pipeline.grid.plan import by_grain
from pipeline.grid.schema import ANSWERS, SHARED
from pipeline.grid.selection import PARALLEL, Grid
from pipeline.grid.tables import AT_BATCH_MAX, SOLVED, book_for, depending_on, with_batches

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import date

    from pipeline.core.quantity import Book, Quantity
    from pipeline.facts.catalog import Catalogs
    from pipeline.grid.axes import Axes


LENGTHS = {"prompt_tokens": 512, "output_tokens": 128}
MOST = 1e18


@dataclass(frozen=True)
class Point:
    """A plan, a workload and a batch, by any names that the catalogs know."""

    model: str
    accelerator: str
    weights: str = "bf16"
    kv: str = "bf16"
    engine: str = "vllm"
    workload: str | None = None
    """Lengths and objectives; left out, LENGTHS with the objectives of chat."""
    tp: int = 1
    pp: int = 1
    ep: int = 1
    dp: int = 1
    batch: int = 1
    market: str = "on-demand"
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Columns taken otherwise than the catalogs say: `prompt_tokens`, or any fact for a what-if."""

    def __post_init__(self) -> None:
        """Refuse counts below one."""
        for name in (*PARALLEL, "batch"):
            count = getattr(self, name)
            if type(count) is not int or count < 1:
                raise UsageError(f"{name} = {count!r} is not a whole number from 1")


def point_axes(point: Point, catalogs: Catalogs, as_of: date) -> Axes:
    """The axes of one plan, a row each.

    Raises:
        UnknownNameError: a name that no catalog knows, or a fact that no axis has.
    """
    named = {"model": point.model, "accelerator": point.accelerator, "engine": point.engine}
    named["workload"] = point.workload or "chat"
    ids: dict[str, Any] = {f"{kind}s": (catalogs.resolve(kind, name),) for kind, name in named.items()}
    ids |= {each: (catalogs.resolve("format", getattr(point, each)),) for each in ("weights", "kv")}
    parallel = ({each: getattr(point, each) for each in PARALLEL},)
    facts = {**({} if point.workload else LENGTHS), **point.facts}
    grid = Grid("point", **ids, parallel=parallel, batches=(point.batch,), market=point.market)
    return otherwise(axes_of(catalogs, grid, as_of), facts, {*named})


def otherwise(axes: Axes, facts: Mapping[str, Any], named: Collection[str] = ()) -> Axes:
    """The axes with some facts taken otherwise.

    Raises:
        UnknownNameError: a fact that no axis has, or one that names an axis.
        UsageError: a value of the wrong kind.
    """
    known = {column for frame in axes.values() for column in frame.columns} - {*named}
    for name in facts.keys() - known:
        raise UnknownNameError("fact", name, known, hint="`capgrid explain` shows the facts behind a number.")
    return {name: with_facts(frame, facts) for name, frame in axes.items()}


def with_facts(axis: pl.DataFrame, facts: Mapping[str, Any]) -> pl.DataFrame:
    """The axis with some facts taken otherwise.

    Raises:
        UsageError: a value of the wrong kind.
    """
    facts = {name: as_dtype(value, axis.schema[name]) for name, value in facts.items() if name in axis.columns}
    for name, value in facts.items():
        if not fits_dtype(value, axis.schema[name]) or (type(value) in {int, float} and not 0 <= value < MOST):
            raise UsageError(f"{name} = {value!r} is not {WORDS[axis.schema[name].base_type()]} from 0 to {MOST:g}")
        if wrong := out_of_bounds(name, value):
            raise UsageError(f"{name} = {value!r}: {wrong}")
    return axis.with_columns(pl.lit(value, axis.schema[name]).alias(name) for name, value in facts.items())


def formulas_of(axes: Axes) -> Book:
    """The formulas that one plan's model needs."""
    return book_for(axes["model"])


def point_row(axes: Axes) -> dict[str, Any]:
    """Every fact and quantity of one plan by name; published columns first.

    Raises:
        PipelineError: the plan cannot run; says every reason.
    """
    formulas = formulas_of(axes)
    given = [column for frame in axes.values() for column in frame.columns]
    wanted = [name for name in [*SHARED, *ANSWERS] if name not in SOLVED]
    order = in_order(formulas, [*RULES, *wanted, "slo_load_ratio"], set(given))
    row = by_grain(axes, formulas, [*given, *(q.name for q in order)], rules=[]).collect()
    refuse_infeasible(row, formulas)
    row = row.with_columns(solve_batches(row, depending_on("batch", order)))
    published = [*SHARED, *(name for name in ANSWERS if name in row.columns)]
    return row.select(*published, pl.exclude(*published, *RULES, "")).row(0, named=True)


def flat_row(axes: Axes) -> dict[str, Any]:
    """The same with lists as text: one value a name, as spreadsheets and services read it."""
    return {name: value_text(each) if isinstance(each, list) else each for name, each in point_row(axes).items()}


def refuse_infeasible(row: pl.DataFrame, formulas: Book) -> None:
    """Raise PipelineError with every rule that the plan breaks."""
    reasons = [f"- {formulas[rule].summary}" for rule in RULES if not row[rule].item()]
    if reasons:
        plan = ("model", "weights", "kv", "accelerator", "engine", *PARALLEL)
        keys = ", ".join(f"{name} {row[name].item()}" for name in plan)
        raise PipelineError("\n".join([f"this plan cannot run: {keys}", *reasons]))


def solve_batches(row: pl.DataFrame, late: list[Quantity]) -> list[pl.Series]:
    """What is solved for the batch: the largest within the objectives, and speed and cost at the largest that runs."""
    with_top = with_batches(row.drop("batch", *(q.name for q in late)), late)
    at_top = evaluate(with_top.with_columns(batch=pl.col("batch_top").clip(1)), late)
    none = row["batch_max"].item() == 0
    values = {f"batch_max_{name}": None if none else at_top[name].item() for name in AT_BATCH_MAX}
    return [with_top["batch_slo"], *(pl.Series(name, [value], pl.Float64) for name, value in values.items())]
