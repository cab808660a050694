"""Constants of engines and devices from a user's measurements: chosen by what the rows bear, and held out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import polars as pl
from polars import col

from pipeline.core.errors import PipelineError
from pipeline.evidence.calibration.constants import CONSTANTS, SPEEDS
from pipeline.evidence.calibration.heldout import HeldOut, cross_validate
from pipeline.evidence.calibration.least_squares import BOUNDS, MISSING, Problem, Solution, problem, solve_constants
from pipeline.evidence.extras import library
from pipeline.evidence.predict import NO_REASON, join_facts, with_ids, with_running_batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from pipeline.facts.catalog import Catalogs

ROWS_PER_CONSTANT = 10
MOST_CONSTANTS = 4
NEAR = 1.01
"""Times a bound: nearer to it, a constant has run there."""
TIED = 0.95
"""Correlation from which two constants cannot be told apart."""


@dataclass(frozen=True)
class Fit:
    """What the rows of one engine or device say, and how far that holds on rows that were left out."""

    kind: str
    name: str
    rows: int
    before: Mapping[str, float | None]
    solution: Solution
    held: Sequence[HeldOut]

    @property
    def improves(self) -> bool:
        """Whether rows that were left out are met better than before."""
        return self.held[0].median_after < self.held[0].median_before

    def as_rows(self) -> Iterator[dict[str, Any]]:
        """A row for each constant."""
        for name, value in self.solution.values.items():
            told = {self.kind: self.name, "constant": name, "before": self.before[name], "after": value}
            error = value * self.solution.relative_errors[name]
            related = self.solution.correlations_of(name)
            yield told | {"standard_error": error, "n": self.rows, "correlations": related}


@dataclass
class Calibration:
    """All fits, and what a person must know of them."""

    fits: list[Fit] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def as_data(self) -> dict[str, Any]:
        """The whole as plain values."""
        return {
            "fits": [row for fit in self.fits for row in fit.as_rows()],
            "held_out": [{fit.kind: fit.name} | asdict(held) for fit in self.fits for held in fit.held],
            "warnings": self.warnings,
        }


def calibrate_rows(
    rows: pl.DataFrame, catalogs: Catalogs, as_of: date, wanted: Mapping[str, Sequence[str]]
) -> Calibration:
    """Constants fitted to measured rows: of every engine among them, then of every device if asked for.

    A device is fitted with its engines' constants as just found, so that both never explain one error.

    Args:
        rows: what read_measurements returns.
        catalogs: what holds of everything that is not fitted.
        as_of: day of the catalogs.
        wanted: constants by kind; empty for those that the rows bear.

    Raises:
        PipelineError: too few rows, more constants than they bear, or nothing that can be told.
    """
    library("scipy.optimize", MISSING)
    report = Calibration()
    frame = speed_rows(rows, catalogs, as_of, report.warnings)
    refused: list[str] = []
    for kind in ("engine", "accelerator"):
        if not wanted[kind] and (kind == "accelerator" or wanted["accelerator"]):
            continue
        for name in frame[kind].unique().sort():
            try:
                fit = fit_constants(frame.filter(col(kind) == name), kind, name, wanted[kind], report.warnings)
            except PipelineError as error:
                refused.append(str(error))
            else:
                report.fits.append(fit)
                frame = with_constants(frame, fit)
    if not report.fits:
        raise PipelineError("\n".join([*refused, *report.warnings]))
    report.warnings += refused
    return report


def with_constants(frame: pl.DataFrame, fit: Fit) -> pl.DataFrame:
    """The rows with the constants of one fit in place of the catalogs'."""
    return frame.with_columns(
        pl.when(col(fit.kind) == fit.name).then(value).otherwise(col(name)).alias(name)
        for name, value in fit.solution.values.items()
    )


