"""The sheet Charts: the cheapest fleets in order, and native charts of them that follow the inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.publish.workbook.cells import ROW_HEIGHT, Book, heights, paper
from pipeline.publish.workbook.fleet import column

if TYPE_CHECKING:
    import polars as pl
    from xlsxwriter.worksheet import Worksheet

SHEET = "Charts"
TOP = 3
MOST = 12
"""Bars that a chart shows: more cannot be read."""
SHORT = '[>=1000000]$#,##0.0,,"M";[>=1000]$#,##0,"k";$#,##0'
"""Money on an axis, where whole numbers run into each other."""
SHOWN = (
    # column of the sheet Fleet, format, width
    ("accelerator", "text", 25),
    ("usd_per_month", "usd", 14),
    ("devices", "count", 10),
    ("usd_per_mtok_output", "rate", 16),
)


def charts_sheet(book: Book, sheet: Worksheet, rows: pl.DataFrame) -> None:
    """Write the sheet: a block that ranks by formulas, and a chart for each of its first two numbers."""
    say = book.say
    sheet.write_string(0, 0, say("workbook.charts_title"), book.title())
    sheet.write_string(1, 0, say("workbook.charts_note", most=MOST), book.note())
    count = min(MOST, rows.height)
    sheet.set_column(0, 0, 7)
    heights(sheet, {0: 28, 1: 18, TOP: 34} | dict.fromkeys(range(TOP + 1, TOP + 1 + count), ROW_HEIGHT))
    unused = book.workbook.add_format({"font_color": "#CBD2D9"})
    rule = {"type": "formula", "criteria": f'=$B{TOP + 2}=""', "format": unused}
    sheet.conditional_format(TOP + 1, 0, TOP + count, 0, rule)
    sheet.write_string(TOP, 0, say("workbook_fleet.rank"), book.header())
    for at, (name, _, width) in enumerate(SHOWN, start=1):
        sheet.set_column(at, at, width)
        sheet.write_string(TOP, at, say(f"workbook_fleet.{name}"), book.header())
    for rank in range(1, count + 1):
        write_rank(book, sheet, rank, rows)
    bars(book, sheet, (1, count), say("workbook.chart_cost"), "#0B7285", "$#,##0;;", SHORT)
    bars(book, sheet, (2, count), say("workbook.chart_devices"), "#E8590C", "#,##0;;", "#,##0")
    paper(book, sheet)


def write_rank(book: Book, sheet: Worksheet, rank: int, rows: pl.DataFrame) -> None:
    """One row of the block: whatever has that rank now."""
    found = rows.filter(rank=rank)
    at = TOP + rank
    sheet.write_number(at, 0, rank, book.cell("count"))
    for i, (name, shape, _) in enumerate(SHOWN, start=1):
        cached = found[name].item() if found.height else ""
        ranks = column("rank", rows.height)
        formula = f'=IFERROR(INDEX({column(name, rows.height)},MATCH($A{at + 1},{ranks},0)),"")'
        sheet.write_formula(at, i, formula, book.cell(shape), cached)


def bars(book: Book, sheet: Worksheet, what: tuple[int, int], title: str, colour: str, numbers: str, axis: str) -> None:
    """A chart of lying bars, the cheapest on top; a rank that nothing has shows no number."""
    at, count = what
    chart = book.workbook.add_chart({"type": "bar"})
    chart.add_series(
        {
            "name": title,
            "categories": [SHEET, TOP + 1, 1, TOP + count, 1],
            "values": [SHEET, TOP + 1, at + 1, TOP + count, at + 1],
            "fill": {"color": colour},
            "data_labels": {"value": True, "num_format": numbers, "font": {"size": 9}},
            "gap": 45,
        }
    )
    chart.set_title({"name": title, "name_font": {"size": 12}, "overlay": False})
    chart.set_legend({"none": True})
    plain = {"major_tick_mark": "none", "num_font": {"size": 9}}
    chart.set_y_axis(plain | {"reverse": True, "line": {"color": "#7B8794"}})
    lines = {"visible": True, "line": {"color": "#E3E7EB"}}
    money = {"num_format": axis, "min": 0, "label_position": "high", "line": {"none": True}}
    chart.set_x_axis(plain | money | {"major_gridlines": lines})
    chart.set_plotarea({"layout": {"x": 0.24, "y": 0.1, "width": 0.64, "height": 0.76}})
    chart.set_size({"width": 580, "height": 60 + 30 * max(count, 4)})
    chart.set_chartarea({"border": {"color": "#DDE3E8"}})
    left, offset = (0, 4) if at == 1 else (5, 76)
    sheet.insert_chart(TOP + count + 2, left, chart, {"description": title, "x_offset": offset})
