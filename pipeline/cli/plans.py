"""Commands over one plan, no run needed: point, explain; and the options that say what a plan is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
import polars as pl
from click.core import ParameterSource

from pipeline import api
from pipeline.answers.account import ACCOUNTED, account, as_data
from pipeline.answers.explain import explained
from pipeline.answers.provenance import Provenance, settings_of
from pipeline.cli.options import (
    COUNT,
    FILE,
    Settings,
    as_of_option,
    base_units,
    catalogs_option,
    format_options,
    option_field,
    stacked,
    taking,
)
from pipeline.cli.output import as_json, for_people, show, talk
from pipeline.core.money import MARKETS
from pipeline.core.units import unit_of
from pipeline.evidence.readers.logs import read_log
from pipeline.evidence.startup import compare_start
from pipeline.grid.columns import meaning
from pipeline.grid.point import Point, flat_row, point_axes
from pipeline.grid.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date
    from pathlib import Path

    from pipeline.answers.explain import Node
    from pipeline.facts.catalog import Catalogs

SHARE = click.FloatRange(0, 1, min_open=True)


@dataclass(frozen=True)
class PlanOptions:
    """What a plan is: the model and where it runs, how it is spread, the engine's settings, and its traffic."""

    model: str = option_field("Model: id, alias or Hugging Face id.", required=True)
    accelerator: str = option_field("Device.", "--accelerator", "--gpu", required=True)
    weights: str = option_field("Number format of the weights.", default="bf16")
    kv: str = option_field("Number format of the KV cache.", default="bf16")
    engine: str = option_field("Serving engine.", default="vllm")
    engine_version: str | None = option_field("Version of the engine, such as 0.11.0.  [default: the newest known]")
    tp: int = option_field("Tensor-parallel ranks.", type=COUNT, default=1)
    pp: int = option_field("Pipeline stages.", type=COUNT, default=1)
    ep: int = option_field("Expert-parallel ranks, among the tensor-parallel ones.", type=COUNT, default=1)
    dp: int = option_field(
        "Data-parallel groups of attention, tp ranks each; experts are spread over all.", type=COUNT, default=1
    )
    batch: int = option_field("Sequences running at once.", type=COUNT, default=1)
    memory_utilization: float | None = option_field("Share of the device that the engine may use.", type=SHARE)
    batched_tokens_max: int | None = option_field("Tokens of one step at most (max_num_batched_tokens).", type=COUNT)
    sequences_max: int | None = option_field("Sequences running at once at most (max_num_seqs).", type=COUNT)
    model_len_max: int | None = option_field("Longest sequence that the engine accepts (max_model_len).", type=COUNT)
    block_tokens: int | None = option_field("Tokens of a cache block.", type=COUNT)
    eager: bool = option_field("Without CUDA graphs.", is_flag=True)
    workload: str | None = option_field(
        "Kind of traffic: lengths and objectives.  [default: chat with 512 + 128 tokens]"
    )
    prompt_tokens: int | None = option_field(
        "Prompt length, instead of the workload's.", "--prompt-tokens", "--isl", type=COUNT
    )
    output_tokens: int | None = option_field(
        "Output length, instead of the workload's.", "--output-tokens", "--osl", type=COUNT
    )
    is_static: bool = option_field("One batch started together and run to its end.", "--static", is_flag=True)
    ttft_slo_s: str | None = option_field("Objective of the time to first token, such as 1s.", "--ttft-slo")
    tpot_slo_s: str | None = option_field("Objective of the time per output token, such as 50ms.", "--tpot-slo")
    device_memory_bytes: str | None = option_field("Memory that software sees on a device, such as 80GB.", "--memory")
    market: str = option_field("Whose price.", type=click.Choice(MARKETS), default="on-demand")
    settings: tuple[tuple[str, str], ...] = option_field(
        "Any other fact for a what-if, such as memory_bytes_per_s=4TB/s.", "--set", type=Settings(), multiple=True
    )

    @property
    def engine_id(self) -> str:
        """The engine, with its version where one is given."""
        return f"{self.engine}@{self.engine_version}" if self.engine_version else self.engine

    @property
    def facts(self) -> dict[str, Any]:
        """Lengths and facts given by hand, which go before the catalogs'."""
        lengths = {"prompt_tokens": self.prompt_tokens, "output_tokens": self.output_tokens}
        texts = {name: getattr(self, name) for name in ("ttft_slo_s", "tpot_slo_s", "device_memory_bytes")}
        engine = {
            "asked_memory_utilization_ratio": self.memory_utilization,
            "asked_batched_tokens_max": self.batched_tokens_max,
            "asked_sequences_max": self.sequences_max,
            "asked_model_len_max_tokens": self.model_len_max,
            "asked_block_tokens": self.block_tokens,
            "is_static": self.is_static or None,
            "asked_is_eager": self.eager or None,
        }
        return (
            {name: value for name, value in lengths.items() if value}
            | base_units({name: text for name, text in texts.items() if text} | dict(self.settings))
            | {name: value for name, value in engine.items() if value is not None}
        )

    @property
    def as_point(self) -> Point:
        """The plan as the grid knows it."""
        names = ("weights", "kv", "tp", "pp", "ep", "dp", "batch", "market", "workload")
        own = {name: getattr(self, name) for name in names}
        return Point(self.model, self.accelerator, engine=self.engine_id, facts=self.facts, **own)


