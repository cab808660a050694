"""The workbook: its cached cells, its live formulas in LibreOffice, and hostile names; rows as CSV and Parquet."""

from __future__ import annotations

import dataclasses
import html
import json
import os
import random
import re
import shutil
import string
import subprocess
import zipfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openpyxl
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from xlsxwriter.utility import xl_col_to_name

from pipeline.core.errors import PipelineError
from pipeline.fleet.options import Choice, Demand
from pipeline.fleet.plans import FleetPlan, best_of_each, plan_fleets
from pipeline.fleet.sizing import TIES, Sizing
from pipeline.publish.words import LANGUAGES, Words, words_in
from pipeline.publish.workbook.book import numbered, write_workbook
from pipeline.publish.workbook.charts import MOST
from pipeline.publish.workbook.estimates import ESTIMATES, PRICES
from pipeline.publish.workbook.fleet import FLEET, TOP, demand_text, headline_text
from pipeline.publish.workbook.inputs import CELLS, INPUTS, Slice, typed_value
from pipeline.publish.workbook.notes import About
from pipeline.publish.workbook.numbers import (
    ENDS,
    TPOT_LEVELS_S,
    TTFT_LEVELS_S,
    Inputs,
    fleet_rows,
    size_options,
    useful_options,
)
from pipeline.publish.workbook.options import export_workbook
from pipeline.publish.workbook.values import translate
from tests.conftest import AS_OF, invoke
from tests.support import catalogs

if TYPE_CHECKING:
    from collections.abc import Iterator

EVIL = ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", ">0", "a*b?~c", "{x}", "<b>&\"'", "\uff1d1")
DEVICES = ("h100", "h200", "l4", *EVIL)
FIRST = Inputs(20, 1.0, 0.05, headroom_ratio=0.1, spare_replicas=1, pue_ratio=1.54)
OF = Slice("=HYPERLINK(1)", 2048, 300, "on-demand", TTFT_LEVELS_S, TPOT_LEVELS_S)
KNOWN = {"IF", "IFERROR", "AND", "OR", "NOT", "MAX", "MIN", "ROUND", "ROUNDUP", "INT", "N", "ISNUMBER", "CHOOSE",
         "INDEX", "MATCH", "MINIFS", "RANK", "SUMPRODUCT", "COUNT", "LEN", "TEXT"}  # fmt: skip
"""Functions that Excel 2019 and LibreOffice 7 both know."""
COMMAND = ("--model", "llama-3.1-8b", "--requests-per-s", 20, "--isl", 2048, "--osl", 300, "--accelerator", "h100",
           "--ttft-p95", "1s", "--tpot-p95", "50ms", "--as-of", AS_OF)  # fmt: skip


def made_up(seed: int = 7) -> pl.DataFrame:
    """Options of several devices at every objective: more devices carry more, a stricter objective less."""
    rng, rows = random.Random(seed), []  # noqa: S311
    for name in DEVICES:
        base = rng.uniform(0.1, 3)
        for weights, tp, ttft_s, tpot_s in (
            (w, tp, a, b) for w in ("bf16", "fp8") for tp in (1, 4, 16) for a in TTFT_LEVELS_S for b in TPOT_LEVELS_S
        ):
            rate = base * tp**0.8 * (1.0 - 0.2 / ttft_s) * (1.0 - 0.015 / tpot_s) * rng.uniform(0.7, 1.4) - 0.4
            rows.append({
                "accelerator": name, "weights": weights, "kv": weights, "engine": "=vllm", "device_count": tp, "tp": tp,
                "pp": 1, "ep": 1, "dp": 1, "node_devices": 8, "ttft_slo_s": ttft_s, "tpot_slo_s": tpot_s,
                "slo_requests_per_s": max(0.0, rate), "slo_requests_per_s_lo": max(0.0, 0.7 * rate - 0.1),
                "slo_requests_per_s_hi": max(0.0, 1.3 * rate), "power_w": None if name == "l4" else 500.0 * tp,
                "confidence": "calibrated", "limited_by": "+memory",
            })  # fmt: skip
    return pl.DataFrame(rows)


