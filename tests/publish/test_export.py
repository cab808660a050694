"""Rows as CSV, Parquet and native tables; forecasts in columns of FOCUS; answers of a run."""

from __future__ import annotations

import calendar
import json
from dataclasses import replace
from datetime import date
from math import inf, nan
from typing import TYPE_CHECKING, Any

import openpyxl
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.core.errors import PipelineError
from pipeline.fleet.demand import of_catalogs
from pipeline.fleet.options import Choice, Demand
from pipeline.fleet.plans import FleetPlan, Rhythm, plan_fleets
from pipeline.fleet.sizing import Sizing
from pipeline.publish import tables
from pipeline.publish.focus import PLAN, cost_forecast, later
from pipeline.publish.tables import safe, write_csv, write_plain_parquet, write_xlsx
from pipeline.publish.workbook.cells import HOSTILE
from tests.conftest import AS_OF, Finished, invoke
from tests.support import catalogs

if TYPE_CHECKING:
    from pathlib import Path

EVIL = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "\uff1d1", 'a;b,"c"\n', "<b>&", None]
FLEET = ("--model", "llama-3.1-8b", "--requests-per-s", 20, "--isl", 2048, "--osl", 300, "--accelerator", "h100",
         "--ttft-p95", "1s", "--tpot-p95", "50ms", "--as-of", AS_OF)  # fmt: skip
MANDATORY = {
    # FOCUS 1.4, Cost and Usage, and whether nulls are allowed
    "BilledCost": False, "BillingAccountId": False, "BillingAccountName": True, "BillingCurrency": False,
    "BillingPeriodEnd": False, "BillingPeriodStart": False, "ChargeCategory": False, "ChargeClass": True,
    "ChargeDescription": False, "ChargePeriodEnd": False, "ChargePeriodStart": False, "ContractedCost": False,
    "EffectiveCost": False, "HostProviderName": False, "InvoiceIssuerName": False, "ListCost": False,
    "PricingQuantity": False, "PricingUnit": False, "ServiceCategory": False, "ServiceName": False,
    "ServiceProviderName": False,
}  # fmt: skip


def rows() -> pl.DataFrame:
    """Values of every kind that a cell may get wrong."""
    count = len(EVIL)
    return pl.DataFrame({
        "name": EVIL, "ratio": [0.25, nan, inf, -inf, 1e-9, 1e300, -1.5, None, 3.0], "count": range(-1, count - 1),
        "big": pl.Series([2**63] * count, dtype=pl.UInt64), "day": [date(2026, 11, 22)] * count,
        "is_true": [True] * count, "unknown": [None] * count, "kind": pl.Series(["=a"] * count, dtype=pl.Enum(["=a"])),
    })  # fmt: skip


# ----- files


def test_csv_runs_nothing(tmp_path: Path) -> None:
    """Texts that begin like a formula get an apostrophe, nothing else does; numbers stay numbers."""
    told = safe(rows())
    assert not [name for column in ("name", "kind") for name in told[column].drop_nulls() if name.startswith(HOSTILE)]
    assert [name and name.removeprefix("'") for name in told["name"]] == EVIL
    assert_frame_equal(told.drop("name", "kind"), rows().drop("name", "kind"))
    write_csv(rows(), tmp_path / "rows.csv")
    assert_frame_equal(pl.read_csv(tmp_path / "rows.csv").select("name", "count"), told.select("name", "count"))


def test_parquet_keeps_everything(tmp_path: Path) -> None:
    """Only categories become text."""
    write_plain_parquet(rows(), tmp_path / "rows.parquet")
    assert_frame_equal(pl.read_parquet(tmp_path / "rows.parquet"), rows().cast({"kind": pl.String}))


def test_a_sheet_holds_a_native_table(tmp_path: Path) -> None:
    """Texts are texts, numbers numbers, days days; what is no number is empty; equal rows are equal files."""
    paths = tmp_path / "rows.xlsx", tmp_path / "again.xlsx"
    for path in paths:
        write_xlsx(rows(), path, "=What?", [("=name", "+text")], AS_OF)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    book = openpyxl.load_workbook(paths[0])
    sheet = book["Rows"]
    assert sheet.tables["Rows"].ref == f"A4:H{4 + len(EVIL)}"
    assert not [cell for each in book for row in each.iter_rows() for cell in row if cell.data_type == "f"]
    table = [[cell.value for cell in row] for row in sheet.iter_rows(min_row=4)]
    assert table[0] == rows().columns
    columns = dict(zip(table[0], zip(*table[1:], strict=True), strict=True))
    assert list(columns["name"]) == EVIL
    assert list(columns["ratio"]) == [0.25, None, None, None, 1e-9, 1e300, -1.5, None, 3]
    assert columns["big"][0] == 2.0**63
    assert columns["day"][0].date() == date(2026, 11, 22)
    assert set(columns["is_true"]) == {True}
    assert set(columns["kind"]) == {"=a"}
    assert book["Notes"]["A3"].value == "=name"


