"""Options that several commands share, the types that accept units, and options as one value."""

from __future__ import annotations

from dataclasses import field, fields
from datetime import date, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.core.units import in_base_units, unit_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

FORMATS = ["table", "json", "csv", "md", "parquet"]
COUNT = click.IntRange(1, 10**7)
RATE = click.FloatRange(0, min_open=True)
SPREAD = click.FloatRange(0, 20)
FILE = click.Path(dir_okay=False, path_type=Path)


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


def stacked(*decorators: Decorator) -> Decorator:
    """Several options as one decorator, in the order of the help page."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def option_field(text: str, *flags: str, **settings: Any) -> Any:
    """A field of a dataclass of options, with what its help says.

    Args:
        text: the help.
        flags: as typed; the field's name, where left out.
        settings: of click; a default that is stated is shown.
    """
    settings = {"show_default": "default" in settings} | settings

    def named(name: str) -> Decorator:
        return click.option(*(flags or (f"--{name.replace('_', '-')}",)), name, help=text, **settings)

    return field(metadata={"option": named})


def shared_field(decorator: Decorator) -> Any:
    """A field of a dataclass of options whose option other commands have too."""
    return field(metadata={"option": lambda _: decorator})


def taking(kind: type[Any], name: str) -> Decorator:
    """Hand a command some of its options as one value: the dataclass whose fields are these options, in their order."""
    own = fields(kind)

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def called(**given: Any) -> Any:
            return command(**{name: kind(**{each.name: given.pop(each.name) for each in own})}, **given)

        return stacked(*(each.metadata["option"](each.name) for each in own))(called)

    return decorate


def today() -> date:
    """The day on this machine's clock."""
    return datetime.now().astimezone().date()


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
as_of_option = click.option("--as-of", type=Day(), default=today, help="Day whose prices hold.  [default: today]")
run_option = click.option("--run", "run_id", help="Run to read.  [default: the latest]")
format_options = stacked(
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


def base_units(texts: Mapping[str, str]) -> dict[str, Any]:
    """Facts as a person types them, in the units of their names; true and false are truths."""
    facts = {name: in_base_units(text, unit_of(name)) for name, text in texts.items()}
    return {name: value == "true" if value in ("true", "false") else value for name, value in facts.items()}
