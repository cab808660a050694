"""Least squares of constants against measured rows, through the expressions that make every table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl
from polars import col

from pipeline.core.quantity import in_order, levels
from pipeline.evidence.calibration.constants import CONSTANTS
from pipeline.evidence.extras import library
from pipeline.evidence.quantities import MEASURED
from pipeline.grid.tables import book_for, depending_on

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pipeline.core.quantity import Quantity

    Vector = NDArray[np.float64]

BOUNDS = {name: constant for known in CONSTANTS.values() for name, constant in known.items()}
MISSING = "fitting constants needs scipy: pip install 'capgrid[opt]'"
SOFT_RATIO = 0.1
"""Errors beyond this count less and less."""
FELT_RATIO = 0.03
"""Share of a constant's change that a row must show, to bear on it."""


@dataclass(frozen=True)
class Problem:
    """Measured rows of one engine or device, and the constants that they may set."""

    frame: pl.DataFrame
    """Facts and values, with all that does not depend on the constants."""
    late: Sequence[Quantity]
    names: Sequence[str]

    @cached_property
    def passes(self) -> list[list[pl.Expr]]:
        """What depends on the constants, in the fewest passes."""
        return [[q.expr for q in level] for level in levels(self.late)]

    def part(self, rows: pl.Series) -> Problem:
        """The same with some of the rows."""
        return replace(self, frame=self.frame.filter(rows))

    @cached_property
    def values(self) -> Vector:
        """What was measured."""
        return self.frame["value"].to_numpy()

    @cached_property
    def before(self) -> dict[str, float | None]:
        """The constants as they are; nothing where the catalogs leave one out."""
        return {name: self.frame[name][0] for name in self.names}

    def predicted(self, constants: Mapping[str, float | None]) -> Vector:
        """What is estimated with some constants."""
        frame = self.frame.with_columns(pl.lit(value, pl.Float64).alias(name) for name, value in constants.items())
        for level in self.passes:
            frame = frame.with_columns(level)
        return frame.select(row_estimate(frame["quantity"].unique())).to_series().to_numpy()

    def errors(self, constants: Mapping[str, float | None]) -> Vector:
        """How far the estimates are off."""
        made: Vector = abs(self.predicted(constants) / self.values - 1)
        return made

    def felt(self, name: str) -> pl.Series:
        """Which rows feel a constant, if it is not smaller than usual: they change by a share of its own change."""
        np = library("numpy", MISSING)

        start = max(self.before[name] or 0.0, BOUNDS[name].usual)
        at, more = (self.predicted(self.before | {name: value}) for value in (start, start * 1.01))
        return pl.Series(abs(np.log(more / at)) > FELT_RATIO * np.log(1.01))


def row_estimate(quantities: Sequence[str] | pl.Series) -> pl.Expr:
    """The estimate of each row's own quantity."""
    each = [pl.when(col("quantity") == name).then(MEASURED[name].predicted) for name in sorted(quantities)]
    return pl.coalesce(each).cast(pl.Float64).alias("predicted")


def problem(frame: pl.DataFrame, names: Sequence[str]) -> Problem:
    """The rows with what does not depend on the constants made once, and the columns that are needed."""
    roots = {root for name in frame["quantity"].unique() for root in MEASURED[name].predicted.meta.root_names()}
    order = in_order(book_for(frame), sorted(roots), set(frame.columns))
    reached = {q.name for name in names for q in depending_on(name, order)}
    late = [q for q in order if q.name in reached]
    made = frame.lazy()
    for level in levels(q for q in order if q.name not in reached):
        made = made.with_columns(q.expr for q in level)
    needed = {*frame.columns, *roots, *(name for q in late for name in q.inputs)} - reached
    return Problem(made.select(sorted(needed)).collect(), late, list(names))


# ----- the fit


@dataclass(frozen=True)
class Solution:
    """Constants that rows set, with their standard errors and how they hang together."""

    values: Mapping[str, float]
    relative_errors: Mapping[str, float]
    correlations: Mapping[tuple[str, str], float]

    def correlations_of(self, name: str) -> dict[str, float]:
        """How one constant hangs together with each other one."""
        pairs = self.correlations.items()
        return {one if two == name else two: related for (one, two), related in pairs if name in (one, two)}


def solve_constants(of: Problem) -> Solution:
    """The constants at which the logarithms of estimates and values are closest, outliers damped.

    Standard errors are those of an M-estimator, from J^T J at the solution.
    """
    np = library("numpy", MISSING)

    names, told = list(of.names), np.log(of.values)

    def residuals(logs: Vector) -> Vector:
        made: Vector = np.log(of.predicted(dict(zip(names, np.exp(logs), strict=True)))) - told
        return made

    low, high = (np.log([getattr(BOUNDS[name], edge) for name in names]) for edge in ("least", "most"))
    begin = np.clip(np.log([of.before[name] or BOUNDS[name].usual for name in names]), low + 1e-6, high - 1e-6)
    found = library("scipy.optimize", MISSING).least_squares(
        residuals, begin, bounds=(low, high), loss="soft_l1", f_scale=SOFT_RATIO
    )
    errors, related = standard_errors(found.jac, found.fun)
    return Solution(
        dict(zip(names, map(float, np.exp(found.x)), strict=True)),
        dict(zip(names, map(float, errors), strict=True)),
        {(one, two): float(related[i, k]) for i, one in enumerate(names) for k, two in enumerate(names) if i < k},
    )


def standard_errors(jacobian: Vector, residuals: Vector) -> tuple[Vector, Vector]:
    """Standard errors and correlations of a fit with a soft loss, whose Jacobian comes scaled by that loss.

    Source: Huber, Robust Statistics, 1981, section 7.6: mean psi^2 / mean psi' x (J^T W J)^-1.
    """
    np = library("numpy", MISSING)

    damped = 1 + (residuals / SOFT_RATIO) ** 2
    free = max(len(residuals) - jacobian.shape[1], 1)
    noise = np.sum(residuals**2 / damped) / free / np.mean(damped**-1.5)
    curvature = jacobian.T @ jacobian
    inverse = np.linalg.inv(curvature + 1e-12 * max(np.trace(curvature), 1.0) * np.eye(len(curvature)))
    widths = np.sqrt(np.diag(inverse))
    return np.sqrt(noise) * widths, inverse / np.outer(widths, widths)
