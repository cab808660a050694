"""What a fleet will cost, month by month, in the columns of FOCUS: the FinOps Open Cost and Usage Specification.

Source: FOCUS 1.4, dataset Cost and Usage (ratified 2026-06-04, https://focus.finops.org), read on 2026-11-22.
"""

from __future__ import annotations

import calendar
import json
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl
from polars import col

from pipeline.core.errors import PipelineError
from pipeline.facts.prices import device_prices, interruption_ratio
from pipeline.fleet.demand import demands
from pipeline.fleet.options import options_for
from pipeline.fleet.plans import Rhythm, with_prices
from pipeline.fleet.sizing import TIES, size_fleets

if TYPE_CHECKING:
    from pipeline.facts.catalog import Catalogs
    from pipeline.fleet.plans import FleetPlan

PLAN = [name for name in TIES if name != "devices"]
"""What stays from month to month: a fleet grows, and does not move to other devices."""
PRICING = {"spot": "Dynamic", "owned": "Other"}
"""Pricing categories of FOCUS by market; the others are rates agreed on. A term is shown as its rate, not as a
purchase with its amortisation."""
TERM = "reserved"


def cost_forecast(plan: FleetPlan, catalogs: Catalogs, as_of: date, months: int) -> pl.DataFrame:
    """One row for each of the next calendar months: the fleet that the month needs, and what it costs.

    One plan is kept for all months, the one that costs least over them. The k-th month is sized for k months of
    growth: as `capgrid fleet --growth-months k` sizes it. A month has the hours that the calendar gives it.

    Args:
        plan: demand, choice and sizing; growth is that of its rhythm.
        catalogs: facts.
        as_of: day whose prices hold; the first month begins on it or after it.
        months: how many.

    Returns:
        The columns of FOCUS's Cost and Usage in alphabetical order, then our own, which begin with `x_`.

    Raises:
        PipelineError: nothing meets the objective, or nothing that does has a price.
    """
    fleets = monthly(plan, catalogs, as_of, months)
    if fleets.is_empty():
        raise PipelineError("no fleet that meets the objective has a price: a forecast of its cost cannot be made")
    cost = col("usd_per_hour") * col("hours")
    total = fleets.group_by(PLAN, maintain_order=True).agg(usd=cost.sum(), devices=col("devices").sum())
    best = total.sort("usd", *TIES).head(1)
    kept = fleets.join(best.select(PLAN), on=PLAN, how="semi").sort("month")
    return charges(with_list_prices(kept, plan.choice.market, catalogs, as_of), plan, as_of)


def monthly(plan: FleetPlan, catalogs: Catalogs, as_of: date, months: int) -> pl.DataFrame:
    """Every fleet with a price, in each month."""
    options = options_for(plan.demand, plan.choice, catalogs, as_of)
    reserve = interruption_ratio(catalogs.frames, plan.choice.market)
    grown = [later(plan, k) for k in range(1, months + 1)]
    frames = [
        with_prices(size_fleets(options, each.sizing, reserve), each, catalogs, as_of)
        .drop_nulls("usd_per_hour")
        .with_columns(
            month=pl.lit(first),
            hours=pl.lit(24 * calendar.monthrange(first.year, first.month)[1]),
            mean_per_s=pl.lit(each.mean_requests_per_s or each.sizing.requests_per_s),
            planned_per_s=pl.lit(each.sizing.planned_per_s),
            growth_months=pl.lit(each.rhythm.growth_months if each.rhythm else 0.0),
        )
        for each, first in zip(grown, firsts(as_of, months + 1), strict=False)
    ]
    return pl.concat(frames)


def later(plan: FleetPlan, months: int) -> FleetPlan:
    """The plan after some months: its traffic has grown; without traffic it is the same."""
    if plan.rhythm is None:
        return plan
    grown = Rhythm(plan.rhythm.traffic, plan.rhythm.growth_months + months)
    row = demands(grown.traffic, grown.growth_months).row(0, named=True)
    planned = row["requests_per_s_plan"] * (1.0 + plan.sizing.headroom_ratio)
    sizing = replace(plan.sizing, requests_per_s=row["requests_per_s_peak"], plan_requests_per_s=planned)
    return replace(plan, sizing=sizing, mean_requests_per_s=row["requests_per_s_mean"], rhythm=grown)


