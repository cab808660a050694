"""What a fleet costs: prices by market, owned devices, the bill shared out, energy, and the break-even with an API."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipeline
from pipeline.core.errors import MissingInputError, UnknownNameError
from pipeline.core.money import HOURS_PER_MONTH, HOURS_PER_YEAR, MARKETS, SOLD
from pipeline.core.units import unit_of
from pipeline.estimators.money.fleet import BILL, BOOK, BREAK_EVEN, FOOTPRINT, with_money
from pipeline.facts.owned import BOOK as OWNED_BOOK
from pipeline.facts.owned import PARTS, host_power, ownership_costs, site_of
from pipeline.facts.prices import device_prices, interruption_ratio, offers
from tests.support import AS_OF, catalogs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

MONTH_S = 3600.0 * HOURS_PER_MONTH
FLEET: dict[str, Any] = {
    "devices": 20, "replicas": 5, "spare_replicas": 1, "device_count": 4, "device_usd_per_hour": 2.5,
    "mean_requests_per_s": 6.0, "prompt_tokens": 2048.0, "prompt_cv": 1.2, "cached_prompt_ratio": 0.3,
    "output_tokens": 300.0, "prompt_token_s": 4e-5, "prompt_pair_s": 2e-9, "step_base_s": 0.012,
    "step_sequence_s": 2e-4, "running_batch": 24.0, "power_w": 2200.0, "tdp_w": 700.0, "idle_power_ratio": 0.3,
    "host_w": 400.0, "utilisation_ratio": 0.6, "pue_ratio": 1.5, "grid_g_per_kwh": 400.0, "slo_requests_per_s": 2.5,
    "api_usd_per_mtok_input": 0.6, "api_usd_per_mtok_cached": 0.1, "api_usd_per_mtok_output": 2.4,
}  # fmt: skip
ALL = (*BILL, *FOOTPRINT, *BREAK_EVEN)

small_s = st.floats(1e-9, 1.0)
fleets = st.fixed_dictionaries(
    {
        "devices": st.integers(1, 10_000),
        "device_usd_per_hour": st.floats(0.01, 100),
        "mean_requests_per_s": st.floats(1e-3, 1e5),
        "prompt_tokens": st.floats(1, 1e6),
        "prompt_cv": st.floats(0, 5),
        "cached_prompt_ratio": st.floats(0, 0.99),
        "output_tokens": st.floats(1, 1e5),
        "prompt_token_s": small_s,
        "prompt_pair_s": st.floats(0, 1e-6),
        "step_base_s": small_s,
        "step_sequence_s": small_s,
        "running_batch": st.floats(0.01, 1e4),
    }
)


def priced(wanted: tuple[str, ...] = ALL, **other: Any) -> dict[str, Any]:
    """The money of one fleet, some columns taken otherwise."""
    return with_money(pl.DataFrame([FLEET | other]), wanted).row(0, named=True)


def frames(**other: pl.DataFrame) -> Mapping[str, pl.DataFrame]:
    """The bundled catalogs' frames, some taken otherwise."""
    return {**catalogs().frames, **other}


def price_of(
    accelerator: str,
    market: str,
    as_of: date = AS_OF,
    clouds: Sequence[str] = (),
    at_site: str = "us-average",
    **other: pl.DataFrame,
) -> dict[str, Any]:
    """The best price of one device in one market, some frames taken otherwise."""
    best = device_prices(frames(**other), as_of, market, clouds, at_site)
    return best.row(by_predicate=pl.col("accelerator") == accelerator, named=True)


# ----- the bill


@given(fleets)
def test_the_shares_of_all_tokens_add_up_to_the_bill(fleet: dict[str, Any]) -> None:
    """What finance pays is what the teams are charged: nothing is left over, nothing is charged twice."""
    row = priced(BILL, **fleet)
    cached = fleet["prompt_tokens"] * fleet["cached_prompt_ratio"]
    tokens = {"input": fleet["prompt_tokens"] - cached, "cached": cached, "output": fleet["output_tokens"]}
    request = sum(tokens[kind] * row[f"split_usd_per_mtok_{kind}"] for kind in tokens) / 1e6
    assert request == pytest.approx(row["usd_per_request"], rel=1e-9)
    assert request * fleet["mean_requests_per_s"] * 3600 == pytest.approx(row["usd_per_hour"], rel=1e-9)


