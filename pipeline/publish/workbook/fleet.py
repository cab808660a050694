"""The sheet Fleet: for each accelerator the fleet of the fewest devices, in live formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlsxwriter.utility import xl_col_to_name

from pipeline.fleet.sizing import MOST_REPLICAS
from pipeline.publish.workbook.cells import (
    GREEN,
    GREY,
    ROW_HEIGHT,
    Book,
    Column,
    chain,
    formula_text,
    head,
    heights,
    paper,
    write_row,
)
from pipeline.publish.workbook.inputs import milliseconds
from pipeline.publish.workbook.numbers import ENDS, level_of, round_half_up

if TYPE_CHECKING:
    import polars as pl
    from xlsxwriter.worksheet import Worksheet

    from pipeline.publish.words import Words
    from pipeline.publish.workbook.inputs import Slice
    from pipeline.publish.workbook.numbers import Inputs

SHEET = "Fleet"
TOP = 4


def pick(name: str) -> str:
    """The formula of a column that the choice among the estimates brings along."""
    return f'=IF({{pick}}="","",INDEX(Estimates[{name}],{{pick}}))'


RATES = ",".join(f"INDEX(Estimates[{rate}],{{pick}})" for rate in ENDS.values())
PRICE = "INDEX(Prices[device_usd_per_hour],MATCH({accelerator_no},Prices[accelerator_no],0))"
MINIFS = "_xlfn.MINIFS"
"""As files spell a function that is younger than their format: Excel would not know it otherwise."""
LOW = "INDEX(Estimates[slo_requests_per_s_lo],{pick})"
CARRY = f"(in_requests_per_s*in_peak_factor/{LOW}-1E-9)"
BAD = f"MIN({MOST_REPLICAS},MAX(1,ROUNDUP(plan_requests_per_s/{LOW}-1E-9,0)))"
FLEET = (
    Column("rank", 7, "count",
           '=IF({order}="","",RANK({order},{order:all},1)+SUMPRODUCT(({order:all}={order})*(({devices:all}<{devices})'
           "+({devices:all}={devices})*({accelerator_no:all}<{accelerator_no}))))"),
    Column("accelerator", 25, "text"),
    Column("plan", 38, "text", '=IF({pick}="",{say.no_plan},INDEX(Estimates[plan],{pick}))', missing="no_plan"),
    Column("replicas", 10, "count", pick("replicas")),
    Column("devices", 10, "count", pick("devices")),
    Column("nodes", 8, "count",
           '=IF({pick}="","",IF(INDEX(Estimates[device_count],{pick})<=INDEX(Estimates[node_devices],{pick}),'
           "ROUNDUP({replicas}/INT(INDEX(Estimates[node_devices],{pick})/INDEX(Estimates[device_count],{pick})),0),"
           "{replicas}*ROUNDUP(INDEX(Estimates[device_count],{pick})/INDEX(Estimates[node_devices],{pick}),0)))"),
    Column("paid_usd_per_hour", 13, "money",
           f"=IF(ISNUMBER({PRICE}),IFERROR({PRICE}*(1-in_discount),{{say.no_price}}),{{say.no_price}})",
           missing="no_price"),
    Column("usd_per_hour", 13, "rate",
           '=IF(OR({pick}="",NOT(ISNUMBER({paid_usd_per_hour}))),"",'
           "{devices}*{paid_usd_per_hour}+N({month_kwh})*in_electricity/in_hours)"),
    Column("usd_per_month", 15, "usd", '=IF({usd_per_hour}="","",{usd_per_hour}*in_hours)'),
    Column("usd_per_mtok_output", 16, "rate",
           '=IF({usd_per_hour}="","",{usd_per_hour}/(in_requests_per_s*for_output_tokens*3600)*1000000)'),
    Column("replica_requests_per_s", 14, "speed", f'=IF({{pick}}="","",CHOOSE(case_no,{RATES}))'),
    Column("load_ratio", 12, "share",
           '=IF({pick}="","",plan_requests_per_s/({replicas}*{replica_requests_per_s}))'),
    Column("holds_at_bad_end", 17, "text",
           f'=IF({{pick}}="","",IF({LOW}<=0,{{say.no_fleet}},IF({CARRY}>{{replicas}},{{say.no}},'
           f"IF({CARRY}>INDEX(Estimates[working_replicas],{{pick}}),{{say.spares}},{{say.yes}}))))"),
    Column("bad_end_replicas", 15, "count",
           f'=IF({{pick}}="","",IF({LOW}<=0,"",{BAD}+in_spare+MAX(0,ROUNDUP({BAD}*in_reserve-1E-9,0))))'),
    Column("month_kwh", 16, "count",
           '=IF({pick}="","",IF(ISNUMBER(INDEX(Estimates[power_w],{pick})),'
           '{replicas}*INDEX(Estimates[power_w],{pick})/1000*in_pue*in_hours,""))'),
    Column("confidence", 19, "text", pick("confidence")),
    Column("limited_by", 18, "text", pick("limited_by")),
    Column("accelerator_no", 8, "count", is_helper=True),
    Column("pick", 10, "count",
           f'=IFERROR(MATCH({MINIFS}(Estimates[key],Estimates[accelerator_no],{{accelerator_no}}),Estimates[key],0),"")',
           is_helper=True),
    Column("order", 12, "rate", '=IF({usd_per_month}="","",ROUND({usd_per_month},6))', is_helper=True),
)  # fmt: skip
LETTERS = {each.name: xl_col_to_name(at) for at, each in enumerate(FLEET)}


def column(name: str, height: int) -> str:
    """One column of the sheet as other sheets name it."""
    return f"{SHEET}!${LETTERS[name]}${TOP + 2}:${LETTERS[name]}${TOP + 1 + height}"


def best(name: str, height: int, missing: str = '""') -> str:
    """The cell of a column in the row of rank 1."""
    return f"IFERROR(INDEX({column(name, height)},MATCH(1,{column('rank', height)},0)),{missing})"


def fleet_sheet(book: Book, sheet: Worksheet, rows: pl.DataFrame, inputs: Inputs, of: Slice) -> None:
    """Write the sheet: what was asked, the cheapest, a row for each accelerator."""
    sheet.write_string(0, 0, book.say("workbook.fleet_title"), book.title())
    write_demand(book, sheet, inputs, of)
    write_headline(book, sheet, (2, 0), rows)
    heights(sheet, {0: 28, 1: 18, 2: 24} | dict.fromkeys(range(TOP + 1, TOP + 1 + rows.height), ROW_HEIGHT))
    head(book, sheet, FLEET, TOP, "workbook_fleet")
    last = TOP + rows.height
    for at, row in enumerate(rows.iter_rows(named=True), start=TOP + 1):
        write_row(book, sheet, FLEET, (at, TOP + 1, last), row)
    first, width = TOP + 2, len(FLEET) - 1
    for rule, look in (
        (f"=${LETTERS['rank']}{first}=1", {"bg_color": GREEN, "bold": True}),
        (f'=${LETTERS["pick"]}{first}=""', {"font_color": GREY, "italic": book.slants}),
    ):
        style = book.workbook.add_format(look)
        sheet.conditional_format(TOP + 1, 0, last, width, {"type": "formula", "criteria": rule, "format": style})
    sheet.freeze_panes(TOP + 1, 2)
    sheet.autofilter(TOP, 0, last, width)
    paper(book, sheet, repeat=TOP)


def write_demand(book: Book, sheet: Worksheet, inputs: Inputs, of: Slice) -> None:
    """The second line: what the fleet is for, or that an input cannot be."""
    asked = {"model": "for_model", "prompt": "for_prompt_tokens", "output": "for_output_tokens", "spare": "in_spare"}
    levels = {"rate": "ROUND(plan_requests_per_s,6)", "ttft": "level_ttft_s", "tpot": "level_tpot_s*1000"}
    told = chain(book.say.texts["workbook.asked"], **asked, **levels, estimate="in_estimate")
    formula = f"=IF(inputs_ok,{told},{formula_text(book.say('workbook.wrong'))})"
    sheet.write_formula(1, 0, formula, book.note(), demand_text(inputs, of, book.say))


def demand_text(inputs: Inputs, of: Slice, say: Words) -> str:
    """What that line says."""
    numbers = {
        "rate": round_half_up(inputs.plan_requests_per_s, 6),
        "prompt": of.prompt_tokens,
        "output": of.output_tokens,
        "ttft": level_of(of.ttft_levels_s, inputs.ttft_p95_s) or 0,
        "tpot": milliseconds(level_of(of.tpot_levels_s, inputs.tpot_p95_s) or 0),
    }
    told = {name: f"{each:.15g}" for name, each in numbers.items()}
    estimate = say(f"workbook_values.{inputs.estimate}")
    return say("workbook.asked", **told, model=of.model, spare=inputs.spare_replicas, estimate=estimate)


def write_headline(book: Book, sheet: Worksheet, place: tuple[int, int], rows: pl.DataFrame) -> None:
    """The answer in one line: the cheapest fleet."""
    height = rows.height
    names = ("devices", "accelerator", "replicas", "plan")
    month = f'TEXT({best("usd_per_month", height, "0")},"#,##0")'
    told = chain(book.say.texts["workbook.cheapest"], month=month, **{name: best(name, height) for name in names})
    formula = f"=IF(COUNT({column('rank', height)})=0,{formula_text(book.say('workbook.none'))},{told})"
    style = book.format(bold=True, font_size=12, font_color="#0B7285", indent=0)
    sheet.write_formula(*place, formula, style, headline_text(rows, book.say))


def headline_text(rows: pl.DataFrame, say: Words) -> str:
    """What that line says."""
    first = rows.filter(rank=1)
    if first.is_empty():
        return say("workbook.none")
    row = first.select("devices", "accelerator", "replicas", "plan", "usd_per_month").row(0, named=True)
    return say("workbook.cheapest", **row, month=f"{round_half_up(row['usd_per_month'], 0):,.0f}")
