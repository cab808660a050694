"""Several demands on several kinds of device under quotas and budgets: the fleet of least cost.

Whole replicas of each (demand, option); each demand is carried within its objectives, also without
any k of its replicas, where it asks for k spares. The k that fall out are its largest, so that spares
hold whichever replicas fail. A replica serves one demand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING, Any

import polars as pl
from polars import col

from pipeline.core.errors import UsageError, nearest
from pipeline.fleet.mix.infeasible import explain_infeasible, without_options
from pipeline.fleet.mix.limits import PLACES, Limits, limits_on, undominated
from pipeline.fleet.mix.model import TIME_LIMIT_S, Programme, Wanted
from pipeline.fleet.mix.summary import fleet_rows, supply_of_demands, use_of_limits

if TYPE_CHECKING:
    from pipeline.fleet.mix.model import Solution

RATE, RATE_LO = "slo_requests_per_s", "slo_requests_per_s_lo"
REQUIRED_COLUMNS = {
    # columns of options and of demands that must be there
    "options": ("demand", "accelerator", "device_count", "device_usd_per_hour", RATE),
    "demands": ("demand", "requests_per_s"),
}
DEMAND_DEFAULTS: dict[str, Any] = {"spare_replicas": 0, "headroom_ratio": 0.0}


@dataclass(frozen=True)
class Mix:
    """A fleet for all demands; or, where there is none within the limits, what would have to give way."""

    fleet: pl.DataFrame
    """A row for each chosen option, with `replicas`, spares included, and what they take and cost."""
    demands: pl.DataFrame
    """A row for each demand: what it gets, alone and without its spares."""
    limits: pl.DataFrame
    """A row for each limit: what is used of it; where nothing fits, how far it would have to grow."""
    problems: tuple[str, ...] = ()
    """Why there is no fleet, in words; empty where there is one."""
    gap_ratio: float = 0.0
    """How much cheaper a fleet might still be, where time ended the search; 0 where none is."""

    @property
    def is_feasible(self) -> bool:
        """Whether there is a fleet."""
        return not self.problems

    @property
    def usd_per_hour(self) -> float:
        """What all of it costs."""
        return float(self.fleet["usd_per_hour"].sum())


def solve_mix(
    options: pl.DataFrame,
    demands: pl.DataFrame,
    limits: Limits,
    *,
    rate: str = RATE,
    time_limit_s: float = TIME_LIMIT_S,
) -> Mix:
    """The cheapest fleet that serves every demand within the limits; of two at one price, that of fewer devices.

    Args:
        options: those of `options_for`, a row for each plan, with `demand`; one plan may stand at several
            prices, told apart by `price_cloud` and `region`. Those without a price cannot be chosen.
        demands: `demand`, `requests_per_s`, and if wanted `headroom_ratio` (added to the rate),
            `spare_replicas` (k), `output_tokens`, and lists of the `accelerators`, `clouds`, `regions`
            that a demand may use; null or an empty list allows all.
        limits: quotas and budgets.
        rate: which column of the options a replica's rate is.
        time_limit_s: when to stop with the best fleet so far; `gap_ratio` says how far it may be off.

    Raises:
        UsageError: a column is missing, a demand stands twice, or asks for what nobody can.
        PipelineError: scipy is missing, or no fleet was found in time.
    """
    asked = check_demands(options, demands, limits)
    whole = usable_options(options, asked, limits, rate)
    if problems := without_options(options, whole, asked, rate):
        empty, used = fleet_rows(whole, [0] * whole.height), whole.clear().with_columns(replicas=0)
        return Mix(empty, asked.drop("planned"), use_of_limits(used, limits), problems)
    kept, programme, found = search_cheapest(whole, asked, limits, time_limit_s)
    if found is None:
        told = explain_infeasible(programme, asked)
        return Mix(fleet_rows(kept, [0] * kept.height), told.demands, told.limits, told.problems)
    fleet = fleet_rows(kept, found.replicas)
    return Mix(fleet, supply_of_demands(fleet, asked), use_of_limits(fleet, limits), gap_ratio=found.gap_ratio)


def search_cheapest(
    whole: pl.DataFrame, asked: pl.DataFrame, limits: Limits, time_limit_s: float
) -> tuple[pl.DataFrame, Programme, Solution | None]:
    """The options that no other beats, their programme, and the cheapest fleet of them, where there is one.

    A fleet chosen without regard to power that keeps the budget of power is the cheapest with it too.
    Of plans that differ in little but power it takes one kind, where the budget leaves the choice.
    """
    if limits.power_w is not None:
        began = monotonic()
        kept, programme, found = search_cheapest(whole, asked, replace(limits, power_w=None), 0.65 * time_limit_s)
        time_limit_s = max(0.35 * time_limit_s, time_limit_s - (monotonic() - began))
        if found is not None and float(kept["power_w"].to_numpy() @ found.replicas) <= limits.power_w:
            return kept, programme, found
    kept = undominated(whole, limits)
    programme = programme_of(kept, asked, limits, time_limit_s)
    return kept, programme, programme.cheapest()


def check_demands(options: pl.DataFrame, demands: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    """The demands with every column, if they, the options and the limits say what is needed."""
    for name in limits.columns - {*options.columns}:
        raise UsageError(f"options: no column '{name}', which a limit is held against")
    for name, frame in (("options", options), ("demands", demands)):
        for column in REQUIRED_COLUMNS[name]:
            if column not in frame.columns:
                raise UsageError(f"{name}: no column '{column}'. {nearest(column, frame.columns)}".rstrip())
    if demands["demand"].is_duplicated().any() or demands.is_empty():
        raise UsageError("demands: none, or one stands twice")
    absent = {name: pl.lit(value) for name, value in DEMAND_DEFAULTS.items() if name not in demands.columns}
    whole = demands.with_columns(**absent).with_columns(
        col(name).fill_null(value) for name, value in DEMAND_DEFAULTS.items()
    )
    usual = pl.all_horizontal(col("headroom_ratio", "spare_replicas") >= 0)
    wrong = whole.filter(~(col("requests_per_s").is_between(0, 1e9, closed="right") & usual))["demand"]
    if not wrong.is_empty():
        raise UsageError(f"demand '{wrong[0]}': rates are above 0, and at most 10^9; headroom and spares from 0")
    return whole.with_columns(planned=col("requests_per_s") * (1 + col("headroom_ratio")))


def usable_options(options: pl.DataFrame, demands: pl.DataFrame, limits: Limits, rate: str) -> pl.DataFrame:
    """The options that can be bought, and that their demand may use and gets something from.

    Under a budget of power, those whose power is known.
    """
    allowed = {name: column for name, column in PLACES.items() if name in demands.columns and column in options.columns}
    rows = options.join(demands.select("demand", *allowed), on="demand", how="inner", maintain_order="left")
    fits = [(col(name).list.len() == 0) | col(name).list.contains(col(column)) for name, column in allowed.items()]
    rows = rows.with_columns(
        rate=col(rate).cast(pl.Float64), replica_usd_per_hour=col("device_usd_per_hour") * col("device_count")
    )
    known = [] if limits.power_w is None else [col("power_w").is_not_null()]
    priced = col("replica_usd_per_hour").is_not_null() & (col("rate") > 0)
    return rows.filter(priced, *known, *(each.fill_null(True) for each in fits)).drop(allowed)


def programme_of(options: pl.DataFrame, demands: pl.DataFrame, limits: Limits, time_limit_s: float) -> Programme:
    """Options, demands and limits as a programme."""
    numbered = options.with_row_index("place")
    wanted = []
    for row in demands.iter_rows(named=True):
        own = numbered.filter(col("demand") == row["demand"])
        places, rates = own["place"].cast(pl.Int64).to_numpy(), own["rate"].to_numpy()
        wanted.append(Wanted(row["demand"], row["planned"], row["spare_replicas"], places, rates))
    costs, devices = options["replica_usd_per_hour"].to_numpy(), options["device_count"].to_numpy()
    return Programme(costs, devices, wanted, limits_on(options, limits), time_limit_s)
