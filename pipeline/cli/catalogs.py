"""Commands over the catalogs: models, accelerators, engines, workloads, traffic, sites, formats, prices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import as_of_option, catalogs_option, format_options, loaded
from pipeline.cli.output import show
from pipeline.core.money import DEFAULT_SITE, MARKETS

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    import polars as pl

    from pipeline.facts.catalog import Catalogs

LISTED: dict[str, list[str]] = {
    "model": ["model", "family", "parameter_count", "layer_count", "context_tokens_max", "hf_id"],
    "accelerator": [
        "accelerator",
        "vendor",
        "architecture",
        "device_memory_bytes",
        "memory_bytes_per_s",
        "bf16_flop_per_s",
        "fp16_flop_per_s",
        "verdict",
    ],
    "engine": [
        "engine",
        "version",
        "memory_setting",
        "engine_memory_utilization_ratio",
        "engine_block_tokens",
        "formats",
    ],
    "workload": ["workload", "kind", "prompt_tokens", "output_tokens", "ttft_slo_s", "tpot_slo_s", "name"],
    "traffic": [
        "traffic",
        "workload",
        "requests_per_s",
        "arrival_cv",
        "prompt_cv",
        "output_cv",
        "peak_factor_ratio",
        "growth_per_month_ratio",
        "trace",
        "name",
    ],
    "site": ["site", "pue_ratio", "electricity_usd_per_kwh", "hosting_usd_per_kw_month", "grid_g_per_kwh", "name"],
    "format": ["format", "dense_weight_bits", "expert_weight_bits", "table_weight_bits", "kv_bits", "name"],
}
EXAMPLES = {
    "model": "llama-3.1-8b",
    "accelerator": "h100",
    "engine": "vllm",
    "workload": "chat",
    "traffic": "chat-business-hours",
    "site": "us-average",
    "format": "nvfp4",
}


def command(kind: str) -> click.Command:
    """The command that lists one catalog, or shows an entry with the source of each fact."""
    example, plural = EXAMPLES[kind], kind if kind == "traffic" else f"{kind}s"

    @click.command(
        plural,
        help=f"List the {plural}, or show one with each fact's source.\n\n\b\nExample:\n  capgrid {plural} {example}",
    )
    @click.argument("name", required=False)
    @catalogs_option
    @format_options
    def listing(name: str | None, catalogs_folder: Path | None, shape: str) -> None:
        catalogs = loaded(catalogs_folder)
        show(facts_of(catalogs, kind, name) if name else listed(catalogs, kind, shape), shape)

    return listing


def listed(catalogs: Catalogs, kind: str, shape: str) -> pl.DataFrame:
    """A catalog: the columns that matter to a reader, or all of them for a program."""
    frame = catalogs.frames[kind]
    return frame.select(LISTED[kind]) if shape in {"table", "md"} else frame


def facts_of(catalogs: Catalogs, kind: str, name: str) -> pl.DataFrame:
    """The facts of one entry, each with who says so."""
    facts = catalogs.facts.filter(kind=kind, name=catalogs.resolve(kind, name))
    return facts.select("name", "field", "value", "source", "source_kind", "source_title", "read_on", "file")


@click.command()
@click.argument("accelerator", required=False)
@click.option(
    "--market", type=click.Choice(MARKETS), help="Only this market, what is assumed of it included: see price_note."
)
@click.option("--site", default=DEFAULT_SITE, show_default=True, help="Where owned devices stand.")
@as_of_option
@catalogs_option
@format_options
def prices(
    accelerator: str | None, market: str | None, site: str, as_of: date, catalogs_folder: Path | None, shape: str
) -> None:
    """List the prices in force on a day, cheapest per device first.

    \b
    Example:
      capgrid prices h100 --market on-demand
      capgrid prices --market owned --site finland
    """  # noqa: D301
    import polars as pl  # noqa: PLC0415

    from pipeline.facts.prices import LISTED, offers, prices_in_force  # noqa: PLC0415

    catalogs = loaded(catalogs_folder)
    frames = catalogs.frames
    rows = (
        offers(frames, as_of, market, site=site)
        if market
        else prices_in_force(frames["price"], as_of).with_columns(price_note=pl.lit(LISTED))
    )
    wanted: dict[str, Any] = {"accelerator": catalogs.resolve("accelerator", accelerator)} if accelerator else {}
    order = ["accelerator", "market", "device_usd_per_hour", "cloud", "devices"]
    show(rows.filter(**wanted).sort(order).select(*order, "usd_per_hour", "instance", "price_note", "from_date"), shape)


COMMANDS = (*map(command, LISTED), prices)
