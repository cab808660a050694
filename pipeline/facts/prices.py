"""Prices as of a date and in a market: the newest row of each offer that is not later, and the cheapest offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from pipeline.core.errors import UnknownNameError
from pipeline.core.money import DEFAULT_SITE, MARKETS
from pipeline.facts.owned import ownership_costs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

NAMED_BY = ["accelerator", "cloud", "instance", "market", "from_date"]
OFFER = ["accelerator", "cloud", "instance", "devices", "market"]
LISTED, OWNED = "listed", "owned"
"""What price_note says of a price that a cloud lists, and the cloud of a device that one owns."""


def price_name(price: Mapping[str, object]) -> str:
    """The name of a price: what is offered, by whom, and from when.

    >>> offer = {"accelerator": "l4", "cloud": "aws", "instance": "g6.xlarge", "market": "spot"}
    >>> price_name({**offer, "from_date": "2026-07-20"})
    'l4 aws g6.xlarge spot 2026-07-20'
    """
    return " ".join(str(price.get(each, "?")) for each in NAMED_BY)


def prices_in_force(prices: pl.DataFrame, as_of: date) -> pl.DataFrame:
    """The newest price of each offer from that day or earlier, with its price per device."""
    newest = (
        prices.filter(pl.col("from_date") <= as_of).sort("from_date").unique(OFFER, keep="last", maintain_order=True)
    )
    return newest.with_columns(device_usd_per_hour=pl.col("usd_per_hour") / pl.col("devices"))


def offers(
    frames: Mapping[str, pl.DataFrame], as_of: date, market: str, clouds: Sequence[str] = (), site: str = DEFAULT_SITE
) -> pl.DataFrame:
    """Every offer of one market on a day: listed, assumed as a share of on-demand, or owned.

    A share is assumed only of a cloud that lists no price of this market for the device; price_note says so.

    Args:
        frames: the catalogs' frames.
        as_of: the day that prices must be in force on.
        market: one of MARKETS.
        clouds: only these; all where empty. Owned devices are in none.
        site: where owned devices stand.

    Returns:
        The columns of the price catalog, `device_usd_per_hour`, `price_name`, `price_note`.

    Raises:
        UnknownNameError: no such market, or no such site.
    """
    if market not in MARKETS:
        raise UnknownNameError("market", market, MARKETS, hint=f"Markets: {', '.join(MARKETS)}.")
    if market == OWNED:
        return owned_offers(frames, as_of, site)
    force = prices_in_force(frames["price"], as_of)
    force = force.filter(pl.col("cloud").is_in(list(clouds))) if clouds else force
    name = pl.concat_str([pl.col(each).cast(pl.String) for each in NAMED_BY], separator=" ")
    force = force.with_columns(price_name=name, price_note=pl.lit(LISTED))
    listed = force.filter(pl.col("market") == market)
    return pl.concat([listed, assumed_offers(force, listed, frames["market"].filter(market=market))])


def assumed_offers(force: pl.DataFrame, listed: pl.DataFrame, market: pl.DataFrame) -> pl.DataFrame:
    """On-demand offers at a market's share, from clouds that list no price of that market for the device."""
    shares = market.drop_nulls("on_demand_ratio").select(share="on_demand_ratio", its_market="market")
    on_demand = force.filter(pl.col("market") == "on-demand").join(listed, on=["accelerator", "cloud"], how="anti")
    return (
        on_demand.join(shares, how="cross", maintain_order="left_right")
        .with_columns(
            pl.col("usd_per_hour", "device_usd_per_hour") * pl.col("share"),
            market="its_market",
            price_name=pl.format("an assumed {} of {}", "share", "price_name"),
            price_note=pl.format("{} of on-demand, assumed", "share"),
        )
        .select(force.columns)
    )


def owned_offers(frames: Mapping[str, pl.DataFrame], as_of: date, site: str) -> pl.DataFrame:
    """Owned devices in the columns of offers: the server is the instance, the price is for all its devices."""
    rows = ownership_costs(frames, as_of, site)
    return rows.with_columns(
        cloud=pl.lit(OWNED),
        market=pl.lit(OWNED),
        instance="ownership",
        usd_per_hour=pl.col("device_usd_per_hour") * pl.col("devices"),
        price_name=pl.format("{} at {}", "ownership", "site"),
        price_note=pl.format("owned, at {}", "site"),
    ).select(*OFFER, "usd_per_hour", "from_date", "device_usd_per_hour", "price_name", "price_note")


def device_prices(
    frames: Mapping[str, pl.DataFrame], as_of: date, market: str, clouds: Sequence[str] = (), site: str = DEFAULT_SITE
) -> pl.DataFrame:
    """The lowest price per device and hour of each accelerator in a market: who asks it, since when, and how known.

    Arguments are those of `offers`.

    Returns:
        `accelerator`, `device_usd_per_hour`, `price_cloud`, `price_date`, `price_name`, `price_note`;
        a device without a price has no row.

    Raises:
        UnknownNameError: no such market, or no such site.
    """
    ranked = offers(frames, as_of, market, clouds, site).sort("device_usd_per_hour", "cloud", "instance")
    best = ranked.unique("accelerator", keep="first", maintain_order=True)
    return best.select(
        "accelerator", "device_usd_per_hour", "price_name", "price_note", price_cloud="cloud", price_date="from_date"
    )


def interruption_ratio(frames: Mapping[str, pl.DataFrame], market: str) -> float:
    """Replicas to keep besides in a market, as a share of those needed, because devices may be taken away."""
    said = frames["market"].filter(market=market)["interruption_ratio"]
    return float(said.item()) if said.len() else 0.0
