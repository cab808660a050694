"""Commands over one plan, no run needed: point, explain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import Settings, as_of_option, catalogs_option, format_options, loaded, together
from pipeline.cli.output import as_json, for_people, show, talk
from pipeline.core.money import MARKETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from pipeline.answers.explain import Node
    from pipeline.facts.catalog import Catalogs
    from pipeline.grid.point import Point

COUNT = click.IntRange(1, 10**7)
COUNTS = ("tp", "pp", "ep", "dp", "batch")
SHARE = click.FloatRange(0, 1, min_open=True)
SETTINGS = {
    # options of a plan, and the facts that say what was asked for
    "memory_utilization": "asked_memory_utilization_ratio",
    "batched_tokens_max": "asked_batched_tokens_max",
    "sequences_max": "asked_sequences_max",
    "model_len_max": "asked_model_len_max_tokens",
    "block_tokens": "asked_block_tokens",
}

plan_options = together(
    click.option("--model", required=True, help="Model: id, alias or Hugging Face id."),
    click.option("--accelerator", "--gpu", required=True, help="Device."),
    click.option("--weights", default="bf16", show_default=True, help="Number format of the weights."),
    click.option("--kv", default="bf16", show_default=True, help="Number format of the KV cache."),
    click.option("--engine", default="vllm", show_default=True, help="Serving engine."),
    click.option("--engine-version", help="Version of the engine, such as 0.11.0.  [default: the newest known]"),
    click.option("--tp", type=COUNT, default=1, show_default=True, help="Tensor-parallel ranks."),
    click.option("--pp", type=COUNT, default=1, show_default=True, help="Pipeline stages."),
    click.option(
        "--ep", type=COUNT, default=1, show_default=True, help="Expert-parallel ranks, among the tensor-parallel ones."
    ),
    click.option(
        "--dp",
        type=COUNT,
        default=1,
        show_default=True,
        help="Data-parallel groups of attention, tp ranks each; experts are spread over all.",
    ),
    click.option("--batch", type=COUNT, default=1, show_default=True, help="Sequences running at once."),
    click.option("--memory-utilization", type=SHARE, help="Share of the device that the engine may use."),
    click.option("--batched-tokens-max", type=COUNT, help="Tokens of one step at most (max_num_batched_tokens)."),
    click.option("--sequences-max", type=COUNT, help="Sequences running at once at most (max_num_seqs)."),
    click.option("--model-len-max", type=COUNT, help="Longest sequence that the engine accepts (max_model_len)."),
    click.option("--block-tokens", type=COUNT, help="Tokens of a cache block."),
    click.option("--eager", is_flag=True, help="Without CUDA graphs."),
    click.option("--workload", help="Kind of traffic: lengths and objectives.  [default: chat with 512 + 128 tokens]"),
    click.option("--prompt-tokens", "--isl", type=COUNT, help="Prompt length, instead of the workload's."),
    click.option("--output-tokens", "--osl", type=COUNT, help="Output length, instead of the workload's."),
    click.option("--static", "is_static", is_flag=True, help="One batch started together and run to its end."),
    click.option("--ttft-slo", "ttft_slo_s", help="Objective of the time to first token, such as 1s."),
    click.option("--tpot-slo", "tpot_slo_s", help="Objective of the time per output token, such as 50ms."),
    click.option("--memory", "device_memory_bytes", help="Memory that software sees on a device, such as 80GB."),
    click.option(
        "--market",
        type=click.Choice(MARKETS),
        default="on-demand",
        show_default=True,
        help="Whose price.",
    ),
    click.option(
        "--set",
        "settings",
        type=Settings(),
        multiple=True,
        help="Any other fact for a what-if, such as memory_bytes_per_s=4TB/s.",
    ),
    as_of_option,
    catalogs_option,
)


def point_of(asked: dict[str, Any]) -> Point:
    """The plan that was asked for; lengths and facts given by hand go before the catalogs'."""
    from pipeline.core.units import in_base_units, unit_of  # noqa: PLC0415
    from pipeline.grid.point import Point  # noqa: PLC0415

    lengths = {name: asked[name] for name in ("prompt_tokens", "output_tokens") if asked[name]}
    texts = {name: asked[name] for name in ("ttft_slo_s", "tpot_slo_s", "device_memory_bytes") if asked[name]} | dict(
        asked["settings"]
    )
    facts = lengths | {name: in_base_units(text, unit_of(name)) for name, text in texts.items()}
    facts |= {name: value == "true" for name, value in facts.items() if value in {"true", "false"}}
    facts |= {fact: asked[name] for name, fact in SETTINGS.items() if asked[name] is not None}
    facts |= {"is_static": True} if asked["is_static"] else {}
    facts |= {"asked_is_eager": True} if asked["eager"] else {}
    if asked["engine_version"]:
        asked = asked | {"engine": f"{asked['engine']}@{asked['engine_version']}"}
    plan = {
        name: asked[name]
        for name in ("model", "accelerator", "weights", "kv", "engine", "tp", "pp", "ep", "dp", "batch", "market")
    }
    return Point(**plan, workload=asked["workload"], facts=facts)


def point_and_axes(asked: dict[str, Any], folder: Path | None, as_of: date) -> tuple[Point, Any, Catalogs]:
    """The plan, its axes, and the catalogs that they come from."""
    from pipeline.grid.point import point_axes  # noqa: PLC0415

    catalogs = loaded(folder)
    asked_for = point_of(asked)
    return asked_for, point_axes(asked_for, catalogs, as_of), catalogs


