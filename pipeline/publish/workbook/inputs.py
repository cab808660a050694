"""The sheet Inputs: yellow cells with names, checks and drop-downs; what they come to; the answer in one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.publish.workbook.cells import RED, ROW_HEIGHT, Book, formula_text, heights, paper
from pipeline.publish.workbook.numbers import ENDS, Inputs, level_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlsxwriter.worksheet import Worksheet

    from pipeline.publish.words import Words

SHEET = "Inputs"
TOP = 3
LADDER = 6
"""First column of the levels that the drop-downs offer."""


@dataclass(frozen=True)
class Input:
    """One yellow cell: its name in formulas, and the rule that a value must keep; its words stand in `strings/`."""

    name: str
    of: str
    """Field of `Inputs`."""
    shape: str
    rule: str
    """Of the cell `{0}`, as a formula."""
    valid: dict[str, Any]
    """How the spreadsheet itself guards the cell (data validation); a list has its `source` in braces."""


def range_rule(low: float, high: float, kind: str = "decimal") -> dict[str, Any]:
    """A validation: numbers from low to high."""
    return {"validate": kind, "criteria": "between", "minimum": low, "maximum": high}


INPUTS = (
    Input("in_requests_per_s", "requests_per_s", "number", "AND({0}>0,{0}<=10^9)",
          {"validate": "decimal", "criteria": ">", "value": 0}),
    Input("in_peak_factor", "peak_factor_ratio", "factor", "AND({0}>=0.001,{0}<=10^6)", range_rule(0.001, 1_000_000)),
    Input("in_headroom", "headroom_ratio", "share", "AND({0}>=0,{0}<=100)", range_rule(0, 100)),
    Input("in_spare", "spare_replicas", "count", "AND({0}>=0,{0}<=10^6,{0}=INT({0}))",
          range_rule(0, 1_000_000, "integer")),
    Input("in_reserve", "interruption_ratio", "share", "AND({0}>=0,{0}<=1)", range_rule(0, 1)),
    Input("in_ttft_s", "ttft_p95_s", "number", "{0}>=MIN({ttft})", {"validate": "list", "source": "={ttft}"}),
    Input("in_tpot_ms", "tpot_p95_s", "number", "{0}>=MIN({tpot})", {"validate": "list", "source": "={tpot}"}),
    Input("in_estimate", "estimate", "number", "OR({ends})", {"validate": "list", "source": "{ends}"}),
    Input("in_hours", "hours_per_month", "number", "AND({0}>0,{0}<=744)", range_rule(0.01, 744)),
    Input("in_discount", "discount_ratio", "share", "AND({0}>=0,{0}<=1)", range_rule(0, 1)),
    Input("in_electricity", "electricity_usd_per_kwh", "money", "AND({0}>=0,{0}<=100)", range_rule(0, 100)),
    Input("in_pue", "pue_ratio", "factor", "AND({0}>=1,{0}<=10)", range_rule(1, 10)),
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
    sheet.write_string(0, 0, book.say("workbook.inputs_title"), book.title())
    sheet.write_string(1, 0, book.say("workbook.inputs_note"), book.note())
    rows = range(TOP + 1, TOP + 2 * len(INPUTS) + 6)
    heights(sheet, {0: 28, 1: 18, 2: 26, TOP: 34} | dict.fromkeys(rows, ROW_HEIGHT))
    ladder(book, sheet, of)
    headers(book, sheet, TOP, ("input", "value", "what", "check"))
    for at, each in enumerate(INPUTS):
        write_input(book, sheet, TOP + 1 + at, each, inputs, of)
    row = write_derived(book, sheet, TOP + 2 + len(INPUTS), inputs, of)
    made_for(book, sheet, row + 1, of)
    paper(book, sheet)


def headers(book: Book, sheet: Worksheet, row: int, keys: Sequence[str], first: int = 0) -> None:
    """Heads of columns, by key of their words; an empty one has none."""
    for column, key in enumerate(keys, start=first):
        sheet.write_string(row, column, book.say(f"workbook.{key}") if key else "", book.header())


def ranges(of: Slice) -> dict[str, str]:
    """Where the levels stand."""
    columns = {"ttft": ("G", of.ttft_levels_s), "tpot": ("H", of.tpot_levels_s), "tpot_s": ("I", of.tpot_levels_s)}
    return {
        name: f"{SHEET}!${letter}${TOP + 2}:${letter}${TOP + 1 + len(levels)}"
        for name, (letter, levels) in columns.items()
    }


def ladder(book: Book, sheet: Worksheet, of: Slice) -> None:
    """The objectives that the sheet Estimates holds."""
    headers(book, sheet, TOP, ("levels_ttft", "levels_tpot", "levels_tpot_s"), LADDER)
    values = (of.ttft_levels_s, [milliseconds(each) for each in of.tpot_levels_s], of.tpot_levels_s)
    for at, column in enumerate(values):
        for row, value in enumerate(column):
            sheet.write_number(TOP + 1 + row, LADDER + at, value, book.cell("number"))


def typed_value(name: str, value: Any, say: Words) -> Any:
    """The value of an input as people type it."""
    if name == "in_tpot_ms":
        return milliseconds(value)
    return say(f"workbook_values.{value}") if name == "in_estimate" else value


def write_input(book: Book, sheet: Worksheet, row: int, each: Input, inputs: Inputs, of: Slice) -> None:
    """One input: words, value, explanation, and a check that holds for pasted values too."""
    say = book.say
    value = typed_value(each.name, getattr(inputs, each.of), say)
    sheet.write_string(row, 0, say(f"workbook_inputs.{each.name}"), book.cell("words"))
    book.write(sheet, row, 1, value, book.cell(each.shape, is_input=True, bold=True))
    sheet.write_string(row, 2, say(f"workbook_inputs_told.{each.name}"), book.cell("words", font_color="#52606D"))
    book.workbook.define_name(each.name, f"={SHEET}!{CELLS[each.name]}")
    ends = [say(f"workbook_values.{name}") for name in ENDS]
    rule = each.rule.format(
        each.name, ends=",".join(f"in_estimate={formula_text(name)}" for name in ends), **ranges(of)
    )
    number = "" if each.name == "in_estimate" else f"ISNUMBER({each.name}),"
    must = formula_text(say(f"workbook_inputs_must.{each.name}"))
    check = f'=IF(IFERROR(AND({number}{rule}),FALSE),"",{must})'
    sheet.write_formula(row, 3, check, book.cell("words", font_color=RED), "")
    sheet.data_validation(row, 1, row, 1, guard(each, ends, of, say))


def guard(each: Input, ends: Sequence[str], of: Slice, say: Words) -> dict[str, Any]:
    """The validation of a cell, and what the spreadsheet says to a value that cannot be."""
    told = {"error_title": say("workbook.not_possible")}
    if each.valid["validate"] == "list":
        source = ends if each.valid["source"] == "{ends}" else each.valid["source"].format(**ranges(of))
        return {"validate": "list", "source": source, "error_message": say("workbook.choose")} | told
    words = {"input": say(f"workbook_inputs.{each.name}"), "must": say(f"workbook_inputs_must.{each.name}")}
    return each.valid | told | {"error_message": say("workbook.guard", **words)}


def write_derived(book: Book, sheet: Worksheet, row: int, inputs: Inputs, of: Slice) -> int:
    """What the inputs come to, in named cells that other sheets use; returns the row after."""
    at, say = ranges(of), book.say
    bad, good = (formula_text(say(f"workbook_values.{name}")) for name in ("bad end", "good end"))
    told = [
        ("plan_requests_per_s", "number", inputs.plan_requests_per_s,
         "=IF(inputs_ok,in_requests_per_s*in_peak_factor*(1+in_headroom),0)"),
        ("level_ttft_s", "number", level_of(of.ttft_levels_s, inputs.ttft_p95_s),
         f"=IFERROR(INDEX({at['ttft']},MATCH(in_ttft_s,{at['ttft']},1)),0)"),
        ("level_tpot_s", "number", level_of(of.tpot_levels_s, inputs.tpot_p95_s),
         f"=IFERROR(INDEX({at['tpot_s']},MATCH(in_tpot_ms,{at['tpot']},1)),0)"),
        ("case_no", "count", 1 + list(ENDS).index(inputs.estimate),
         f"=IF(in_estimate={good},3,IF(in_estimate={bad},2,1))"),
        ("inputs_ok", "truth", True, f"=SUMPRODUCT(LEN($D${TOP + 2}:$D${TOP + 1 + len(INPUTS)}))=0"),
    ]  # fmt: skip
    headers(book, sheet, row, ("come_to", "", "how"))
    for line, (name, shape, value, formula) in enumerate(told, start=row + 1):
        sheet.write_string(line, 0, say(f"workbook_derived.{name}"), book.cell("words"))
        sheet.write_formula(line, 1, formula, book.cell(shape), 0 if value is None else value)
        how = say(f"workbook_derived_told.{name}")
        sheet.write_string(line, 2, how, book.cell("words", font_color="#52606D"))
        book.workbook.define_name(name, f"={SHEET}!$B${line + 1}")
    return row + 1 + len(told)


def made_for(book: Book, sheet: Worksheet, row: int, of: Slice) -> None:
    """What cannot be changed here: other models and lengths have other estimates."""
    told = {name: getattr(of, name) for name in ("model", "prompt_tokens", "output_tokens")}
    told["market"] = book.say.value("value", of.market)
    headers(book, sheet, row, ("made_for", "", "made_for_others"))
    for line, (name, value) in enumerate(told.items(), start=row + 1):
        sheet.write_string(line, 0, book.say(f"workbook.{name}"), book.cell("words"))
        book.write(sheet, line, 1, value, book.cell("number" if isinstance(value, str) else "count"))
        book.workbook.define_name(f"for_{name}", f"={SHEET}!$B${line + 1}")
