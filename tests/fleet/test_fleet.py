"""From a rate to a fleet: laws of sizing, the choice after rounding up, the command, and SQL that says the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import PipelineError, UsageError
from pipeline.fleet.availability import Redundancy
from pipeline.fleet.options import Choice, Demand, options_for
from pipeline.fleet.plans import ApiPrice, FleetPlan, best_of_each, plan_fleets
from pipeline.fleet.sizing import Sizing, replicas_needed, size_fleets, within_budget
from pipeline.grid.schema import FLEET, FLEET_LAWS
from tests.support import AS_OF, catalogs

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

CHOICE = Choice(accelerators=("h100-sxm-80gb", "l40s", "h200-sxm-141gb"), engines=("vllm",), weights=("bf16",))
DEMAND = Demand("llama-3.1-8b", 1024, 256, 1.0, 0.05)
ASKED = ("--model", "llama-3.1-8b", "--prompt-tokens", 1024, "--output-tokens", 256, "--ttft-p95", "1s",
         "--tpot-p95", "50ms", "--engine", "vllm", "--weights", "bf16")  # fmt: skip
CONTRACT = [
    "model", "weights", "kv", "engine", "accelerator", "device_count", "tp", "pp", "ep", "workload", "prompt_tokens",
    "output_tokens", "replicas", "spare_replicas", "devices", "nodes", "usd_per_hour", "usd_per_month",
    "usd_per_mtok_output", "ttft_p95_s", "tpot_p95_s", "e2e_p95_s", "utilisation_ratio", "power_w", "limited_by",
    "confidence",
]  # fmt: skip


@pytest.fixture(scope="module")
def options() -> pl.DataFrame:
    """Some plans that meet an objective."""
    return options_for(DEMAND, CHOICE, catalogs(), AS_OF)


def fleet(sizing: Sizing, choice: Choice = CHOICE, demand: Demand = DEMAND, **others: Any) -> pl.DataFrame:
    """The fleets of one demand."""
    return plan_fleets(FleetPlan(demand, sizing, choice, **others), catalogs(), AS_OF)


# ----- rounding


def test_the_choice_comes_after_rounding_up(options: pl.DataFrame) -> None:
    """The most efficient replica may be too large a step: 16 devices of it, where 4 of another do."""
    one = options.head(1)
    rates = {"efficient": (8, 80.0), "small": (2, 15.0)}  # 10 and 7.5 requests per second and device
    two = pl.concat(
        one.with_columns(
            engine=pl.lit(name), device_count=pl.lit(size, pl.Int64), tp=pl.lit(size, pl.Int64), slo_requests_per_s=rate
        )
        for name, (size, rate) in rates.items()
    )
    plan = Sizing(27.0, headroom_ratio=0.0, spare_replicas=1)
    devices = dict(
        size_fleets(two, plan).select("engine", devices=pl.col("replicas") * pl.col("device_count")).iter_rows()
    )
    assert devices == {"efficient": 16, "small": 6}
    four = dict(
        size_fleets(two, Sizing(27.0, headroom_ratio=0.0, spare_replicas=0))
        .select("engine", devices=pl.col("replicas") * pl.col("device_count"))
        .iter_rows()
    )
    assert four == {"efficient": 8, "small": 4}


def test_of_each_accelerator_the_cheapest_fleet_stands_first(options: pl.DataFrame) -> None:
    """Rows are in order of cost, so that the first of a group is its cheapest."""
    rows = fleet(Sizing(35.0))
    assert rows.height == options.height
    costs = rows["usd_per_hour"].drop_nulls()
    assert costs.is_sorted()
    best = best_of_each(rows, "accelerator")
    cheapest = rows.group_by("accelerator").agg(pl.col("usd_per_hour").min())
    assert dict(best.select("accelerator", "usd_per_hour").iter_rows()) == dict(cheapest.iter_rows())


@pytest.mark.parametrize(("rate", "count"), [(10.0, 1), (10.0 + 1e-11, 1), (10.001, 2), (30.0, 3), (0.001, 1)])
def test_replicas_are_rounded_up(options: pl.DataFrame, rate: float, count: int) -> None:
    """A rounding error is no replica, a request is."""
    rows = options.head(1).with_columns(slo_requests_per_s=10.0)
    assert replicas_needed(rows, rate, 1.0).to_list() == [count]


# ----- laws


@settings(max_examples=12, deadline=None)
@given(rate=st.floats(0.5, 500), more=st.floats(1, 20), cv=st.sampled_from([0.5, 1.0, 3.0]))
def test_more_traffic_never_needs_fewer_replicas(options: pl.DataFrame, rate: float, more: float, cv: float) -> None:
    """At any burstiness of arrivals."""
    few, many = (replicas_needed(options, each, cv) for each in (rate, rate * more))
    assert (many >= few).all()


@settings(max_examples=8, deadline=None)
@given(rate=st.floats(1, 200))
def test_bursts_never_need_fewer_replicas(options: pl.DataFrame, rate: float) -> None:
    """Even, Poisson, bursty: in this order."""
    even, poisson, bursty = (replicas_needed(options, rate, cv) for cv in (0.3, 1.0, 4.0))
    assert (even <= poisson).all()
    assert (poisson <= bursty).all()


@pytest.mark.parametrize(("ttft", "tpot"), [(2.0, 0.05), (1.0, 0.1), (4.0, 0.2)])
def test_a_looser_objective_never_costs_more(options: pl.DataFrame, ttft: float, tpot: float) -> None:
    """No plan takes less, none falls out, and the cheapest fleet is no dearer."""
    loose = options_for(Demand("llama-3.1-8b", 1024, 256, ttft, tpot), CHOICE, catalogs(), AS_OF)
    both = options.join(loose, on=["accelerator", "tp", "engine", "weights"], how="left", suffix="_loose")
    assert both["slo_requests_per_s_loose"].null_count() == 0
    assert (both["slo_requests_per_s_loose"] >= 0.99 * both["slo_requests_per_s"]).all()
    rates = (7.0, 60.0, 400.0)
    for rate in rates:
        costs = [
            (replicas_needed(rows, rate, 1.0) * rows["device_count"] * rows["device_usd_per_hour"]).min()
            for rows in (options, loose)
        ]
        assert costs[1] <= costs[0]


def test_a_price_never_changes_feasibility(options: pl.DataFrame) -> None:
    """Nor how many replicas: spot and on-demand, without what is kept for interruptions, differ in money alone."""
    rows = options_for(DEMAND, Choice(**{**vars(CHOICE), "market": "spot"}), catalogs(), AS_OF)
    assert set(rows["accelerator"]) == set(options["accelerator"])
    assert rows["slo_requests_per_s"].to_list() == options["slo_requests_per_s"].to_list()
    assert rows["device_usd_per_hour"].to_list() != options["device_usd_per_hour"].to_list()


def test_a_vanishing_rate_sees_an_idle_replica(options: pl.DataFrame) -> None:
    """What the planner says of one sequence alone: TPOT of a batch of one at the mean context."""
    seen = size_fleets(options, Sizing(1e-6, headroom_ratio=0.0, spare_replicas=0))
    assert (seen["replicas"] == 1).all()
    assert ((seen["tpot_loaded_s"] / options["tpot_s"] - 1).abs() < 0.1).all()
    assert (seen["utilisation_ratio"] < 1e-5).all()


def test_every_fleet_keeps_the_laws_of_the_table() -> None:
    """As Pandera checks them in a run."""
    rows = fleet(Sizing(100.0, spare_replicas=2, redundancy=Redundancy(zones=3)))
    assert rows.columns == list(FLEET)
    for name, law in FLEET_LAWS.items():
        assert rows.select(law.all()).item(), name
    assert (rows["usd_per_mtok_output"].drop_nulls() > 0).all()


# ----- what is besides the rate


def test_spares_and_zones_add_replicas() -> None:
    """One spare is one more; three zones survive the loss of one with half as many again."""
    plain, spared, zoned = (
        fleet(sizing)["replicas", "devices", "spare_replicas"]
        for sizing in (
            Sizing(100.0, spare_replicas=0),
            Sizing(100.0, spare_replicas=1),
            Sizing(100.0, spare_replicas=0, redundancy=Redundancy(zones=3)),
        )
    )
    assert plain["spare_replicas"].sum() == 0
    assert set(spared["spare_replicas"]) == {1}
    working = zoned["replicas"] - zoned["spare_replicas"]
    assert (zoned["replicas"] * 2 >= working * 3).all()


def test_an_api_price_is_held_against_the_fleet() -> None:
    """A dearer API is reached at a smaller share of the rate."""
    cheap, dear = (fleet(Sizing(50.0), api=ApiPrice(0.0, price))["breakeven_ratio"] for price in (1.0, 10.0))
    assert (cheap / dear - 10).abs().max() < 1e-6


def test_quotas_and_budgets_leave_out_what_breaks_them() -> None:
    """And what has no price breaks every budget."""
    rows = fleet(Sizing(100.0))
    small = within_budget(rows, {"h100-sxm-80gb": 3}, None)
    assert small.filter(pl.col("accelerator") == "h100-sxm-80gb")["devices"].to_list() == [
        each for each in rows.filter(pl.col("accelerator") == "h100-sxm-80gb")["devices"] if each <= 3
    ]
    assert within_budget(rows, {}, 1e-9).is_empty()
    unpriced = rows.with_columns(usd_per_hour=pl.lit(None, pl.Float64))
    assert within_budget(unpriced, {}, 1e9).is_empty()


@pytest.mark.parametrize(
    "wrong", [{"requests_per_s": 0.0}, {"requests_per_s": 1e12}, {"headroom_ratio": -0.1}, {"spare_replicas": -1}]
)
def test_sizes_that_nobody_has_are_refused(wrong: dict[str, Any]) -> None:
    """With what is allowed."""
    with pytest.raises(UsageError):
        Sizing(**{"requests_per_s": 1.0, **wrong})


def test_what_cannot_be_sized_says_why() -> None:
    """An objective that light does not meet; a static batch; a model that nothing holds."""
    with pytest.raises(PipelineError, match="even at one request at a time"):
        options_for(Demand("llama-3.1-8b", 1024, 256, 1e-6, 1e-6), CHOICE, catalogs(), AS_OF)
    with pytest.raises(UsageError, match="static"):
        options_for(Demand("llama-3.1-8b", workload="case-study"), CHOICE, catalogs(), AS_OF)
    with pytest.raises(PipelineError, match="no plan"):
        options_for(Demand("llama-3.1-405b"), Choice(**{**vars(CHOICE), "parallel": ({"tp": 1},)}), catalogs(), AS_OF)


# ----- the command


def answered(result: Result) -> list[dict[str, Any]]:
    """Rows of a JSON answer."""
    return json.loads(result.stdout)


def test_the_command_prints_what_the_contract_names(capgrid: Callable[..., Result]) -> None:
    """Every option, cheapest first, whatever follows without a price."""
    rows = answered(capgrid("fleet", *ASKED, "--requests-per-s", 20, "--gpu", "h100", "--gpu", "l4*", "--json"))
    assert set(CONTRACT) <= rows[0].keys()
    costs = [row["usd_per_hour"] for row in rows]
    priced = [cost for cost in costs if cost is not None]
    assert priced == sorted(priced)
    assert costs[: len(priced)] == priced
    assert {"h100-sxm-80gb", "l4"} & {row["accelerator"] for row in rows}


def test_traffic_sizes_for_its_windows_and_bills_its_mean(capgrid: Callable[..., Result]) -> None:
    """The rhythm of a week makes a fleet that follows it cheaper than one that stands."""
    asked = ("fleet", *ASKED, "--gpu", "h100", "--traffic", "chat-business-hours", "--requests-per-s", 100, "--json")
    rows = answered(capgrid(*asked))
    steady = answered(capgrid("fleet", *ASKED, "--gpu", "h100", "--requests-per-s", 100, "--json"))
    assert rows[0]["replicas"] > steady[0]["replicas"]
    assert 0.1 < rows[0]["autoscaled_ratio"] < 0.8
    assert rows[0]["autoscaled_usd_per_month"] < rows[0]["usd_per_month"]
    grown = answered(capgrid(*asked, "--growth-months", 12))
    assert grown[0]["replicas"] > rows[0]["replicas"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--model", "llama-3.1-8"), 2, "Did you mean llama-3.1-8b"),
        (("--model", "llama-3.1-8b"), 2, "--requests-per-s"),
        (("--model", "llama-3.1-8b", "--requests-per-s", "0"), 2, "requests-per-s"),
        (("--model", "llama-3.1-8b", "--requests-per-s", "nan"), 2, "requests"),
        (("--model", "llama-3.1-8b", "--traffic", "chat-stedy"), 2, "chat-steady"),
        (("--model", "llama-3.1-8b", "--requests-per-s", "5", "--quota", "h100"), 2, "h100=64"),
        (("--model", "llama-3.1-8b", "--requests-per-s", "5", "--quota", "h1000=3"), 2, "Did you mean"),
        (
            ("--model", "llama-3.1-8b", "--requests-per-s", "5", "--gpu", "h100", "--budget", "0.01"),
            1,
            "the cheapest costs",
        ),
        (("--model", "llama-3.1-8b", "--requests-per-s", "5", "--ttft-p95", "1 parsec"), 2, "parsec"),
        (("--model", "llama-3.1-8b", "--requests-per-s", "5", "--site", "atlantis"), 2, "site"),
        (
            ("--model", "llama-3.1-8b", "--requests-per-s", "5", "--set", "cached_promt_ratio=0.4"),
            2,
            "cached_prompt_ratio",
        ),
    ],
)
def test_mistakes_are_told(capgrid: Callable[..., Result], words: tuple[str, ...], code: int, told: str) -> None:
    """By name, with what would have been right."""
    assert told in capgrid("fleet", *words, code=code).output


def test_sql_says_what_the_command_says(capgrid: Callable[..., Result], small: Any) -> None:
    """The same demand, asked of the run's table and of the command."""
    asked = ("ask", "fleet", "--out", small.out, "--model", "llama-3.1-8b", "--json")
    told = {row["accelerator"]: row for row in answered(capgrid(*asked))}
    row = next(iter(told.values()))
    again = answered(
        capgrid("fleet", "--model", "llama-3.1-8b", "--requests-per-s", 20, "--ttft-p95", "2s", "--json",
                *(word for name in told for word in ("--gpu", name)))
    )  # fmt: skip
    best = {each["accelerator"]: each for each in reversed(again)}
    assert row["requests_per_s"] == 20
    for name, each in told.items():
        assert (each["replicas"], each["devices"]) == (best[name]["replicas"], best[name]["devices"]), name
        assert each["usd_per_hour"] == pytest.approx(best[name]["usd_per_hour"] or each["usd_per_hour"], abs=0.006)


def test_sql_sizes_for_another_rate(capgrid: Callable[..., Result], small: Any) -> None:
    """Ten times the rate, from the same table, is ten times the devices or nearly."""
    few, many = (
        answered(capgrid("ask", "fleet", "--out", small.out, "--set", f"requests_per_s={rate}", "--json"))[0]
        for rate in (20, 200)
    )
    assert few["devices"] * 4 < many["devices"] <= few["devices"] * 10
