"""The command that sizes fleets: fleet; and its options, which other commands share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline import api
from pipeline.cli.options import (
    COUNT,
    RATE,
    SPREAD,
    Settings,
    as_of_option,
    base_units,
    catalogs_option,
    format_options,
    option_field,
    stacked,
    taking,
)
from pipeline.cli.output import show, talk
from pipeline.core.errors import PipelineError, UsageError
from pipeline.core.money import DEFAULT_SITE, MARKETS
from pipeline.core.units import in_base_units
from pipeline.fleet.availability import Redundancy, availability_ratio
from pipeline.fleet.demand import demands, of_catalogs, of_trace, scale_to_rate
from pipeline.fleet.options import Choice, Demand
from pipeline.fleet.plans import ApiPrice, FleetPlan, Rhythm, best_of_each, plan_fleets
from pipeline.fleet.sizing import Sizing, within_budget
from pipeline.fleet.trace import read_trace
from pipeline.grid.replicas import Variation

if TYPE_CHECKING:
    from datetime import date

    import polars as pl

    from pipeline.facts.catalog import Catalogs

PEOPLE = {
    # columns of the table for people, and what they are called there
    "accelerator": "accelerator",
    "weights": "weights",
    "engine": "engine",
    "device_count": "per replica",
    "replicas": "replicas",
    "spare_replicas": "spare",
    "devices": "devices",
    "nodes": "nodes",
    "usd_per_hour": "USD/h",
    "usd_per_month": "USD/month",
    "usd_per_mtok_output": "USD/Mtok out",
    "ttft_p95_s": "TTFT p95 s",
    "tpot_p95_s": "TPOT p95 s",
    "e2e_p95_s": "E2E p95 s",
    "utilisation_ratio": "utilisation",
    "load_verdict": "load",
    "holds_at_lo": "holds if slow",
    "confidence": "confidence",
    "price_cloud": "cloud",
    "breakeven_ratio": "break-even",
    "autoscaled_usd_per_month": "autoscaled USD/month",
}
AT_TIMES = {"breakeven_ratio", "autoscaled_usd_per_month"}
"""Columns that are there where an API's price is given, or traffic."""


class Quota(click.ParamType[tuple[str, int]]):
    """`accelerator=devices`."""

    name = "accelerator=N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Split at the last equals sign."""
        if isinstance(value, tuple):
            return value
        name, equals, count = str(value).rpartition("=")
        if not equals or not name.strip() or not count.strip().isdigit():
            self.fail(f"'{value}' is not accelerator=devices, such as h100=64", param, ctx)
        return name.strip(), int(count)


@dataclass(frozen=True)
class DemandOptions:
    """What a fleet is for: the demand, the plans that are considered, what it must survive, and whose prices."""

    requests_per_s: float | None = option_field("Rate to carry; with --traffic, its mean rate.", type=RATE)
    traffic: str | None = option_field("Rhythm and unevenness: an entry of the traffic catalog, or a file of requests.")
    growth_months: float = option_field(
        "Months of the traffic's growth.", type=click.FloatRange(0, 240), default=0.0, show_default=False
    )
    workload: str = option_field("Lengths and objectives, where not stated.", default="chat")
    prompt_tokens: int | None = option_field("Mean prompt length.", "--prompt-tokens", "--isl", type=COUNT)
    output_tokens: int | None = option_field("Mean output length.", "--output-tokens", "--osl", type=COUNT)
    ttft_p95: str | None = option_field("Objective of the p95 of the time to first token, such as 1s.")
    tpot_p95: str | None = option_field("Objective of the p95 of the time per output token, such as 50ms.")
    prompt_cv: float = option_field("Spread of prompt lengths.", type=SPREAD, default=1.0)
    output_cv: float = option_field("Spread of output lengths.", type=SPREAD, default=1.0)
    arrival_cv: float = option_field("Burstiness: 1 is Poisson.", type=SPREAD, default=1.0)
    accelerators: tuple[str, ...] = option_field(
        "Devices: ids, patterns.  [all]", "--accelerator", "--gpu", multiple=True
    )
    weights: tuple[str, ...] = option_field("Number formats.  [as published, else bf16 and fp8]", multiple=True)
    kv: tuple[str, ...] = option_field("Number formats of the KV cache.", multiple=True, default=("bf16",))
    engines: tuple[str, ...] = option_field("Engines.  [vllm, sglang, tensorrt-llm]", "--engine", multiple=True)
    tensor_parallel: tuple[int, ...] = option_field(
        "Tensor-parallel ranks.  [1, 2, 4, 8]", "--tp", type=COUNT, multiple=True
    )
    pp: int = option_field("Pipeline stages.", type=COUNT, default=1)
    headroom: float = option_field(
        "Share added to the rate; with --traffic its windows are taken, and this is added.",
        type=click.FloatRange(0, 100),
        default=0.1,
    )
    spare: int = option_field("Spare replicas: N + k.", type=click.IntRange(0, 10**6), default=1)
    availability: float | None = option_field(
        "Share of the time that enough replicas must run, such as 0.999.",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
    )
    mtbf: str = option_field("Mean time between failures of a node, such as 90d.", default="90d")
    mttr: str = option_field("Mean time to repair or replace one, such as 12h.", default="12h")
    zones: int = option_field("Survive the loss of one.", type=click.IntRange(1, 100), default=1)
    market: str = option_field("Whose price.", type=click.Choice(MARKETS), default="on-demand")
    clouds: tuple[str, ...] = option_field("Only prices of these clouds.  [all]", "--cloud", multiple=True)
    site: str = option_field("Where devices stand: power, grid, rent.", default=DEFAULT_SITE)
    api_price: tuple[float, float] | None = option_field(
        "An API's USD per million input and output tokens, to hold the fleet against.",
        nargs=2,
        type=click.FloatRange(0),
        metavar="IN OUT",
    )
    settings: tuple[tuple[str, str], ...] = option_field(
        "Other facts: cached_prompt_ratio=0.4.", "--set", type=Settings(), multiple=True
    )