def test_the_bill_of_a_known_fleet() -> None:
    """By hand: 20 devices at 2.50 USD, 8766 / 12 hours a month, 6 requests a second."""
    row = priced(BILL)
    assert row["usd_per_hour"] == 50.0
    assert row["usd_per_month"] == 50.0 * 730.5
    assert row["usd_per_request"] == pytest.approx(50 / 21_600)
    new, square = 2048 * 0.7, 1 + 1.2**2
    work = {"input": 4e-5 + 2e-9 * new * square / 2, "cached": 2e-9 * new * square, "output": 0.012 / 24 + 2e-4}
    whole = new * work["input"] + 2048 * 0.3 * work["cached"] + 300 * work["output"]
    for kind, each in work.items():
        assert row[f"split_usd_per_mtok_{kind}"] == pytest.approx(1e6 * 50 / 21_600 * each / whole)


@given(fleets, st.floats(1, 10))
def test_a_dearer_device_makes_nothing_cheaper(fleet: dict[str, Any], factor: float) -> None:
    """Every price goes up by the same factor."""
    cheap = priced(BILL, **fleet)
    dear = priced(BILL, **fleet | {"device_usd_per_hour": fleet["device_usd_per_hour"] * factor})
    for name in BILL:
        assert dear[name] == pytest.approx(cheap[name] * factor)


@given(fleets)
def test_a_cached_token_costs_no_more_than_twice_the_attention_of_a_new_one(fleet: dict[str, Any]) -> None:
    """New tokens see half of the new ones on average, and all of the cached ones; arithmetic comes on top."""
    row = priced(BILL, **fleet)
    assert row["split_usd_per_mtok_cached"] <= 2 * row["split_usd_per_mtok_input"]


def test_without_traffic_there_is_a_bill_but_no_price_of_a_token() -> None:
    """Nothing is divided by nothing."""
    row = priced(mean_requests_per_s=0.0)
    assert row["usd_per_month"] > 0
    assert row["energy_kwh_per_month"] > 0
    assert row["api_usd_per_month"] == 0
    assert [row[name] for name in ("usd_per_request", "split_usd_per_mtok_output", "energy_kwh_per_mtok")] == [None] * 3


def test_an_unknown_price_stays_unknown() -> None:
    """A device that nobody sells is not free."""
    row = priced(BILL, device_usd_per_hour=pl.Series([None], dtype=pl.Float64).item())
    assert {row[name] for name in BILL} == {None}


def test_columns_that_are_there_are_kept() -> None:
    """A bill that sizing has made already is shared out as it is."""
    row = priced(BILL, usd_per_hour=100.0)
    assert (row["usd_per_hour"], row["usd_per_month"]) == (100.0, 100.0 * HOURS_PER_MONTH)
    assert row.keys() == {*FLEET, *BILL}


def test_a_missing_column_is_named_with_what_needs_it() -> None:
    """The message is the to-do list of whoever joins the columns."""
    with pytest.raises(MissingInputError, match=r"no column named 'pue_ratio', which energy_kwh_per_month needs"):
        with_money(pl.DataFrame([FLEET]).drop("pue_ratio"), FOOTPRINT)
    with pytest.raises(UnknownNameError, match="usd_per_month"):
        with_money(pl.DataFrame([FLEET]), ["usd_per_mont"])


@pytest.mark.parametrize("name", [*BOOK, *OWNED_BOOK])
def test_every_amount_says_what_it_is_and_in_what_unit(name: str) -> None:
    """Names end in a unit; the first line of the docstring is a sentence."""
    q = {**BOOK, **OWNED_BOOK}[name]
    assert unit_of(name) or name == "output_mtok_per_month"
    assert q.summary[0].isupper()
    assert q.summary.endswith(".")


# ----- energy


@given(st.floats(1, 3), st.floats(1, 3))
def test_energy_is_proportional_to_pue(one: float, other: float) -> None:
    """A site's overhead weighs on everything that comes from its socket, and on nothing else."""
    first, second = priced(pue_ratio=one), priced(pue_ratio=other)
    for name in FOOTPRINT:
        assert first[name] / one == pytest.approx(second[name] / other)
    assert all(first[name] == second[name] for name in BILL)


def test_energy_of_a_known_fleet() -> None:
    """By hand: five replicas between 30 % of 4 x 700 W and 2200 W, and 20 shares of a host."""
    row = priced(FOOTPRINT)
    drawn = 5 * (840 + (2200 - 840) * 0.6) + 20 * 400
    assert row["energy_kwh_per_month"] == pytest.approx(drawn * 1.5 * 730.5 / 1000)
    assert row["energy_kwh_per_mtok"] == pytest.approx(drawn * 1.5 / 1000 / (6 * 300 * 3600 / 1e6))
    assert row["co2e_kg_per_mtok"] == pytest.approx(row["energy_kwh_per_mtok"] * 0.4)
    assert row["co2e_kg_per_month"] == pytest.approx(row["energy_kwh_per_month"] * 0.4)


