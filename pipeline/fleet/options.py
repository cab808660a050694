"""Every plan that can serve a demand, with the rate that one replica of it takes within the objective."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl
from polars import col

from pipeline.core.errors import PipelineError, UsageError
from pipeline.core.money import DEFAULT_SITE
from pipeline.facts.prices import device_prices
from pipeline.fleet.pools import OWN, with_units
from pipeline.grid.axes import KEYS, axes_of
from pipeline.grid.load import INPUTS, largest_rate
from pipeline.grid.point import otherwise
from pipeline.grid.replicas import COARSE, Variation, replicas, with_largest_rate
from pipeline.grid.selection import PARALLEL, Grid, select

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from pipeline.facts.catalog import Catalogs
    from pipeline.grid.axes import Axes

ENGINES = ("vllm", "sglang", "tensorrt-llm")
WEIGHTS = ("bf16", "fp8")
"""Number formats of models that are published in 16 bits; others are served as they are published."""
TENSOR_PARALLEL = (1, 2, 4, 8)
BASE_WORKLOAD = "chat"
"""Whose objectives hold where none are stated."""
CARRIED = (
    *("node_devices", "tdp_w", "idle_power_ratio", "confidence"),
    *("tpot_s", "tpot_s_hi", "ttft_s_hi", "ttft_s", "prompt_step_s"),
)
AT_WORK = ("power_w", "limited_by")


@dataclass(frozen=True)
class Demand:
    """What must be served: a model, requests of some lengths, and what their p95 may be."""

    model: str
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    ttft_p95_s: float | None = None
    tpot_p95_s: float | None = None
    workload: str = BASE_WORKLOAD
    """Lengths and objectives where they are not stated, and every other fact of the traffic."""
    variation: Variation = field(default_factory=Variation)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def stated(self) -> dict[str, Any]:
        """The facts of the workload that are stated otherwise."""
        names = ("prompt_tokens", "output_tokens", "ttft_slo_s", "tpot_slo_s")
        values = (self.prompt_tokens, self.output_tokens, self.ttft_p95_s, self.tpot_p95_s)
        own = zip(names, values, strict=True)
        return dict(self.facts) | {name: value for name, value in own if value is not None}


@dataclass(frozen=True)
class Choice:
    """Which plans are considered, and whose prices."""

    accelerators: tuple[str, ...] = ("*", "!a100-article")
    weights: tuple[str, ...] = ()
    """As published, or WEIGHTS, where left out."""
    kv: tuple[str, ...] = ("bf16",)
    engines: tuple[str, ...] = ENGINES
    parallel: tuple[Mapping[str, int], ...] = tuple({"tp": tp} for tp in TENSOR_PARALLEL)
    market: str = "on-demand"
    clouds: tuple[str, ...] = ()
    site: str = DEFAULT_SITE


def options_for(demand: Demand, choice: Choice, catalogs: Catalogs, as_of: date) -> pl.DataFrame:
    """One row for each plan that meets the objective at some rate, with that rate.

    Returns:
        The keys of `capacity`; `slo_requests_per_s`, the largest rate of one replica under Poisson
        arrivals, and `_lo`, `_hi`, the same at either end of the 80 % bands of times; the inputs of
        `under_load`, of one data-parallel group; prices, power, confidence.

    Raises:
        UnknownNameError: a name that no catalog knows.
        PipelineError: no plan can run, or none meets the objective even for one request.
    """
    axes = demand_axes(demand, choice, catalogs, as_of)
    rows = replicas(axes, demand.variation._replace(arrival_cv=1.0), CARRIED, AT_WORK)
    is_apart = axes["workload"]["is_disaggregated"].item()
    if rows.is_empty():
        raise PipelineError(f"no plan for {demand.model} can run: no device holds it, or no engine reads its format")
    idle_is_fast = (col("ttft_floor_s") <= col("ttft_slo_s")) & (col("decode_1_s") <= col("tpot_slo_s"))
    rows = rows.filter((col("kv_slots") >= 1) & idle_is_fast)
    rated = rows if rows.is_empty() else with_units(rows, with_band) if is_apart else as_one(rows)
    if rated.is_empty():
        slo = axes["workload"].row(0, named=True)
        raise PipelineError(
            f"no plan for {demand.model} meets a p95 TTFT of {slo['ttft_slo_s']:g} s and a p95 TPOT of "
            f"{slo['tpot_slo_s']:g} s, even at one request at a time. Loosen the objective, or allow more devices "
            "(--tp, --pp), formats (--weights) or accelerators."
        )
    return as_options(rated, device_notes(catalogs, as_of, choice))


def as_one(rows: pl.DataFrame) -> pl.DataFrame:
    """Replicas that read prompts themselves, with their rates; those that keep the objective at some rate."""
    rated = with_largest_rate(rows).filter(col("group_slo_requests_per_s") > 0)
    return rated if rated.is_empty() else with_band(rated).with_columns(**TOGETHER)


TOGETHER = {"prefill_workers": pl.lit(0, pl.Int64), "decode_workers": pl.lit(0, pl.Int64), "load_groups": col("dp")}
"""What a replica that reads prompts itself says of workers: it has none, and its groups share its requests."""


def demand_axes(demand: Demand, choice: Choice, catalogs: Catalogs, as_of: date) -> Axes:
    """The axes of all plans of a choice for one demand."""
    model = catalogs.resolve("model", demand.model)
    names: dict[str, Any] = {
        "accelerators": select(catalogs, "accelerator", choice.accelerators),
        "weights": select(catalogs, "format", choice.weights or native_weights(model, catalogs)),
        "kv": select(catalogs, "format", choice.kv),
        "engines": select(catalogs, "engine", choice.engines),
        "workloads": (catalogs.resolve("workload", demand.workload),),
    }
    plans = tuple({each: plan.get(each, 1) for each in PARALLEL} for plan in choice.parallel)
    grid = Grid(
        "fleet", models=(model,), parallel=plans, batches=(1,), market=choice.market, clouds=choice.clouds, **names
    )
    axes = otherwise(axes_of(catalogs, grid, as_of), demand.stated(), {"model", "accelerator", "engine", "workload"})
    workload = axes["workload"]
    if workload["is_static"].item():
        raise UsageError(f"workload '{demand.workload}' is a static batch, and has no arrivals")
    return axes


def native_weights(model: str, catalogs: Catalogs) -> Sequence[str]:
    """The number formats to consider for a model: its own where it is published quantised."""
    own = catalogs.frames["model"].filter(col("model") == model)["checkpoint_weights"].item()
    return (own,) if own and own not in ("bf16", "fp16", "fp32") else WEIGHTS


def with_band(rows: pl.DataFrame) -> pl.DataFrame:
    """Replicas with the rate at either end of the bands of their times.

    Times that are f times longer leave the rate within an objective that is f times shorter, slowed f times.
    """
    tpot, ttft = col("tpot_s_hi") / col("tpot_s"), col("ttft_s_hi") / col("ttft_s")
    best = col("group_slo_requests_per_s") * col("dp")
    tried = pl.concat(
        rows.with_columns(
            slower=tpot**sign, ttft_slo_s=col("ttft_slo_s") / ttft**sign, tpot_slo_s=col("tpot_slo_s") / tpot**sign
        )
        for sign in (1, -1)
    )
    rates = tried.select(largest_rate(tried, rounds=COARSE) / col("slower") * col("dp")).to_series()
    low, high = rates.head(rows.height), rates.tail(rows.height)
    return rows.with_columns(
        slo_requests_per_s=best,
        slo_requests_per_s_lo=pl.min_horizontal(low, best),
        slo_requests_per_s_hi=pl.max_horizontal(high, best),
    )


def device_notes(catalogs: Catalogs, as_of: date, choice: Choice) -> pl.DataFrame:
    """How the price of each device is known."""
    prices = device_prices(catalogs.frames, as_of, choice.market, choice.clouds, choice.site)
    return prices.select("accelerator", "device_usd_per_hour", "price_cloud", "price_date", "price_note")


def as_options(rows: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """Options as people read them: names as text, lengths as asked for, prices of the choice's site."""
    order = [*KEYS, "slo_requests_per_s", "slo_requests_per_s_lo", "slo_requests_per_s_hi"]
    options = rows.with_columns(
        pl.selectors.enum().cast(pl.String), load_output_tokens="output_tokens", output_tokens="shown_output_tokens"
    )
    options = options.join(prices, on="accelerator", how="left", maintain_order="left")
    own = ("load_output_tokens", "accepted_tokens", "cached_prompt_ratio")
    slos = ("whole_ttft_slo_s", "ttft_slo_s", "tpot_slo_s")
    every = (*order, *CARRIED, *AT_WORK, *prices.columns, *own, *slos, *TOGETHER, *OWN, "left_s", *INPUTS)
    return options.select([name for name in dict.fromkeys(every) if name in options.columns])
