"""Prices as of a date: the newest row of each offer that is not later, and the cheapest offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

OFFER = ["accelerator", "cloud", "instance", "devices", "market"]


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
    return best.select("accelerator", "device_usd_per_hour", price_cloud="cloud", price_date="from_date")
