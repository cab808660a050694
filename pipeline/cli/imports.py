"""The command that reads files of other tools: import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import format_options
from pipeline.cli.output import show, talk, write_rows

if TYPE_CHECKING:
    import polars as pl

FILE = click.Path(dir_okay=False, path_type=Path)
COUNT = click.IntRange(1, 100_000)


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="FILE...")
@click.option("--out", type=FILE, help="Write the rows: a .csv or .parquet file.  [default: print them]")
@click.option("--model", help="Model, where files do not say it, or under a name of their own.")
@click.option("--accelerator", "--gpu", help="Device: no tool writes it.")
@click.option("--engine", help="Engine that was measured.")
@click.option("--engine-version", help="Its version.")
@click.option("--weights", help="Number format of the weights.")
@click.option("--kv", help="Number format of the KV cache.")
@click.option("--tp", type=COUNT, help="Tensor-parallel ranks.")
@click.option("--pp", type=COUNT, help="Pipeline stages.")
@click.option("--dp", type=COUNT, help="Data-parallel groups.")
@click.option("--ep", type=COUNT, help="Expert-parallel ranks.")
@click.option("--concurrency", "batch", type=COUNT, help="Clients, where a file does not say how many.")
@format_options
def import_(files: tuple[Path, ...], out: Path | None, shape: str, **stated: Any) -> None:
    """Read results of load generators and start-up logs as tidy rows, for backtest and calibrate.

    Known are `vllm bench serve`, GuideLLM, AIPerf and GenAI-Perf (JSON), and start-up logs of
    vLLM, SGLang and llama.cpp. Rows are in base units; the time between tokens leaves the first
    one out. Options go before what a file says.

    \b
    Example:
      printf '{"model_id": "llama-3.1-8b", "max_concurrency": 8, "completed": 2, ' > bench.json
      printf '"total_input_tokens": 1024, "total_output_tokens": 512, "mean_tpot_ms": 9.1}' >> bench.json
      printf '\\n' >> bench.json
      capgrid import bench.json --accelerator h100 --out rows.csv
    """  # noqa: D301
    from pipeline.evidence.readers.files import import_files  # noqa: PLC0415

    rows = import_files(files, {name: each for name, each in stated.items() if each is not None})
    if stated["accelerator"] is None:
        talk("no device is stated: add --accelerator, or rows will not be answered")
    if out is None:
        show(said(rows) if shape == "table" else rows, shape)
        return
    write_rows(rows, out)
    talk(f"{rows.height} rows: {out}; next: capgrid backtest {out}")


def said(rows: pl.DataFrame) -> pl.DataFrame:
    """The columns in which something stands."""
    return rows.select(each for each in rows if each.null_count() < rows.height)


COMMANDS = (import_,)
