"""Commands over runs: run, ask, sql."""

from __future__ import annotations

import os
import sys
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import click
import polars as pl

from pipeline import api
from pipeline.answers.ask import all_answers, answer_rows, find
from pipeline.answers.make import make
from pipeline.answers.own_grid import open_grid
from pipeline.answers.store import open_run, query
from pipeline.cli.options import Settings, as_of_option, catalogs_option, format_options, out_option, run_option
from pipeline.cli.output import as_json, for_people, show
from pipeline.core.errors import UsageError
from pipeline.grid.selection import read_grid
from pipeline.run.cluster import dask
from pipeline.run.executors import DASK, EXECUTORS
from pipeline.run.finished import find_run
from pipeline.run.forecast import forecast
from pipeline.run.job import job_of
from pipeline.run.partitions import partitions

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    import duckdb

    from pipeline.answers.ask import Answer
    from pipeline.facts.catalog import Catalogs
    from pipeline.run.executors import Executor
    from pipeline.run.job import Job


@click.command()
@click.option(
    "--grid", default="default", show_default=True, help="A bundled grid (default, small, case-study), or a grid file."
)
@out_option
@click.option(
    "--workers", type=click.IntRange(1, 1024), default=os.cpu_count() or 1, show_default="one a core", help="Processes."
)
@click.option(
    "--executor",
    type=click.Choice([*EXECUTORS, DASK]),
    default="local",
    show_default=True,
    help="Where partitions run: processes here, or a Dask cluster.",
)
@click.option(
    "--scheduler", help="Address of the Dask scheduler, as tcp://host:8786; without, a cluster on this machine."
)
@as_of_option
@click.option("--rows-only", is_flag=True, help="Say how many rows and bytes the run will have, and compute nothing.")
@click.option("--json", "as_data", is_flag=True, help="Print the manifest as JSON.")
@catalogs_option
def run(
    grid: str,
    out: Path,
    workers: int,
    executor: str,
    scheduler: str | None,
    as_of: date,
    catalogs_folder: Path | None,
    *,
    rows_only: bool,
    as_data: bool,
) -> None:
    """Cross the catalogs and write a run: tables, database, manifest; then switch `latest` to it.

    Killed or interrupted, it goes on where it stopped when run again; an unchanged grid computes nothing.

    \b
    Example:
      capgrid run --grid small --out outputs
    """  # noqa: D301
    catalogs = api.catalogs(catalogs_folder)
    job = job_of(catalogs, read_grid(grid, catalogs), as_of, out)
    if rows_only:
        size = forecast(job.axes)
        names = ("capacity", "estimates", "partitions", "capacity_bytes", "estimates_bytes")
        plans = {"plans": size.census.kept, "dropped": size.census.dropped}
        click.echo(as_json(plans | {name: getattr(size, name) for name in names}))
        return
    manifest = run_job(job, catalogs, workers, executor_of(executor, scheduler))
    click.echo(as_json(manifest) if as_data else run_summary(manifest))


def executor_of(name: str, scheduler: str | None) -> Executor:
    """The way to run partitions that was asked for.

    Raises:
        UsageError: a scheduler for local processes.
    """
    if name == DASK:
        return partial(dask, scheduler=scheduler)
    if scheduler:
        raise UsageError(f"--scheduler is the address of a Dask cluster: add --executor {DASK}")
    return EXECUTORS[name]


def run_job(job: Job, catalogs: Catalogs, workers: int, executor: Executor) -> dict[str, Any]:
    """Make and publish a run, with a progress bar on stderr."""
    hidden = not sys.stderr.isatty()
    length = sum(len(each.models) for each in partitions(job.axes))
    with click.progressbar(length=length, label="models", file=sys.stderr, hidden=hidden) as bar:
        return make(job, catalogs, workers, version("capgrid"), lambda done: bar.update(len(done.models)), executor)


HOW = {
    "computed": "computed",
    "mended": "computed in part, the rest from an earlier run",
    "linked": "from an earlier run",
    "stood": "from a try before",
}
"""What manifests say of models, in words."""