def made_up_prices() -> pl.DataFrame:
    """A price for each device but two; the last two cost the same."""
    asked = [3.0, None, 0.7, *(1.1 + 0.13 * at for at in range(len(EVIL) - 3)), None, 2.0, 2.0]
    told = {"price_cloud": "@cloud", "price_date": date(2026, 7, 20), "price_note": "listed", "price_source": "-x"}
    return pl.DataFrame(
        [{"accelerator": n, "device_usd_per_hour": p, **told} for n, p in zip(DEVICES, asked, strict=True)]
    )


def about() -> About:
    """Where the made-up numbers come from."""
    source = {"what": "=price", "title": "+title", "url": "https://example.org", "read_on": date(2026, 7, 20)}
    return About("0.1.0", AS_OF, "0123456789", "=capgrid export", pl.DataFrame([source]))


@dataclasses.dataclass(frozen=True)
class Made:
    """A workbook in a language, and what its formulas stand for."""

    path: Path
    say: Words
    estimates: pl.DataFrame
    prices: pl.DataFrame
    rows: pl.DataFrame


def workbook(path: Path, lang: str) -> Made:
    """The workbook of the made-up options."""
    rows = write_workbook(path, made_up(), made_up_prices(), FIRST, OF, about(), lang)
    return Made(path, words_in(lang), *numbered(made_up(), made_up_prices(), FIRST, OF.output_tokens), rows)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """That workbook in English."""
    return workbook(tmp_path_factory.mktemp("workbook") / "fleet.xlsx", "en")