@click.command()
@plan_options
@click.option("--all", "everything", is_flag=True, help="In tables, show facts and intermediate quantities too.")
@click.option(
    "--engine-log",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Compare the start that a log of vLLM, SGLang or llama.cpp tells of with its estimate, line by line.",
)
@format_options
def point(
    catalogs_folder: Path | None,
    as_of: date,
    shape: str,
    engine_log: Path | None,
    *,
    everything: bool,
    **asked: Any,
) -> None:
    """Every quantity at one point: does it fit, how fast, how many, at what cost.

    With --engine-log, what the log states goes for what was not asked.

    \b
    Example:
      capgrid point --model llama-3.1-8b --accelerator h100 --batch 32 --isl 2048 --osl 256
    """  # noqa: D301
    import polars as pl  # noqa: PLC0415

    from pipeline.core.units import unit_of  # noqa: PLC0415
    from pipeline.grid.columns import meaning  # noqa: PLC0415
    from pipeline.grid.point import point_row  # noqa: PLC0415
    from pipeline.grid.schema import TABLES  # noqa: PLC0415

    if engine_log:
        show_start(engine_log, stated(asked), loaded(catalogs_folder), as_of, shape)
        return
    _, axes, _ = point_and_axes(asked, catalogs_folder, as_of)
    row = point_row(axes)
    if shape != "table":
        show(pl.DataFrame([row]), shape, one=True)
        return
    names = row if everything else [name for name in TABLES["capacity"] if name in row]
    show(
        pl.DataFrame([{"quantity": n, "value": for_people(row[n], unit_of(n)), "meaning": meaning(n)} for n in names]),
        shape,
    )


MEASURED = (
    *("model", "accelerator", "weights", "kv", "engine", "engine_version", "tp", "pp", "ep"),
    *("batched_tokens_max", "sequences_max", "model_len_max", "block_tokens", "memory_utilization", "eager"),
)
"""Options of a plan that a start-up log states too."""


def stated(asked: dict[str, Any], names: Sequence[str] = MEASURED) -> dict[str, Any]:
    """What the user typed, of some options: of those that a start-up log states too."""
    from click.core import ParameterSource  # noqa: PLC0415

    ctx = click.get_current_context()
    return {name: asked[name] for name in names if ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE}


def show_start(path: Path, asked: dict[str, Any], catalogs: Catalogs, as_of: date, shape: str) -> None:
    """Print a start of an engine beside its estimate."""
    import polars as pl  # noqa: PLC0415

    from pipeline.core.units import unit_of  # noqa: PLC0415
    from pipeline.evidence.readers.logs import read_log  # noqa: PLC0415
    from pipeline.evidence.startup import compare_start  # noqa: PLC0415

    start = read_log(path)
    talk(f"{path} says: {', '.join(f'{name} {value}' for name, value in start.settings.items())}")
    rows = compare_start(path, start, asked, catalogs, as_of)
    if shape != "table":
        show(rows, shape)
        return
    told = [
        {
            "quantity": row["quantity"],
            "logged": for_people(row["logged"], unit_of(row["quantity"])),
            "estimated": for_people(row["estimated"], unit_of(row["quantity"])),
            "difference": "-" if row["difference_ratio"] is None else f"{row['difference_ratio']:+.2%}",
            "line": row["line"],
        }
        for row in rows.iter_rows(named=True)
    ]
    show(pl.DataFrame(told), shape)


@click.command()
@click.argument("quantity")
@plan_options
@click.option("--depth", type=click.IntRange(1, 100), default=4, show_default=True, help="How many levels to show.")
@click.option("--json", "as_json_data", is_flag=True, help="Print the whole tree as JSON.")
def explain(
    quantity: str, catalogs_folder: Path | None, as_of: date, depth: int, *, as_json_data: bool, **asked: Any
) -> None:
    """Show how one number is made: the tree of formulas, down to facts and their sources.

    Of numbers that memory decides (batch_max, kv_pool_bytes, context_max_tokens ...) the whole
    account comes first.

    \b
    Example:
      capgrid explain batch_max --model llama-3.1-8b --accelerator h100
    """  # noqa: D301
    from pipeline.answers.account import ACCOUNTED, account, as_data  # noqa: PLC0415
    from pipeline.answers.explain import explained  # noqa: PLC0415
    from pipeline.answers.provenance import Provenance, settings_of  # noqa: PLC0415

    asked_for, axes, catalogs = point_and_axes(asked, catalogs_folder, as_of)
    provenance = Provenance(axes, catalogs, settings_of(asked_for, stated(asked, COUNTS)))
    tree = explained(quantity, provenance)
    told = account(provenance) if quantity in ACCOUNTED else []
    if as_json_data:
        click.echo(as_json(tree.as_dict() | ({"account": as_data(told)} if told else {})))
        return
    for line in told:
        click.echo(
            f"{line.sign:>2} {for_people(line.value, line.unit):>17}  {line.name:<24}  {line.words}  [{line.source}]"
        )
    if told:
        click.echo()
    click.echo("\n".join(lines(tree, depth)))


def lines(node: Node, depth: int, indent: str = "") -> Iterator[str]:
    """The tree as text: a line each, formulas with their source, facts with theirs."""
    mark = " (see above)" if node.repeated else ""
    told = f"{node.summary} " if node.summary else ""
    yield f"{indent}{node.name} = {for_people(node.value, node.unit)}{mark}  {told}[{node.source}]"
    if depth <= 1 and node.inputs:
        yield f"{indent}   ... {len(node.inputs)} inputs more; --depth shows them"
        return
    for each in node.inputs:
        yield from lines(each, depth - 1, indent + "   ")


COMMANDS = (point, explain)
