"""What a fleet of a mix is: its replicas as devices and money, what each demand gets, what each limit has left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from polars import col

from pipeline.core.money import HOURS_PER_MONTH
from pipeline.fleet.availability import in_nodes
from pipeline.fleet.mix.limits import limits_on

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.fleet.mix.limits import Limits

SUPPLY = (
    *("demand", "requests_per_s", "planned_requests_per_s", "spare_replicas", "replicas", "devices"),
    *("capacity_requests_per_s", "reserve_requests_per_s", "utilisation_ratio"),
    *("usd_per_hour", "usd_per_month", "usd_per_mtok_output"),
)
USED = {"limit": pl.String(), "unit": pl.String(), "allowed": pl.Float64(), "used": pl.Float64()}


def fleet_rows(options: pl.DataFrame, replicas: Iterable[int]) -> pl.DataFrame:
    """The chosen options with their replicas, devices, nodes and cost, in order of demands and cost."""
    count = pl.Series("replicas", list(replicas), pl.Int64)
    rows = options.with_columns(count).filter(col("replicas") > 0)
    nodes = [in_nodes().alias("nodes")] if "node_devices" in rows.columns else []
    power = [(col("power_w") * col("replicas")).alias("fleet_power_w")] if "power_w" in rows.columns else []
    return (
        rows.with_columns(
            *nodes,
            *power,
            devices=col("device_count") * col("replicas"),
            usd_per_hour=col("replica_usd_per_hour") * col("replicas"),
        )
        .with_columns(usd_per_month=col("usd_per_hour") * HOURS_PER_MONTH)
        .sort("demand", "usd_per_hour", descending=[False, True], maintain_order=True)
    )


def left_without(fleet: pl.DataFrame, demands: pl.DataFrame, rate: str) -> pl.DataFrame:
    """Requests per second of each demand's fleet: of all replicas, and without its `spare_replicas` largest."""
    rows = fleet.join(demands.select("demand", k="spare_replicas"), on="demand").sort(
        rate, descending=True, nulls_last=True
    )
    before = (col("replicas").cum_sum() - col("replicas")).over("demand")
    lost = pl.min_horizontal((col("k") - before).clip(0), "replicas")
    return (
        rows.with_columns(all=col(rate) * col("replicas"), left=col(rate) * (col("replicas") - lost))
        .group_by("demand", maintain_order=True)
        .agg(capacity_requests_per_s=col("all").sum(), reserve_requests_per_s=col("left").sum())
    )


def supply_of_demands(fleet: pl.DataFrame, demands: pl.DataFrame) -> pl.DataFrame:
    """What each demand gets, and what it costs."""
    sums = fleet.group_by("demand").agg(col("replicas", "devices", "usd_per_hour", "usd_per_month").sum())
    rows = demands.join(sums, on="demand", how="left", maintain_order="left")
    rows = rows.join(left_without(fleet, demands, "rate"), on="demand", how="left", maintain_order="left")
    tokens = col("requests_per_s") * 3600 * col("output_tokens") / 1e6
    price = [(col("usd_per_hour") / tokens).alias("usd_per_mtok_output")] if "output_tokens" in rows.columns else []
    made = rows.with_columns(
        *price,
        planned_requests_per_s="planned",
        utilisation_ratio=col("requests_per_s") / col("capacity_requests_per_s"),
    )
    return made.select(name for name in SUPPLY if name in made.columns)


def use_of_limits(fleet: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    """What the fleet uses of each limit."""
    rows = [
        (each.name, each.unit, float(each.allowed), float((each.used * fleet["replicas"]).sum()))
        for each in limits_on(fleet, limits)
    ]
    return pl.DataFrame(rows, schema=USED, orient="row").with_columns(left=col("allowed") - col("used"))