@pytest.fixture(scope="module")
def chinese(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """And in Chinese."""
    return workbook(tmp_path_factory.mktemp("workbook") / "fleet-zh.xlsx", "zh")


def cells(rows: pl.DataFrame, say: Words) -> Iterator[list[Any]]:
    """What the cells of each row of the sheet Fleet should show."""
    missing = {each.name: say(f"workbook_values.{each.missing}") if each.missing else "" for each in FLEET}
    for row in translate(rows, say).iter_rows(named=True):
        yield [missing[each.name] if row[each.name] is None else row[each.name] for each in FLEET]


def same(got: Any, wanted: Any) -> bool:
    """Equal texts; numbers equal to what a double keeps after a few operations."""
    if isinstance(wanted, (int, float)):
        return got == pytest.approx(wanted, rel=1e-10, abs=1e-9)
    return (got or "") == wanted


# ----- what stands in the file


@pytest.mark.parametrize("lang", LANGUAGES)
def test_cached_values_are_the_pipelines(request: pytest.FixtureRequest, lang: str) -> None:
    """A reader that cannot calculate sees right numbers."""
    made: Made = request.getfixturevalue({"en": "made", "zh": "chinese"}[lang])
    book = openpyxl.load_workbook(made.path, data_only=True)
    assert book.sheetnames == ["Inputs", "Fleet", "Estimates", "Prices", "Charts", "Notes"]
    for at, row in enumerate(cells(made.rows, made.say), start=TOP + 2):
        for column, wanted in enumerate(row, start=1):
            assert same(book["Fleet"].cell(at, column).value, wanted), (FLEET[column - 1].name, row)
    first = [book["Charts"].cell(5, column).value for column in range(1, 4)]
    best = made.rows.filter(rank=1).row(0, named=True)
    assert first == [1, best["accelerator"], pytest.approx(best["usd_per_month"])]


def test_formulas_are_ours_and_known_to_both(made: Made) -> None:
    """No text becomes a formula, and no function is too young for a spreadsheet that people have."""
    book = openpyxl.load_workbook(made.path)
    formulas = [str(cell.value) for sheet in book for row in sheet.iter_rows() for cell in row if cell.data_type == "f"]
    assert len(formulas) > 500
    used = {name for each in formulas for name in re.findall(r"([A-Z][A-Z0-9.]*)\(", each.replace("_xlfn.", ""))}
    assert used <= KNOWN
    assert not [each for each in formulas for name in EVIL if len(name) > 2 and name in each]
    texts = {str(cell.value) for sheet in book for row in sheet.iter_rows() for cell in row if cell.data_type == "s"}
    assert {name for name in EVIL if name.strip() == name} <= texts
    assert {"=HYPERLINK(1)", "=capgrid export", "+memory", "@cloud", "-x"} <= texts


def test_inputs_are_named_guarded_and_within_their_guards(made: Made) -> None:
    """Every yellow cell has a name and a validation."""
    book = openpyxl.load_workbook(made.path)
    assert set(CELLS) <= set(book.defined_names)
    guarded = {str(each.sqref) for each in book["Inputs"].data_validations.dataValidation}
    assert guarded == {cell.replace("$", "") for cell in CELLS.values()}
    assert set(book["Estimates"].tables) | set(book["Prices"].tables) == {"Estimates", "Prices"}


# ----- languages


def test_a_language_changes_words_alone(made: Made, chinese: Made) -> None:
    """Formulas differ in the texts that they say; names of sheets, cells and columns are the same."""
    ours, theirs = (openpyxl.load_workbook(each.path) for each in (made, chinese))
    assert theirs.sheetnames == ours.sheetnames
    assert {name: each.value for name, each in theirs.defined_names.items()} == {
        name: each.value for name, each in ours.defined_names.items()
    }
    for name, columns in (("Estimates", ESTIMATES), ("Prices", PRICES)):
        table = theirs[name].tables[name]
        assert table.ref == ours[name].tables[name].ref
        assert table.column_names == [each.name for each in columns]
    for sheet in ours:
        assert wordless(theirs[sheet.title]) == wordless(sheet)


def wordless(sheet: Any) -> dict[str, str]:
    """Formulas by cell without the texts in them; sentences have an order of their own in each language."""
    formulas = {cell.coordinate: cell.value for row in sheet.iter_rows() for cell in row if cell.data_type == "f"}
    return {at: re.sub(r'"[^"]*"', "word", text) for at, text in formulas.items() if "&" not in text}


def test_nothing_in_english_is_left(chinese: Made) -> None:
    """No text of ours stands in the Chinese workbook as it is in English: in a cell, a formula, a chart or a guard."""
    with zipfile.ZipFile(chinese.path) as file:
        parts = [file.read(name).decode() for name in file.namelist() if name.endswith(".xml")]
    texts = {html.unescape(each) for part in parts for each in re.findall(r">([^<>]+)<", part)}
    texts |= {html.unescape(each) for part in parts for each in re.findall(r' error(?:Title)?="([^"]*)"', part)}
    texts |= {
        word for text in texts for literal in re.findall(r'"([^"]*)"', text) for word in (literal, *literal.split(","))
    }
    left = texts & (pieces(words_in("en")) - pieces(chinese.say) - OUTSIDE)
    assert left == set()
    assert len(texts & pieces(chinese.say)) > 150


def pieces(say: Words) -> set[str]:
    """Texts that a workbook may hold, cut at their placeholders."""
    texts = [text for key, text in say.texts.items() if key.startswith(("workbook", "value."))]
    return {piece for text in texts for piece, *_ in string.Formatter().parse(text)}


OUTSIDE = {"accelerator", "Fleet", "Estimates", "Prices", "Charts", "Notes", "Inputs", "memory"}
"""English words of ours that are names of sheets and columns or made-up values too."""


# ----- choices


@pytest.mark.parametrize("seed", range(30))
def test_what_is_left_out_could_not_be_chosen(seed: int) -> None:
    """The slice of the estimates gives the choice of all of them."""
    rng, options = random.Random(seed), made_up(seed)  # noqa: S311
    inputs = random_inputs(rng)
    kept = useful_options(options)
    assert kept.height < options.height

    def best(frame: pl.DataFrame) -> pl.DataFrame:
        found = size_options(frame.with_columns(accelerator_no=1), inputs).filter(pl.col("devices").is_not_null())
        names = ["accelerator", *(name for name in TIES if name in found.columns and name != "accelerator")]
        return best_of_each(found.sort(names), "accelerator").select("accelerator", "replicas", *TIES[:2], "weights")

    assert_frame_equal(best(kept), best(options))


@pytest.mark.parametrize(("rate", "market", "more"), [
    (20, "on-demand", {}),
    (333, "spot", {"headroom_ratio": 0.25, "spare_replicas": 2}),
    (1.5, "owned", {"headroom_ratio": 0.0, "spare_replicas": 0}),
    (90, "reserved-1y", {"plan_requests_per_s": 150.0, "headroom_ratio": 0.2}),
])  # fmt: skip
def test_the_sheet_says_what_capgrid_fleet_says(rate: float, market: str, more: dict[str, Any], tmp_path: Path) -> None:
    """Choice, replicas, devices, nodes and cost of each accelerator are those of the fleets sized one by one."""
    devices = ("h100-sxm-80gb", "h200-sxm-141gb", "a100-sxm-80gb", "l4", "mi300x", "b200-sxm-180gb")
    plan = FleetPlan(
        Demand("llama-3.1-8b", 2048, 300, 0.8, 0.03), Sizing(rate, **more), Choice(devices, market=market),
        mean_requests_per_s=rate if "plan_requests_per_s" in more else None,
    )  # fmt: skip
    mine = export_workbook(tmp_path / "fleet.xlsx", plan, catalogs(), AS_OF, "0", "")
    mine = mine.drop_nulls("devices").sort("accelerator")
    theirs = best_of_each(plan_fleets(plan, catalogs(), AS_OF), "accelerator").sort("accelerator")
    same_names = ["accelerator", "weights", "engine", "tp", "replicas", "devices", "nodes", "slo_requests_per_s",
                  "usd_per_hour", "usd_per_month", "usd_per_mtok_output"]  # fmt: skip
    words = pl.format("{}, TP {}", "engine", "tp")
    assert mine.height >= 3
    assert_frame_equal(mine.select(same_names[4:]), theirs.select(same_names[4:]), rel_tol=1e-12)
    for plan_words, wanted, weights in zip(
        mine["plan"], theirs.select(words).to_series(), theirs["weights"], strict=True
    ):
        assert plan_words.endswith(wanted)
        assert plan_words.startswith(weights)
    if "plan_requests_per_s" not in more:
        assert mine["holds_at_bad_end"].is_in(["yes", "with its spares"]).to_list() == theirs["holds_at_lo"].to_list()


def test_nothing_to_export_is_told(tmp_path: Path) -> None:
    """No plan keeps any objective: a message and no file."""
    options = made_up().with_columns(pl.col(*ENDS.values()) * 0.0)
    with pytest.raises(PipelineError, match="no plan keeps"):
        write_workbook(tmp_path / "fleet.xlsx", options, made_up_prices(), FIRST, OF, about())
    assert not list(tmp_path.iterdir())


# ----- LibreOffice


def random_inputs(rng: random.Random) -> Inputs:
    """Anything that the yellow cells may hold."""
    return Inputs(
        requests_per_s=round(10 ** rng.uniform(-1, 3.5), rng.choice([1, 3])) or 1.0,
        ttft_p95_s=rng.choice([*TTFT_LEVELS_S, 0.7]),
        tpot_p95_s=rng.choice([*TPOT_LEVELS_S, 0.06]),
        peak_factor_ratio=rng.choice([1, 1.5, 2.37]),
        headroom_ratio=rng.choice([0, 0.1, 0.25]),
        spare_replicas=rng.choice([0, 1, 5]),
        interruption_ratio=rng.choice([0, 0.1, 0.3]),
        estimate=rng.choice(list(ENDS)),
        hours_per_month=rng.choice([730.5, 720]),
        discount_ratio=rng.choice([0, 0.15]),
        electricity_usd_per_kwh=rng.choice([0, 0.12]),
        pue_ratio=rng.choice([1, 1.3]),
    )


def typed(inputs: Inputs, prices: dict[int, float | None], say: Words) -> dict[str, Any]:
    """The inputs and some prices as edits of cells."""
    values = {each.name: typed_value(each.name, getattr(inputs, each.of), say) for each in INPUTS}
    edits = {f"Inputs!{CELLS[name].replace('$', '')}": value for name, value in values.items()}
    return edits | {f"Prices!C{TOP + no}": price for no, price in prices.items()}


BAD = (
    {"in_requests_per_s": "many"}, {"in_requests_per_s": -3}, {"in_requests_per_s": None}, {"in_peak_factor": 0},
    {"in_spare": 1.5}, {"in_headroom": -0.1}, {"in_ttft_s": 0.1}, {"in_tpot_ms": "fast"}, {"in_estimate": "rosy"},
    {"in_hours": 0}, {"in_discount": 2}, {"in_reserve": -1}, {"in_electricity": "cheap"}, {"in_pue": 0},
)  # fmt: skip
"""What may be pasted over a validation."""


def in_libreoffice(path: Path, edits: list[dict[str, Any]], reads: list[str]) -> Iterator[dict[str, Any]]:
    """The states of a workbook, as tests/libreoffice.py tells them; skips where LibreOffice or its Python is absent."""
    python = shutil.which("python3", path=os.defpath)
    if not shutil.which("soffice") or not python:
        pytest.skip("LibreOffice is not installed")
    if subprocess.run([python, "-c", "import uno"], capture_output=True, check=False).returncode:
        pytest.skip("the system's Python has no uno")
    job = json.dumps({"path": str(path), "edits": edits, "reads": reads})
    script = Path(__file__).parent / "libreoffice.py"
    done = subprocess.run([python, script], input=job, capture_output=True, text=True, timeout=300, check=True)
    yield from json.loads(done.stdout)


@pytest.mark.parametrize(("lang", "edited", "spoilt"), [("en", 20, len(BAD)), ("zh", 6, 3)])
def test_libreoffice_recalculates_to_the_pipelines_numbers(
    lang: str, edited: int, spoilt: int, request: pytest.FixtureRequest
) -> None:
    """Loaded, recalculated, and after random edits, every cell of Fleet is what the pipeline computes."""
    made: Made = request.getfixturevalue({"en": "made", "zh": "chinese"}[lang])
    rng = random.Random(20261122)  # noqa: S311
    count, say = made.prices.height, made.say
    cases = [
        (
            dataclasses.replace(random_inputs(rng), estimate=list(ENDS)[at % len(ENDS)]),
            {no: rng.choice([None, round(rng.uniform(0.2, 9), 3)]) for no in rng.sample(range(1, count + 1), 3)},
        )
        for at in range(edited)
    ]
    block = f"Fleet!A{TOP + 2}:{xl_col_to_name(len(FLEET) - 1)}{TOP + 1 + count}"
    charts = f"Charts!A5:C{4 + min(MOST, count)}"
    wrong = [
        {f"Inputs!{CELLS[name].replace('$', '')}": value for name, value in each.items()} for each in BAD[-spoilt:]
    ]
    back = typed(FIRST, {}, say)
    edits = [typed(*case, say) for case in cases] + [edit for each in wrong for edit in (back | each, back)]
    loaded, recalculated, *states = in_libreoffice(made.path, edits, [block, "Fleet!A2:A3", charts])
    assert all(state["errors"] == 0 for state in [loaded, recalculated, *states])
    prices = made.prices
    check(loaded, made, prices, FIRST)
    check(recalculated, made, prices, FIRST)
    for state, (inputs, changed) in zip(states, cases, strict=False):
        for no, price in changed.items():
            of_row = pl.col("accelerator_no") == no
            prices = prices.with_columns(
                device_usd_per_hour=pl.when(of_row).then(price).otherwise("device_usd_per_hour")
            )
        check(state, made, prices, inputs)
    for wrong_state, right_state in zip(states[edited::2], states[edited + 1 :: 2], strict=True):
        assert wrong_state["cells"]["Fleet!A2:A3"][0][0] == say("workbook.wrong")
        assert {row[2] for row in wrong_state["cells"][block]} == {say("workbook_values.no_plan")}
        check(right_state, made, prices, FIRST)


def check(state: dict[str, Any], made: Made, prices: pl.DataFrame, inputs: Inputs) -> None:
    """A state of the workbook says what the pipeline computes from the same inputs."""
    rows = fleet_rows(made.estimates, prices, inputs, OF.output_tokens)
    block, lines, charts = state["cells"].values()
    for got, row in zip(block, cells(rows, made.say), strict=True):
        for column, told, wanted in zip(FLEET, got, row, strict=True):
            assert same(told, wanted), (column.name, row, told, wanted, inputs)
    assert [line[0] for line in lines] == [
        demand_text(inputs, OF, made.say),
        headline_text(translate(rows, made.say), made.say),
    ]
    ranked = rows.drop_nulls("rank").sort("rank").head(MOST)
    names = [name.strip() for name in ranked["accelerator"]]  # LibreOffice trims the cached text of a formula
    assert [line[1].strip() for line in charts if line[1]] == names


# ----- the command


def test_command_writes_a_workbook_that_says_how_it_was_made(tmp_path: Path) -> None:
    """Notes hold the command, the day, and the sources."""
    path = tmp_path / "fleet.xlsx"
    assert f"{path}: 1 accelerators" in invoke("export", path, *COMMAND).stderr
    book = openpyxl.load_workbook(path, data_only=True)
    notes = [cell.value for row in book["Notes"].iter_rows() for cell in row if cell.value]
    assert f"capgrid export {path} --model llama-3.1-8b --requests-per-s 20.0" in " ".join(map(str, notes))
    assert "2026-11-22, on-demand" in notes
    assert notes.index("Sources") < len(notes) - 3
    assert book["Fleet"]["B6"].value == "h100-sxm-80gb"


def test_command_speaks_chinese(tmp_path: Path) -> None:
    """The same cells in other words: heads, the answer, and what the catalogs say of a plan."""
    say = words_in("zh")
    for lang in LANGUAGES:
        invoke("export", tmp_path / f"{lang}.xlsx", *COMMAND, "--lang", lang)
    english, chinese = (openpyxl.load_workbook(tmp_path / f"{lang}.xlsx", data_only=True) for lang in LANGUAGES)
    assert [cell.value for cell in chinese["Fleet"][TOP + 1]] == [say(f"workbook_fleet.{each.name}") for each in FLEET]
    ours, theirs = (dict(zip(FLEET, book["Fleet"][TOP + 2], strict=True)) for book in (english, chinese))
    for column, cell in theirs.items():
        wanted = ours[column].value
        known = {"confidence": "value", "limited_by": "value"}.get(column.name)
        if column.name not in {"plan", "holds_at_bad_end"}:
            assert cell.value == (say.value(known, wanted) if known else wanted)
    assert say.value("value", "on-demand") in str(chinese["Prices"]["A2"].value)


@pytest.mark.parametrize(("english", "chinese"), [
    ({"plan": "fp8 weights, bf16 KV, vllm, TP 4, PP 2"}, ("fp8", "bf16", "vllm, TP 4, PP 2")),
    ({"plan": "bf16, sglang, TP 1"}, ("bf16, sglang, TP 1",)),
    ({"price_note": "0.63 of on-demand, assumed"}, ("0.63",)),
    ({"price_note": "owned, at us-average"}, ("us-average",)),
])  # fmt: skip
def test_values_keep_what_they_are_made_of(english: dict[str, str], chinese: tuple[str, ...]) -> None:
    """A text with numbers and names in it is said in Chinese with the same ones, and in English as it was."""
    frame = pl.DataFrame([english])
    assert_frame_equal(translate(frame, words_in("en")), frame)
    (told,) = translate(frame, words_in("zh")).row(0)
    assert all(part in told for part in chinese)
    assert not re.search("weights|assumed|owned", told)


@pytest.mark.parametrize(("words", "told"), [
    (("fleet.ods",), "must end in .xlsx or .csv or .parquet"),
    (("fleet.xlsx", "--zones", "3"), "cannot follow --zones"),
    (("fleet.xlsx", "--arrival-cv", "2", "--availability", "0.999"), "cannot follow --arrival-cv and --availability"),
    (("/dev/null/fleet.xlsx",), "cannot be written"),
    (("fleet.csv", "--lang", "zh"), "--lang: only the workbook"),
    (("fleet.parquet", "--lang", "en"), "--lang: only the workbook"),
    (("fleet.xlsx", "--focus", "--lang", "zh"), "--lang: only the workbook"),
    (("fleet.xlsx", "--lang", "fr"), "'fr' is not one of"),
])  # fmt: skip
def test_what_cannot_be_exported_is_told(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    """A usage error with the way out, and no file."""
    result = invoke("export", tmp_path / words[0], *words[1:], *COMMAND, code=2)
    assert told in result.output
    assert not list(tmp_path.iterdir())
