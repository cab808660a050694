"""The sheet Notes: what the workbook is, how each column is made, what the words mean, and who says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from unicodedata import east_asian_width

import polars as pl

from pipeline.publish.workbook.cells import ROW_HEIGHT, TEAL, Book, heights, paper
from pipeline.publish.workbook.charts import MOST
from pipeline.publish.workbook.estimates import ESTIMATES
from pipeline.publish.workbook.fleet import FLEET
from pipeline.publish.workbook.numbers import KEY_STEP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from xlsxwriter.worksheet import Worksheet

    from pipeline.publish.words import Words
    from pipeline.publish.workbook.inputs import Slice

LINE_HEIGHT, LINE_LENGTH = 16, 128
"""Of a row in points; characters that its second cell holds."""


@dataclass(frozen=True)
class About:
    """Where the numbers come from."""

    version: str
    as_of: date
    key: str
    """A hash of everything that the numbers rest on: catalogs and code."""
    command: str
    sources: pl.DataFrame
    """Columns `what, title, url, read_on`."""


def notes_sheet(book: Book, sheet: Worksheet, of: Slice, about: About) -> None:
    """Write the sheet."""
    for at, width in enumerate((34, 118, 78, 14)):
        sheet.set_column(at, at, width)
    sheet.write_string(0, 0, book.say("workbook.notes_title"), book.title())
    heights(sheet, {0: 28})
    row, height = 2, LINE_HEIGHT if book.say.lang == "en" else ROW_HEIGHT  # wide letters are taller
    style = book.format(bold=True, font_size=12, indent=0, bottom=2, bottom_color=TEAL)
    for title, lines in notes_sections(of, about, book.say):
        sheet.set_row(row, 22)
        for at, text in enumerate((title, *[""] * 3)):
            book.write(sheet, row, at, text, style)
        for line in lines:
            row += 1
            sheet.set_row(row, height * (1 + text_width(line[1]) // LINE_LENGTH))
            for at, text in enumerate(line):
                book.write(sheet, row, at, text, book.format("words", text_wrap=at == 1, valign="top"))
        row += 2
    paper(book, sheet)


def text_width(text: str) -> int:
    """Characters of a text, the wide ones of East Asia as two.

    >>> text_width("KV"), text_width("卡数")
    (2, 4)
    """
    return sum(1 + (east_asian_width(each) in "WF") for each in text)


def notes_sections(of: Slice, about: About, say: Words) -> Iterator[tuple[str, Sequence[tuple[str, ...]]]]:
    """Every part of the sheet: its title, and lines of cells."""
    market = say.value("value", of.market)
    lengths = {"prompt": f"{of.prompt_tokens:,}", "output": f"{of.output_tokens:,}"}
    made = {
        "made_by": f"capgrid {about.version}",
        "as_of": say("workbook_notes.prices_of", date=f"{about.as_of:%Y-%m-%d}", market=market),
        "estimates": say("workbook_notes.estimates_of", model=of.model, **lengths),
        "key": about.key,
        "command": about.command,
    }
    yield say("workbook_notes.workbook"), [(say(f"workbook_notes.{name}"), told) for name, told in made.items()]
    uses = say.section("workbook_use_told")
    yield say("workbook_notes.use"), [(say(f"workbook_use.{name}"), told) for name, told in uses.items()]
    titles = {each.name: say(f"workbook_fleet.{each.name}") for each in FLEET}
    yield say("workbook_notes.fleet"), [(title, say(f"workbook_fleet_told.{name}")) for name, title in titles.items()]
    told_of = {each.name: say(f"workbook_estimates_told.{each.name}", step=f"{KEY_STEP:,}") for each in ESTIMATES}
    yield say("workbook_notes.estimate_columns"), [*told_of.items()]
    meanings = say.section("workbook_confidence")
    yield say("workbook_notes.confidence"), [(say.value("value", name), told) for name, told in meanings.items()]
    assumed = [say(f"workbook_assumptions.{name}", most=MOST) for name in say.section("workbook_assumptions")]
    yield say("workbook_notes.assumptions"), [("", each) for each in assumed]
    sources = about.sources.select("what", "title", "url", "read_on").cast({"read_on": str})
    told = sources.with_columns(pl.col("what").replace(say.section("workbook_sources")))
    yield say("workbook_notes.sources"), [tuple(each or "" for each in row) for row in told.rows()]
