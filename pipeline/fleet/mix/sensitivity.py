"""How far a mix can be trusted: other prices, device by device, and replicas as slow as the band allows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING, Any

import polars as pl
from polars import col

from pipeline.core.errors import PipelineError
from pipeline.fleet.mix.cheapest import RATE, RATE_LO, check_demands, search_cheapest, solve_mix, usable_options
from pipeline.fleet.mix.infeasible import Turns
from pipeline.fleet.mix.limits import undominated
from pipeline.fleet.mix.summary import fleet_rows, left_without

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.fleet.mix.cheapest import Mix
    from pipeline.fleet.mix.limits import Limits

PRICE_RATIOS = (0.8, 1.2)
"""Of today's price of one kind of device, all others as they are."""
SAME_RATIO = 1e-6
"""A fleet that is cheaper by less than this share of its cost, or than the answer's own gap, is no other choice."""
TIME_LIMIT_S = 15.0
"""Of the searches at all prices together."""
SAME, OTHER, FITTING, NONE = "same", "another is cheaper", "another within the budget", "none within the budget"
"""What becomes of the choice at another price."""
PRICES = (
    {"accelerator": pl.String, "price_ratio": pl.Float64, "choice": pl.String}
    | dict.fromkeys(("devices", "devices_then"), pl.Int64)
    | dict.fromkeys(("kept_usd_per_hour", "usd_per_hour", "gap_ratio"), pl.Float64)
)


@dataclass(frozen=True)
class BadEnd:
    """The chosen fleet if every replica is as slow as the bad end of its estimate's band."""

    demands: pl.DataFrame
    """A row for each demand: what its replicas carry then, and whether that is its rate."""
    mix: Mix
    """The fleet that would be chosen there, whatever it costs."""


def at_other_prices(
    mix: Mix,
    options: pl.DataFrame,
    demands: pl.DataFrame,
    limits: Limits,
    ratios: Sequence[float] = PRICE_RATIOS,
    time_limit_s: float = TIME_LIMIT_S,
) -> pl.DataFrame:
    """What the cheapest fleet is when one kind of device costs more or less, kind by kind.

    Args:
        mix: the answer at today's prices, with a fleet.
        options: those that it was chosen from.
        demands: those that it serves.
        limits: those that it keeps. A dearer device may break the budget of money.
        ratios: of the price of one kind of device.
        time_limit_s: of all searches together; where time ends one, a cheaper fleet may be missed.

    Returns:
        A row for each kind and ratio: `choice` ("same", "another is cheaper", "another within the
        budget", "none within the budget"), `devices` of that kind now and `devices_then`,
        `kept_usd_per_hour` (today's fleet at that price) and `usd_per_hour` (the cheapest there;
        null where none is within the budget); `gap_ratio`, how much cheaper a fleet might still be
        where time ended the search, 0 where none is, null where nothing was found in time.
    """
    asked = check_demands(options, demands, limits)
    whole = usable_options(options, asked, limits, RATE)
    kinds = whole["accelerator"].unique().sort()
    turns = Turns(kinds.len() * len(ratios), monotonic() + time_limit_s)
    rows = [
        at_price(mix, reprice(whole, kind, ratio), asked, limits, kind, ratio, turns.next_s())
        for kind in kinds
        for ratio in ratios
    ]
    return pl.DataFrame(rows, schema=PRICES)


def reprice(options: pl.DataFrame, accelerator: str, ratio: float) -> pl.DataFrame:
    """Options with one kind of device at another price."""
    factor = pl.when(accelerator=accelerator).then(ratio).otherwise(1.0)
    return options.with_columns(col("device_usd_per_hour", "replica_usd_per_hour") * factor)


