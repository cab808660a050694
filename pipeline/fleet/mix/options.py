"""The options of a mix: every plan of every demand, once for each cloud and region that has its device at a price."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl
from polars import col

from pipeline.core.errors import PipelineError
from pipeline.facts.prices import interruption_ratio, offers
from pipeline.fleet.options import options_for
from pipeline.grid.selection import select

if TYPE_CHECKING:
    from datetime import date

    from pipeline.facts.catalog import Catalogs
    from pipeline.fleet.mix.file import MixDemand, MixPlan, Region

PRICE = ("device_usd_per_hour", "price_cloud", "price_date", "price_note")


def places_of(plan: MixPlan, catalogs: Catalogs, as_of: date) -> pl.DataFrame:
    """The lowest price of each device in each cloud, and in each region where the file states some."""
    listed = offers(catalogs.frames, as_of, plan.market, site=plan.site).sort("device_usd_per_hour", "instance")
    prices = listed.unique(["accelerator", "cloud"], keep="first", maintain_order=True).select(
        "accelerator", "device_usd_per_hour", "price_note", price_cloud="cloud", price_date="from_date"
    )
    return pl.concat(prices_in(prices, each) for each in plan.regions) if plan.regions else prices


def prices_in(prices: pl.DataFrame, region: Region) -> pl.DataFrame:
    """The prices that hold in a region."""
    here = [(region.accelerators, "accelerator"), (region.clouds, "price_cloud")]
    return prices.filter(col(column).is_in(list(names)) for names, column in here if names).with_columns(
        col("device_usd_per_hour") * region.price_ratio, region=pl.lit(region.region)
    )


def options_of(plan: MixPlan, catalogs: Catalogs, as_of: date) -> pl.DataFrame:
    """One row for each plan of each demand at each price: the columns of `options_for`, `demand`, `region`.

    Raises:
        PipelineError: a demand has no plan, or no device with a price; a line for each.
    """
    places, frames, problems = places_of(plan, catalogs, as_of), [], []
    for each in plan.demands:
        try:
            frames.append(options_at(each, places, catalogs, as_of))
        except PipelineError as error:
            problems.append(f"'{each.name}': {error}")
    if problems:
        raise PipelineError("\n".join(problems))
    return pl.concat(frames, how="vertical_relaxed")


def options_at(asked: MixDemand, places: pl.DataFrame, catalogs: Catalogs, as_of: date) -> pl.DataFrame:
    """The options of one demand, of devices that have a price where it may run."""
    wanted = select(catalogs, "accelerator", asked.choice.accelerators)
    where = [(wanted, "accelerator"), (asked.clouds, "price_cloud"), (asked.regions, "region")]
    own = places.filter(col(column).is_in(list(names)) for names, column in where if names)
    if own.is_empty():
        raise PipelineError("no device that it may use has a price there; state one, or another market")
    choice = replace(asked.choice, accelerators=tuple(own["accelerator"].unique(maintain_order=True)))
    rows = options_for(asked.demand, choice, catalogs, as_of)
    priced = rows.drop(PRICE).join(own, on="accelerator", how="inner", maintain_order="left_right")
    return priced.select(pl.lit(asked.name).alias("demand"), pl.all())


def demands_of(plan: MixPlan, options: pl.DataFrame, catalogs: Catalogs) -> pl.DataFrame:
    """A row for each demand, as `solve_mix` reads them.

    Where devices may be taken away, the market's share of them is kept besides: it goes into the headroom.
    """
    kept = 1.0 + interruption_ratio(catalogs.frames, plan.market)
    rows = [
        {
            "demand": each.name,
            "model": each.demand.model,
            "requests_per_s": each.requests_per_s,
            "headroom_ratio": (1.0 + each.headroom_ratio) * kept - 1.0,
            "spare_replicas": each.spare_replicas,
        }
        for each in plan.demands
    ]
    lengths = options.group_by("demand").agg(col("output_tokens").first())
    return pl.DataFrame(rows).join(lengths, on="demand", how="left", maintain_order="left")