demand_options = stacked(taking(DemandOptions, "demand"), as_of_option, catalogs_option)
"""All that says what a fleet is for, but its model."""


@click.command("fleet")
@click.option("--model", required=True, help="Model: id, alias or Hugging Face id.")
@demand_options
@click.option("--budget", type=RATE, help="USD per hour at most.")
@click.option("--quota", "quotas", type=Quota(), multiple=True, help="Devices of a kind at most, such as h100=64.")
@click.option("--all", "everything", is_flag=True, help="In tables, every option, not the best of each accelerator.")
@format_options
def fleet_command(
    model: str,
    demand: DemandOptions,
    catalogs_folder: Path | None,
    as_of: date,
    shape: str,
    budget: float | None,
    quotas: tuple[tuple[str, int], ...],
    *,
    everything: bool,
) -> None:
    """Size a fleet for a request rate: replicas, devices, nodes, cost, energy, cheapest first.

    Every plan that meets the p95 objectives under load is rounded up to whole replicas before the
    cheapest is chosen. Tables show the best of each accelerator; json, csv and parquet every option.

    \b
    Example:
      capgrid fleet --model llama-3.1-70b --requests-per-s 20 --prompt-tokens 2048 --output-tokens 300 --ttft-p95 1s --tpot-p95 50ms
    """  # noqa: D301, E501
    catalogs = api.catalogs(catalogs_folder)
    rows = plan_fleets(fleet_plan(model, demand, catalogs), catalogs, as_of)
    limits = {catalogs.resolve("accelerator", name): count for name, count in quotas}
    allowed = within_budget(rows, limits, budget)
    if allowed.is_empty():
        raise PipelineError(why_beyond(rows, limits, budget))
    best = best_of_each(allowed, "accelerator")
    talk(f"{allowed.height} options of {best.height} accelerators meet the objective.")
    show(people_columns(allowed if everything else best) if shape == "table" else allowed, shape)


def why_beyond(rows: pl.DataFrame, quotas: dict[str, int], budget: float | None) -> str:
    """Why no fleet is within the limits: the cheapest, and the smallest of each quota."""
    words = [f"none of {rows.height} options is within the limits"]
    if budget is not None:
        cheapest = rows["usd_per_hour"].drop_nulls().to_list()  # in order of cost
        least = f"the cheapest costs {cheapest[0]:,.2f} USD/h" if cheapest else "none has a price"
        words.append(f"{least}, the budget is {budget:,.2f}")
    for name, count in quotas.items():
        fewest = min(rows.filter(accelerator=name)["devices"].to_list(), default=None)
        words.append(f"{name}: the smallest fleet has {fewest or 'no'} devices, the quota is {count}")
    return "; ".join(words)


