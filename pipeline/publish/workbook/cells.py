"""What the sheets of the workbook share: looks, columns that are declared once, cells that cannot become formulas."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from string import Formatter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from xlsxwriter.utility import xl_col_to_name

from pipeline.publish.words import Words, words_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xlsxwriter import Workbook
    from xlsxwriter.format import Format
    from xlsxwriter.worksheet import Worksheet

HOSTILE = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a cell that a spreadsheet takes for a formula begins with; the last four are the wide signs of East Asia."""

INK, TEAL, LINE, YELLOW, GREEN, RED, GREY = "#1F2933", "#0B7285", "#DDE3E8", "#FFF9DB", "#D3F9D8", "#C92A2A", "#7B8794"


def off_the_line(shape: str) -> str:
    """A number format that leaves room to the right: spreadsheets do not agree on indents of numbers."""
    return f"{shape}_);-{shape}_);{shape}_);@_)"


NUMBERS = {
    "text": "@",
    "words": "@",
    "count": off_the_line("#,##0"),
    "number": off_the_line("General"),
    "speed": off_the_line("#,##0.000"),
    "rate": off_the_line("#,##0.00"),
    "share": off_the_line("0.0%"),
    "usd": off_the_line("$#,##0"),
    "money": off_the_line("$#,##0.00"),
    "price": off_the_line("$#,##0.0000"),
    "factor": off_the_line("0.00##"),
    "day": "yyyy-mm-dd",
    "truth": "General",
}
"""Number formats, by what a cell holds."""
LEFT = {"text", "words"}
HEADER: dict[str, Any] = {"bold": True, "bg_color": TEAL, "font_color": "white"}
HEADER |= {"align": "center", "valign": "vcenter"}
ROW_HEIGHT = 18
"""Of a row in points, a little more than its letters need."""


@dataclass(frozen=True)
class Column:
    """One column of a sheet: declared once for its header, its cells and the page of notes.

    Its words stand in `strings/`: the title in the section of its sheet, the meaning in that of `_told`.
    """

    name: str
    """Of the frame's column that holds the values (for a formula: the cached ones)."""
    width: float
    shape: str
    """A key of NUMBERS."""
    formula: str = ""
    """`{name}` is the cell of that column in the same row, `{name:all}` the whole column, `{say.key}` a text."""
    missing: str = ""
    """What a cell without a value shows: a key of the section `workbook_values`."""
    is_input: bool = False
    is_helper: bool = False


@dataclass(frozen=True)
class Ref:
    """A column as seen from one row: the cell there, or with the format `all` the column.

    >>> f"{Ref('B', 7, 6, 9)} {Ref('B', 7, 6, 9):all}"
    '$B7 $B$6:$B$9'
    """

    letter: str
    row: int
    first: int
    last: int

    def __format__(self, spec: str) -> str:
        """As a formula writes it."""
        if spec == "all":
            return f"${self.letter}${self.first}:${self.letter}${self.last}"
        return f"${self.letter}{self.row}"


def side(shape: str) -> dict[str, Any]:
    """Texts stand left, a little off the number before them; numbers stand right."""
    return {"align": "left", "indent": 1} if shape in LEFT else {"align": "right"}


def column_format(column: Column) -> dict[str, Any]:
    """The format of a table's column, as Polars takes it."""
    usual = {"num_format": NUMBERS[column.shape], "border": 1, "border_color": LINE, **side(column.shape)}
    yellow = {"bg_color": YELLOW, "font_color": "#0B4F9E", "border_color": "#E0C36A"}
    return usual | (yellow if column.is_input else {})


def formula_text(text: str) -> str:
    """A text as formulas write it.

    >>> formula_text('a "b" c')
    '"a ""b"" c"'
    """
    return '"' + text.replace('"', '""') + '"'


def chain(text: str, **cells: str) -> str:
    """A text with placeholders as a formula that fills them in.

    >>> chain("{n} spare of {all}", n="$B$1", all="in_all")
    '$B$1&" spare of "&in_all'
    """
    parts = [
        part
        for literal, name, _, _ in Formatter().parse(text)
        for part in (formula_text(literal) if literal else "", cells[name] if name else "")
    ]
    return "&".join(part for part in parts if part)


