"""The fleet of least cost as a mixed-integer linear programme, solved by HiGHS through scipy.

Whole numbers x of replicas of each option. A demand that asks for R requests per second and must hold
without its k largest replicas is exact and needs no large constant: the k largest of a fleet take
min over p of (k p + sum x max(0, r - p)), p being 0 or one of the rates r; so the fleet holds if and
only if some p among the rates of its options has

    sum x min(r, p)  >=  R + k p

One binary for each (demand, p) says which p that is; with k = 0 the largest rate is the only p.
Source: the sum of the k largest as a minimum is the linear-programming dual of choosing k of them
(Ogryczak and Tamir, Information Processing Letters 85, 2003).
"""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import PipelineError

with suppress(ImportError):  # comes with scipy: `import_solver` says what is missing
    import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pipeline.fleet.mix.limits import Limit

    Vector = NDArray[np.float64]

DEVICE_SHARE = 1e-6
"""What a device counts besides its price, as a share of the cheapest replica: of two fleets at one price, fewer."""
UNIT = 1e3
"""What the cheapest replica costs inside the programme: differences of that share stay above HiGHS's 1e-6."""
TIME_LIMIT_S = 6.0
"""HiGHS stops then with the best fleet so far, and with how far it may be from the best that there is."""
REFINE_SHARE = 0.5
"""Share of the time limit that a second search may take, near what the first has found."""
INFEASIBLE = 2
STDOUT = 1


def import_solver() -> Any:
    """The library that solves mixed-integer programmes.

    Raises:
        PipelineError: it is not installed; says how to get it.
    """
    try:
        from scipy import optimize  # noqa: PLC0415
    except ImportError as error:
        raise PipelineError('a mix under limits needs scipy: pip install "capgrid[opt]"') from error
    return optimize


@contextmanager
def silence_stdout() -> Iterator[None]:
    """Nothing on stdout, where data go: HiGHS at times prints a line there that no option turns off."""
    try:
        kept = os.dup(STDOUT)
    except OSError:  # closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, STDOUT)
        yield
    finally:
        with suppress(OSError, TypeError, AttributeError):  # where C has no such library, lines come late
            ctypes.CDLL(None).fflush(None)
        os.dup2(kept, STDOUT)
        os.close(kept)
        os.close(nowhere)


@dataclass(frozen=True)
class Wanted:
    """One demand: how much, how many replicas may fall out, and which options serve it at what rates."""

    demand: str
    requests_per_s: float
    spares: int
    places: Vector
    """Rows of the options."""
    rates: Vector
    """Requests per second of one replica of each."""
    span: tuple[int | None, int | None] = (None, None)
    """Which of the rates may be p, in rising order."""

    @cached_property
    def thresholds(self) -> Vector:
        """The rates p that may decide what its largest replicas take."""
        every = np.unique(self.rates) if self.spares else self.rates.max(keepdims=True)
        return every[slice(*self.span)]

    def near(self, replicas: Vector) -> Wanted:
        """The same demand, p held to the best one of a fleet and its neighbours."""
        carried = np.minimum.outer(self.thresholds, self.rates) @ replicas - self.spares * self.thresholds
        best = int(carried.argmax())
        return replace(self, span=(max(0, best - 1), best + 2))


@dataclass(frozen=True)
class Solution:
    """Whole replicas of each option, and what had to give way."""

    replicas: Vector
    growth: Vector
    """How much each limit had to grow, in its own unit."""
    served: Vector
    """Requests per second of each demand that the fleet serves."""
    gap_ratio: float
    """How far a better fleet could still be; 0 where none is."""