def run_summary(manifest: dict[str, Any]) -> str:
    """What a run did, in a few lines."""
    rows, seconds, plans = manifest["rows"], manifest["seconds"], manifest["plans"]
    dropped = ", ".join(f"{rule.replace('_', ' ')} not: {n:,}" for rule, n in plans["dropped"].items())
    models = ", ".join(f"{n:,} {HOW[how]}" for how, n in manifest.get("models", {}).items())
    return "\n".join(
        [
            f"run        {manifest['run']}{' (unchanged: nothing to compute)' if manifest.get('unchanged') else ''}",
            f"plans      {plans['kept']:,} of {plans['crossed']:,} ({dropped or 'none dropped'})",
            f"estimates  {rows['estimates']:,} rows",
            f"capacity   {rows['capacity']:,} rows",
            f"fleet      {rows['fleet']:,} rows",
            f"seconds    {seconds:.1f} ({for_people(rows['estimates'] / max(seconds, 1e-9))} rows/s; models: {models})",
            f"folder     {manifest['folder']}",
        ]
    )


@click.command("ask")
@click.argument("question", required=False)
@click.option("--model", help="Only this model.")
@click.option("--accelerator", "--gpu", help="Only this device.")
@click.option("--engine", help="Only this engine.")
@click.option("--workload", help="Only this workload.")
@click.option("--weights", help="Only this number format of the weights.")
@click.option(
    "--set", "settings", type=Settings(), multiple=True, help="Set a parameter of the question; may be given again."
)
@run_option
@out_option
@catalogs_option
@format_options
def ask_command(
    question: str | None,
    settings: tuple[tuple[str, str], ...],
    run_id: str | None,
    out: Path,
    catalogs_folder: Path | None,
    shape: str,
    **narrowed: str | None,
) -> None:
    """Ask one of the bundled questions of a run; without QUESTION, list them.

    \b
    Examples:
      capgrid ask
      capgrid ask max_batch --model llama-3.1-8b --accelerator h100
      capgrid ask devices_needed --model llama-3.1-8b --set requests_per_s=20
    """  # noqa: D301
    if question is None:
        show(question_rows(list(all_answers().values())), shape)
        return
    answer, catalogs = find(question), api.catalogs(catalogs_folder)
    with connect(answer, catalogs, out, run_id) as connection:
        show(answer_rows(connection, answer, resolve_names({**narrowed, **dict(settings)}, catalogs)), shape)


def question_rows(known: list[Answer]) -> Any:
    """The questions and what may be set in each, as rows."""
    return pl.DataFrame(
        [{"name": each.name, "question": each.question, "settings": ", ".join(each.parameters)} for each in known]
    )


def resolve_names(settings: dict[str, str | None], catalogs: Catalogs) -> dict[str, str]:
    """What was asked for; names of catalog entries become ids, wherever they were given."""
    kinds = {name: name for name in ("model", "accelerator", "engine", "workload")} | {"weights": "format"}
    given = {name: value for name, value in settings.items() if value is not None}
    return {name: catalogs.resolve(kinds[name], value) if name in kinds else value for name, value in given.items()}


def connect(answer: Answer, catalogs: Catalogs, out: Path, run_id: str | None) -> duckdb.DuckDBPyConnection:
    """A connection to the run that a question is about: the one asked for, or its own bundled grid."""
    if answer.grid and run_id is None:
        return open_grid(answer.grid, catalogs)
    return open_run(find_run(out, run_id), catalogs)


@click.command()
@click.argument("statement", metavar="QUERY")
@run_option
@out_option
@catalogs_option
@format_options
def sql(statement: str, run_id: str | None, out: Path, catalogs_folder: Path | None, shape: str) -> None:
    """Run one reading SQL statement over a run; it cannot write, attach, or read other files.

    \b
    Examples:
      capgrid sql "SHOW TABLES"
      capgrid sql "SELECT accelerator, max(batch_max) FROM capacity WHERE model = 'llama-3.1-8b' GROUP BY 1"
    """  # noqa: D301
    with open_run(find_run(out, run_id), api.catalogs(catalogs_folder)) as connection:
        show(query(connection, statement), shape)


COMMANDS = (run, ask_command, sql)
