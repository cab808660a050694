"""The command diff: what changed between two runs, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.answers.diff.difference import difference, difference_data, difference_markdown, difference_text
from pipeline.answers.diff.runs import find_runs
from pipeline.cli.options import format_options, out_option
from pipeline.cli.output import as_json, json_value, show
from pipeline.run.damage import blame

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.answers.diff.difference import Difference

TOP = 10


@click.command()
@click.argument("run_a", required=False)
@click.argument("run_b", required=False)
@out_option
@click.option("--top", type=click.IntRange(1), help=f"Rows of a list.  [default: {TOP}; in json, csv and parquet all]")
@click.option("--exit-code", is_flag=True, help="Exit with 1 where something changed, as diff does; 0 where nothing.")
@format_options
def diff(run_a: str | None, run_b: str | None, out: Path, top: int | None, shape: str, *, exit_code: bool) -> None:
    """Compare two runs: what changed in facts, prices, grid and formulas, and what it did to the answers.

    RUN_A is the run that was, RUN_B the run that is: ids, `latest`, `latest~1` (the one before it), or folders.
    Left out, the two newest.

    \b
    Examples:
      capgrid diff
      capgrid diff latest~1 latest --format md
      capgrid diff 2026-11-21-default-0123456789 latest --json
    """  # noqa: D301
    runs = find_runs(out, run_a, run_b)
    with blame(*runs):
        found = difference(*runs)
    print_difference(found, shape, top)
    if exit_code and not found.is_empty:
        click.get_current_context().exit(1)


def print_difference(found: Difference, shape: str, top: int | None) -> None:
    """Print a difference."""
    if shape == "json":
        click.echo(as_json(json_value(difference_data(found, top))))
    elif shape == "md":
        click.echo(difference_markdown(found, top or TOP))
    elif shape == "table":
        click.echo(difference_text(found, top or TOP))
    else:
        show(found.effects if top is None else found.effects.head(top), shape)


COMMANDS = (diff,)