def test_hosts_draw_power_whether_owned_or_rented() -> None:
    """Every device of known power has a host; where no entry says, a share of its own power."""
    told = dict(host_power(frames(), AS_OF).iter_rows())
    assert told["h100-sxm-80gb"] == pytest.approx(575 * 0.7)
    assert told["t4"] == pytest.approx(70 * 0.4)
    assert host_power(frames(), AS_OF)["accelerator"].is_unique().all()


# ----- against an API


@given(fleets)
def test_at_the_break_even_both_cost_the_same(fleet: dict[str, Any]) -> None:
    """The point is exact: that many requests a month through the API cost what the fleet costs."""
    rate = priced(**fleet)["breakeven_requests_per_month"] / MONTH_S
    there = priced(**fleet | {"mean_requests_per_s": rate})
    assert there["api_usd_per_month"] == pytest.approx(there["usd_per_month"], rel=1e-9)
    assert there["breakeven_requests_per_month"] == pytest.approx(rate * MONTH_S, rel=1e-9)


def test_the_break_even_as_a_share_of_what_the_fleet_can_serve() -> None:
    """Spares serve nobody: four working replicas of 2.5 requests a second."""
    row = priced(BREAK_EVEN)
    request = (2048 * 0.7 * 0.6 + 2048 * 0.3 * 0.1 + 300 * 2.4) / 1e6
    assert row["api_usd_per_month"] == pytest.approx(request * 6 * MONTH_S)
    assert row["breakeven_ratio"] == pytest.approx(50 / 3600 / request / 10)


def test_an_api_without_a_price_of_cached_tokens_charges_them_as_input() -> None:
    """No discount is made up."""
    none = priced(BREAK_EVEN, api_usd_per_mtok_cached=None)
    assert none["api_usd_per_month"] == priced(BREAK_EVEN, api_usd_per_mtok_cached=0.6)["api_usd_per_month"]


def test_against_a_free_api_there_is_no_break_even() -> None:
    """Null, not infinity."""
    free = {f"api_usd_per_mtok_{kind}": 0.0 for kind in ("input", "cached", "output")}
    assert priced(BREAK_EVEN, **free)["breakeven_requests_per_month"] is None


# ----- markets


def test_a_share_is_assumed_only_of_clouds_that_list_no_price() -> None:
    """Google Cloud lists what an H100 costs for a year; Nebius does not, and its share of on-demand is marked."""
    rows = offers(frames(), AS_OF, "reserved-1y").filter(accelerator="h100-sxm-80gb")
    notes = {(row["cloud"], row["price_note"]) for row in rows.iter_rows(named=True)}
    assert ("gcp", "listed") in notes
    assert ("nebius", "0.63 of on-demand, assumed") in notes
    assert len({cloud for cloud, _ in notes}) == len(notes)


@pytest.mark.parametrize("market", ["reserved-1y", "reserved-3y"])
def test_a_commitment_never_costs_more_than_none(market: str) -> None:
    """Of every device that can be had by the hour; a term that makes it dearer would be a mistake of a list."""
    prices = device_prices(frames(), AS_OF, "on-demand").join(
        device_prices(frames(), AS_OF, market), on="accelerator", how="left", suffix="_term"
    )
    assert prices.filter(pl.col("device_usd_per_hour_term").is_null()).height == 0
    assert prices.filter(pl.col("device_usd_per_hour_term") > pl.col("device_usd_per_hour")).height == 0


def test_an_assumed_price_is_the_share_of_the_on_demand_price() -> None:
    """Same offer, same day, the share once."""
    by_hour, by_year = price_of("h200-sxm-141gb", "on-demand"), price_of("h200-sxm-141gb", "reserved-1y")
    assert by_year["device_usd_per_hour"] == pytest.approx(0.63 * by_hour["device_usd_per_hour"])
    assert (by_year["price_cloud"], by_year["price_date"]) == (by_hour["price_cloud"], by_hour["price_date"])
    assert by_year["price_name"] == f"an assumed 0.63 of {by_hour['price_name']}"


def test_spot_is_only_what_clouds_list() -> None:
    """Nobody knows what a market would ask that does not exist; the reserve for interruptions is an assumption."""
    assert set(offers(frames(), AS_OF, "spot")["price_note"]) == {"listed"}
    assert interruption_ratio(frames(), "spot") > 0
    assert interruption_ratio(frames(), "on-demand") == 0