@dataclass
class Book:
    """A workbook in the making, with its words and the formats used so far."""

    workbook: Workbook
    say: Words = field(default_factory=lambda: words_in("en"))
    made: dict[tuple[tuple[str, Any], ...], Format] = field(default_factory=dict)

    def format(self, shape: str = "words", **more: Any) -> Format:
        """A format by what a cell holds; equal ones are made once."""
        usual = {"font_name": self.say("workbook.font"), "font_size": 11, "font_color": INK, "valign": "vcenter"}
        looks = usual | {"num_format": NUMBERS[shape], **side(shape)} | more
        key = tuple(sorted(looks.items()))
        if key not in self.made:
            self.made[key] = self.workbook.add_format(looks)
        return self.made[key]

    @property
    def slants(self) -> bool:
        """Whether small print is in italics, which Chinese does not have."""
        return self.say.lang == "en"

    def cell(self, shape: str, *, is_input: bool = False, **more: Any) -> Format:
        """A format with lines around; an input is yellow."""
        looks = {"bg_color": YELLOW, "border_color": "#E0C36A", "font_color": "#0B4F9E"} if is_input else {}
        return self.format(shape, **({"border": 1, "border_color": LINE} | looks | more))

    def title(self) -> Format:
        """The first line of a sheet."""
        return self.format(bold=True, font_size=16, indent=0)

    def note(self) -> Format:
        """Small print."""
        return self.format(italic=self.slants, font_color=GREY, indent=0)

    def header(self) -> Format:
        """The head of a column."""
        return self.format(**HEADER, border=1, border_color=TEAL, text_wrap=True, indent=0)

    def missing(self, column: Column) -> str:
        """What a cell of a column shows where there is no value."""
        return self.say(f"workbook_values.{column.missing}") if column.missing else ""

    def literals(self) -> SimpleNamespace:
        """Texts that formulas say, by key."""
        return SimpleNamespace(**{key: formula_text(text) for key, text in self.say.section("workbook_values").items()})

    def write(self, sheet: Worksheet, row: int, column: int, value: Any, style: Format) -> None:
        """Write a value; a text is a text, whatever it begins with."""
        if value is None or value == "":
            sheet.write_blank(row, column, None, style)
        elif isinstance(value, str):
            sheet.write_string(row, column, value, style)
        elif isinstance(value, date):
            sheet.write_datetime(row, column, value, style)
        else:
            sheet.write_number(row, column, value, style)


def head(book: Book, sheet: Worksheet, columns: Sequence[Column], top: int, section: str) -> None:
    """The header row of a block, its words of a section; widths, and helpers folded away."""
    sheet.set_row(top, 48)
    for at, column in enumerate(columns):
        sheet.set_column(at, at, column.width, None, {"hidden": 1} if column.is_helper else {})
        sheet.write_string(top, at, book.say(f"{section}.{column.name}"), book.header())


def heights(sheet: Worksheet, points: Mapping[int, float]) -> None:
    """Heights of rows, by row from 0."""
    for row, height in points.items():
        sheet.set_row(row, height)


def write_row(
    book: Book,
    sheet: Worksheet,
    columns: Sequence[Column],
    place: tuple[int, int, int],
    row: Mapping[str, Any],
    start: int = 0,
) -> None:
    """One row of a block; formulas carry their cached values.

    Args:
        book: formats.
        sheet: where.
        columns: the block's columns, from the sheet's first on.
        place: row to write, first and last row of the block, counted from 0.
        row: values by column name.
        start: the first of the columns to write.
    """
    at, first, last = place
    refs = {c.name: Ref(xl_col_to_name(i), at + 1, first + 1, last + 1) for i, c in enumerate(columns)}
    say = book.literals()
    for i, column in enumerate(columns[start:], start):
        style = book.cell(column.shape, is_input=column.is_input)
        value = book.missing(column) if row[column.name] is None else row[column.name]
        if column.formula:
            sheet.write_formula(at, i, column.formula.format(**refs, say=say), style, value)
        else:
            book.write(sheet, at, i, value, style)


def paper(book: Book, sheet: Worksheet, *, repeat: int | None = None) -> None:
    """How a sheet prints: landscape, one page wide, its header row on every page."""
    sheet.hide_gridlines(2)
    sheet.set_landscape()
    sheet.set_paper(9)
    sheet.fit_to_pages(1, 0)
    sheet.set_margins(0.4, 0.4, 0.5, 0.5)
    sheet.set_footer(book.say("workbook.footer"))
    if repeat is not None:
        sheet.repeat_rows(repeat)