plan_options = stacked(taking(PlanOptions, "plan"), as_of_option, catalogs_option)
"""The plan, the day of its prices, and the catalogs that it is looked up in."""


@click.command("point")
@plan_options
@click.option("--all", "everything", is_flag=True, help="In tables, show facts and intermediate quantities too.")
@click.option(
    "--engine-log",
    type=FILE,
    help="Compare the start that a log of vLLM, SGLang or llama.cpp tells of with its estimate, line by line.",
)
@format_options
def point_command(
    plan: PlanOptions,
    catalogs_folder: Path | None,
    as_of: date,
    shape: str,
    engine_log: Path | None,
    *,
    everything: bool,
) -> None:
    """Every quantity at one point: does it fit, how fast, how many, at what cost.

    With --engine-log, what the log states goes for what was not asked.

    \b
    Example:
      capgrid point --model llama-3.1-8b --accelerator h100 --batch 32 --isl 2048 --osl 256
    """  # noqa: D301
    catalogs = api.catalogs(catalogs_folder)
    if engine_log:
        show_start(engine_log, {name: getattr(plan, name) for name in typed_options(LOGGED)}, catalogs, as_of, shape)
        return
    row = flat_row(point_axes(plan.as_point, catalogs, as_of))
    if shape != "table":
        show(pl.DataFrame([row]), shape, one=True)
        return
    names = row if everything else [name for name in TABLES["capacity"] if name in row]
    rows = [
        {"quantity": name, "value": for_people(row[name], unit_of(name)), "meaning": meaning(name)} for name in names
    ]
    show(pl.DataFrame(rows), shape)


PLACE = ["model", "accelerator", "weights", "kv", "engine", "engine_version", "tp", "pp", "ep"]
LOGGED = [*PLACE, "batched_tokens_max", "sequences_max", "model_len_max", "block_tokens", "memory_utilization", "eager"]
"""Options of a plan that a start-up log states too."""
COUNTED = ["tp", "pp", "ep", "dp", "batch"]
"""Options of a plan that are 1 where nobody says."""


def typed_options(names: Iterable[str]) -> list[str]:
    """The options among some that the user typed."""
    ctx = click.get_current_context()
    return [name for name in names if ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE]


def show_start(path: Path, given: dict[str, Any], catalogs: Catalogs, as_of: date, shape: str) -> None:
    """Print a start of an engine beside its estimate."""
    start = read_log(path)
    talk(f"{path} says: {', '.join(f'{name} {value}' for name, value in start.settings.items())}")
    rows = compare_start(path, start, given, catalogs, as_of)
    if shape != "table":
        show(rows, shape)
        return
    lines = [
        {
            "quantity": row["quantity"],
            "logged": for_people(row["logged"], unit_of(row["quantity"])),
            "estimated": for_people(row["estimated"], unit_of(row["quantity"])),
            "difference": "-" if row["difference_ratio"] is None else f"{row['difference_ratio']:+.2%}",
            "line": row["line"],
        }
        for row in rows.iter_rows(named=True)
    ]
    show(pl.DataFrame(lines), shape)


@click.command()
@click.argument("quantity")
@plan_options
@click.option("--depth", type=click.IntRange(1, 100), default=4, show_default=True, help="How many levels to show.")
@click.option("--json", "as_tree", is_flag=True, help="Print the whole tree as JSON.")
def explain(
    quantity: str, plan: PlanOptions, catalogs_folder: Path | None, as_of: date, depth: int, *, as_tree: bool
) -> None:
    """Show how one number is made: the tree of formulas, down to facts and their sources.

    Of numbers that memory decides (batch_max, kv_pool_bytes, context_max_tokens ...) the whole
    account comes first.

    \b
    Example:
      capgrid explain batch_max --model llama-3.1-8b --accelerator h100
    """  # noqa: D301
    catalogs, point = api.catalogs(catalogs_folder), plan.as_point
    axes = point_axes(point, catalogs, as_of)
    provenance = Provenance(axes, catalogs, settings_of(point, typed_options(COUNTED)))
    tree = explained(quantity, provenance)
    entries = account(provenance) if quantity in ACCOUNTED else []
    if as_tree:
        click.echo(as_json(tree.as_dict() | ({"account": as_data(entries)} if entries else {})))
        return
    for each in entries:
        value = for_people(each.value, each.unit)
        click.echo(f"{each.sign:>2} {value:>17}  {each.name:<24}  {each.words}  [{each.source}]")
    if entries:
        click.echo()
    click.echo("\n".join(tree_lines(tree, depth)))


def tree_lines(node: Node, depth: int, indent: str = "") -> Iterator[str]:
    """The tree as text: a line each, formulas with their source, facts with theirs."""
    mark = " (see above)" if node.repeated else ""
    summary = f"{node.summary} " if node.summary else ""
    yield f"{indent}{node.name} = {for_people(node.value, node.unit)}{mark}  {summary}[{node.source}]"
    if depth <= 1 and node.inputs:
        yield f"{indent}   ... {len(node.inputs)} inputs more; --depth shows them"
        return
    for each in node.inputs:
        yield from tree_lines(each, depth - 1, indent + "   ")


COMMANDS = (point_command, explain)
