"""The workbook's numbers in Polars: what its cells show before any spreadsheet recalculates them.

Each function here says the same as formulas in estimates.py and fleet.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

import polars as pl

from pipeline.core.money import HOURS_PER_MONTH
from pipeline.fleet.availability import in_nodes
from pipeline.fleet.sizing import MOST_REPLICAS, TIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TTFT_LEVELS_S = (0.25, 0.5, 1.0, 2.0, 5.0)
TPOT_LEVELS_S = (0.02, 0.03, 0.05, 0.1)
ENDS = {
    # what the input "estimate" may say, and the rate of a replica that it means
    "expected": "slo_requests_per_s",
    "bad end": "slo_requests_per_s_lo",
    "good end": "slo_requests_per_s_hi",
}
LEVEL = ("ttft_slo_s", "tpot_slo_s")
SLACK = 1e-9
"""3 and a rounding error is 3: taken off before rounding up, as pipeline.fleet.sizing does."""
KEY_STEP = 10**9
"""More than the devices of any fleet: `accelerator_no` x this + devices is one number for both."""


@dataclass(frozen=True)
class Inputs:
    """What the yellow cells hold: mean requests/s of the whole fleet, limits of the p95 in s, money in USD.

    >>> Inputs(requests_per_s=20, ttft_p95_s=1, tpot_p95_s=0.05, peak_factor_ratio=1.5).plan_requests_per_s
    30.0
    """

    requests_per_s: float
    ttft_p95_s: float
    tpot_p95_s: float
    peak_factor_ratio: float = 1.0
    headroom_ratio: float = 0.0
    spare_replicas: int = 0
    interruption_ratio: float = 0.0
    estimate: str = "expected"
    hours_per_month: float = HOURS_PER_MONTH
    discount_ratio: float = 0.0
    electricity_usd_per_kwh: float = 0.0
    pue_ratio: float = 1.0

    @property
    def peak_requests_per_s(self) -> float:
        """The rate that comes, without headroom."""
        return self.requests_per_s * self.peak_factor_ratio

    @property
    def plan_requests_per_s(self) -> float:
        """The rate that replicas before spares must carry."""
        return self.requests_per_s * self.peak_factor_ratio * (1 + self.headroom_ratio)


def objective_levels(usual: Iterable[float], asked: float) -> list[float]:
    """The objectives that the workbook can be set to: the usual ones and the one asked for.

    >>> objective_levels((0.25, 0.5), 0.4)
    [0.25, 0.4, 0.5]
    """
    return sorted({*usual, asked})


def level_of(known: Sequence[float], limit: float) -> float | None:
    """The loosest known objective that still keeps a limit; None where even the strictest does not."""
    return max((each for each in known if each <= limit), default=None)


def round_half_up(value: float, places: int) -> float:
    """A number rounded as spreadsheets do: halves away from zero, of the 15 digits that they see.

    >>> round_half_up(38.7939375, 6), round_half_up(2.5, 0), round(2.5)
    (38.793938, 3.0, 2)
    """
    return float(Decimal(f"{value:.15g}").quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP))


def useful_options(options: pl.DataFrame) -> pl.DataFrame:
    """The options that can be the choice for some rate, spares, price and end of the band; others are left out.

    At one objective on one accelerator, where all devices cost alike, a plan is of use only if none
    that goes before it (fewer devices, or as many and first by name) carries as much.
    """
    group = ["accelerator", *LEVEL]
    ordered = options.sort(*group, *(name for name in TIES if name in options.columns and name != "accelerator"))
    best = [pl.col(rate) > pl.col(rate).cum_max().shift(1).over(group).fill_null(0.0) for rate in ENDS.values()]
    return ordered.filter(pl.any_horizontal(best))


def plan_words() -> pl.Expr:
    """A plan as people say it: formats, engine, parallel plan."""
    ranks = [
        pl.when((pl.col(name) > 1) | (name == "tp")).then(pl.format(f"{name.upper()} {{}}", name))
        for name in ("tp", "pp", "dp", "ep")
    ]
    weights, kv = (pl.col(name).cast(pl.String) for name in ("weights", "kv"))
    formats = pl.when(weights == kv).then(weights).otherwise(pl.format("{} weights, {} KV", weights, kv))
    return pl.concat_str([formats, pl.col("engine").cast(pl.String), *ranks], separator=", ", ignore_nulls=True)


def size_options(estimates: pl.DataFrame, inputs: Inputs) -> pl.DataFrame:
    """Estimates with what the inputs make of them; null at other objectives than the inputs'.

    `working_replicas`, `replicas` (spares included), `devices`, and `key`.
    """
    rate = pl.col(ENDS[inputs.estimate])
    ttft_s = level_of(estimates["ttft_slo_s"].unique().to_list(), inputs.ttft_p95_s)
    tpot_s = level_of(estimates["tpot_slo_s"].unique().to_list(), inputs.tpot_p95_s)
    counts = (pl.col("ttft_slo_s") == ttft_s) & (pl.col("tpot_slo_s") == tpot_s) & (rate > 0)
    working = pl.when(counts).then(working_replicas(inputs.plan_requests_per_s, rate))
    return (
        estimates.with_columns(working_replicas=working)
        .with_columns(replicas=with_spares(pl.col("working_replicas"), inputs))
        .with_columns(devices=pl.col("replicas") * pl.col("device_count"))
        .with_columns(key=pl.col("accelerator_no") * KEY_STEP + pl.col("devices"))
    )


def working_replicas(requests_per_s: float, rate: pl.Expr) -> pl.Expr:
    """Replicas that carry a rate, as pipeline.fleet.sizing rounds them up."""
    return (requests_per_s / rate - SLACK).ceil().clip(1, MOST_REPLICAS).cast(pl.Int64)


def with_spares(working: pl.Expr, inputs: Inputs) -> pl.Expr:
    """Working replicas, spares, and what is kept because devices may be taken away."""
    reserve = (working * inputs.interruption_ratio - SLACK).ceil().clip(0).cast(pl.Int64)
    return working + inputs.spare_replicas + reserve


def fleet_rows(estimates: pl.DataFrame, prices: pl.DataFrame, inputs: Inputs, output_tokens: float) -> pl.DataFrame:
    """One row for each accelerator in the order of `prices`: its fleet of the fewest devices, and what that costs.

    Args:
        estimates: `accelerator_no` and options; of equal fleets the first is chosen.
        prices: `accelerator_no`, `accelerator`, `device_usd_per_hour`.
        inputs: what the yellow cells hold.
        output_tokens: of one request.
    """
    found = size_options(estimates, inputs).with_row_index("pick", 1).filter(pl.col("devices").is_not_null())
    best = found.sort("accelerator_no", "devices", maintain_order=True).unique(
        "accelerator_no", keep="first", maintain_order=True
    )
    return (
        prices.join(best.drop("accelerator"), on="accelerator_no", how="left", maintain_order="left")
        .with_columns(loads(inputs))
        .with_columns(energy(inputs))
        .with_columns(usd_per_hour=hourly(inputs))
        .with_columns(usd_per_month=pl.col("usd_per_hour") * inputs.hours_per_month)
        .with_columns(
            usd_per_mtok_output=pl.col("usd_per_hour") / (inputs.requests_per_s * output_tokens * 3600) * 1e6,
            order=pl.col("usd_per_month").round(6, mode="half_away_from_zero"),
        )
        .with_columns(rank=rank())
    )


def loads(inputs: Inputs) -> list[pl.Expr]:
    """How full a fleet is, and whether it holds where the truth is at the bad end of the band."""
    rate, low = pl.col(ENDS[inputs.estimate]), pl.col(ENDS["bad end"])
    low = pl.when(low > 0).then(low)
    needs = inputs.peak_requests_per_s / low - SLACK
    holds = (
        pl.when(needs.is_null())
        .then(pl.lit("no fleet does"))
        .when(needs > pl.col("replicas"))
        .then(pl.lit("no"))
        .when(needs > pl.col("working_replicas"))
        .then(pl.lit("with its spares"))
        .otherwise(pl.lit("yes"))
    )
    return [
        rate.alias("replica_requests_per_s"),
        (inputs.plan_requests_per_s / (pl.col("replicas") * rate)).alias("load_ratio"),
        in_nodes().alias("nodes"),
        pl.when(pl.col("replicas").is_not_null()).then(holds).alias("holds_at_bad_end"),
        with_spares(working_replicas(inputs.plan_requests_per_s, low), inputs).alias("bad_end_replicas"),
    ]


def energy(inputs: Inputs) -> list[pl.Expr]:
    """The price asked less the discount, and the electricity of a month."""
    kw = pl.col("replicas") * pl.col("power_w") / 1000 * inputs.pue_ratio
    return [
        (pl.col("device_usd_per_hour") * (1 - inputs.discount_ratio)).alias("paid_usd_per_hour"),
        (kw * inputs.hours_per_month).alias("month_kwh"),
    ]


def hourly(inputs: Inputs) -> pl.Expr:
    """Devices and, where it is paid apart, electricity."""
    electricity = pl.col("month_kwh").fill_null(0.0) * inputs.electricity_usd_per_kwh / inputs.hours_per_month
    return pl.col("devices") * pl.col("paid_usd_per_hour") + electricity


def rank() -> pl.Expr:
    """1 is the cheapest month; of equal ones the fleet of fewer devices, then the earlier row."""
    priced = pl.col("order").is_not_null()
    place = pl.struct("order", "devices", "accelerator_no").rank("ordinal")
    return pl.when(priced).then(place.over(priced)).cast(pl.Int64)
