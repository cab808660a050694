"""Rows as files that other programs open: CSV, Parquet, and a workbook with a native table."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any

import polars as pl
import xlsxwriter

from pipeline.core.errors import PipelineError
from pipeline.core.files import whole
from pipeline.publish.workbook.cells import HEADER, HOSTILE, LINE, TEAL, Book, heights, off_the_line, paper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OPTIONS: dict[str, Any] = {
    # a text is a text: no cell becomes a formula or a link by what it begins with
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
    "in_memory": True,
    "remove_timezone": True,
}
TOP = 3
MOST_ROWS = 1_048_576 - TOP - 1
"""Rows of a sheet below its title and header."""
MOST_CHARACTERS = 32_767
"""Characters of a cell."""
LEAST, MOST = 12, 60
"""Width of a column, in characters."""
WHOLE, FRACTION = off_the_line("#,##0"), "[>=1000]#,##0_);[>=1]#,##0.00_);General_)"
WIDEST = 20
"""Columns that are printed on the width of one page."""
LINE_HEIGHT, LINE_LENGTH = 16, 110
"""Of the notes: points of a line, and characters that it holds."""
TALLEST = 400
"""Points of a row; spreadsheets have no taller ones."""


# ----- CSV and Parquet


def write_csv(frame: pl.DataFrame, path: Path, *, guarded: bool = True) -> None:
    """Rows as CSV that a spreadsheet opens without running anything; not guarded, texts as they are."""
    with whole(path) as temporary:
        (safe(frame) if guarded else frame).write_csv(temporary)


def write_plain_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Rows as Parquet, texts as they are."""
    with whole(path) as temporary:
        names_as_text(frame).write_parquet(temporary)


def names_as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Names as text: the categories of two files need not agree."""
    return frame.with_columns(pl.col(pl.Enum).cast(pl.String))


def safe(frame: pl.DataFrame) -> pl.DataFrame:
    """Texts as a CSV may hold them: what a spreadsheet would take for a formula gets an apostrophe before it.

    >>> safe(pl.DataFrame({"name": ["=1+1", "h100"], "usd": [-1, 2]})).rows()
    [("'=1+1", -1), ('h100', 2)]
    """
    text = pl.col(pl.String)
    is_hostile = text.str.slice(0, 1).is_in(HOSTILE)
    return names_as_text(frame).with_columns(pl.when(is_hostile).then("'" + text).otherwise(text).name.keep())


# ----- a workbook


def write_xlsx(frame: pl.DataFrame, path: Path, title: str, notes: Sequence[tuple[str, str]], day: date) -> None:
    """Rows as a native table of a workbook, and a sheet that says where they come from.

    Args:
        frame: rows without nested values.
        path: an .xlsx file; replaced when it is whole.
        title: what the rows are.
        notes: names and what is to be said of them.
        day: of the numbers; the file says that it was made then, so that equal numbers are equal files.

    Raises:
        PipelineError: more rows than a sheet has.
    """
    if frame.height > MOST_ROWS:
        raise PipelineError(
            f"{path}: {frame.height:,} rows are more than a sheet holds ({MOST_ROWS:,}); export .parquet"
        )
    with whole(path) as temporary, xlsxwriter.Workbook(str(temporary), OPTIONS) as workbook:
        workbook.set_properties({"title": title, "author": "capgrid", "created": at_midnight(day)})
        book = Book(workbook)
        rows, told = workbook.add_worksheet("Rows"), workbook.add_worksheet("Notes")
        rows.set_tab_color(TEAL)
        rows.write_string(0, 0, title, book.title())
        heights(rows, {0: 28})
        native_table(book, rows, as_cells(frame))
        paper(book, rows, repeat=TOP)
        if frame.width > WIDEST:
            rows.fit_to_pages(0, 0)
            rows.set_print_scale(60)
        write_notes(book, told, notes)


def at_midnight(day: date) -> datetime:
    """A day as the properties of a file take it."""
    return datetime.combine(day, time(), UTC)


def as_cells(frame: pl.DataFrame) -> pl.DataFrame:
    """Values as cells hold them: no infinities, no numbers wider than a double, no texts longer than a cell."""
    floats = (pl.Decimal, pl.Float32, pl.Float64, pl.UInt64, pl.Int128)
    told = names_as_text(frame).with_columns(
        pl.col(floats).cast(pl.Float64), pl.col(pl.Null, pl.Duration).cast(pl.String)
    )
    return told.with_columns(
        pl.when(pl.col(name).is_finite()).then(pl.col(name))
        if dtype == pl.Float64
        else pl.col(name).str.slice(0, MOST_CHARACTERS)
        for name, dtype in told.schema.items()
        if dtype in {pl.Float64, pl.String}
    )


def native_table(book: Book, sheet: Any, frame: pl.DataFrame) -> None:
    """A frame as a table that can be sorted and filtered."""
    shapes = {name: cell_format(dtype) for name, dtype in frame.schema.items()}
    frame.write_excel(
        book.workbook,
        sheet,
        position=(TOP, 0),
        table_name="Rows",
        table_style="Table Style Light 1",
        column_formats={name: {"border": 1, "border_color": LINE, **shape} for name, shape in shapes.items()},
        column_widths={name: column_width(frame[name]) * 7 + 5 for name in frame.columns},
        header_format=HEADER,
        freeze_panes=(TOP + 1, 0),
        autofilter=True,
    )
    heights(sheet, {TOP: 24})


def cell_format(dtype: pl.DataType) -> dict[str, Any]:
    """How a column's cells look."""
    if dtype.is_float():
        return {"num_format": FRACTION, "align": "right"}
    if dtype.is_integer():
        return {"num_format": WHOLE, "align": "right"}
    return {"num_format": "yyyy-mm-dd"} if dtype == pl.Date else {"align": "left", "indent": 1}


def column_width(values: pl.Series) -> int:
    """Characters that a column needs: its name with a button beside it, and its texts."""
    lengths = values.str.len_chars().to_list() if values.dtype == pl.String else []
    return min(max(len(values.name) + 5, max((each or 0 for each in lengths), default=0) + 3, LEAST), MOST)


def write_notes(book: Book, sheet: Any, notes: Sequence[tuple[str, str]]) -> None:
    """What the rows are, and where they come from."""
    sheet.write_string(0, 0, "Notes", book.title())
    heights(sheet, {0: 28})
    sheet.set_column(0, 0, 16)
    sheet.set_column(1, 1, 118)
    for row, (name, text) in enumerate(notes, start=2):
        book.write(sheet, row, 0, name, book.format("words", bold=True, valign="top"))
        book.write(sheet, row, 1, text, book.format("words", text_wrap=True, valign="top"))
        lines = sum(1 + len(line) // LINE_LENGTH for line in text.split("\n"))
        heights(sheet, {row: min(LINE_HEIGHT * lines + 2, TALLEST)})
    paper(book, sheet)
