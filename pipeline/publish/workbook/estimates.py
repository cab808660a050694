"""The sheets Estimates and Prices: native tables; what they say of a plan are values, what follows are formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from pipeline.fleet.sizing import MOST_REPLICAS
from pipeline.publish.workbook.cells import HEADER, TEAL, Book, Column, column_format, heights, paper, write_row
from pipeline.publish.workbook.numbers import ENDS, KEY_STEP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlsxwriter.worksheet import Worksheet

TOP = 3
RATE = f"CHOOSE(case_no,{','.join(f'{{{name}}}' for name in ENDS.values())})"

ESTIMATES = (
    Column("accelerator_no", 17, "count"),
    Column("accelerator", 28, "text"),
    Column("plan", 36, "text"),
    Column("device_count", 16, "count"),
    Column("node_devices", 16, "count"),
    Column("ttft_slo_s", 13, "number"),
    Column("tpot_slo_s", 13, "number"),
    Column("slo_requests_per_s", 22, "speed"),
    Column("slo_requests_per_s_lo", 24, "speed"),
    Column("slo_requests_per_s_hi", 24, "speed"),
    Column("power_w", 12, "count"),
    Column("confidence", 19, "text"),
    Column("limited_by", 17, "text"),
    Column("working_replicas", 19, "count",
           f"=IF(AND(inputs_ok,{{ttft_slo_s}}=level_ttft_s,{{tpot_slo_s}}=level_tpot_s,{RATE}>0),"
           f'MIN({MOST_REPLICAS},MAX(1,ROUNDUP(plan_requests_per_s/{RATE}-1E-9,0))),"")'),
    Column("replicas", 12, "count",
           '=IF({working_replicas}="","",{working_replicas}+in_spare'
           "+MAX(0,ROUNDUP({working_replicas}*in_reserve-1E-9,0)))"),
    Column("devices", 12, "count", '=IF({replicas}="","",{replicas}*{device_count})'),
    Column("key", 18, "count", f'=IF({{devices}}="","",{{accelerator_no}}*{KEY_STEP}+{{devices}})'),
)  # fmt: skip
"""Their names stay English in every language: formulas and those who read the table by program say them."""

PRICES = (
    Column("accelerator_no", 17, "count"),
    Column("accelerator", 28, "text"),
    Column("device_usd_per_hour", 24, "price", is_input=True),
    Column("price_cloud", 22, "text"),
    Column("price_date", 14, "day"),
    Column("price_note", 28, "text"),
    Column("price_source", 130, "text"),
)


def write_table(book: Book, sheet: Worksheet, frame: pl.DataFrame, columns: Sequence[Column], name: str) -> None:
    """A frame as a native table of that name, its columns as they are declared."""
    shown = frame.select(each.name for each in columns).with_columns(pl.col(pl.Enum).cast(pl.String))
    shown.write_excel(
        book.workbook,
        sheet,
        position=(TOP, 0),
        table_name=name,
        table_style="Table Style Light 1",
        column_formats={each.name: column_format(each) for each in columns},
        column_widths={each.name: round(each.width * 7 + 5) for each in columns},
        header_format=HEADER | {"text_wrap": True},
        freeze_panes=(TOP + 1, 2),
        autofilter=True,
    )
    heights(sheet, {0: 28, 1: 18, TOP: 30})
    if book.say.lang != "en":
        labels(book, sheet, columns, f"workbook_{name.lower()}")


def labels(book: Book, sheet: Worksheet, columns: Sequence[Column], section: str) -> None:
    """Titles above the names of columns, which are English."""
    style = book.format(bold=True, font_color=TEAL, align="center", indent=0, text_wrap=True)
    sheet.set_row(TOP - 1, 36)
    for at, column in enumerate(columns):
        sheet.write_string(TOP - 1, at, book.say(f"{section}.{column.name}"), style)


def estimates_sheet(book: Book, sheet: Worksheet, estimates: pl.DataFrame) -> None:
    """Write the sheet: a row for each plan and objective, sized by formulas at the objective in force."""
    sheet.write_string(0, 0, book.say("workbook.estimates_title"), book.title())
    sheet.write_string(1, 0, book.say("workbook.estimates_note"), book.note())
    write_table(book, sheet, estimates, ESTIMATES, "Estimates")
    live = [each.formula != "" for each in ESTIMATES].index(True)
    write_formulas(book, sheet, estimates, live)
    paper(book, sheet, repeat=TOP)


def write_formulas(book: Book, sheet: Worksheet, estimates: pl.DataFrame, first: int) -> None:
    """Write the formulas over the values that the table was made with, which stay as cached ones."""
    last = TOP + estimates.height
    for at, row in enumerate(estimates.iter_rows(named=True), start=TOP + 1):
        write_row(book, sheet, ESTIMATES, (at, TOP + 1, last), row, start=first)


def prices_sheet(book: Book, sheet: Worksheet, prices: pl.DataFrame, market: str) -> None:
    """Write the sheet: what a device costs, who says so, and room for another price."""
    say = book.say
    sheet.write_string(0, 0, say("workbook.prices_title"), book.title())
    sheet.write_string(1, 0, say("workbook.prices_note", market=say.value("value", market)), book.note())
    columns = [each for each in PRICES if each.name in prices.columns]
    write_table(book, sheet, prices, columns, "Prices")
    at = [each.name for each in columns].index("device_usd_per_hour")
    sheet.data_validation(TOP + 1, at, TOP + prices.height, at, {
        "validate": "decimal", "criteria": ">=", "value": 0, "ignore_blank": True,
        "error_title": say("workbook.not_possible"), "error_message": say("workbook.price_guard"),
    })  # fmt: skip
    paper(book, sheet, repeat=TOP)
