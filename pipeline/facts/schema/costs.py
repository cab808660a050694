"""What entries about markets, owned devices and sites promise: fields, types, bounds."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from pipeline.core.money import MARKETS
from pipeline.facts.schema.fields import Texts, fact, option


class Market(pa.DataFrameModel):
    """A way to have devices, and what is assumed of it where no list says."""

    market: pl.String = fact("Id.", isin=list(MARKETS))
    name: pl.String = fact("Name for people.")
    on_demand_ratio: pl.Float64 = option(
        "Price as a share of the same cloud's on-demand price, where that cloud lists none of this market.", gt=0, le=1
    )
    interruption_ratio: pl.Float64 = option(
        "Replicas kept besides, as a share of those needed, because devices may be taken away.", 0.0, ge=0, le=10
    )


class Ownership(pa.DataFrameModel):
    """What it takes to own a device, from a day on; appended, never edited."""

    ownership: pl.String = fact("Id.")
    accelerator: pl.String = fact("Device: an entry of catalogs/accelerators.")
    devices: pl.Int64 = fact("Devices that purchase_usd buys and host_w powers.", ge=1, le=1024)
    purchase_usd: pl.Float64 = fact("Purchase price of these devices, or of the server that holds them.", gt=50, lt=1e8)
    host_ratio: pl.Float64 = fact(
        "What host (unless bought with the devices), network, storage and racks add, as a share of the purchase price.",
        ge=0,
        le=5,
    )
    host_w: pl.Float64 = fact(
        "Power of what is in the server besides these devices: processors, memory, fans, network.", ge=0, le=1e5
    )
    lifetime_years: pl.Float64 = fact("Time over which the purchase is written off.", gt=0, le=20)
    residual_ratio: pl.Float64 = fact("What it sells for at the end, as a share of the purchase price.", ge=0, lt=1)
    interest_ratio: pl.Float64 = option(
        "Cost of capital for a year, on the mean of first and last value.", 0.0, ge=0, le=1
    )
    upkeep_ratio: pl.Float64 = option(
        "Support, repair and hands for a year, as a share of the purchase price.", 0.0, ge=0, le=1
    )
    power_ratio: pl.Float64 = option("Mean power over all hours, as a share of the rated power.", 1.0, gt=0, le=1)
    from_date: pl.Date = fact("First day of this price.")


class Site(pa.DataFrameModel):
    """A place where devices stand: what power costs and weighs there."""

    site: pl.String = fact("Id.")
    name: pl.String = fact("Name for people.")
    aliases: Texts = option("Other names.")
    pue_ratio: pl.Float64 = fact("Energy of the whole site for the energy of its computers.", ge=1, le=5)
    electricity_usd_per_kwh: pl.Float64 = fact("Price of electricity.", ge=0, lt=5)
    hosting_usd_per_kw_month: pl.Float64 = fact(
        "Rent of room, power feed and cooling, by rated power of what stands there, without electricity.", ge=0, lt=5000
    )
    grid_g_per_kwh: pl.Float64 = fact("Greenhouse gases of the grid's electricity, as CO2.", ge=0, le=2000)