@pytest.mark.parametrize("market", SOLD)
def test_prices_are_the_newest_not_later(market: str) -> None:
    """Yesterday's report keeps yesterday's price; before all lists there is none."""
    block = pl.DataFrame(
        {
            "accelerator": ["l4"] * 3, "cloud": ["nimbus"] * 3, "instance": ["one"] * 3, "devices": [2] * 3,
            "market": [market] * 3, "usd_per_hour": [2.0, 3.0, 1.0],
            "from_date": [date(2026, 1, 1), date(2026, 6, 1), date(2026, 12, 1)],
        }
    )  # fmt: skip
    asked = {day: price_of("l4", market, day, price=block) for day in (date(2026, 5, 31), date(2026, 6, 1), AS_OF)}
    assert [row["device_usd_per_hour"] for row in asked.values()] == [1.0, 1.5, 1.5]
    assert device_prices(frames(price=block), date(2025, 12, 31), market).height == 0


def test_clouds_narrow_every_market_but_the_owned() -> None:
    """Whoever may buy from one cloud gets its shares too, and no other's."""
    assert price_of("h100-sxm-80gb", "reserved-3y", clouds=("lambda",))["price_cloud"] == "lambda"
    assert price_of("h100-sxm-80gb", "owned", clouds=("lambda",))["price_cloud"] == "owned"


def test_catalogs_that_know_nothing_of_markets_have_listed_prices_still() -> None:
    """Catalogs of one's own, from before there were markets, sites and owned devices."""
    bare = {kind: catalogs().frames[kind].clear() for kind in ("market", "ownership", "site")}
    assert device_prices(frames(**bare), AS_OF, "on-demand").equals(device_prices(frames(), AS_OF, "on-demand"))
    assert set(offers(frames(**bare), AS_OF, "reserved-1y")["price_note"]) == {"listed"}
    with pytest.raises(UnknownNameError, match=r"no \[\[site\]\]; add one"):
        device_prices(frames(**bare), AS_OF, "owned")


def test_an_unknown_market_or_site_is_met_with_the_nearest() -> None:
    """No traceback, no empty table."""
    with pytest.raises(UnknownNameError, match=r"Did you mean reserved-3y"):
        device_prices(frames(), AS_OF, "reserved-2y")
    with pytest.raises(UnknownNameError, match="germany"):
        site_of(frames(), "germny")


# ----- owned devices


def owned_usd(at_site: str = "us-average", **other: float) -> float:
    """Cost of an owned H100 for an hour, some facts of all entries taken otherwise."""
    kinds = {name: "site" if name in catalogs().frames["site"].columns else "ownership" for name in other}
    changed = {
        kind: catalogs().frames[kind].with_columns(**{n: pl.lit(v) for n, v in other.items() if kinds[n] == kind})
        for kind in ("site", "ownership")
    }
    return float(price_of("h100-sxm-80gb", "owned", at_site=at_site, **changed)["device_usd_per_hour"])


def test_an_owned_device_by_hand() -> None:
    """25,000 USD and 40 % for host and network, four years, 8 % interest, 3 % upkeep, 700 + 575 W."""
    whole, kw = 25_000 * 1.4, 1.275
    parts = {
        "write_off_usd_per_hour": whole * 0.9 / (4 * HOURS_PER_YEAR),
        "capital_usd_per_hour": whole * 1.1 / 2 * 0.08 / HOURS_PER_YEAR,
        "upkeep_usd_per_hour": whole * 0.03 / HOURS_PER_YEAR,
        "electricity_usd_per_hour": kw * 0.7 * 1.54 * 0.13,
        "hosting_usd_per_hour": kw * 184.06 / HOURS_PER_MONTH,
    }
    row = ownership_costs(frames(), AS_OF, "us-average").row(
        by_predicate=pl.col("accelerator") == "h100-sxm-80gb", named=True
    )
    assert {name: row[name] for name in parts} == pytest.approx(parts)
    assert row["device_usd_per_hour"] == pytest.approx(sum(parts.values()))
    assert parts.keys() == {part.__name__ for part in PARTS}


@given(st.lists(st.floats(0.5, 20), min_size=2, unique=True).map(sorted))
def test_an_owned_device_costs_less_the_longer_it_lives(years: list[float]) -> None:
    """The same purchase over more hours; everything else stays."""
    costs = [owned_usd(lifetime_years=each) for each in years]
    assert costs == sorted(costs, reverse=True)