def at_price(
    mix: Mix,
    options: pl.DataFrame,
    asked: pl.DataFrame,
    limits: Limits,
    accelerator: str,
    ratio: float,
    time_limit_s: float,
) -> dict[str, Any]:
    """The choice at one price of one kind of device."""
    own = mix.fleet.filter(accelerator=accelerator)
    devices, now = int(own["devices"].sum()), mix.usd_per_hour
    kept = now + (ratio - 1.0) * float(own["usd_per_hour"].sum())
    same = (accelerator, ratio, SAME, devices, devices, kept, kept, 0.0)
    row: dict[str, Any] = dict(zip(PRICES, same, strict=True))
    if not devices and (ratio >= 1.0 or accelerator not in undominated(options, limits)["accelerator"]):
        return row  # what nobody chose is not chosen for being dearer, nor where others beat it still
    fleet, gap = best_at(options, asked, limits, time_limit_s)
    broken = limits.usd_per_hour is not None and kept > limits.usd_per_hour * (1.0 + SAME_RATIO)
    if fleet is None:
        none = {"choice": NONE, "devices_then": 0, "usd_per_hour": None} if broken else {}
        return row | none | {"gap_ratio": gap}
    cost = float(fleet["usd_per_hour"].sum())
    if not broken and cost >= kept * (1.0 - max(SAME_RATIO, mix.gap_ratio)):
        return row | {"gap_ratio": max(0.0, 1.0 - cost * (1.0 - (gap or 0.0)) / kept) if gap else 0.0}
    then = int(fleet.filter(accelerator=accelerator)["devices"].sum())
    choice = FITTING if broken else OTHER
    return row | {"choice": choice, "devices_then": then, "usd_per_hour": cost, "gap_ratio": gap}


def best_at(
    options: pl.DataFrame, asked: pl.DataFrame, limits: Limits, time_limit_s: float
) -> tuple[pl.DataFrame | None, float | None]:
    """The cheapest fleet, where one fits and is found in time, and its gap; a gap of nothing where time ended all."""
    try:
        kept, _, found = search_cheapest(options, asked, limits, time_limit_s)
    except PipelineError:
        return None, None
    return (None, 0.0) if found is None else (fleet_rows(kept, found.replicas), found.gap_ratio)


def at_bad_end(mix: Mix, options: pl.DataFrame, demands: pl.DataFrame, limits: Limits) -> BadEnd:
    """Whether the fleet holds, demand by demand, if replicas are as slow as the bad end; and which fleet would.

    Args:
        mix: the answer of the estimate itself, with a fleet.
        options: those that it was chosen from, with `slo_requests_per_s_lo`.
        demands: those that it serves.
        limits: those that it keeps. The budget of money does not hold here: what it would have to be is asked.

    Returns:
        `demands` with `capacity_requests_per_s_lo` (all replicas), `reserve_requests_per_s_lo` (without
        the spares), `holds_at_lo` and `holds_at_lo_without_spares` against the rate without headroom,
        `usd_per_hour` now and `usd_per_hour_lo` of the fleet chosen at the bad end.
    """
    try:
        other = solve_mix(options, demands, replace(limits, usd_per_hour=None), rate=RATE_LO)
    except PipelineError as error:  # time
        other = replace(mix, fleet=mix.fleet.clear(), problems=(str(error),))
    left = left_without(mix.fleet, check_demands(options, demands, limits), RATE_LO)
    then = cost_of(other).rename({"usd_per_hour": "usd_per_hour_lo", "devices": "devices_lo"})
    rows = demands.select("demand", "requests_per_s")
    for each in (left, cost_of(mix), then):
        rows = rows.join(each, on="demand", how="left", maintain_order="left")
    ends = rows.select(
        *("demand", "requests_per_s"),
        capacity_requests_per_s_lo="capacity_requests_per_s",
        reserve_requests_per_s_lo="reserve_requests_per_s",
        holds_at_lo=col("capacity_requests_per_s") >= col("requests_per_s"),
        holds_at_lo_without_spares=col("reserve_requests_per_s") >= col("requests_per_s"),
        **{name: col(name) for name in ("devices", "devices_lo", "usd_per_hour", "usd_per_hour_lo")},
    )
    return BadEnd(ends, other)


def cost_of(mix: Mix) -> pl.DataFrame:
    """Devices and cost of each demand's fleet."""
    return mix.fleet.group_by("demand").agg(col("devices", "usd_per_hour").sum())
