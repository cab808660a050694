"""Prices as of a date: the newest row of each offer that is not later, and the cheapest offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

NAMED_BY = ["accelerator", "cloud", "instance", "market", "from_date"]
OFFER = ["accelerator", "cloud", "instance", "devices", "market"]


def price_name(price: Mapping[str, object]) -> str:
    """The name of a price: what is offered, by whom, and from when.

    >>> offer = {"accelerator": "l4", "cloud": "aws", "instance": "g6.xlarge", "market": "spot"}
    >>> price_name({**offer, "from_date": "2026-07-20"})
    'l4 aws g6.xlarge spot 2026-07-20'
    """
    return " ".join(str(price.get(each, "?")) for each in NAMED_BY)


def in_force(prices: pl.DataFrame, as_of: date) -> pl.DataFrame:
    """The newest price of each offer from that day or earlier, with its price per device."""
    newest = (
        prices.filter(pl.col("from_date") <= as_of).sort("from_date").unique(OFFER, keep="last", maintain_order=True)
    )
    return newest.with_columns(device_usd_per_hour=pl.col("usd_per_hour") / pl.col("devices"))


def cheapest(prices: pl.DataFrame, as_of: date, market: str, clouds: Sequence[str] = ()) -> pl.DataFrame:
    """The lowest price per device and hour of each accelerator: who asks it, and since when.

    Args:
        prices: the price catalog.
        as_of: the day that prices must be in force on.
        market: "on-demand" or "spot".
        clouds: only these; all where empty.
    """
    offers = in_force(prices, as_of).filter(pl.col("market") == market)
    offers = offers.filter(pl.col("cloud").is_in(list(clouds))) if clouds else offers
    best = offers.sort("device_usd_per_hour", "cloud", "instance").unique(
        "accelerator", keep="first", maintain_order=True
    )
    name = pl.concat_str([pl.col(each).cast(pl.String) for each in NAMED_BY], separator=" ")
    return best.select(
        "accelerator", "device_usd_per_hour", price_cloud="cloud", price_date="from_date", price_name=name
    )
