"""The sheet Notes: what the workbook is, how each column is made, what the words mean, and who says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.publish.workbook_cells import TEAL, Book, heights, paper
from pipeline.publish.workbook_charts import MOST
from pipeline.publish.workbook_estimates import ESTIMATES
from pipeline.publish.workbook_fleet import FLEET

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    import polars as pl
    from xlsxwriter.worksheet import Worksheet

    from pipeline.publish.workbook_inputs import Slice

LINE_HEIGHT, LINE_LENGTH = 16, 128
"""Of a row in points; characters that its second cell holds."""

CONFIDENCE = {
    "calibrated": "this engine was measured on this device",
    "same architecture": "another device of this architecture was measured",
    "datasheet only": "neither was: peak figures, and what such devices usually achieve",
}
ASSUMPTIONS = (
    "Requests arrive at random (Poisson) and are shared out evenly; burstier traffic needs a peak factor or headroom.",
    "The rate of a replica at an objective is a closed form, not a measurement: docs/load.md says how far it was off.",
    "The objectives are limits of the 95th percentile over all requests at the rate to plan for.",
    "At one objective, plans that no rate, spares or end of the band could choose are left out of Estimates.",
    "Devices are paid by the hour, used or not, and can be had in any number; whole nodes are counted, not billed.",
    f"Charts show the {MOST} cheapest. A fleet without a price is sized, but has no cost and no rank.",
)


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
    sheet.write_string(0, 0, "Notes", book.title())
    heights(sheet, {0: 28})
    row = 2
    for title, lines in sections(of, about):
        sheet.set_row(row, 22)
        for at, text in enumerate((title, *[""] * 3)):
            book.write(
                sheet, row, at, text, book.format(bold=True, font_size=12, indent=0, bottom=2, bottom_color=TEAL)
            )
        for line in lines:
            row += 1
            sheet.set_row(row, LINE_HEIGHT * (1 + len(line[1]) // LINE_LENGTH))
            for at, text in enumerate(line):
                book.write(sheet, row, at, text, book.format("words", text_wrap=at == 1, valign="top"))
        row += 2
    paper(sheet)


def sections(of: Slice, about: About) -> Iterator[tuple[str, Sequence[tuple[str, ...]]]]:
    """Every part of the sheet: its title, and lines of cells."""
    made = [
        ("Made by", f"capgrid {about.version}"), ("Prices as of", f"{about.as_of:%Y-%m-%d}, {of.market}"),
        ("Estimates of", f"{of.model}, {of.prompt_tokens:,} prompt and {of.output_tokens:,} output tokens"),
        ("Catalogs and code", about.key), ("Command", about.command),
    ]  # fmt: skip
    yield "This workbook", made
    yield (
        "How to use it",
        [
            ("Inputs", "Change the yellow cells. Objectives are levels: the estimates were made at each."),
            ("Prices", "Edit a yellow price, or fill in one that is missing."),
            ("Fleet, Charts", "Formulas over Inputs, Prices and Estimates; nothing to type there."),
            ("Functions", "SUMPRODUCT, MINIFS, INDEX, MATCH, RANK and simpler ones: Excel from 2019 on, LibreOffice."),
        ],
    )
    yield "Sheet Fleet, column by column", [(each.title, each.meaning) for each in FLEET]
    yield "Sheet Estimates, column by column", [(each.name, each.meaning) for each in ESTIMATES]
    yield "Confidence", list(CONFIDENCE.items())
    yield "Assumptions", [("", each) for each in ASSUMPTIONS]
    told = about.sources.select("what", "title", "url", "read_on").cast({"read_on": str})
    yield "Sources", [tuple(each or "" for each in row) for row in told.rows()]
