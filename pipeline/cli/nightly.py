"""The command nightly: everything that a platform team wants done every night."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import TYPE_CHECKING

import click

from pipeline import api
from pipeline.answers.ask import find
from pipeline.cli.options import as_of_option, catalogs_option, out_option
from pipeline.cli.output import as_json, for_people, talk
from pipeline.grid.selection import read_grid
from pipeline.publish import nightly as publish

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from pipeline.publish.nightly import Record


@click.command("nightly")
@click.option("--grid", default="default", show_default=True, help="Grid: a name, or a TOML file.")
@out_option
@click.option("--keep", type=click.IntRange(2), default=30, show_default=True, help="Complete runs to keep.")
@click.option(
    "--workers", type=click.IntRange(1, 1024), default=os.cpu_count() or 1, show_default="one a core", help="Processes."
)
@click.option(
    "--lang",
    "languages",
    type=click.Choice(["en", "zh"]),
    multiple=True,
    default=("en",),
    show_default=True,
    help="Language of the report; may be repeated.",
)
@click.option(
    "--export",
    "exports",
    multiple=True,
    metavar="ANSWER",
    help="Answer to export as CSV; may be repeated.  [default: cheapest_for_slo, fleet, fleet_cost, max_batch]",
)
@click.option("--accept", is_flag=True, help="Take figures beyond their bounds as the new level.")
@as_of_option
@catalogs_option
@click.option("--json", "as_data", is_flag=True, help="Print the record as JSON, as in nightly.json.")
def nightly_command(
    grid: str,
    out: Path,
    as_of: date,
    catalogs_folder: Path | None,
    keep: int,
    workers: int,
    languages: tuple[str, ...],
    exports: tuple[str, ...],
    *,
    accept: bool,
    as_data: bool,
) -> None:
    """Check, run, check the run, compare with the last one, report, export, publish, prune.

    `latest` is switched when everything before it went well; else it stays at the last good run, the exit code is 1,
    and nightly.json says which step failed and why. Where nothing changed, nothing is done.

    \b
    Example:
      capgrid nightly --grid small --keep 14
    """  # noqa: D301
    catalogs = api.catalogs(catalogs_folder)
    names = tuple(find(name).name for name in exports) or publish.EXPORTS
    night = publish.Night(read_grid(grid, catalogs), as_of, out, keep, workers, languages, names, accept=accept)
    begun: list[Record] = []
    try:
        publish.run_night(night, catalogs, version("capgrid"), begun.append)
    finally:
        for record in begun:
            click.echo(as_json(record.data()) if as_data else night_lines(record))
    if not as_data:
        talk(f"{out / publish.SUMMARY}: {begun[0].headline}")


def night_lines(record: Record) -> str:
    """The steps of a night, a line each."""
    lines = [f"{record.grid} as of {record.as_of}: {record.status}"]
    for each in record.steps:
        rows = "" if each.rows is None else f"{each.rows:,} rows"
        seconds = "" if each.seconds is None else for_people(each.seconds, "s")
        words = each.said.splitlines()[0] if each.said else ""
        lines.append(f"{each.step:<10} {each.status:<9} {seconds:>9} {rows:>16}  {words}".rstrip())
    return "\n".join(lines)


COMMANDS = (nightly_command,)
