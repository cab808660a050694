"""Rows to stdout, in the shape that was asked for."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Any

import click
import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.core.errors import PipelineError, UsageError
from pipeline.publish.report.markdown import escape
from pipeline.publish.tables import safe, write_csv, write_plain_parquet
from pipeline.publish.words import show_hidden

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS = (".csv", ".parquet")
"""Endings of names of files that hold rows and nothing else."""
WIDEST = 65_535
"""Characters of a row: as many as Polars can print."""
NAME_LENGTH = 32
"""Cells up to this long are never broken: names must be read, and copied, whole."""
SCALES = {
    "B": ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")),
    "B/token": ((1e6, "MB/token"), (1e3, "kB/token")),
    "B/sequence": ((1e9, "GB/sequence"), (1e6, "MB/sequence"), (1e3, "kB/sequence")),
    "B/s": ((1e12, "TB/s"), (1e9, "GB/s")),
    "FLOP/s": ((1e15, "PFLOP/s"), (1e12, "TFLOP/s")),
    "FLOP": ((1e12, "TFLOP"), (1e9, "GFLOP")),
    "FLOP/token": ((1e12, "TFLOP/token"), (1e9, "GFLOP/token")),
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")),
}
"""Units that people read, by base unit, the largest first."""


def for_people(value: Any, unit: str = "") -> str:
    """A value with its unit as a person would write it.

    >>> for_people(13_476_831_232, "B"), for_people(0.0123, "s"), for_people(None), for_people(True)
    ('13.48 GB', '12.3 ms', '-', 'yes')
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, Decimal):
        value = json_value(value)
    if not isinstance(value, int | float):
        return str(value)
    for scale, name in SCALES.get(unit, ()):
        if abs(value) >= scale:
            return f"{value / scale:.4g} {name}"
    number = f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"  # noqa: PLR2004
    return f"{number} {unit}".strip() if unit != "1" else number


def write_rows(rows: pl.DataFrame, path: Path, *, guarded: bool = False) -> None:
    """Write rows in the format that the file's name ends in, whole or not at all.

    Args:
        rows: the rows.
        path: a .csv or .parquet file.
        guarded: for people to open: a text of a CSV that a spreadsheet would run gets an apostrophe. Measurements
            are read again by capgrid: their texts stay as they are.

    Raises:
        UsageError: neither .csv nor .parquet.
        OSError: the file cannot be written; see `blaming`.
    """
    kind = path.suffix.lower()
    if kind not in ROWS:
        raise UsageError(f"{path}: rows are written as .csv or .parquet")
    if kind == ".parquet":
        write_plain_parquet(rows, path)
    else:
        write_csv(flat_cells(rows), path, guarded=guarded)


@contextmanager
def blaming(path: Path, kind: type[PipelineError] = PipelineError) -> Iterator[None]:
    """Say of a file that cannot be written that it is this one, whatever name was written to.

    Raises:
        PipelineError: it cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise kind(f"{path}: cannot be written: {error.strerror or error}") from error


def show(frame: pl.DataFrame, shape: str, *, one: bool = False) -> None:
    """Print rows; data go to stdout and nothing else does.

    Args:
        frame: the rows.
        shape: table, json, csv, md or parquet.
        one: in JSON, an object instead of an array of one.
    """
    if shape == "parquet":
        frame.write_parquet(sys.stdout.buffer)
    elif shape == "json":
        rows = [json_value(row) for row in frame.iter_rows(named=True)]
        click.echo(as_json(rows[0] if one else rows))
    elif shape == "csv":
        click.echo(safe(flat_cells(frame)).write_csv(), nl=False)
    elif shape == "md":
        print_markdown(flat_cells(frame))
    else:
        print_table(frame)


def json_value(value: Any) -> Any:
    """A value as JSON has it: NaN and infinities unknown, decimals numbers, bytes as hexadecimal text.

    >>> json_value({"a": float("inf"), "b": [1, b"x"]})
    {'a': None, 'b': [1, '78']}
    """
    if isinstance(value, dict):
        return {str(name): json_value(each) for name, each in value.items()}
    if isinstance(value, list):
        return [json_value(each) for each in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and value.as_tuple().exponent == 0 else float(value)
    if isinstance(value, bytes):
        return value.hex()
    return None if isinstance(value, float) and not isfinite(value) else value


def as_json(value: Any) -> str:
    """A value as JSON text; dates as ISO text."""
    return json.dumps(value, indent=2, default=str, allow_nan=False, ensure_ascii=False)


def flat_cells(frame: pl.DataFrame) -> pl.DataFrame:
    """Lists of texts joined, other nested values as JSON: what CSV and Markdown can hold."""

    def text(value: Any) -> Any:
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return ", ".join(value)
        return value if value is None else json.dumps(json_value(value), default=str, ensure_ascii=False)

    nested = [name for name, dtype in frame.schema.items() if dtype.is_nested() or dtype in {pl.Binary, pl.Object}]
    return frame.with_columns(
        pl.Series(name, [text(each) for each in frame[name].to_list()], pl.String) for name in nested
    )


def print_markdown(frame: pl.DataFrame) -> None:
    """Rows as a Markdown table, a line each."""
    texts = {name for name, dtype in frame.schema.items() if dtype in {pl.String, pl.Enum, pl.Categorical}}
    rows = frame.with_columns(
        pl.Series(
            name, [each and show_hidden(escape(each, in_table=True)) for each in frame[name].to_list()], pl.String
        )
        for name in frame.columns
        if name in texts
    )
    with pl.Config(
        tbl_formatting="MARKDOWN",
        tbl_rows=-1,
        tbl_cols=-1,
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
        fmt_str_lengths=WIDEST,
        tbl_width_chars=WIDEST,
        fmt_float="full",
    ):
        click.echo(str(rows))


def print_table(frame: pl.DataFrame) -> None:
    """Rows as a table that a person likes to read.

    Names and numbers are never broken, long texts are folded to the screen; where stdout is not a
    screen, nothing is.
    """

    def seen(value: Any) -> str:
        return "\n".join(map(show_hidden, for_people(value).split("\n")))

    grid, widths = Table(box=None, header_style="bold", pad_edge=False), 0
    cells = {name: [seen(value) for value in frame[name].to_list()] for name in frame.columns}
    for name, dtype in frame.schema.items():
        width = max(map(len, [name, *cells[name]]))
        least = min(width, NAME_LENGTH)
        grid.add_column(name, justify="right" if dtype.is_numeric() else "left", overflow="fold", min_width=least)
        widths += least + 2
    for row in zip(*cells.values(), strict=True):
        grid.add_row(*map(Text, row))
    screen = sys.stdout.isatty()
    console = Console(width=max(widths, Console().width) if screen else WIDEST)
    if screen:
        console.print(grid, crop=False, soft_wrap=False)
    else:
        lines = console.render_lines(grid, pad=False)
        click.echo("\n".join("".join(segment.text for segment in line).rstrip() for line in lines))
    if frame.is_empty():
        click.echo("no rows", err=True)


def talk(text: str) -> None:
    """Say something to the person, on stderr."""
    click.echo(text, err=True)