@given(st.floats(1, 3), st.floats(0, 1))
def test_the_electricity_of_an_owned_device_is_proportional_to_pue_and_to_its_price(pue: float, usd: float) -> None:
    """What is left when electricity is free is the device; the rest grows in proportion."""
    free = owned_usd(electricity_usd_per_kwh=0.0)
    one = owned_usd(electricity_usd_per_kwh=1.0, pue_ratio=1.0) - free
    assert owned_usd(electricity_usd_per_kwh=usd, pue_ratio=pue) - free == pytest.approx(one * usd * pue, abs=1e-9)


@pytest.mark.parametrize(
    "dearer", ["purchase_usd", "host_ratio", "host_w", "interest_ratio", "upkeep_ratio", "hosting_usd_per_kw_month"]
)
def test_what_costs_more_is_never_cheaper(dearer: str) -> None:
    """Each fact pushes the price the way that its name says."""
    assert owned_usd(**{dearer: 1e6}) > owned_usd(**{dearer: 60.0})


def test_a_purchase_price_holds_from_its_day_on() -> None:
    """The server of 2024 is the price until the street price of 2026 is known; before both there is none."""
    assert price_of("h100-sxm-80gb", "owned", date(2026, 3, 30))["price_name"] == "hgx-h100-2024 at us-average"
    assert price_of("h100-sxm-80gb", "owned", date(2026, 3, 31))["price_name"] == "h100-sxm-2026 at us-average"
    assert device_prices(frames(), date(2024, 8, 21), "owned").height == 0


def test_a_site_may_be_named_by_an_alias() -> None:
    """As all entries of catalogs."""
    assert site_of(frames(), "EU").row(0, named=True)["site"] == "eu-average"
    assert owned_usd("finland") < owned_usd("eu")


# ----- the command line and grids


@pytest.mark.parametrize("market", MARKETS)
def test_prices_of_every_market_can_be_listed(market: str, capgrid: Callable[..., Any]) -> None:
    """Cheapest first, each with a note of how it is known."""
    rows = json.loads(capgrid("prices", "h100", "--market", market, "--as-of", AS_OF, "--json").stdout)
    assert {row["market"] for row in rows} == {market}
    assert all(row["price_note"] for row in rows)
    per_device = [row["device_usd_per_hour"] for row in rows]
    assert per_device == sorted(per_device)


@pytest.mark.parametrize("market", MARKETS)
def test_a_point_and_a_grid_take_every_market(market: str, tmp_path: Path, capgrid: Callable[..., Any]) -> None:
    """The price of a plan is the market's best price of its devices."""
    asked = ("--model", "llama-3.1-8b", "--accelerator", "h100", "--tp", 2, "--market", market, "--as-of", AS_OF)
    row = json.loads(capgrid("point", *asked, "--json").stdout)
    best = price_of("h100-sxm-80gb", market)
    assert row["usd_per_hour"] == pytest.approx(2 * best["device_usd_per_hour"])
    assert row["price_cloud"] == best["price_cloud"]
    assert "device_usd_per_hour" in capgrid("explain", "usd_per_hour", *asked).stdout
    grid = tmp_path / "one.toml"
    names = 'models = ["llama-3.1-8b"]\nweights = ["bf16"]\nkv = ["bf16"]\nengines = ["vllm"]\nbatches = [1]\n'
    rest = f'accelerators = ["h100"]\nparallel = [{{ tp = 1 }}]\nworkloads = ["chat"]\nmarket = "{market}"\n'
    grid.write_text(f"[grid]\n{names}{rest}", encoding="utf-8")
    from pipeline.grid.selection import read_grid

    assert read_grid(str(grid), pipeline.catalogs()).market == market


def test_an_unknown_market_of_a_grid_is_told(tmp_path: Path) -> None:
    """With those that there are."""
    from pipeline.core.errors import GridError
    from pipeline.grid.selection import read_grid

    path = tmp_path / "odd.toml"
    path.write_text('[grid]\nmarket = "black"\n', encoding="utf-8")
    with pytest.raises(GridError, match="'black' is not one of on-demand, spot, reserved-1y, reserved-3y, owned"):
        read_grid(str(path), pipeline.catalogs())


def test_sites_are_listed_with_their_sources(capgrid: Callable[..., Any]) -> None:
    """Every fact of a site says who says so."""
    facts = json.loads(capgrid("sites", "us", "--json").stdout)
    assert {fact["field"]: fact["source"] for fact in facts}["pue_ratio"] == "uptime-survey-2025"
    assert len(json.loads(capgrid("sites", "--json").stdout)) >= 5
