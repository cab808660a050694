"""A fleet for a demand, from names to money: options, sizes, prices, in one frame."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import polars as pl
from polars import col

from pipeline.core.money import HOURS_PER_MONTH
from pipeline.estimators.money.fleet import BILL, BREAK_EVEN, FOOTPRINT, with_money
from pipeline.facts.owned import host_power, site_of
from pipeline.facts.prices import interruption_ratio
from pipeline.fleet.autoscaling import autoscale
from pipeline.fleet.demand import week
from pipeline.fleet.options import Choice, Demand, options_for
from pipeline.fleet.sizing import TIES, Sizing, size_fleets
from pipeline.grid.schema import FLEET

if TYPE_CHECKING:
    from datetime import date

    from pipeline.facts.catalog import Catalogs


@dataclass(frozen=True)
class ApiPrice:
    """What an API asks for a million tokens, to hold a fleet against."""

    usd_per_mtok_input: float
    usd_per_mtok_output: float
    usd_per_mtok_cached: float | None = None


@dataclass(frozen=True)
class Rhythm:
    """How a rate goes up and down over a week, for a fleet that follows it."""

    traffic: pl.DataFrame
    """One row with TRAFFIC's columns."""
    growth_months: float = 0.0


AUTOSCALED = ("autoscaled_ratio", "autoscaled_replicas_min", "autoscaled_usd_per_month")
"""Of a fleet that follows the hours of the week: replica-hours over the fixed fleet's, fewest replicas, cost."""


@dataclass(frozen=True)
class FleetPlan:
    """A demand, the plans to consider, and how to size them."""

    demand: Demand
    sizing: Sizing
    choice: Choice = field(default_factory=Choice)
    mean_requests_per_s: float | None = None
    """Mean rate of the time that is billed; the rate of the sizing where left out."""
    api: ApiPrice | None = None
    rhythm: Rhythm | None = None


def plan_fleets(plan: FleetPlan, catalogs: Catalogs, as_of: date) -> pl.DataFrame:
    """Every fleet that meets the objective, cheapest first, those without a price last: the columns of FLEET.

    With the price of an API the columns of BREAK_EVEN stand behind them, with a rhythm those of AUTOSCALED.

    Raises:
        PipelineError: nothing meets it; says why.
    """
    options = options_for(plan.demand, plan.choice, catalogs, as_of)
    reserve = interruption_ratio(catalogs.frames, plan.choice.market)
    rows = with_prices(size_fleets(options, plan.sizing, reserve), plan, catalogs, as_of)
    return rows if plan.rhythm is None else with_autoscaling(rows, plan.rhythm)


def with_autoscaling(rows: pl.DataFrame, rhythm: Rhythm) -> pl.DataFrame:
    """Fleets with what they would cost if replicas came and went with the hours: the columns of AUTOSCALED."""
    carried = rhythm.traffic.select("traffic", "window_factor_ratio", "lag_margin_ratio")
    scaled = autoscale(rows.join(carried, how="cross"), week(rhythm.traffic, rhythm.growth_months))
    cost = col("usd_per_month") * col("autoscaled_ratio")
    return rows.hstack(scaled.with_columns(autoscaled_usd_per_month=cost).select(*AUTOSCALED))


def with_prices(rows: pl.DataFrame, plan: FleetPlan, catalogs: Catalogs, as_of: date) -> pl.DataFrame:
    """Sized fleets with what they cost and what they take from the socket, in order of cost."""
    frames = catalogs.frames
    mean = plan.mean_requests_per_s or plan.sizing.requests_per_s
    site = site_of(frames, plan.choice.site).select("pue_ratio", "grid_g_per_kwh")
    powered = rows.join(host_power(frames, as_of), on="accelerator", how="left", maintain_order="left")
    known = powered.join(site, how="cross")
    busy = col("utilisation_ratio") * (col("replicas") - col("spare_replicas")) / col("replicas")
    api = plan.api
    prices = {f"api_{name}": pl.lit(price, pl.Float64) for name, price in (asdict(api).items() if api else ())}
    over_time = mean / plan.sizing.requests_per_s  # busy as over the time that is billed
    wanted = [*BILL, *FOOTPRINT, *(BREAK_EVEN if api else ())]
    money = with_money(
        known.with_columns(
            mean_requests_per_s=pl.lit(mean),
            working_utilisation_ratio=col("utilisation_ratio"),
            utilisation_ratio=busy * over_time,
            **prices,
        ),
        wanted,
    )
    whole = money.with_columns(
        utilisation_ratio=col("working_utilisation_ratio"),
        demand_requests_per_s=pl.lit(plan.sizing.requests_per_s),
        power_w=col("energy_kwh_per_month") * 1000.0 / HOURS_PER_MONTH / col("pue_ratio"),
        goodput_requests_per_s=col("slo_requests_per_s") * (col("replicas") - col("spare_replicas")),
        holds_at_lo=col("slo_requests_per_s_lo") * col("replicas") >= plan.sizing.requests_per_s,
    )
    kept = [*FLEET, *(BREAK_EVEN if api else ())]
    return whole.select(kept).sort("usd_per_hour", *TIES, nulls_last=True)


def best_of_each(rows: pl.DataFrame, *by: str) -> pl.DataFrame:
    """The first of each group, in order: the cheapest, chosen after rounding up."""
    return rows.unique(by, keep="first", maintain_order=True)
