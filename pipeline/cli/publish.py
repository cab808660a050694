"""Commands for people who work elsewhere: export."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.fleet import fleet_options, plan_of
from pipeline.cli.options import loaded
from pipeline.cli.output import talk

if TYPE_CHECKING:
    from datetime import date

    import polars as pl

    from pipeline.facts.catalog import Catalogs
    from pipeline.fleet.plans import FleetPlan

SUFFIXES = (".xlsx", ".csv", ".parquet")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@fleet_options
def export(file: Path, as_of: date, catalogs_folder: Path | None, **asked: Any) -> None:
    """Write the fleets that serve a demand to FILE: a workbook (.xlsx), or rows (.csv, .parquet).

    The workbook is live: change the rate, the objective, headroom, spares or prices in its yellow cells, and
    devices and cost follow. The rows are those of `capgrid fleet`: every option, cheapest first.

    \b
    Example:
      capgrid export fleet.xlsx --model llama-3.1-70b --requests-per-s 20 --prompt-tokens 2048 --output-tokens 300
    """  # noqa: D301
    from pipeline.core.errors import UsageError  # noqa: PLC0415

    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{file}: what kind of file? Its name must end in {' or '.join(SUFFIXES)}")
    catalogs = loaded(catalogs_folder)
    plan = plan_of(asked, catalogs)
    write = write_workbook if suffix == ".xlsx" else write_rows
    try:
        rows = write(file, plan, catalogs, as_of)
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror or error}") from error
    talk(f"{file}: {rows.height:,} {'accelerators' if suffix == '.xlsx' else 'fleets'}")


def write_rows(file: Path, plan: FleetPlan, catalogs: Catalogs, as_of: date) -> pl.DataFrame:
    """Every fleet, cheapest first, as a CSV or Parquet file."""
    from pipeline.fleet.plans import fleets  # noqa: PLC0415
    from pipeline.publish.workbook_flat import write_csv, write_parquet  # noqa: PLC0415

    rows = fleets(plan, catalogs, as_of)
    (write_csv if file.suffix.lower() == ".csv" else write_parquet)(rows, file)
    return rows


def write_workbook(file: Path, plan: FleetPlan, catalogs: Catalogs, as_of: date) -> pl.DataFrame:
    """The workbook."""
    from importlib.metadata import version  # noqa: PLC0415

    from pipeline.publish.workbook_options import exported  # noqa: PLC0415

    return exported(file, plan, catalogs, as_of, version("capgrid"), typed())


def typed() -> str:
    """The command as it can be typed again."""
    from click.core import ParameterSource  # noqa: PLC0415

    ctx = click.get_current_context()
    words = ["capgrid", "export"]
    for each in ctx.command.params:
        if each.name and ctx.get_parameter_source(each.name) == ParameterSource.COMMANDLINE:
            words += said(each, ctx.params[each.name])
    return shlex.join(words)


def said(parameter: click.Parameter, value: Any) -> list[str]:
    """One parameter as words: each of several values with its own flag, but those of one flag together."""
    flag = [parameter.opts[0]] if isinstance(parameter, click.Option) else []
    values = value if isinstance(parameter, click.Option) and parameter.multiple else [value]
    return [word for each in values for word in [*flag, *words_of(each)]]


def words_of(value: Any) -> list[str]:
    """A value as words; a pair of name and value is one word, a pair of numbers are two."""
    if not isinstance(value, tuple):
        return [str(value)]
    return ["=".join(value)] if all(isinstance(each, str) for each in value) else [str(each) for each in value]


COMMANDS = (export,)
