"""The sheet Fleet: for each accelerator the fleet of the fewest devices, in live formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlsxwriter.utility import xl_col_to_name

from pipeline.fleet.sizing import MOST_REPLICAS
from pipeline.publish.workbook_cells import GREEN, GREY, ROW_HEIGHT, Book, Column, head, heights, paper, write_row
from pipeline.publish.workbook_inputs import milliseconds
from pipeline.publish.workbook_numbers import ENDS, level_of, rounded

if TYPE_CHECKING:
    import polars as pl
    from xlsxwriter.worksheet import Worksheet

    from pipeline.publish.workbook_inputs import Slice
    from pipeline.publish.workbook_numbers import Inputs

SHEET = "Fleet"
TOP = 4


def picked(name: str) -> str:
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
    Column("rank", "Rank", 7, "count", "1 is the cheapest month; of equal ones the fleet of fewer "
           "devices. Without a price there is no rank.",
           '=IF({order}="","",RANK({order},{order:all},1)+SUMPRODUCT(({order:all}={order})*(({devices:all}<{devices})'
           "+({devices:all}={devices})*({accelerator_no:all}<{accelerator_no}))))"),
    Column("accelerator", "Accelerator", 25, "text", "Device."),
    Column("plan", "Plan", 38, "text", "The choice among the estimates at the objective in force: the fewest devices "
           "after rounding up, spares included; of equal ones the fewer devices per replica, then the first by name.",
           '=IF({pick}="","no plan keeps the objective",INDEX(Estimates[plan],{pick}))',
           missing="no plan keeps the objective"),
    Column("replicas", "Replicas", 10, "count", "Those that work: rate to plan for / rate of "
           "one replica, rounded up; the spares; the reserve for interruptions.",
           picked("replicas")),
    Column("devices", "Devices", 10, "count", "Replicas x devices of a replica.", picked("devices")),
    Column("nodes", "Nodes", 8, "count", "A replica is not split over nodes that could hold it whole.",
           '=IF({pick}="","",IF(INDEX(Estimates[device_count],{pick})<=INDEX(Estimates[node_devices],{pick}),'
           "ROUNDUP({replicas}/INT(INDEX(Estimates[node_devices],{pick})/INDEX(Estimates[device_count],{pick})),0),"
           "{replicas}*ROUNDUP(INDEX(Estimates[device_count],{pick})/INDEX(Estimates[node_devices],{pick}),0)))"),
    Column("paid_usd_per_hour", "USD per device-hour", 13, "money", "Price of the sheet Prices, less the discount.",
           f'=IF(ISNUMBER({PRICE}),IFERROR({PRICE}*(1-in_discount),"no price"),"no price")',
           missing="no price"),
    Column("usd_per_hour", "USD per hour", 13, "rate", "Devices x price, and electricity where the input says so.",
           '=IF(OR({pick}="",NOT(ISNUMBER({paid_usd_per_hour}))),"",'
           "{devices}*{paid_usd_per_hour}+N({month_kwh})*in_electricity/in_hours)"),
    Column("usd_per_month", "USD per month", 15, "usd", "USD per hour x hours per month.",
           '=IF({usd_per_hour}="","",{usd_per_hour}*in_hours)'),
    Column("usd_per_mtok_output", "USD per million output tokens", 16, "rate",
           "USD per hour over the output tokens of an hour at the mean rate.",
           '=IF({usd_per_hour}="","",{usd_per_hour}/(in_requests_per_s*for_output_tokens*3600)*1000000)'),
    Column("replica_requests_per_s", "Requests/s of one replica", 14, "speed",
           "The largest rate at which the objective holds.",
           f'=IF({{pick}}="","",CHOOSE(case_no,{RATES}))'),
    Column("load_ratio", "Load over capacity", 12, "share",
           "Rate to plan for over what all replicas carry at the objective, spares included.",
           '=IF({pick}="","",plan_requests_per_s/({replicas}*{replica_requests_per_s}))'),
    Column("holds_at_bad_end", "Holds at the bad end", 17, "text",
           "Whether these replicas carry the rate, without headroom, where the truth is at the bad end of the 80 % "
           "band; no fleet of this plan does where its replicas then miss the objective at any rate.",
           f'=IF({{pick}}="","",IF({LOW}<=0,"no fleet does",IF({CARRY}>{{replicas}},"no",'
           f'IF({CARRY}>INDEX(Estimates[working_replicas],{{pick}}),"with its spares","yes"))))'),
    Column("bad_end_replicas", "Replicas at the bad end", 15, "count",
           "How many replicas of this plan, headroom and spares included, the bad end of the band asks for.",
           f'=IF({{pick}}="","",IF({LOW}<=0,"",{BAD}+in_spare+MAX(0,ROUNDUP({BAD}*in_reserve-1E-9,0))))'),
    Column("month_kwh", "kWh per month at full load", 16, "count",
           "Power of all replicas at work x PUE x hours per month.",
           '=IF({pick}="","",IF(ISNUMBER(INDEX(Estimates[power_w],{pick})),'
           '{replicas}*INDEX(Estimates[power_w],{pick})/1000*in_pue*in_hours,""))'),
    Column("confidence", "Confidence", 19, "text", "Evidence behind the estimate; see below.", picked("confidence")),
    Column("limited_by", "Limited by", 18, "text", "What limits a replica.", picked("limited_by")),
    Column("accelerator_no", "No.", 8, "count", "Row of the accelerator in Prices and of its estimates.",
           is_helper=True),
    Column("pick", "Row of Estimates", 10, "count", "Where the choice stands in the sheet Estimates.",
           f'=IFERROR(MATCH({MINIFS}(Estimates[key],Estimates[accelerator_no],{{accelerator_no}}),Estimates[key],0),"")',
           is_helper=True),
    Column("order", "Ranked by", 12, "rate", "USD per month to a millionth: what is ranked.",
           '=IF({usd_per_month}="","",ROUND({usd_per_month},6))', is_helper=True),
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
    sheet.write_string(0, 0, "Fleet", book.title())
    asked(book, sheet, inputs, of)
    headline(book, sheet, (2, 0), rows)
    heights(sheet, {0: 28, 1: 18, 2: 24} | dict.fromkeys(range(TOP + 1, TOP + 1 + rows.height), ROW_HEIGHT))
    head(book, sheet, FLEET, TOP)
    last = TOP + rows.height
    for at, row in enumerate(rows.iter_rows(named=True), start=TOP + 1):
        write_row(book, sheet, FLEET, (at, TOP + 1, last), row)
    first, width = TOP + 2, len(FLEET) - 1
    for rule, look in (
        (f"=${LETTERS['rank']}{first}=1", {"bg_color": GREEN, "bold": True}),
        (f'=${LETTERS["pick"]}{first}=""', {"font_color": GREY, "italic": True}),
    ):
        style = book.workbook.add_format(look)
        sheet.conditional_format(TOP + 1, 0, last, width, {"type": "formula", "criteria": rule, "format": style})
    sheet.freeze_panes(TOP + 1, 2)
    sheet.autofilter(TOP, 0, last, width)
    paper(sheet, repeat=TOP)


def asked(book: Book, sheet: Worksheet, inputs: Inputs, of: Slice) -> None:
    """The second line: what the fleet is for, or that an input cannot be."""
    formula = (
        '=IF(inputs_ok,for_model&": "&ROUND(plan_requests_per_s,6)&" requests/s to plan for, "&for_prompt_tokens&" + "'
        '&for_output_tokens&" tokens; p95 of TTFT at most "&level_ttft_s&" s, of TPOT at most "&level_tpot_s*1000'
        '&" ms; "&in_spare&" spare; estimate: "&in_estimate,"An input cannot be: see the column Check of Inputs.")'
    )
    sheet.write_formula(1, 0, formula, book.note(), sentence(inputs, of))


def sentence(inputs: Inputs, of: Slice) -> str:
    """What that line says."""
    ttft_s = level_of(of.ttft_levels_s, inputs.ttft_p95_s) or 0
    tpot_ms = milliseconds(level_of(of.tpot_levels_s, inputs.tpot_p95_s) or 0)
    numbers = [rounded(inputs.plan_requests_per_s, 6), of.prompt_tokens, of.output_tokens, ttft_s, tpot_ms]
    rate, prompt, output, ttft, tpot = (f"{each:.15g}" for each in numbers)
    return (
        f"{of.model}: {rate} requests/s to plan for, {prompt} + {output} tokens; p95 of TTFT at most {ttft} s, "
        f"of TPOT at most {tpot} ms; {inputs.spare_replicas} spare; estimate: {inputs.estimate}"
    )


def headline(book: Book, sheet: Worksheet, place: tuple[int, int], rows: pl.DataFrame) -> None:
    """The answer in one line: the cheapest fleet."""
    height = rows.height
    month = f'TEXT({best("usd_per_month", height, "0")},"#,##0")'
    formula = (
        f'=IF(COUNT({column("rank", height)})=0,"No fleet with a price keeps the objective.",'
        f'"Cheapest: "&{best("devices", height)}&" x "&{best("accelerator", height)}&" ("&{best("replicas", height)}'
        f'&" replicas, "&{best("plan", height)}&"): USD "&{month}&" per month")'
    )
    style = book.format(bold=True, font_size=12, font_color="#0B7285", indent=0)
    sheet.write_formula(*place, formula, style, answer(rows))


def answer(rows: pl.DataFrame) -> str:
    """What that line says."""
    first = rows.filter(rank=1)
    if first.is_empty():
        return "No fleet with a price keeps the objective."
    row = first.row(0, named=True)
    return (
        f"Cheapest: {row['devices']} x {row['accelerator']} ({row['replicas']} replicas, {row['plan']}): "
        f"USD {rounded(row['usd_per_month'], 0):,.0f} per month"
    )
