"""Options that several commands share, and the types that accept units."""

from __future__ import annotations

import re
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.facts.catalog import Catalogs

FORMATS = ["table", "json", "csv", "md", "parquet"]
UNITS = {
    "B": {
        "": 1,
        "B": 1,
        "KB": 1e3,
        "MB": 1e6,
        "GB": 1e9,
        "TB": 1e12,
        "KIB": 2**10,
        "MIB": 2**20,
        "GIB": 2**30,
        "TIB": 2**40,
    },
    "s": {"": 1, "S": 1, "MS": 1e-3, "US": 1e-6, "MIN": 60, "H": 3600},
    "B/s": {"": 1, "GB/S": 1e9, "TB/S": 1e12},
    "FLOP/s": {"": 1, "TFLOP/S": 1e12, "PFLOP/S": 1e15},
}
"""Units that a person may write, by base unit: GB is 10^9 bytes, GiB is 2^30."""


def with_units(text: str, unit: str) -> float | int | str:
    """A number in base units; a bare number is in base units already, a text that is no number stays.

    >>> with_units("80GB", "B"), with_units("50ms", "s"), with_units("0.9", "1"), with_units("true", "")
    (80000000000, 0.05, 0.9, 'true')
    """
    found = re.fullmatch(r"\s*([-+]?[\d_]*\.?\d+(?:[eE][-+]?\d+)?)\s*([A-Za-z/]*)\s*", text)
    factors = UNITS.get(unit, {"": 1})
    if not found:
        return text
    if found[2].upper() not in factors:
        message = f"'{text}': no unit '{found[2]}' here; known: {', '.join(filter(None, factors)) or 'none'}"
        raise UsageError(message)
    number = float(found[1]) * factors[found[2].upper()]
    return int(number) if number.is_integer() and "e" not in text.lower() and "." not in found[1] else number


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
    help="Folder of catalogs.  [default: those that come with capgrid]",
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
