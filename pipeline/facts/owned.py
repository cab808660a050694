"""What an hour of an owned device costs: write-off, capital, upkeep, electricity, hosting.

Each function is one column, named after it, and its parameters are the columns that it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from polars import Expr

from pipeline.core.errors import UnknownNameError
from pipeline.core.money import HOURS_PER_MONTH, HOURS_PER_YEAR
from pipeline.core.quantity import entered, evaluate, in_order
from pipeline.facts.names import catalog_names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date


HOST_RATIO = 0.4
"""Mean power of a host for the rated power of its devices, where nobody says. Source: assumption."""


def device_purchase_usd(purchase_usd: Expr, devices: Expr, host_ratio: Expr) -> Expr:
    """What one device costs to buy, its share of host, network and racks included.

    >>> from pipeline.core.quantity import at
    >>> at(device_purchase_usd, purchase_usd=300_000.0, devices=8, host_ratio=0.2)
    45000.0
    """
    return purchase_usd / devices * (1.0 + host_ratio)


def write_off_usd_per_hour(device_purchase_usd: Expr, residual_ratio: Expr, lifetime_years: Expr) -> Expr:
    """The loss of value in equal parts over the lifetime, idle hours included."""
    return device_purchase_usd * (1.0 - residual_ratio) / (lifetime_years * HOURS_PER_YEAR)


def capital_usd_per_hour(device_purchase_usd: Expr, residual_ratio: Expr, interest_ratio: Expr) -> Expr:
    """Interest on the mean of the first and the last value."""
    return device_purchase_usd * (1.0 + residual_ratio) / 2.0 * interest_ratio / HOURS_PER_YEAR


def upkeep_usd_per_hour(device_purchase_usd: Expr, upkeep_ratio: Expr) -> Expr:
    """Support, repair and hands."""
    return device_purchase_usd * upkeep_ratio / HOURS_PER_YEAR


def rated_w(tdp_w: Expr, host_w: Expr, devices: Expr) -> Expr:
    """Rated power of one device with its share of the host."""
    return tdp_w + host_w / devices


def electricity_usd_per_hour(rated_w: Expr, power_ratio: Expr, pue_ratio: Expr, electricity_usd_per_kwh: Expr) -> Expr:
    """Electricity of the device, its host, and their share of the site."""
    return rated_w / 1000.0 * power_ratio * pue_ratio * electricity_usd_per_kwh


def hosting_usd_per_hour(rated_w: Expr, hosting_usd_per_kw_month: Expr) -> Expr:
    """Rent, which goes by rated power: it is due whether the device works or not."""
    return rated_w / 1000.0 * hosting_usd_per_kw_month / HOURS_PER_MONTH


def device_usd_per_hour(
    write_off_usd_per_hour: Expr,
    capital_usd_per_hour: Expr,
    upkeep_usd_per_hour: Expr,
    electricity_usd_per_hour: Expr,
    hosting_usd_per_hour: Expr,
) -> Expr:
    """All of it for one device and hour."""
    owning = write_off_usd_per_hour + capital_usd_per_hour + upkeep_usd_per_hour
    return owning + electricity_usd_per_hour + hosting_usd_per_hour


PARTS = (
    write_off_usd_per_hour,
    capital_usd_per_hour,
    upkeep_usd_per_hour,
    electricity_usd_per_hour,
    hosting_usd_per_hour,
)
"""The parts of the price of an owned device."""
BOOK = {each.__name__: entered(each) for each in (device_purchase_usd, rated_w, *PARTS, device_usd_per_hour)}


def site_of(frames: Mapping[str, pl.DataFrame], site: str) -> pl.DataFrame:
    """The facts of a site, one row, to be joined crosswise.

    Args:
        frames: the catalogs' frames.
        site: its id, or an alias.

    Raises:
        UnknownNameError: no catalog has such a site.
    """
    known = frames["site"]
    if not known.height:
        raise UnknownNameError("site", site, [], hint="The catalogs have no [[site]]; add one.")
    row = known.filter(site=catalog_names("site", known).resolve(site))
    return row.drop("name", "aliases")


def ownerships_in_force(frames: Mapping[str, pl.DataFrame], as_of: date) -> pl.DataFrame:
    """The entries of the newest day of each device that is not later than the day asked for."""
    known = frames["ownership"].filter(pl.col("from_date") <= as_of)
    return known.filter(pl.col("from_date") == pl.col("from_date").max().over("accelerator"))


def host_power(frames: Mapping[str, pl.DataFrame], as_of: date) -> pl.DataFrame:
    """Mean power of what is in a server besides its devices, for one device, owned or not.

    Where no entry of catalogs/ownership.toml says, HOST_RATIO of the device's rated power; a device of unknown rated
    power has no row.

    Args:
        frames: the catalogs' frames.
        as_of: the day that the entries must be in force on.

    Returns:
        `accelerator`, `host_w`.
    """
    mean = pl.col("host_w") / pl.col("devices") * pl.col("power_ratio")
    said = ownerships_in_force(frames, as_of).group_by("accelerator").agg(said_w=mean.mean())
    devices = frames["accelerator"].select("accelerator", "tdp_w").drop_nulls()
    rows = devices.join(said, on="accelerator", how="left", maintain_order="left")
    return rows.select("accelerator", host_w=pl.coalesce("said_w", HOST_RATIO * pl.col("tdp_w")))


def ownership_costs(frames: Mapping[str, pl.DataFrame], as_of: date, site: str) -> pl.DataFrame:
    """Every device that can be owned on a day, its cost by part; a device of unknown rated power has no cost.

    Of each device the newest entry that is not later; of two from one day, the cheaper.

    Args:
        frames: the catalogs' frames.
        as_of: the day that purchase prices must be known on.
        site: where the devices stand.

    Raises:
        UnknownNameError: no catalog has such a site.
    """
    devices = frames["accelerator"].select("accelerator", "tdp_w")
    rows = ownerships_in_force(frames, as_of).join(devices, on="accelerator").join(site_of(frames, site), how="cross")
    priced = evaluate(rows, in_order(BOOK, ["device_usd_per_hour"], set(rows.columns)))
    ranked = priced.drop_nulls("device_usd_per_hour").sort("accelerator", "device_usd_per_hour", "ownership")
    return ranked.unique("accelerator", keep="first", maintain_order=True)