def speed_rows(rows: pl.DataFrame, catalogs: Catalogs, as_of: date, warnings: list[str]) -> pl.DataFrame:
    """The rows that an estimate of speed can be held against, joined with their facts."""
    plans = with_ids(rows, catalogs)
    speed = col("quantity").is_in(SPEEDS)
    reason = pl.when(speed).then("reason").otherwise(pl.lit("no speed: constants of memory are not fitted"))
    plans = plans.with_columns(reason=reason)
    good = plans.filter(col("reason") == NO_REASON, col("value") > 0, col("value").is_finite())
    warnings += [
        f"not used: {count} rows: {why}"
        for why, count in plans.filter(col("reason") != NO_REASON)["reason"].value_counts(sort=True).iter_rows()
    ]
    if good.is_empty():
        raise PipelineError("\n".join(["no row can be used", *warnings]))
    whole = with_running_batch(join_facts(good, catalogs, as_of))
    whole = whole.with_columns(pl.Series("predicted", problem(whole, []).predicted({})))
    known = whole.filter((col("predicted") > 0) & col("predicted").is_finite()).drop("predicted")
    if known.height < plans.height - sum(plans["reason"] != NO_REASON):
        warnings.append(f"not used: {whole.height - known.height} rows: the catalogs lack a fact, or the value is 0")
    return known


# ----- which constants, and whether they can be told apart


def fit_constants(rows: pl.DataFrame, kind: str, name: str, wanted: Sequence[str], warnings: list[str]) -> Fit:
    """The constants of one engine or device.

    Raises:
        PipelineError: too few rows, more constants than they bear, or none that they tell.
    """
    names = constants_to_fit(rows, kind, name, wanted, warnings)
    while names:
        whole = problem(rows, names)
        solution = solve_constants(whole)
        doubt = doubtful(solution)
        if doubt is None:
            return Fit(kind, name, rows.height, whole.before, solution, cross_validate(whole, warnings, name))
        dropped, why = doubt
        warnings.append(f"{name}: {why}; {dropped} stays as it was")
        names.remove(dropped)
    raise PipelineError(f"{name}: these {rows.height} rows tell no constant")


def constants_to_fit(rows: pl.DataFrame, kind: str, name: str, wanted: Sequence[str], warnings: list[str]) -> list[str]:
    """The constants that are named, or else that enough rows bear on, in their order.

    Raises:
        PipelineError: too few rows, or more constants named than they bear.
    """
    most = min(rows.height // ROWS_PER_CONSTANT, MOST_CONSTANTS)
    if most < 1:
        raise PipelineError(f"{name}: {rows.height} usable rows; {ROWS_PER_CONSTANT} are needed for each constant")
    if len(wanted) > most:
        raise PipelineError(
            f"{name}: {rows.height} usable rows bear {most} constants, not {len(wanted)}: "
            f"{ROWS_PER_CONSTANT} rows for each, {MOST_CONSTANTS} constants at most"
        )
    whole = problem(rows, wanted or list(CONSTANTS[kind]))
    felt = {each: count_bearing_rows(whole, kind, each, named=bool(wanted)) for each in whole.names}
    enough = [each for each, count in felt.items() if count >= ROWS_PER_CONSTANT]
    if wanted:
        warnings += [
            f"{name}: {count} rows depend on {each}, {ROWS_PER_CONSTANT} are needed; it stays as it was"
            for each, count in felt.items()
            if each not in enough
        ]
    return enough[:most]


def count_bearing_rows(of: Problem, kind: str, name: str, *, named: bool) -> int:
    """How many rows feel a constant; where nobody named it, of those that are fit to set it."""
    fit = pl.lit(True) if named else CONSTANTS[kind][name].bears.fill_null(False)
    return int((of.frame.with_columns(fit=fit)["fit"] & of.felt(name)).sum())


def doubtful(solution: Solution) -> tuple[str, str] | None:
    """The constant that the rows do not tell, and why; nothing where they tell all."""
    names = list(solution.values)
    tied = [pair for pair in combinations(names, 2) if abs(solution.correlations[pair]) > TIED]
    if tied:
        one, two = max(tied, key=lambda pair: abs(solution.correlations[pair]))
        return two, (
            f"{one} and {two} cannot both come from these rows: they cannot be told apart "
            f"(correlation {solution.correlations[one, two]:+.2f})"
        )
    for name, value in solution.values.items():
        if not BOUNDS[name].least * NEAR < value < BOUNDS[name].most / NEAR:
            return name, f"{name} runs to its bound, {value:.3g}: the rows ask for something else"
    unsure = [each for each in names if solution.relative_errors[each] > 1]
    if not unsure:
        return None
    worst = max(unsure, key=lambda each: solution.relative_errors[each])
    related = solution.correlations_of(worst)
    other = f", and {max(related, key=lambda each: abs(related[each]))} may stand for it" if related else ""
    return worst, f"{worst} is not told by these rows: its standard error exceeds it{other}"