def people_columns(rows: pl.DataFrame) -> pl.DataFrame:
    """The columns that people look at first, as they call them."""
    names = {name: words for name, words in PEOPLE.items() if name not in AT_TIMES or name in rows.columns}
    return rows.select(*names).rename(names)


# ----- from options to a plan


def fleet_plan(model: str, options: DemandOptions, catalogs: Catalogs) -> FleetPlan:
    """The plan of a fleet that the options describe.

    Raises:
        UsageError: neither a rate nor traffic.
    """
    catalogs.resolve("model", model)
    demand, choice = demand_of(model, options, catalogs), choice_of(options)
    api_price = ApiPrice(*options.api_price) if options.api_price else None
    if not options.traffic:
        return FleetPlan(demand, sizing_of(options, options.requests_per_s), choice, api=api_price)
    rhythm = rhythm_of(options, options.traffic, catalogs)
    row = demands(rhythm.traffic, rhythm.growth_months).row(0, named=True)
    talk(
        f"{row['traffic']}: mean {row['requests_per_s_mean']:.4g}/s, busiest hour {row['requests_per_s_peak']:.4g}/s, "
        f"planned {row['requests_per_s_plan']:.4g}/s ({row['plan_note']})"
    )
    sizing = sizing_of(options, row["requests_per_s_peak"], row["requests_per_s_plan"] * (1.0 + options.headroom))
    return FleetPlan(with_traffic(demand, row), sizing, choice, row["requests_per_s_mean"], api_price, rhythm)


def demand_of(model: str, options: DemandOptions, catalogs: Catalogs) -> Demand:
    """What must be served."""
    ttft, tpot = (float(in_base_units(text, "s")) if text else None for text in (options.ttft_p95, options.tpot_p95))
    return Demand(
        model,
        options.prompt_tokens,
        options.output_tokens,
        ttft,
        tpot,
        catalogs.resolve("workload", options.workload),
        Variation(options.prompt_cv, options.output_cv, options.arrival_cv),
        base_units(dict(options.settings)),
    )


def choice_of(options: DemandOptions) -> Choice:
    """Which plans are considered."""
    named = {name: getattr(options, name) for name in ("accelerators", "weights", "kv", "engines")}
    plans = tuple({"tp": tp, "pp": options.pp} for tp in options.tensor_parallel or (1, 2, 4, 8))
    given = {name: values for name, values in named.items() if values}
    return Choice(**given, parallel=plans, market=options.market, clouds=options.clouds, site=options.site)


def sizing_of(options: DemandOptions, rate: float | None, planned: float | None = None) -> Sizing:
    """How a fleet is sized.

    Raises:
        UsageError: no rate.
    """
    if rate is None:
        raise UsageError("say --requests-per-s, or --traffic: `capgrid traffic` lists some")
    arrival_cv = 1.0 if planned else options.arrival_cv
    return Sizing(rate, planned, options.headroom, arrival_cv, options.spare, redundancy_of(options))


def redundancy_of(options: DemandOptions) -> Redundancy:
    """What a fleet must survive besides its spare replicas."""
    up = availability_ratio(float(in_base_units(options.mtbf, "s")), float(in_base_units(options.mttr, "s")))
    target = options.availability
    return Redundancy(target_ratio=target, availability_ratio=up if target else None, zones=options.zones)


def rhythm_of(options: DemandOptions, name: str, catalogs: Catalogs) -> Rhythm:
    """The traffic of a name: an entry of the catalog, or a file of requests; at the stated rate."""
    path = Path(name)
    traffic = of_trace(read_trace(path), path.stem) if path.is_file() else of_catalogs(catalogs, [name])
    traffic = scale_to_rate(traffic, options.requests_per_s) if options.requests_per_s else traffic
    return Rhythm(traffic, options.growth_months)


def with_traffic(demand: Demand, row: dict[str, Any]) -> Demand:
    """The demand with the lengths and their spread that traffic has, where none are stated."""
    return replace(
        demand,
        prompt_tokens=demand.prompt_tokens or row["prompt_tokens"],
        output_tokens=demand.output_tokens or row["output_tokens"],
        workload=row["workload"] or demand.workload,
        variation=Variation(row["prompt_cv"], row["output_cv"], 1.0),
    )


COMMANDS = (fleet_command,)
