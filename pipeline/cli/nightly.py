"""The command nightly: everything that a platform team wants done every night."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import as_of_option, catalogs_option, loaded, out_option
from pipeline.cli.output import as_json, for_people, talk

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from pipeline.publish.nightly import Record


@click.command()
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
def nightly(
    grid: str,
    out: Path,
    as_of: date,
    catalogs_folder: Path | None,
    *,
    as_data: bool,
    **asked: Any,
) -> None:
    """Check, run, check the run, compare with the last one, report, export, publish, prune.

    `latest` is switched when everything before it went well; else it stays at the last good run, the exit code is 1,
    and nightly.json says which step failed and why. Where nothing changed, nothing is done.

    \b
    Example:
      capgrid nightly --grid small --keep 14
    """  # noqa: D301
    from importlib.metadata import version  # noqa: PLC0415

    from pipeline.answers.ask import find  # noqa: PLC0415
    from pipeline.grid.selection import read_grid  # noqa: PLC0415
    from pipeline.publish import nightly as publish  # noqa: PLC0415

    catalogs = loaded(catalogs_folder)
    asked["exports"] = tuple(find(name).name for name in asked["exports"]) or publish.EXPORTS
    night = publish.Night(read_grid(grid, catalogs), as_of, out, **asked)
    begun: list[Record] = []
    try:
        publish.run_night(night, catalogs, version("capgrid"), begun.append)
    finally:
        for record in begun:
            click.echo(as_json(record.data()) if as_data else told(record))
    if not as_data:
        talk(f"{out / publish.SUMMARY}: {begun[0].headline}")


def told(record: Record) -> str:
    """The steps of a night, a line each."""
    lines = [f"{record.grid} as of {record.as_of}: {record.status}"]
    for each in record.steps:
        rows = "" if each.rows is None else f"{each.rows:,} rows"
        seconds = "" if each.seconds is None else for_people(each.seconds, "s")
        said = each.said.splitlines()[0] if each.said else ""
        lines.append(f"{each.step:<10} {each.status:<9} {seconds:>9} {rows:>16}  {said}".rstrip())
    return "\n".join(lines)


COMMANDS = (nightly,)
