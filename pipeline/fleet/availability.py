"""How many replicas to keep so that enough of them run: spare nodes, an availability target, zones.

What fails is a node, with every replica on it. Nodes fail on their own, each for a share 1 - A of the time; zones
fail one at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, exp, isfinite, log, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

import polars as pl
from polars import Expr, col

from pipeline.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST_RATIO = 0.5
"""Nodes that are down more than half of the time are not worth sizing."""
MOST_TARGET_RATIO = 1 - 1e-9
"""Sums of doubles are not exact beyond."""
MOST_ZONES = 100
NOTHING = -60.0
"""Logarithm of a chance that adds nothing to a sum: behind the largest term, the sum is complete."""

MANY = 1e5
"""Units down at once, on average, from which their number is taken as normal."""
ROOM = (col("node_devices") // col("device_count")).clip(1)
"""Whole replicas that a node holds; 1 of those that take several nodes."""


@dataclass(frozen=True)
class Redundancy:
    """What a fleet must survive; as it stands, nothing."""

    spare_nodes: int = 0
    """Nodes that may be down at once (N + k)."""
    target_ratio: float | None = None
    """Share of the time for which enough replicas must run."""
    availability_ratio: float | None = None
    """Share of the time for which a node is up; needed where there is a target."""
    zones: int = 1
    """Zones that the fleet is spread over evenly, so that it survives the loss of any one; 1 is no promise."""

    def __post_init__(self) -> None:
        """Refuse what no fleet can promise."""
        if not 0 <= self.spare_nodes <= 10**6:
            raise UsageError(f"spare nodes = {self.spare_nodes}: a whole number from 0 to 10^6")
        if not 1 <= self.zones <= MOST_ZONES:
            raise UsageError(f"zones = {self.zones}: a whole number from 1 to {MOST_ZONES}")
        if self.target_ratio is not None:
            self.check_target(self.target_ratio)

    def check_target(self, target: float) -> None:
        """A target stands below 1, and needs the availability of a node."""
        if not 0 < target <= MOST_TARGET_RATIO:
            raise UsageError(f"availability target = {target}: above 0, and at most 0.999999999; nothing is always up")
        if self.availability_ratio is None:
            raise UsageError("an availability target needs the availability of a node, or its MTBF and MTTR")
        if not LEAST_RATIO <= self.availability_ratio <= 1:
            raise UsageError(f"availability of a node = {self.availability_ratio}: from {LEAST_RATIO} to 1")


def availability_ratio(mtbf_s: float, mttr_s: float) -> float:
    """The share of the time for which a node is up: MTBF / (MTBF + MTTR).

    Args:
        mtbf_s: mean time from a repair to the next failure.
        mttr_s: mean time to repair or to replace it, until replicas serve again.

    >>> availability_ratio(99.0, 1.0)
    0.99
    """
    if not (mtbf_s > 0 and mttr_s >= 0 and isfinite(mtbf_s) and isfinite(mttr_s)):
        raise UsageError(f"MTBF = {mtbf_s} s, MTTR = {mttr_s} s: above 0, and 0 or more")
    return mtbf_s / (mtbf_s + mttr_s)


@lru_cache(maxsize=100_000)
def spares_for(needed: int, available_ratio: float, target_ratio: float) -> int:
    """The fewest units beside `needed` with P(Binomial(needed + spares, A) >= needed) >= target.

    That tail is the chance of at most `spares` failures before the `needed`-th success, whose terms follow
    from each other: t(0) = A^n, t(j+1) = t(j) (1 - A) (n + j) / (j + 1).

    >>> [spares_for(needed, 0.99, 0.999) for needed in (1, 4, 32, 128)]
    [1, 1, 3, 6]
    """
    if needed <= 0 or available_ratio >= 1:
        return 0
    down = needed * (1 - available_ratio) / available_ratio
    if down > MANY:
        return ceil(down + NormalDist().inv_cdf(target_ratio) * sqrt(down / available_ratio) + 1)
    spares, log_term = 0, needed * log(available_ratio)
    met = exp(log_term)
    while met < target_ratio and (log_term > NOTHING or spares * available_ratio <= needed):
        log_term += log((1 - available_ratio) * (needed + spares) / (spares + 1))
        spares += 1
        met += exp(log_term)
    return spares


@lru_cache(maxsize=100_000)
def losses_of(kept: int, available_ratio: float, target_ratio: float) -> int:
    """The fewest losses t with P(at most t of `kept` units are down) >= target.

    >>> losses_of(4, 0.99, 0.999), losses_of(100, 0.99, 0.999)
    (1, 5)
    """
    if kept <= 0 or available_ratio >= 1:
        return 0
    down = kept * (1 - available_ratio)
    if down > MANY:
        return ceil(down + NormalDist().inv_cdf(target_ratio) * sqrt(down * available_ratio) + 1)
    lost, log_term = 0, kept * log(available_ratio)
    met = exp(log_term)
    while met < target_ratio and lost < kept and (log_term > NOTHING or lost <= kept * (1 - available_ratio)):
        log_term += log((1 - available_ratio) / available_ratio * (kept - lost) / (lost + 1))
        lost += 1
        met += exp(log_term)
    return lost


def smallest_fleet(needed: pl.Series, available_ratio: float, target_ratio: float) -> pl.Series:
    """For each count of units, the smallest fleet of which that many run with the wished probability.

    Args:
        needed: whole counts; each distinct one is reckoned once. Unknown stays unknown.
        available_ratio: share of the time for which a unit is up.
        target_ratio: probability that enough of them are up at once.

    >>> smallest_fleet(pl.Series([1, 2, 4, 8, 16, 32, 64, 128]), 0.995, 0.999).to_list()
    [2, 3, 5, 9, 18, 34, 67, 132]
    """
    Redundancy(target_ratio=target_ratio, availability_ratio=available_ratio)
    counts = pl.DataFrame({"units": needed.cast(pl.Int64), "used": 1}, schema_overrides={"used": pl.Int64})
    return needed + by_target(counts, "units", spares_for, available_ratio, target_ratio)


def redundant(frame: pl.DataFrame, redundancy: Redundancy) -> pl.DataFrame:
    """Replicas, devices and nodes of fleets that keep running what is needed.

    A replica that fits a node is not split over two; a larger one has its nodes for itself. n replicas fill
    u = ceil(n / r) nodes of r; s nodes are added, and t may be lost at once: n + t min(n, r) replicas, dealt
    out evenly, leave n of them. With z zones, each has the same number of nodes and of replicas, and the
    others hold n without it.

    Args:
        frame: `replicas_needed` (at the planned rate), `device_count` (of a replica), `node_devices`.
            0 replicas stay 0; unknown stays unknown.
        redundancy: what the fleet must survive.

    Returns:
        The frame with `replicas` (spares included), `spare_replicas`, `devices` (of the replicas),
        `nodes`, `node_replicas` (the most on one node).
    """
    units = frame.select("replicas_needed", "device_count", room=ROOM, used=ceil_div("device_count", "node_devices"))
    rows = units.with_columns(units=ceil_div("replicas_needed", "room"))
    spares = at_least(redundancy.spare_nodes, rows, "units", spares_for, redundancy)
    rows = rows.with_columns(kept=spread_over_zones(rows, spares, redundancy.zones))
    rows = rows.with_columns(lost=at_least(redundancy.spare_nodes, rows, "kept", losses_of, redundancy))
    return frame.with_columns(rows.select(**fleet_counts(redundancy.zones)))


def ceil_div(whole: str | Expr, part: str | int | Expr) -> Expr:
    """A quotient of whole numbers, rounded up; unknown where the divisor is 0."""
    number = col(whole) if isinstance(whole, str) else whole
    divisor = col(part) if isinstance(part, str) else pl.lit(part) if isinstance(part, int) else part
    return pl.when(divisor > 0).then((number + divisor - 1) // divisor)


def in_nodes() -> Expr:
    """Nodes of `replicas`: as many whole replicas in each as fit, or as many whole nodes for each as it takes."""
    return (ceil_div("replicas", ROOM) * ceil_div("device_count", "node_devices")).cast(pl.Int64)


def by_target(
    rows: pl.DataFrame, name: str, count: Callable[[int, float, float], int], available: float, target: float
) -> pl.Series:
    """A count for each row's units, reckoned once for each distinct one.

    A unit of `used` nodes is up when all of them are.
    """
    keys = rows.select(units=name, nodes="used")
    distinct = keys.drop_nulls().unique()
    found = [count(units, available**nodes, target) for units, nodes in distinct.iter_rows()]
    known = distinct.with_columns(found=pl.Series(found, dtype=pl.Int64))
    return keys.join(known, on=["units", "nodes"], how="left", maintain_order="left")["found"]


def at_least(
    least: int, rows: pl.DataFrame, name: str, count: Callable[[int, float, float], int], redundancy: Redundancy
) -> pl.Series:
    """Nodes (or sets of nodes) to spare: as many as stated, and as the target asks for."""
    stated = rows.select(pl.when(col(name) > 0).then(least).otherwise(0).cast(pl.Int64)).to_series()
    target, available = redundancy.target_ratio, redundancy.availability_ratio
    if target is None or available is None:
        return stated
    return pl.select(pl.max_horizontal(stated, by_target(rows, name, count, available, target))).to_series()


def spread_over_zones(rows: pl.DataFrame, spares: pl.Series, zones: int) -> pl.Series:
    """Nodes (or sets of nodes) to keep: the same number in each zone, and enough without any one of them."""
    in_zone = ceil_div(col("units") + pl.lit(spares), zones)
    if zones > 1:
        in_zone = pl.max_horizontal(in_zone, ceil_div(ceil_div("replicas_needed", zones - 1), "room"))
    return rows.select(zones * in_zone).to_series()


def fleet_counts(zones: int) -> dict[str, Expr]:
    """What a fleet has, from its nodes and what may be lost of them."""
    needed, devices = col("replicas_needed"), col("device_count")
    in_zone = ceil_div(needed + col("lost") * pl.min_horizontal("replicas_needed", "room"), zones)
    if zones > 1:
        in_zone = pl.max_horizontal(in_zone, ceil_div("replicas_needed", zones - 1))
    replicas = pl.when(needed.is_not_null()).then(zones * in_zone)
    return {
        "replicas": replicas,
        "spare_replicas": replicas - needed,
        "devices": replicas * devices,
        "nodes": pl.when(needed.is_not_null()).then(col("kept") * col("used")),
        "node_replicas": ceil_div(replicas, "kept"),
    }
