"""The command that sizes fleets: fleet; and its options, which other commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import Settings, as_of_option, catalogs_option, format_options, loaded, together
from pipeline.cli.output import show, talk
from pipeline.cli.plans import COUNT
from pipeline.core.money import DEFAULT_SITE, MARKETS

if TYPE_CHECKING:
    from datetime import date

    import polars as pl

    from pipeline.facts.catalog import Catalogs
    from pipeline.fleet.availability import Redundancy
    from pipeline.fleet.options import Choice, Demand
    from pipeline.fleet.plans import FleetPlan, Rhythm
    from pipeline.fleet.sizing import Sizing

SPREAD = click.FloatRange(0, 20)
RATE = click.FloatRange(0, min_open=True)
PEOPLE = {
    # columns of the table for people, and what they are called there
    "accelerator": "accelerator", "weights": "weights", "engine": "engine", "device_count": "per replica",
    "replicas": "replicas", "spare_replicas": "spare", "devices": "devices", "nodes": "nodes",
    "usd_per_hour": "USD/h", "usd_per_month": "USD/month", "usd_per_mtok_output": "USD/Mtok out",
    "ttft_p95_s": "TTFT p95 s", "tpot_p95_s": "TPOT p95 s", "e2e_p95_s": "E2E p95 s",
    "utilisation_ratio": "utilisation", "load_verdict": "load", "holds_at_lo": "holds if slow",
    "confidence": "confidence", "price_cloud": "cloud",
}  # fmt: skip


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


model_option = click.option("--model", required=True, help="Model: id, alias or Hugging Face id.")
demand_options = together(
    click.option("--requests-per-s", type=RATE, help="Rate to carry; with --traffic, its mean rate."),
    click.option("--traffic", help="Rhythm and unevenness: an entry of the traffic catalog, or a file of requests."),
    click.option("--growth-months", type=click.FloatRange(0, 240), default=0.0, help="Months of the traffic's growth."),
    click.option("--workload", default="chat", show_default=True, help="Lengths and objectives, where not stated."),
    click.option("--prompt-tokens", "--isl", type=COUNT, help="Mean prompt length."),
    click.option("--output-tokens", "--osl", type=COUNT, help="Mean output length."),
    click.option("--ttft-p95", help="Objective of the p95 of the time to first token, such as 1s."),
    click.option("--tpot-p95", help="Objective of the p95 of the time per output token, such as 50ms."),
    click.option("--prompt-cv", type=SPREAD, default=1.0, show_default=True, help="Spread of prompt lengths."),
    click.option("--output-cv", type=SPREAD, default=1.0, show_default=True, help="Spread of output lengths."),
    click.option("--arrival-cv", type=SPREAD, default=1.0, show_default=True, help="Burstiness: 1 is Poisson."),
    click.option("--accelerator", "--gpu", "accelerators", multiple=True, help="Devices: ids, patterns.  [all]"),
    click.option("--weights", multiple=True, help="Number formats.  [as published, else bf16 and fp8]"),
    click.option("--kv", multiple=True, default=("bf16",), show_default=True, help="Number formats of the KV cache."),
    click.option("--engine", "engines", multiple=True, help="Engines.  [vllm, sglang, tensorrt-llm]"),
    click.option("--tp", "tensor_parallel", type=COUNT, multiple=True, help="Tensor-parallel ranks.  [1, 2, 4, 8]"),
    click.option("--pp", type=COUNT, default=1, show_default=True, help="Pipeline stages."),
    click.option("--headroom", type=click.FloatRange(0, 100), default=0.1, show_default=True,
                 help="Share added to the rate; with --traffic its windows are taken, and this is added."),
    click.option("--spare", type=click.IntRange(0, 10**6), default=1, show_default=True, help="Spare replicas: N + k."),
    click.option("--availability", type=click.FloatRange(0, 1, min_open=True, max_open=True),
                 help="Share of the time that enough replicas must run, such as 0.999."),
    click.option("--mtbf", default="90d", show_default=True, help="Mean time between failures of a node, such as 90d."),
    click.option("--mttr", default="12h", show_default=True, help="Mean time to repair or replace one, such as 12h."),
    click.option("--zones", type=click.IntRange(1, 100), default=1, show_default=True, help="Survive the loss of one."),
    click.option("--market", type=click.Choice(MARKETS), default="on-demand", show_default=True, help="Whose price."),
    click.option("--cloud", "clouds", multiple=True, help="Only prices of these clouds.  [all]"),
    click.option("--site", default=DEFAULT_SITE, show_default=True, help="Where devices stand: power, grid, rent."),
    click.option("--api-price", nargs=2, type=click.FloatRange(0), metavar="IN OUT",
                 help="An API's USD per million input and output tokens, to hold the fleet against."),
    click.option("--set", "settings", type=Settings(), multiple=True, help="Other facts: cached_prompt_ratio=0.4."),
    as_of_option,
    catalogs_option,
)  # fmt: skip
"""All that says what a fleet is for, but its model."""
fleet_options = together(model_option, demand_options)


@click.command()
@fleet_options
@click.option("--budget", type=RATE, help="USD per hour at most.")
@click.option("--quota", "quotas", type=Quota(), multiple=True, help="Devices of a kind at most, such as h100=64.")
@click.option("--all", "everything", is_flag=True, help="In tables, every option, not the best of each accelerator.")
@format_options
def fleet(
    catalogs_folder: Path | None,
    as_of: date,
    shape: str,
    budget: float | None,
    quotas: tuple[tuple[str, int], ...],
    *,
    everything: bool,
    **asked: Any,
) -> None:
    """Size a fleet for a request rate: replicas, devices, nodes, cost, energy, cheapest first.

    Every plan that meets the p95 objectives under load is rounded up to whole replicas before the
    cheapest is chosen. Tables show the best of each accelerator; json, csv and parquet every option.

    \b
    Example:
      capgrid fleet --model llama-3.1-70b --requests-per-s 20 --prompt-tokens 2048 --output-tokens 300 --ttft-p95 1s --tpot-p95 50ms
    """  # noqa: D301, E501
    from pipeline.core.errors import PipelineError  # noqa: PLC0415
    from pipeline.fleet.plans import best_of_each, plan_fleets  # noqa: PLC0415
    from pipeline.fleet.sizing import within_budget  # noqa: PLC0415

    catalogs = loaded(catalogs_folder)
    plan = plan_of(asked, catalogs)
    rows = plan_fleets(plan, catalogs, as_of)
    limits = {catalogs.resolve("accelerator", name): count for name, count in quotas}
    allowed = within_budget(rows, limits, budget)
    if allowed.is_empty():
        raise PipelineError(beyond(rows, limits, budget))
    best = best_of_each(allowed, "accelerator")
    talk(f"{allowed.height} options of {best.height} accelerators meet the objective.")
    show(for_table(allowed if everything else best) if shape == "table" else allowed, shape)


def beyond(rows: pl.DataFrame, quotas: dict[str, int], budget: float | None) -> str:
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


def for_table(rows: pl.DataFrame) -> pl.DataFrame:
    """The columns that people look at first."""
    more = {
        name: told
        for name, told in {"breakeven_ratio": "break-even", "autoscaled_usd_per_month": "autoscaled USD/month"}.items()
        if name in rows.columns
    }
    return rows.select(*PEOPLE, *more).rename(PEOPLE | more)


# ----- what was asked for


def plan_of(asked: dict[str, Any], catalogs: Catalogs) -> FleetPlan:
    """The options of the command as a plan.

    Raises:
        UsageError: neither a rate nor traffic.
    """
    from pipeline.fleet.plans import ApiPrice, FleetPlan  # noqa: PLC0415

    catalogs.resolve("model", asked["model"])
    demand = demand_of(asked, catalogs)
    api = ApiPrice(*asked["api_price"]) if asked["api_price"] else None
    if not asked["traffic"]:
        return FleetPlan(demand, sizing_of(asked, asked["requests_per_s"], None), choice_of(asked), api=api)
    rhythm = rhythm_of(asked, catalogs)
    demand, sizing, mean = of_traffic(asked, demand, rhythm)
    return FleetPlan(demand, sizing, choice_of(asked), mean, api, rhythm)


def demand_of(asked: dict[str, Any], catalogs: Catalogs) -> Demand:
    """What must be served."""
    from pipeline.core.units import in_base_units, unit_of  # noqa: PLC0415
    from pipeline.fleet.options import Demand  # noqa: PLC0415
    from pipeline.grid.replicas import Variation  # noqa: PLC0415

    limits = {name: asked[name] and float(in_base_units(asked[name], "s")) for name in ("ttft_p95", "tpot_p95")}
    facts = {name: in_base_units(text, unit_of(name)) for name, text in asked["settings"]}
    facts = {name: value == "true" if value in ("true", "false") else value for name, value in facts.items()}
    return Demand(
        asked["model"], asked["prompt_tokens"], asked["output_tokens"], limits["ttft_p95"], limits["tpot_p95"],
        catalogs.resolve("workload", asked["workload"]),
        Variation(asked["prompt_cv"], asked["output_cv"], asked["arrival_cv"]), facts,
    )  # fmt: skip


def choice_of(asked: dict[str, Any]) -> Choice:
    """Which plans are considered."""
    from pipeline.fleet.options import Choice  # noqa: PLC0415

    chosen = {name: tuple(asked[name]) for name in ("accelerators", "weights", "kv", "engines") if asked[name]}
    ranks = asked["tensor_parallel"] or (1, 2, 4, 8)
    plans = tuple({"tp": tp, "pp": asked["pp"]} for tp in ranks)
    return Choice(**chosen, parallel=plans, market=asked["market"], clouds=tuple(asked["clouds"]), site=asked["site"])


def sizing_of(asked: dict[str, Any], rate: float | None, planned: float | None) -> Sizing:
    """How a fleet is sized.

    Raises:
        UsageError: no rate.
    """
    from pipeline.core.errors import UsageError  # noqa: PLC0415
    from pipeline.fleet.sizing import Sizing  # noqa: PLC0415

    if rate is None:
        raise UsageError("say --requests-per-s, or --traffic: `capgrid traffic` lists some")
    return Sizing(
        rate, planned, asked["headroom"], 1.0 if planned else asked["arrival_cv"], asked["spare"], redundancy_of(asked)
    )


def redundancy_of(asked: dict[str, Any]) -> Redundancy:
    """What a fleet must survive besides its spare replicas."""
    from pipeline.core.units import in_base_units  # noqa: PLC0415
    from pipeline.fleet.availability import Redundancy, availability_ratio  # noqa: PLC0415

    up = availability_ratio(float(in_base_units(asked["mtbf"], "s")), float(in_base_units(asked["mttr"], "s")))
    target = asked["availability"]
    return Redundancy(target_ratio=target, availability_ratio=up if target else None, zones=asked["zones"])


def rhythm_of(asked: dict[str, Any], catalogs: Catalogs) -> Rhythm:
    """The traffic that was named: an entry of the catalog, or a file of requests; at the stated rate."""
    from pipeline.fleet.demand import of_catalogs, of_trace, scale_to_rate  # noqa: PLC0415
    from pipeline.fleet.plans import Rhythm  # noqa: PLC0415
    from pipeline.fleet.trace import read_trace  # noqa: PLC0415

    path = Path(asked["traffic"])
    traffic = of_trace(read_trace(path), path.stem) if path.is_file() else of_catalogs(catalogs, [asked["traffic"]])
    traffic = scale_to_rate(traffic, asked["requests_per_s"]) if asked["requests_per_s"] else traffic
    return Rhythm(traffic, asked["growth_months"])


def of_traffic(asked: dict[str, Any], demand: Demand, rhythm: Rhythm) -> tuple[Demand, Sizing, float]:
    """The demand as traffic tells it: lengths and their spread, the rate to plan for, and the mean that is billed."""
    from dataclasses import replace  # noqa: PLC0415

    from pipeline.fleet.demand import demands  # noqa: PLC0415
    from pipeline.grid.replicas import Variation  # noqa: PLC0415

    row = demands(rhythm.traffic, rhythm.growth_months).row(0, named=True)
    talk(f"{row['traffic']}: mean {row['requests_per_s_mean']:.4g}/s, busiest hour {row['requests_per_s_peak']:.4g}/s, "
         f"planned {row['requests_per_s_plan']:.4g}/s ({row['plan_note']})")  # fmt: skip
    told = replace(
        demand,
        prompt_tokens=demand.prompt_tokens or row["prompt_tokens"],
        output_tokens=demand.output_tokens or row["output_tokens"],
        workload=row["workload"] or demand.workload,
        variation=Variation(row["prompt_cv"], row["output_cv"], 1.0),
    )
    planned = row["requests_per_s_plan"] * (1.0 + asked["headroom"])
    return told, sizing_of(asked, row["requests_per_s_peak"], planned), row["requests_per_s_mean"]


COMMANDS = (fleet,)
