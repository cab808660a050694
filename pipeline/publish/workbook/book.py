"""A fleet as a spreadsheet: inputs to change, formulas that follow, the estimates and prices behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import xlsxwriter

from pipeline.core.errors import PipelineError
from pipeline.core.files import whole
from pipeline.publish.tables import OPTIONS, at_midnight
from pipeline.publish.words import words_in
from pipeline.publish.workbook.cells import Book
from pipeline.publish.workbook.charts import charts_sheet
from pipeline.publish.workbook.estimates import ESTIMATES, estimates_sheet, prices_sheet
from pipeline.publish.workbook.fleet import fleet_sheet, write_headline
from pipeline.publish.workbook.inputs import TOP as INPUTS_TOP
from pipeline.publish.workbook.inputs import inputs_sheet
from pipeline.publish.workbook.notes import About, notes_sheet
from pipeline.publish.workbook.numbers import fleet_rows, plan_words, size_options, useful_options
from pipeline.publish.workbook.values import translate

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.publish.workbook.inputs import Slice
    from pipeline.publish.workbook.numbers import Inputs

MOST_ROWS = 100_000
"""Estimates that a workbook holds: more recalculate too slowly to be of use."""


def write_workbook(
    path: Path, options: pl.DataFrame, prices: pl.DataFrame, inputs: Inputs, of: Slice, about: About, lang: str = "en"
) -> pl.DataFrame:
    """Write the workbook; its formulas carry the values that they compute.

    Args:
        path: an .xlsx file; replaced when it is whole.
        options: fleet options, a row for each plan and objective (`ttft_slo_s`, `tpot_slo_s`).
        prices: `accelerator`, `device_usd_per_hour` (may be unknown), and who says so.
        inputs: what the yellow cells hold at first.
        of: what the estimates are of.
        about: where the numbers come from.
        lang: language of the words; names of sheets, cells and columns of tables are English in each.

    Returns:
        The rows of the sheet Fleet, in English.

    Raises:
        PipelineError: no plan keeps any of the objectives, or there are too many.
        UnknownNameError: the workbook is not written in the language.
    """
    say = words_in(lang)
    estimates, priced = numbered(options, prices, inputs, of.output_tokens)
    rows = fleet_rows(estimates, priced, inputs, of.output_tokens)
    shown = translate(rows, say)
    with whole(path) as temporary, xlsxwriter.Workbook(str(temporary), OPTIONS) as workbook:
        told = {"title": say("workbook.document", model=of.model), "author": f"capgrid {about.version}"}
        workbook.set_properties(told | {"created": at_midnight(about.as_of)})
        workbook.set_calc_mode("auto")
        book = Book(workbook, say)
        sheets = {name: workbook.add_worksheet(name) for name in SHEETS}
        inputs_sheet(book, sheets["Inputs"], inputs, of)
        write_headline(book, sheets["Inputs"], (INPUTS_TOP - 1, 0), shown)
        fleet_sheet(book, sheets["Fleet"], shown, inputs, of)
        estimates_sheet(book, sheets["Estimates"], translate(size_options(estimates, inputs), say))
        prices_sheet(book, sheets["Prices"], translate(priced, say), of.market)
        charts_sheet(book, sheets["Charts"], shown)
        notes_sheet(book, sheets["Notes"], of, about)
        for name, colour in SHEETS.items():
            sheets[name].set_tab_color(colour)
        sheets["Inputs"].set_selection(INPUTS_TOP + 1, 1, INPUTS_TOP + 1, 1)
    return rows


SHEETS = {"Inputs": "#F2C94C", "Fleet": "#0B7285", "Estimates": "#9AA5B1", "Prices": "#F2C94C", "Charts": "#E8590C",
          "Notes": "#9AA5B1"}  # fmt: skip


def numbered(
    options: pl.DataFrame, prices: pl.DataFrame, inputs: Inputs, output_tokens: float
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Estimates and prices with `accelerator_no`: accelerators in the order of their cost at the first inputs."""
    wanted = [each.name for each in ESTIMATES if not each.formula and each.name not in {"accelerator_no", "plan"}]
    kept = useful_options(options).with_columns(plan=plan_words()).select(*wanted, "plan")
    if kept.is_empty():
        raise PipelineError("no plan keeps any of the objectives: nothing to export; loosen --ttft-p95 or --tpot-p95")
    if kept.height > MOST_ROWS:
        message = f"{kept.height:,} estimates are more than a workbook can recalculate; name fewer with --accelerator"
        raise PipelineError(message)
    devices = options.select("accelerator").unique().sort("accelerator")
    shown = devices.join(prices, on="accelerator", how="left", maintain_order="left")
    rows = fleet_rows(*number_accelerators(kept, shown), inputs, output_tokens)  # in any order, to learn the costs
    order = rows.sort("rank", "devices", "accelerator", nulls_last=True).select("accelerator")
    return number_accelerators(kept, order.join(shown, on="accelerator", how="left", maintain_order="left"))


def number_accelerators(estimates: pl.DataFrame, prices: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both with `accelerator_no`, the row of `prices`; estimates in its order."""
    numbers = prices.with_row_index("accelerator_no", 1).with_columns(pl.col("accelerator_no").cast(pl.Int64))
    known = estimates.join(numbers.select("accelerator", "accelerator_no"), on="accelerator", maintain_order="left")
    return known.sort("accelerator_no", maintain_order=True), numbers
