"""The sheet Inputs: yellow cells with names, checks and drop-downs; what they come to; the answer in one line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.publish.workbook_cells import RED, ROW_HEIGHT, Book, heights, paper
from pipeline.publish.workbook_numbers import ENDS, Inputs, level_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlsxwriter.worksheet import Worksheet

SHEET = "Inputs"
TOP = 3
LADDER = 6
"""First column of the levels that the drop-downs offer."""


@dataclass(frozen=True)
class Input:
    """One yellow cell: its name in formulas, its words, and the rule that a value must keep."""

    name: str
    words: str
    of: str
    """Field of `Inputs`."""
    shape: str
    told: str
    rule: str
    """Of the cell `{0}`, as a formula."""
    must: str
    valid: dict[str, Any] = field(default_factory=dict)
    """How the spreadsheet itself guards the cell (data validation)."""


def between(low: float, high: float, kind: str = "decimal") -> dict[str, Any]:
    """A validation: numbers from low to high."""
    return {"validate": kind, "criteria": "between", "minimum": low, "maximum": high}


INPUTS = (
    Input("in_requests_per_s", "Requests per second, mean", "requests_per_s", "number",
          "of the whole fleet, over the time that is paid for", "AND({0}>0,{0}<=10^9)", "must be above 0",
          {"validate": "decimal", "criteria": ">", "value": 0}),
    Input("in_peak_factor", "Peak over mean", "peak_factor_ratio", "factor",
          "1 where the rate above is the peak already", "AND({0}>=0.001,{0}<=10^6)", "must be 0.001 to a million",
          between(0.001, 1_000_000)),
    Input("in_headroom", "Headroom", "headroom_ratio", "share", "added to the peak: growth, errors of the estimate",
          "AND({0}>=0,{0}<=100)", "must be 0 % or more", between(0, 100)),
    Input("in_spare", "Spare replicas", "spare_replicas", "count", "beyond those that work: failures, roll-outs",
          "AND({0}>=0,{0}<=10^6,{0}=INT({0}))", "must be a whole number, 0 or more",
          between(0, 1_000_000, "integer")),
    Input("in_reserve", "Reserve for interruptions", "interruption_ratio", "share",
          "share of the replicas that work, kept besides: spot devices may go", "AND({0}>=0,{0}<=1)",
          "must be 0 to 100 %", between(0, 1)),
    Input("in_ttft_s", "Time to first token, p95, at most (s)", "ttft_p95_s", "number",
          "between two levels the stricter one counts", "{0}>=MIN({ttft})", "is stricter than the strictest level"),
    Input("in_tpot_ms", "Time per output token, p95, at most (ms)", "tpot_p95_s", "number",
          "between two levels the stricter one counts", "{0}>=MIN({tpot})", "is stricter than the strictest level"),
    Input("in_estimate", "Estimate to plan with", "estimate", "number",
          "the bad and the good end are those of the 80 % band", "OR({ends})", "choose from the list",
          {"validate": "list", "source": list(ENDS)}),
    Input("in_hours", "Hours per month", "hours_per_month", "number", "8,766 hours a year are 730.5 a month",
          "AND({0}>0,{0}<=744)", "must be 1 to 744", between(0.01, 744)),
    Input("in_discount", "Discount on the prices", "discount_ratio", "share",
          "your contract, off every price of the sheet Prices", "AND({0}>=0,{0}<=1)", "must be 0 to 100 %",
          between(0, 1)),
    Input("in_electricity", "Electricity, USD per kWh", "electricity_usd_per_kwh", "money",
          "0 where the price of a device holds it, as in a cloud", "AND({0}>=0,{0}<=100)",
          "must be 0 to 100", between(0, 100)),
    Input("in_pue", "PUE", "pue_ratio", "factor", "power of the site over power of its computers",
          "AND({0}>=1,{0}<=10)", "must be 1 to 10", between(1, 10)),
)  # fmt: skip
CELLS = {each.name: f"$B${TOP + 2 + at}" for at, each in enumerate(INPUTS)}
"""The yellow cells by name."""


@dataclass(frozen=True)
class Slice:
    """What the workbook was made for, and the objectives that it knows."""

    model: str
    prompt_tokens: float
    output_tokens: float
    market: str
    ttft_levels_s: Sequence[float]
    tpot_levels_s: Sequence[float]


def milliseconds(seconds: float) -> float:
    """Seconds as people type milliseconds.

    >>> milliseconds(0.035)
    35.0
    """
    return round(seconds * 1e3, 9)


def inputs_sheet(book: Book, sheet: Worksheet, inputs: Inputs, of: Slice) -> None:
    """Write the sheet."""
    for column, width in enumerate((42, 18, 64, 36, 2, 2, 12, 12, 12)):
        sheet.set_column(column, column, width)
    sheet.write_string(0, 0, "Fleet for a rate of requests", book.title())
    sheet.write_string(1, 0, "Change the yellow cells; the sheets Fleet and Charts follow.", book.note())
    rows = range(TOP + 1, TOP + 2 * len(INPUTS) + 6)
    heights(sheet, {0: 28, 1: 18, 2: 26, TOP: 34} | dict.fromkeys(rows, ROW_HEIGHT))
    ladder(book, sheet, of)
    for column, text in enumerate(("Input", "Value", "What it is", "Check")):
        sheet.write_string(TOP, column, text, book.header())
    for at, each in enumerate(INPUTS):
        write_input(book, sheet, TOP + 1 + at, each, inputs, of)
    row = derived(book, sheet, TOP + 2 + len(INPUTS), inputs, of)
    made_for(book, sheet, row + 1, of)
    paper(sheet)


def ranges(of: Slice) -> dict[str, str]:
    """Where the levels stand."""
    first = TOP + 2
    return {
        "ttft": f"Inputs!$G${first}:$G${first + len(of.ttft_levels_s) - 1}",
        "tpot": f"Inputs!$H${first}:$H${first + len(of.tpot_levels_s) - 1}",
        "tpot_s": f"Inputs!$I${first}:$I${first + len(of.tpot_levels_s) - 1}",
    }


def ladder(book: Book, sheet: Worksheet, of: Slice) -> None:
    """The objectives that the sheet Estimates holds."""
    titles = ("Levels of TTFT (s)", "Levels of TPOT (ms)", "the same (s)")
    values = (of.ttft_levels_s, [milliseconds(each) for each in of.tpot_levels_s], of.tpot_levels_s)
    for at, (title, column) in enumerate(zip(titles, values, strict=True)):
        sheet.write_string(TOP, LADDER + at, title, book.header())
        for row, value in enumerate(column):
            sheet.write_number(TOP + 1 + row, LADDER + at, value, book.cell("number"))


def write_input(book: Book, sheet: Worksheet, row: int, each: Input, inputs: Inputs, of: Slice) -> None:
    """One input: words, value, explanation, and a check that holds for pasted values too."""
    value = getattr(inputs, each.of)
    shown = milliseconds(value) if each.name == "in_tpot_ms" else value
    sheet.write_string(row, 0, each.words, book.cell("words"))
    book.write(sheet, row, 1, shown, book.cell(each.shape, is_input=True, bold=True))
    sheet.write_string(row, 2, each.told, book.cell("words", font_color="#52606D"))
    book.workbook.define_name(each.name, f"={SHEET}!{CELLS[each.name]}")
    ends = ",".join(f'in_estimate="{name}"' for name in ENDS)
    rule = each.rule.format(each.name, ends=ends, **ranges(of))
    number = "" if each.name == "in_estimate" else f"ISNUMBER({each.name}),"
    style = book.cell("words", font_color=RED)
    sheet.write_formula(row, 3, f'=IF(IFERROR(AND({number}{rule}),FALSE),"","{each.must}")', style, "")
    guards = {"in_ttft_s": "ttft", "in_tpot_ms": "tpot"}
    levels = {"validate": "list", "source": f"={ranges(of)[guards[each.name]]}"} if each.name in guards else each.valid
    sheet.data_validation(row, 1, row, 1, levels | {"error_title": "Not possible", "error_message": guard(each)})


def guard(each: Input) -> str:
    """What the spreadsheet says to a value that cannot be."""
    return "Choose one from the list." if each.must.startswith(("is", "choose")) else f"{each.words}: {each.must}."


def derived(book: Book, sheet: Worksheet, row: int, inputs: Inputs, of: Slice) -> int:
    """What the inputs come to, in named cells that other sheets use; returns the row after."""
    at = ranges(of)
    told = [
        ("plan_requests_per_s", "Rate to plan for (requests/s)", "number", inputs.plan_requests_per_s,
         "=IF(inputs_ok,in_requests_per_s*in_peak_factor*(1+in_headroom),0)",
         "mean x peak x (1 + headroom)"),
        ("level_ttft_s", "Objective used: TTFT p95 (s)", "number", level_of(of.ttft_levels_s, inputs.ttft_p95_s),
         f"=IFERROR(INDEX({at['ttft']},MATCH(in_ttft_s,{at['ttft']},1)),0)", "the loosest level that keeps the input"),
        ("level_tpot_s", "Objective used: TPOT p95 (s)", "number", level_of(of.tpot_levels_s, inputs.tpot_p95_s),
         f"=IFERROR(INDEX({at['tpot_s']},MATCH(in_tpot_ms,{at['tpot']},1)),0)",
         "the loosest level that keeps the input"),
        ("case_no", "Estimate used", "count", 1 + list(ENDS).index(inputs.estimate),
         '=IF(in_estimate="good end",3,IF(in_estimate="bad end",2,1))', "1 expected, 2 bad end, 3 good end"),
        ("inputs_ok", "Inputs are possible", "truth", True,
         f"=SUMPRODUCT(LEN($D${TOP + 2}:$D${TOP + 1 + len(INPUTS)}))=0",
         "else no fleet is shown; the column Check says why"),
    ]  # fmt: skip
    for column, text in enumerate(("What they come to", "", "How")):
        sheet.write_string(row, column, text, book.header())
    for line, (name, words, shape, value, formula, how) in enumerate(told, start=row + 1):
        sheet.write_string(line, 0, words, book.cell("words"))
        sheet.write_formula(line, 1, formula, book.cell(shape), 0 if value is None else value)
        sheet.write_string(line, 2, how, book.cell("words", font_color="#52606D"))
        book.workbook.define_name(name, f"={SHEET}!$B${line + 1}")
    return row + 1 + len(told)


def made_for(book: Book, sheet: Worksheet, row: int, of: Slice) -> None:
    """What cannot be changed here: other models and lengths have other estimates."""
    told = [
        ("model", "Model", of.model), ("prompt_tokens", "Prompt tokens", of.prompt_tokens),
        ("output_tokens", "Output tokens", of.output_tokens), ("market", "Market of the prices", of.market),
    ]  # fmt: skip
    for column, text in enumerate(("Made for", "", "Other ones need another export")):
        sheet.write_string(row, column, text, book.header())
    for line, (name, words, value) in enumerate(told, start=row + 1):
        sheet.write_string(line, 0, words, book.cell("words"))
        book.write(sheet, line, 1, value, book.cell("number" if isinstance(value, str) else "count"))
        book.workbook.define_name(f"for_{name}", f"={SHEET}!$B${line + 1}")