@dataclass(frozen=True)
class Programme:
    """Options, demands and limits as one mixed-integer programme."""

    usd_per_hour: Vector
    devices: Vector
    wanted: Sequence[Wanted]
    limits: Sequence[Limit]
    time_limit_s: float = TIME_LIMIT_S

    @cached_property
    def thresholds(self) -> list[tuple[int, float]]:
        """Every (demand, p), in the order of their columns."""
        return [(at, p) for at, each in enumerate(self.wanted) for p in each.thresholds]

    @cached_property
    def starts(self) -> tuple[int, int, int, int]:
        """First column of: the choice of p, the cut at each p, the growth of limits, the end."""
        n, p = len(self.usd_per_hour), len(self.thresholds)
        return n, n + p, n + 2 * p, n + 2 * p + len(self.limits)

    @cached_property
    def rows(self) -> tuple[Vector, Vector, Vector]:
        """Matrix, lower and upper bounds of all constraints."""
        parts = [self.row_of(at, p) for at, p in self.thresholds]
        parts += [row for at in range(len(self.wanted)) for row in self.choice_of(at)]
        parts += [self.limit_of(at, limit) for at, limit in enumerate(self.limits)]
        matrix, lower, upper = zip(*parts, strict=True)
        return np.array(matrix), np.array(lower), np.array(upper)

    def blank(self) -> Vector:
        """A row of zeros."""
        return np.zeros(self.starts[-1])

    def row_of(self, at: int, p: float) -> tuple[Vector, float, float]:
        """Replicas counted at no more than p carry what they must where the chosen rate is p, lower or higher.

        In shares of the demand. Counted at p a fleet that holds at l carries R min(1, p / l) + k min(p, l)
        at least: rows of all p for all l cut off the fractions that rows of p for p alone would let pass.
        """
        row, each = self.blank(), self.wanted[at]
        row[each.places] = np.minimum(each.rates, p) / each.requests_per_s
        share = np.minimum(1, p / each.thresholds)
        row[self.columns(at, 0)] = -share - each.spares * np.minimum(p, each.thresholds) / each.requests_per_s
        row[self.columns(at, 1)] = share
        return row, 0.0, np.inf

    def columns(self, at: int, part: int) -> Vector:
        """The columns of one demand's choices of p, or of its cuts."""
        return np.array([place for place, (each, _) in enumerate(self.thresholds) if each == at]) + self.starts[part]

    def choice_of(self, at: int) -> list[tuple[Vector, float, float]]:
        """One p is chosen; and so many whole replicas run at least."""
        each, one, count = self.wanted[at], self.blank(), self.blank()
        one[self.columns(at, 0)], count[each.places] = 1, 1
        count[self.columns(at, 0)] = [-(whole_replicas(each.requests_per_s, p) + each.spares) for p in each.thresholds]
        return [(one, 1.0, 1.0), (count, 0.0, np.inf)]

    def limit_of(self, at: int, limit: Limit) -> tuple[Vector, float, float]:
        """What all replicas use, less the growth, is at most what there is; in shares of the limit."""
        row = self.blank()
        row[: self.starts[0]] = limit.used.to_numpy() / limit.scale
        row[self.starts[2] + at] = -1
        return row, -np.inf, limit.allowed / limit.scale

    def most(self, at: int) -> Vector:
        """More replicas of an option than these never help: so many carry the demand and its spares alone."""
        each = self.wanted[at]
        return np.array([whole_replicas(each.requests_per_s, rate) + each.spares for rate in each.rates])

    def cheapest(self) -> Solution | None:
        """The fleet of least cost within all limits; nothing where there is none.

        Where time ends the search and replicas may fall out, a second one looks near the first's p.
        """
        first = self.run(self.costs, self.time_limit_s)
        if first is None or not first.gap_ratio or not any(each.spares for each in self.wanted):
            return first
        near = [each.near(first.replicas[each.places]) for each in self.wanted]
        closer = replace(self, wanted=near)
        try:
            second = closer.run(closer.costs, self.time_limit_s * REFINE_SHARE)
        except PipelineError:  # nothing in that time
            return first
        if second is None or self.cost_of(second) >= self.cost_of(first):
            return first
        bound = self.cost_of(first) * (1 - first.gap_ratio)
        return replace(second, gap_ratio=max(0.0, 1 - bound / self.cost_of(second)))

    def cost_of(self, found: Solution) -> float:
        """What a fleet costs inside the programme."""
        return float(self.costs[: self.starts[0]] @ found.replicas)

    def least_growth(self, grown: Sequence[int], time_limit_s: float) -> Solution | None:
        """The fleet for which these limits grow least, as shares of them; nothing where that is not enough."""
        goal = self.blank()
        goal[[self.starts[2] + at for at in grown]] = UNIT
        return self.run(goal, time_limit_s, grown=grown)

    def least_cut(self, demand: int, time_limit_s: float) -> Solution | None:
        """The fleet that serves most of one demand and all of the others."""
        goal, (chosen, cut, *_) = self.blank(), self.starts
        for place, (at, _) in enumerate(self.thresholds):
            if at == demand:
                goal[[chosen + place, cut + place]] = -UNIT, UNIT
        return self.run(goal, time_limit_s, cut=demand)

    @cached_property
    def costs(self) -> Vector:
        """What a replica costs, by which of two fleets at one price the smaller is chosen."""
        goal, least = self.blank(), self.usd_per_hour.min() or 1.0
        goal[: self.starts[0]] = UNIT * (self.usd_per_hour / least + DEVICE_SHARE * self.devices)
        return goal

    def run(
        self, goal: Vector, time_limit_s: float, grown: Sequence[int] = (), cut: int | None = None
    ) -> Solution | None:
        """The programme with one goal; the limits that may grow, and the demand that may be cut.

        Raises:
            PipelineError: scipy is missing, or no fleet was found in time.
        """
        optimize, (matrix, lower, upper) = import_solver(), self.rows
        _, chosen, growth, end = self.starts
        top, lower = np.ones(end), lower.copy()
        for at, each in enumerate(self.wanted):
            top[each.places] = self.most(at)
        top[chosen:growth] = 0
        top[growth:] = [np.inf if at in grown else 0 for at in range(len(self.limits))]
        if cut is not None:
            first = len(self.thresholds) + 2 * cut
            lower[[first, first + 1]] = 0, -np.inf
            top[chosen:growth] = [at == cut for at, _ in self.thresholds]
        whole = np.arange(end) < chosen
        with silence_stdout():
            found = optimize.milp(
                goal,
                integrality=whole,
                bounds=optimize.Bounds(0, top),
                constraints=optimize.LinearConstraint(matrix, lower, upper),
                options={"time_limit": time_limit_s, "mip_rel_gap": 0},
            )
        return self.solution_of(found)

    def solution_of(self, found: Any) -> Solution | None:
        """An answer of HiGHS in replicas; nothing where it proves that there is none."""
        if found.x is None:
            if found.status == INFEASIBLE:
                return None
            raise PipelineError(
                "no fleet was found in time, and none was proven impossible: the limits are "
                "tight for so many options. Loosen a limit, or allow fewer accelerators, clouds or regions."
            )
        start, chosen, growth, _ = self.starts
        served = np.zeros(len(self.wanted))
        np.add.at(served, [at for at, _ in self.thresholds], found.x[start:chosen] - found.x[chosen:growth])
        return Solution(
            np.rint(found.x[:start]).astype(int),
            found.x[growth:] * np.array([limit.scale for limit in self.limits]),
            served * np.array([each.requests_per_s for each in self.wanted]),
            found.mip_gap or 0.0,
        )


def whole_replicas(requests_per_s: float, rate: float) -> int:
    """Replicas that carry a rate.

    >>> whole_replicas(20, 5), whole_replicas(20.1, 5)
    (4, 5)
    """
    return ceil(requests_per_s / rate * (1 - 1e-9))
