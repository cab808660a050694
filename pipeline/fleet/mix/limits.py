"""What a mix may not exceed: devices of a kind or place, money, power; and which of them each option uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl
from polars import col

if TYPE_CHECKING:
    from collections.abc import Sequence

PLACES = {"accelerators": "accelerator", "clouds": "price_cloud", "regions": "region"}
"""What a quota or a demand may name, and the column of an option that it is held against."""


@dataclass(frozen=True)
class Quota:
    """At most so many devices among the options that every list matches; an empty list matches all."""

    devices: int
    accelerators: tuple[str, ...] = ()
    clouds: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """How a person would call it.

        >>> Quota(16, ("h100",), ("aws", "gcp")).name
        'devices: h100 in aws, gcp'
        """
        said = [", ".join(each) for each in (self.accelerators, self.clouds, self.regions) if each]
        return f"devices: {' in '.join(said)}" if said else "devices"

    def of(self, options: pl.DataFrame) -> pl.Series:
        """Devices that one replica of each option takes of it."""
        return options.select(pl.when(matches(self)).then("device_count").otherwise(0).alias("used"))["used"]


@dataclass(frozen=True)
class Limits:
    """Quotas of devices, and budgets of money and power for all demands together; none where left out."""

    quotas: tuple[Quota, ...] = field(default=())
    usd_per_hour: float | None = None
    power_w: float | None = None

    @property
    def columns(self) -> set[str]:
        """The columns of options that a limit is held against."""
        places = {column for name, column in PLACES.items() if any(getattr(each, name) for each in self.quotas)}
        return places | ({"power_w"} if self.power_w is not None else set())


@dataclass(frozen=True)
class Limit:
    """One limit over given options: what each replica uses of it, and how much there is."""

    name: str
    unit: str
    allowed: float
    used: pl.Series

    @property
    def scale(self) -> float:
        """What growth is measured against: the limit itself, or its largest use where it is nothing."""
        return self.allowed or self.used.max() or 1.0  # type: ignore[return-value]


def matches(place: Quota) -> pl.Expr:
    """Whether an option stands where a quota holds."""
    return pl.all_horizontal(
        pl.lit(True),
        *(col(column).is_in(list(getattr(place, name))) for name, column in PLACES.items() if getattr(place, name)),
    )


def limits_on(options: pl.DataFrame, limits: Limits) -> list[Limit]:
    """Every limit with what one replica of each option uses of it."""
    found = [Limit(quota.name, "devices", quota.devices, quota.of(options)) for quota in limits.quotas]
    if limits.usd_per_hour is not None:
        found.append(Limit("budget", "USD/h", limits.usd_per_hour, options["replica_usd_per_hour"]))
    if limits.power_w is not None:
        found.append(Limit("power", "W", limits.power_w, options["power_w"]))
    return found


def undominated(options: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    """The options that no other of the same demand and quotas beats or equals in rate, money, devices and power.

    A beaten option can be exchanged for its better one in any fleet, spares included, so that the
    optimum stays. First within a kind of device and place, where most fall, then within equal quotas.
    """
    quotas = [pl.Series(f"quota_{at}", quota.of(options) > 0) for at, quota in enumerate(limits.quotas)]
    flags = [each.name for each in quotas]
    less = ["replica_usd_per_hour", "device_count", *(["power_w"] if limits.power_w is not None else [])]
    left = options.with_columns(quotas)
    for by in (["demand", *(c for c in PLACES.values() if c in options.columns), *flags], ["demand", *flags]):
        left = best_of(left, by, less)
    return left.drop(flags)


def best_of(options: pl.DataFrame, by: Sequence[str], less: Sequence[str]) -> pl.DataFrame:
    """The rows that no other row of their group dominates; of equal rows the first."""
    rows = options.with_row_index("place")
    pairs = rows.select("place", *by, "rate", *less).lazy()
    same = pl.all_horizontal(col(each) == col(f"{each}_other") for each in ("rate", *less))
    beaten = (
        pairs.join(pairs, on=by, how="inner", nulls_equal=True, suffix="_other")
        .filter(
            col("place") != col("place_other"),
            col("rate_other") >= col("rate"),
            *(col(f"{each}_other") <= col(each) for each in less),
            ~same | (col("place_other") < col("place")),
        )
        .select("place")
        .unique()
        .collect()
    )
    return rows.join(beaten, on="place", how="anti", maintain_order="left").drop("place")