def test_a_sheet_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows than a sheet holds are refused, with the way out, and leave no file."""
    monkeypatch.setattr(tables, "MOST_ROWS", 3)
    with pytest.raises(PipelineError, match=r"9 rows are more than a sheet holds .*\.parquet"):
        write_xlsx(rows(), tmp_path / "rows.xlsx", "", [], AS_OF)
    assert not list(tmp_path.iterdir())


# ----- a fleet


def test_rows_are_those_of_fleet(tmp_path: Path) -> None:
    """CSV and Parquet hold what `capgrid fleet` finds, all of it."""
    for suffix in ("csv", "parquet"):
        invoke("export", tmp_path / f"fleet.{suffix}", *FLEET)
    (tmp_path / "told.parquet").write_bytes(invoke("fleet", *FLEET, "--format", "parquet").stdout_bytes)
    told = pl.read_parquet(tmp_path / "told.parquet")
    assert_frame_equal(pl.read_parquet(tmp_path / "fleet.parquet"), told)
    assert pl.read_csv(tmp_path / "fleet.csv").columns == told.columns
    assert pl.read_csv(tmp_path / "fleet.csv")["devices"].to_list() == told["devices"].to_list()


# ----- a forecast


def plan_of(market: str = "on-demand", growth_ratio: float | None = 0.2, **choice: Any) -> FleetPlan:
    """A fleet whose traffic grows by a fifth each month, or one of a steady rate."""
    devices = ("h100-sxm-80gb", "l4", "a100-sxm-80gb")
    plan = FleetPlan(Demand("llama-3.1-8b", 2048, 300, 1.0, 0.05), Sizing(40), Choice(devices, market=market, **choice))
    if growth_ratio is None:
        return plan
    traffic = of_catalogs(catalogs(), ["chat-steady"]).with_columns(growth_per_month_ratio=pl.lit(growth_ratio))
    return later(replace(plan, rhythm=Rhythm(traffic)), 0)


@pytest.mark.parametrize(("market", "growth"), [("on-demand", 0.2), ("reserved-1y", None), ("owned", 0.2),
                                                ("spot", -0.3)])  # fmt: skip
def test_a_forecast_is_focus(market: str, growth: float | None) -> None:
    """Columns are those of the specification and in its order; costs are quantities x prices; months follow."""
    told = cost_forecast(plan_of(market, growth), catalogs(), AS_OF, 14)
    focus = [name for name in told.columns if not name.startswith("x_")]
    assert focus == sorted(focus)
    assert told.columns[: len(focus)] == focus
    assert MANDATORY.keys() <= set(focus)
    assert not [name for name in focus if told[name].has_nulls() and not MANDATORY.get(name)]
    for cost, price in (("ListCost", "ListUnitPrice"), ("EffectiveCost", "ContractedUnitPrice")):
        assert told[cost].to_list() == (told[price] * told["PricingQuantity"]).to_list()
    assert told["ChargePeriodEnd"].to_list()[:-1] == told["ChargePeriodStart"].to_list()[1:]
    months = [date.fromisoformat(each[:10]) for each in told["ChargePeriodStart"]]
    assert (months[0], months[-1]) == (date(2026, 12, 1), date(2028, 1, 1))
    hours = [24 * calendar.monthrange(each.year, each.month)[1] for each in months]
    assert told["PricingQuantity"].to_list() == [n * h for n, h in zip(told["x_Devices"], hours, strict=True)]
    assert json.loads(told["Tags"][0])["model"] == "llama-3.1-8b"
    assert set(told["PricingCategory"]) <= {"Standard", "Dynamic", "Committed", "Other"}
    dearer = told["ListUnitPrice"] > told["ContractedUnitPrice"]
    assert dearer.all() if market == "reserved-1y" else not dearer.any()


def test_a_month_is_sized_as_fleet_sizes_it() -> None:
    """The plan of the least sum over the months, and its devices in each; traffic that grows needs more."""
    plan, count = plan_of(), 4
    told = cost_forecast(plan, catalogs(), AS_OF, count)
    each = [plan_fleets(later(plan, k), catalogs(), AS_OF).drop_nulls("usd_per_hour") for k in range(1, count + 1)]
    hours = [24 * calendar.monthrange(2026 + (m > 12), (m - 1) % 12 + 1)[1] for m in range(12, 12 + count)]
    summed = pl.concat(f.with_columns(usd=pl.col("usd_per_hour") * h) for f, h in zip(each, hours, strict=True))
    totals = summed.group_by(PLAN).agg(pl.col("usd").sum())
    assert told["EffectiveCost"].sum() == pytest.approx(totals["usd"].min())
    best = totals.sort("usd").head(1).select(PLAN)
    devices = [frame.join(best, on=PLAN, how="semi")["devices"].item() for frame in each]
    assert told["x_Devices"].to_list() == devices
    assert devices == sorted(devices)
    assert devices[0] < devices[-1]
    assert told["x_MeanRequestsPerSecond"].to_list() == pytest.approx([5.53 * 1.2**k for k in range(1, count + 1)])


def test_without_growth_months_differ_by_their_hours() -> None:
    """A steady rate needs the same devices in every month."""
    told = cost_forecast(plan_of(growth_ratio=None), catalogs(), date(2027, 2, 1), 2)
    assert told["ChargePeriodStart"].to_list() == ["2027-02-01T00:00:00Z", "2027-03-01T00:00:00Z"]
    assert told["x_Devices"].n_unique() == 1
    assert told["EffectiveCost"][1] / told["EffectiveCost"][0] == pytest.approx(31 / 28)


def test_a_fleet_without_a_price_has_no_forecast() -> None:
    """No price, no cost: told, not guessed."""
    with pytest.raises(PipelineError, match="has a price"):
        cost_forecast(plan_of(clouds=("no-such-cloud",)), catalogs(), AS_OF, 3)


def test_the_command_writes_a_forecast(tmp_path: Path) -> None:
    """Its sum stands in what it says; a workbook of it says what it is."""
    traffic = ("--traffic", "chat-business-hours", "--focus", "--months", 3)
    said = invoke("export", tmp_path / "cost.csv", *FLEET, *traffic).stderr
    told = pl.read_csv(tmp_path / "cost.csv")
    assert told.height == 3
    assert f"3 months from 2026-12-01 to 2027-03-01, USD {told['EffectiveCost'].sum():,.2f}" in said
    assert told["x_GrowthMonths"].to_list() == [1, 2, 3]
    invoke("export", tmp_path / "cost.xlsx", *FLEET, *traffic)
    notes = openpyxl.load_workbook(tmp_path / "cost.xlsx")["Notes"]
    assert "--focus --months 3" in " ".join(str(cell.value) for row in notes.iter_rows() for cell in row)


# ----- an answer


@pytest.mark.parametrize("suffix", ["csv", "parquet", "xlsx"])
def test_an_answer_is_what_ask_says(suffix: str, small: Finished, tmp_path: Path) -> None:
    """Narrowed and set in the same way, in every kind of file."""
    narrowed = ("--model", "llama-3.1-8b", "--gpu", "h100", "--set", "requests_per_s=20")
    path = tmp_path / f"needed.{suffix}"
    said = invoke("export", path, "--answer", "devices_needed", *narrowed, "--out", small.out).stderr
    asked = json.loads(invoke("ask", "devices_needed", *narrowed, "--out", small.out, "--json").stdout)
    told = pl.DataFrame(asked)
    assert f"{len(asked)} rows of run {small.folder.name}" in said
    got = {"csv": pl.read_csv, "parquet": pl.read_parquet}[suffix](path) if suffix != "xlsx" else of_sheet(path)
    assert_frame_equal(got, told, check_dtypes=False, rel_tol=1e-12)


def of_sheet(path: Path) -> pl.DataFrame:
    """The native table of a workbook; its notes tell the run."""
    book = openpyxl.load_workbook(path)
    names, *cells = [[cell.value for cell in row] for row in book["Rows"].iter_rows(min_row=4)]
    assert book["Rows"].tables["Rows"].ref
    notes = {row[0].value: row[1].value for row in book["Notes"].iter_rows(min_row=3)}
    assert notes["Question"] == book["Rows"]["A1"].value
    assert "requests_per_s = 20" in notes["Settings"]
    assert notes["SQL"].endswith("LIMIT $limit::BIGINT")
    return pl.DataFrame(cells, schema=names, orient="row")


def test_every_answer_can_be_exported(small: Finished, tmp_path: Path) -> None:
    """None has values that a sheet cannot hold, those of a bundled grid included."""
    for name in json.loads(invoke("ask", "--json").stdout):
        path = tmp_path / f"{name['name']}.xlsx"
        invoke("export", path, "--answer", name["name"], "--out", small.out)
        assert openpyxl.load_workbook(path)["Rows"].max_row > 4


@pytest.mark.parametrize(("words", "code", "told"), [
    (("--answer", "devices_neded"), 2, "devices_needed"),
    (("--answer", "fleet", "--focus"), 2, "not both"),
    ((), 2, "say --model"),
    (("--model", "llama-3.1-8b", "--requests-per-s", 1, "--months", 3), 2, "--months"),
    (("--model", "llama-3.1-8b", "--requests-per-s", 1, "--out", "."), 2, "--out"),
    (("--model", "llama-3.1-8b", "--requests-per-s", 1, "--focus", "--run", "x"), 2, "--run"),
    (("--answer", "fleet", "--requests-per-s", 1, "--spare", 2), 2, "--requests-per-s and --spare"),
    (("--answer", "max_batch", "--gpu", "h100", "--gpu", "l4"), 2, "takes one, not 2"),
    (("--answer", "max_batch", "--set", "colour=red"), 2, "colour"),
    (("--model", "llama-3.1-8b"), 2, "--requests-per-s"),
    (("--answer", "fleet", "--run", "no-such-run"), 2, "no-such-run"),
])  # fmt: skip
def test_what_does_not_go_together_is_told(
    words: tuple[Any, ...], code: int, told: str, small: Finished, tmp_path: Path
) -> None:
    """No option is passed over in silence, and nothing is written."""
    asks = "--answer" in words and "--out" not in words
    result = invoke("export", tmp_path / "rows.csv", *words, *(("--out", small.out) if asks else ()), code=code)
    assert told in result.output
    assert not list(tmp_path.iterdir())
