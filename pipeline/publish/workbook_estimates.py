"""The sheets Estimates and Prices: native tables; what they say of a plan are values, what follows are formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.fleet.sizing import MOST_REPLICAS
from pipeline.publish.workbook_cells import LINE, NUMBERS, TEAL, YELLOW, Book, Column, heights, paper, side, write_row
from pipeline.publish.workbook_numbers import ENDS, KEY_STEP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlsxwriter.worksheet import Worksheet

TOP = 3
RATE = f"CHOOSE(case_no,{','.join(f'{{{name}}}' for name in ENDS.values())})"

ESTIMATES = (
    Column("accelerator_no", "", 17, "count", "Row of the accelerator in the sheets Fleet and Prices."),
    Column("accelerator", "", 28, "text", "Device."),
    Column("plan", "", 36, "text", "Number formats of weights and KV cache, engine, parallel plan."),
    Column("device_count", "", 16, "count", "Devices of one replica."),
    Column("node_devices", "", 16, "count", "Devices of one node."),
    Column("ttft_slo_s", "", 13, "number", "Objective: p95 of the time to first token, at most."),
    Column("tpot_slo_s", "", 13, "number", "Objective: p95 of the time per output token, at most."),
    Column("slo_requests_per_s", "", 22, "speed", "Largest rate of one replica at which both objectives hold."),
    Column("slo_requests_per_s_lo", "", 24, "speed", "The same at the bad end of the estimate's 80 % band."),
    Column("slo_requests_per_s_hi", "", 24, "speed", "The same at the good end."),
    Column("power_w", "", 12, "count", "Power of one replica."),
    Column("confidence", "", 19, "text", "Evidence behind the estimate; see below."),
    Column("limited_by", "", 17, "text", "What limits the replica."),
    Column("working_replicas", "", 19, "count", "Formula, at the objective in force: rate to plan for / rate of one "
           "replica, rounded up.",
           f"=IF(AND(inputs_ok,{{ttft_slo_s}}=level_ttft_s,{{tpot_slo_s}}=level_tpot_s,{RATE}>0),"
           f'MIN({MOST_REPLICAS},MAX(1,ROUNDUP(plan_requests_per_s/{RATE}-1E-9,0))),"")'),
    Column("replicas", "", 12, "count", "Formula: working ones, the spares, and the reserve for interruptions.",
           '=IF({working_replicas}="","",{working_replicas}+in_spare'
           "+MAX(0,ROUNDUP({working_replicas}*in_reserve-1E-9,0)))"),
    Column("devices", "", 12, "count", "Formula: replicas x devices of a replica.",
           '=IF({replicas}="","",{replicas}*{device_count})'),
    Column("key", "", 18, "count", f"Formula: accelerator_no x {KEY_STEP:,} + devices; the smallest of an accelerator "
           "is its choice.", f'=IF({{devices}}="","",{{accelerator_no}}*{KEY_STEP}+{{devices}})'),
)  # fmt: skip

PRICES = (
    Column("accelerator_no", "", 17, "count", "Row of the accelerator."),
    Column("accelerator", "", 28, "text", "Device."),
    Column("device_usd_per_hour", "", 24, "price", "Price of one device for an hour; edit it, or fill it in.",
           is_input=True),
    Column("price_cloud", "", 22, "text", "Who asks this price."),
    Column("price_date", "", 14, "day", "The day from which it holds."),
    Column("price_note", "", 28, "text", "How it is known: listed, or assumed from another price, or reckoned."),
    Column("price_source", "", 130, "text", "Where it stands."),
)  # fmt: skip


def table(book: Book, sheet: Worksheet, frame: pl.DataFrame, columns: Sequence[Column], name: str) -> None:
    """A frame as a native table of that name, its columns as they are declared."""
    shown = frame.select(each.name for each in columns).with_columns(pl.col(pl.Enum).cast(pl.String))
    shown.write_excel(
        book.workbook,
        sheet,
        position=(TOP, 0),
        table_name=name,
        table_style="Table Style Light 1",
        column_formats={each.name: looks(each) for each in columns},
        column_widths={each.name: round(each.width * 7 + 5) for each in columns},
        header_format=header(),
        freeze_panes=(TOP + 1, 2),
        autofilter=True,
    )
    heights(sheet, {0: 28, 1: 18, TOP: 30})


def header() -> dict[str, Any]:
    """The head of a table's columns, as Polars takes it."""
    return {"bold": True, "bg_color": TEAL, "font_color": "white", "text_wrap": True, "valign": "vcenter",
            "align": "center"}  # fmt: skip


def looks(column: Column) -> dict[str, Any]:
    """The format of a table's column, as Polars takes it."""
    usual = {"num_format": NUMBERS[column.shape], "border": 1, "border_color": LINE, **side(column.shape)}
    yellow = {"bg_color": YELLOW, "font_color": "#0B4F9E", "border_color": "#E0C36A"}
    return usual | (yellow if column.is_input else {})


def estimates_sheet(book: Book, sheet: Worksheet, estimates: pl.DataFrame) -> None:
    """Write the sheet: a row for each plan and objective, sized by formulas at the objective in force."""
    sheet.write_string(0, 0, "Estimates", book.title())
    sheet.write_string(1, 0, "What one replica carries, by plan and objective. The last four columns are formulas: "
        "they size the fleet at the objective in force, and are empty at others.", book.note())  # fmt: skip
    table(book, sheet, estimates, ESTIMATES, "Estimates")
    live = [each.formula != "" for each in ESTIMATES].index(True)
    formulas(book, sheet, estimates, live)
    paper(sheet, repeat=TOP)


def formulas(book: Book, sheet: Worksheet, estimates: pl.DataFrame, first: int) -> None:
    """Write the formulas over the values that the table was made with, which stay as cached ones."""
    last = TOP + estimates.height
    for at, row in enumerate(estimates.iter_rows(named=True), start=TOP + 1):
        write_row(book, sheet, ESTIMATES, (at, TOP + 1, last), row, start=first)


def prices_sheet(book: Book, sheet: Worksheet, prices: pl.DataFrame, market: str) -> None:
    """Write the sheet: what a device costs, who says so, and room for another price."""
    sheet.write_string(0, 0, "Prices", book.title())
    sheet.write_string(1, 0, f"USD per device and hour, {market}, before the discount of the sheet Inputs. "
        "Edit the yellow cells: the fleets follow.", book.note())  # fmt: skip
    columns = [each for each in PRICES if each.name in prices.columns]
    table(book, sheet, prices, columns, "Prices")
    at = [each.name for each in columns].index("device_usd_per_hour")
    sheet.data_validation(TOP + 1, at, TOP + prices.height, at, {
        "validate": "decimal", "criteria": ">=", "value": 0, "ignore_blank": True,
        "error_title": "Not possible", "error_message": "A price is a number, 0 or more; empty where there is none.",
    })  # fmt: skip
    paper(sheet, repeat=TOP)