def firsts(as_of: date, count: int) -> list[date]:
    """The first days of the calendar months that begin on a day or after it.

    >>> [str(each) for each in firsts(date(2026, 11, 22), 2)], firsts(date(2026, 1, 1), 1)
    (['2026-12-01', '2027-01-01'], [datetime.date(2026, 1, 1)])
    """
    start = 12 * as_of.year + as_of.month - (1 if as_of.day == 1 else 0)
    return [date(each // 12, each % 12 + 1, 1) for each in range(start, start + count)]


def with_list_prices(kept: pl.DataFrame, market: str, catalogs: Catalogs, as_of: date) -> pl.DataFrame:
    """Fleets with `list_usd_per_hour`: of a term, what the same cloud asks on demand, where it says so."""
    paid = kept.with_columns(list_usd_per_hour="device_usd_per_hour")
    if not market.startswith(TERM):
        return paid
    listed = device_prices(catalogs.frames, as_of, "on-demand", kept["price_cloud"].unique().to_list())
    prices = listed.select(col("accelerator").cast(pl.String), on_demand="device_usd_per_hour")
    joined = paid.join(prices, on="accelerator", how="left", maintain_order="left")
    return joined.with_columns(list_usd_per_hour=pl.coalesce("on_demand", "list_usd_per_hour"))


# ----- FOCUS


def charges(rows: pl.DataFrame, plan: FleetPlan, as_of: date) -> pl.DataFrame:
    """Fleets of months as charges."""
    market, cloud = plan.choice.market, col("price_cloud")
    unit, asked, unknown = col("device_usd_per_hour"), col("list_usd_per_hour"), pl.lit(None, pl.String)
    hours = (col("devices") * col("hours")).cast(pl.Float64)
    sku = pl.format("{}/{}", cloud, "accelerator")
    fleet = pl.format("fleet/{}/{}", "model", "accelerator")
    first = col("month").dt.strftime("%Y-%m-%dT00:00:00Z")
    after = col("month").dt.offset_by("1mo").dt.strftime("%Y-%m-%dT00:00:00Z")
    told = pl.format(f"Forecast: {{}} x {{}} for {{}}, {market}", "devices", "accelerator", "model")
    focus: dict[str, Any] = {
        "BilledCost": unit * hours, "BillingAccountId": pl.lit("forecast"), "BillingAccountName": unknown,
        "BillingCurrency": pl.lit("USD"), "BillingPeriodEnd": after, "BillingPeriodStart": first,
        "ChargeCategory": pl.lit("Usage"), "ChargeClass": unknown, "ChargeDescription": told,
        "ChargeFrequency": pl.lit("Recurring" if market == "owned" or market.startswith(TERM) else "Usage-Based"),
        "ChargePeriodEnd": after, "ChargePeriodStart": first,
        "ConsumedQuantity": hours, "ConsumedUnit": pl.lit("Hours"),
        "ContractedCost": unit * hours, "ContractedUnitPrice": unit, "EffectiveCost": unit * hours,
        "HostProviderName": cloud, "InvoiceIssuerName": cloud,
        "ListCost": asked * hours, "ListUnitPrice": asked,
        "PricingCategory": pl.lit(PRICING.get(market, "Standard")), "PricingQuantity": hours,
        "PricingUnit": pl.lit("Hours"),
        "ResourceId": fleet, "ResourceName": fleet, "ResourceType": col("accelerator"),
        "ServiceCategory": pl.lit("Compute"), "ServiceName": pl.lit("Accelerators"), "ServiceProviderName": cloud,
        "ServiceSubcategory": pl.lit("Virtual Machines"),
        "SkuId": sku, "SkuMeter": pl.lit("Device hours"), "SkuPriceId": pl.format(f"{{}}/{market}", sku),
        "Tags": pl.lit(tags(rows, plan)),
    }  # fmt: skip
    return rows.select(**focus, **own_columns(as_of))


def tags(rows: pl.DataFrame, plan: FleetPlan) -> str:
    """What costs may be allocated by, as JSON."""
    row = rows.row(0, named=True)
    traffic = {"traffic": plan.rhythm.traffic["traffic"].item()} if plan.rhythm else {}
    own = {name: str(row[name]) for name in ("model", "workload", "engine", "weights")}
    return json.dumps({"application": "llm-inference"} | own | traffic, ensure_ascii=False)


def own_columns(as_of: date) -> dict[str, Any]:
    """Columns of our own: what the fleet is, and what it is sized for."""
    return {
        "x_AsOfDate": pl.lit(f"{as_of:%Y-%m-%d}"), "x_IsForecast": pl.lit(value=True),
        "x_Devices": col("devices"), "x_Replicas": col("replicas"), "x_SpareReplicas": col("spare_replicas"),
        "x_Nodes": col("nodes"), "x_Kv": col("kv").cast(pl.String), "x_TensorParallel": col("tp"),
        "x_MeanRequestsPerSecond": col("mean_per_s"), "x_PlannedRequestsPerSecond": col("planned_per_s"),
        "x_GrowthMonths": col("growth_months"), "x_HoldsAtBadEnd": col("holds_at_lo"),
        "x_Confidence": col("confidence").cast(pl.String), "x_PriceDate": col("price_date").cast(pl.String),
    }  # fmt: skip


NOTES = (
    ("Columns", "FOCUS 1.4, dataset Cost and Usage: https://focus.finops.org; those that begin with x_ are capgrid's."),
    ("What it is", "A forecast, not a bill: x_IsForecast is true in every row, BillingAccountId is forecast."),
    ("Fleet", "One plan is kept for all months, the one that costs least over them."),
    ("Growth", "Each month has the devices that its traffic needs after that many months of growth."),
    ("Cost", "Device-hours of the calendar month x the price per device-hour; billed and effective cost are the same."),
    ("Terms", "Shown as their rate, not as purchases that are written off; ListUnitPrice is that on demand."),
)
"""What is to be said of the rows."""
