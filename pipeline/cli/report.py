"""The command `report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline import api
from pipeline.answers.diff.difference import difference
from pipeline.answers.diff.runs import complete_runs, find_run_at
from pipeline.cli.options import catalogs_option, out_option, run_option
from pipeline.cli.output import talk
from pipeline.core.errors import RunError
from pipeline.publish.report.build import write_report
from pipeline.run.damage import blame
from pipeline.run.finished import check_run, find_run

if TYPE_CHECKING:
    from pipeline.answers.diff.difference import Difference


@click.command()
@out_option
@run_option
@click.option("--lang", type=click.Choice(["en", "zh"]), default="en", show_default=True, help="Language of the words.")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Page to write; the Markdown twin goes beside it.  [default: report.html in the run's folder]",
)
@click.option("--model", "models", multiple=True, help="Model to show before all others; may be repeated.")
@click.option("--against", metavar="RUN", help="Run to compare with.  [default: the one before, of the same grid]")
@catalogs_option
def report(
    out: Path,
    run_id: str | None,
    lang: str,
    file: Path | None,
    models: tuple[str, ...],
    against: str | None,
    catalogs_folder: Path | None,
) -> None:
    """Write the report of a run: one HTML page that needs no network, and a Markdown twin.

    What fits where, what it costs, how fast it is, how far off the estimates are, how old prices and facts are,
    and what changed since the run before.

    \b
    Example:
      capgrid report --lang zh --file report.html
    """  # noqa: D301
    folder = find_run(out, run_id)
    catalogs = api.catalogs(catalogs_folder)
    wanted = [catalogs.resolve("model", name) for name in models]
    before = since_before(out, folder, against)
    with blame(folder):
        path = write_report(folder, lang, file, before, catalogs=catalogs, models=wanted)
    talk(f"{path} and {path.with_suffix('.md').name}: {path.stat().st_size:,} bytes, no network needed")


def since_before(out: Path, folder: Path, against: str | None) -> Difference | None:
    """What changed since the run before of the same grid, or since a named one; none where there is none."""
    if against:
        return difference_of(find_run_at(out, against), folder)
    runs = complete_runs(out)
    names = [each.name for each in runs]
    earlier = runs[: names.index(folder.name)] if folder.name in names else []
    for each in reversed(earlier):
        try:
            if check_run(each)["grid"]["name"] == check_run(folder)["grid"]["name"]:
                return difference_of(each, folder)
        except RunError as error:
            talk(f"not compared with: {error}")
    return None


def difference_of(old: Path, new: Path) -> Difference:
    """What changed between two runs.

    Raises:
        RunError: one of them is damaged.
    """
    with blame(old, new):
        return difference(old, new)


COMMANDS = (report,)
