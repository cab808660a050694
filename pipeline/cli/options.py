"""Options that several commands share, and the types that accept units."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.facts.catalog import Catalogs

FORMATS = ["table", "json", "csv", "md", "parquet"]


class Settings(click.ParamType[tuple[str, str]]):
    """`name=value`."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Split at the first equals sign."""
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not equals or not name.strip():
            self.fail(f"'{value}' is not name=value", param, ctx)
        return name.strip(), text.strip()


class Day(click.ParamType[date]):
    """A date."""

    name = "YYYY-MM-DD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Read a date."""
        if isinstance(value, date):
            return value
        try:
            return datetime.strptime(str(value), "%Y-%m-%d").date()  # noqa: DTZ007
        except ValueError:
            self.fail(f"'{value}' is not a date such as 2026-11-22", param, ctx)


def together(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator, in the order of the help page."""

    def decorate(command: Any) -> Any:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


catalogs_option = click.option(
    "--catalogs",
    "catalogs_folder",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="CAPGRID_CATALOGS",
    help="Folder of catalogs; without a sources.toml, added to the default.  [default: those that come with capgrid]",
)
out_option = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("outputs"),
    show_default=True,
    envvar="CAPGRID_OUT",
    help="Folder of runs.",
)
as_of_option = click.option(
    "--as-of",
    type=Day(),
    default=lambda: datetime.now().astimezone().date(),
    help="Day whose prices hold.  [default: today]",
)
run_option = click.option("--run", "run_id", help="Run to read.  [default: the latest]")
format_options = together(
    click.option(
        "--format",
        "shape",
        type=click.Choice(FORMATS),
        default="table",
        show_default=True,
        help="How rows are printed.",
    ),
    click.option("--json", "shape", flag_value="json", help="Short for --format json."),
)


def loaded(folder: Path | None) -> Catalogs:
    """The catalogs of a folder, or those that come with the package."""
    import pipeline  # noqa: PLC0415

    return pipeline.catalogs(folder)
