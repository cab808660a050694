"""What goes into the workbook, from the catalogs: options at every objective, prices with their sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from polars import col

from pipeline.core.errors import PipelineError, UsageError
from pipeline.facts.owned import site_of
from pipeline.facts.prices import device_prices, interruption_ratio
from pipeline.fleet.options import AT_WORK, CARRIED, as_one, as_options, demand_axes, device_notes
from pipeline.grid.replicas import replicas
from pipeline.publish.workbook.book import write_workbook
from pipeline.publish.workbook.inputs import Slice
from pipeline.publish.workbook.notes import About
from pipeline.publish.workbook.numbers import TPOT_LEVELS_S, TTFT_LEVELS_S, Inputs, objective_levels
from pipeline.run.job import content_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from pathlib import Path

    from pipeline.facts.catalog import Catalogs
    from pipeline.fleet.options import Choice, Demand
    from pipeline.fleet.plans import FleetPlan

PRICED = ("price", "ownership")
"""Kinds of facts that say what a device costs."""


def options_by_objective(demand: Demand, choice: Choice, catalogs: Catalogs, as_of: date, of: Slice) -> pl.DataFrame:
    """The options of `pipeline.fleet.options`, one row for each plan and each pair of objectives that it can keep.

    Raises:
        UnknownNameError: a name that no catalog knows.
        PipelineError: no plan can run, or none keeps even the loosest objective.
    """
    axes = demand_axes(demand, choice, catalogs, as_of)
    rows = replicas(axes, demand.variation._replace(arrival_cv=1.0), CARRIED, AT_WORK)
    if rows.is_empty():
        raise PipelineError(f"no plan for {demand.model} can run: no device holds it, or no engine reads its format")
    levels = pl.DataFrame({"ttft_level_s": of.ttft_levels_s}).join(
        pl.DataFrame({"tpot_level_s": of.tpot_levels_s}), how="cross", maintain_order="left_right"
    )
    asked = (
        rows.filter(col("kv_slots") >= 1)
        .join(levels, how="cross", maintain_order="left_right")
        .with_columns(ttft_slo_s="ttft_level_s", tpot_slo_s=col("tpot_level_s") * col("accepted_tokens"))
        .filter((col("ttft_floor_s") <= col("ttft_slo_s")) & (col("decode_1_s") <= col("tpot_slo_s")))
    )
    rated = as_one(asked) if asked.height else asked
    if rated.is_empty():
        loosest = f"a p95 TTFT of {max(of.ttft_levels_s):g} s and a p95 TPOT of {max(of.tpot_levels_s):g} s"
        raise PipelineError(f"no plan for {demand.model} keeps {loosest}, even at one request at a time")
    told = as_options(rated, device_notes(catalogs, as_of, choice))
    return told.with_columns(ttft_slo_s=rated["ttft_level_s"], tpot_slo_s=rated["tpot_level_s"])


def prices_with_sources(catalogs: Catalogs, as_of: date, choice: Choice) -> pl.DataFrame:
    """The price of each device, who asks it, and where that stands (`entry` of the facts, `price_source`)."""
    prices = device_prices(catalogs.frames, as_of, choice.market, choice.clouds, choice.site)
    entry = col("price_name").str.replace(r"^an assumed \S+ of ", "").str.replace(r" at \S+$", "")
    said = catalogs.facts.filter(col("kind").is_in(PRICED)).unique("name", keep="first", maintain_order=True)
    source = pl.concat_str("source_title", "url", separator=", ", ignore_nulls=True)
    known = said.select(entry="name", price_source=source)
    return prices.with_columns(entry=entry).join(known, on="entry", how="left", maintain_order="left")


def sources_of(catalogs: Catalogs, model: str, accelerators: Sequence[str], entries: pl.Series) -> pl.DataFrame:
    """Who says what the estimates rest on: each source of the model, of the devices, and of their prices, once."""
    named_by = {"model": [model], "accelerator": list(accelerators), **{kind: entries.to_list() for kind in PRICED}}
    ours = pl.any_horizontal(col("kind").eq(kind) & col("name").is_in(names) for kind, names in named_by.items())
    told = catalogs.facts.filter(ours).select(what="kind", title="source_title", url="url", read_on="read_on")
    return told.unique(maintain_order=True).sort("what", "title", maintain_order=True)


def export_workbook(
    file: Path, plan: FleetPlan, catalogs: Catalogs, as_of: date, version: str, command: str, lang: str = "en"
) -> pl.DataFrame:
    """Write the workbook of a plan; returns the rows of its sheet Fleet.

    Args:
        file: where to write it.
        plan: what must be served, how, and what the yellow cells hold at first.
        catalogs: facts.
        as_of: day whose prices hold.
        version: of capgrid.
        command: how the workbook can be made again.
        lang: language of the words.

    Raises:
        UsageError: the plan asks for what the formulas cannot follow, or a language that has no words.
        PipelineError: nothing keeps the objective.
    """
    demand, choice = plan.demand, plan.choice
    workload = demand_axes(demand, choice, catalogs, as_of)["workload"].row(0, named=True)
    check_live(plan, workload)
    inputs = first_inputs(plan, workload, catalogs)
    of = Slice(
        catalogs.resolve("model", demand.model),
        workload["prompt_tokens"],
        workload["output_tokens"],
        choice.market,
        objective_levels(TTFT_LEVELS_S, inputs.ttft_p95_s),
        objective_levels(TPOT_LEVELS_S, inputs.tpot_p95_s),
    )
    options = options_by_objective(demand, choice, catalogs, as_of, of)
    accelerators = options["accelerator"].unique(maintain_order=True).to_list()
    prices = prices_with_sources(catalogs, as_of, choice).filter(col("accelerator").is_in(accelerators))
    sources = sources_of(catalogs, of.model, accelerators, prices["entry"])
    about = About(version, as_of, content_key({"facts": catalogs.facts})[:10], command, sources)
    return write_workbook(file, options, prices, inputs, of, about, lang)


def check_live(plan: FleetPlan, workload: dict[str, Any]) -> None:
    """Refuse what the formulas of the workbook cannot follow.

    Raises:
        UsageError: bursts, an availability target, zones, or prompts read by workers of their own.
    """
    sizing = plan.sizing
    asked = {
        "--arrival-cv": sizing.arrival_cv != 1,
        "--availability": sizing.redundancy.target_ratio is not None,
        "--zones": sizing.redundancy.zones > 1,
        "is_disaggregated": workload["is_disaggregated"],
    }
    found = " and ".join(name for name, is_asked in asked.items() if is_asked)
    if found:
        raise UsageError(
            f"the workbook's formulas cannot follow {found}: say --headroom and --spare instead, or export .csv or "
            ".parquet, which hold what `capgrid fleet` finds"
        )


def first_inputs(plan: FleetPlan, workload: dict[str, Any], catalogs: Catalogs) -> Inputs:
    """What the yellow cells hold at first: with them, the workbook says what `capgrid fleet` says."""
    sizing = plan.sizing
    mean = plan.mean_requests_per_s or sizing.requests_per_s
    peak = sizing.planned_per_s / (1 + sizing.headroom_ratio) if plan.mean_requests_per_s else mean
    return Inputs(
        mean,
        workload["ttft_slo_s"],
        workload["tpot_slo_s"],
        peak_factor_ratio=peak / mean,
        headroom_ratio=sizing.headroom_ratio,
        spare_replicas=sizing.spare_replicas,
        interruption_ratio=interruption_ratio(catalogs.frames, plan.choice.market),
        pue_ratio=site_of(catalogs.frames, plan.choice.site)["pue_ratio"].item(),
    )
