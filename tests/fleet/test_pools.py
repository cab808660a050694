"""Prompts read by workers of their own: the queue before them, units of both kinds, and fleets of such units."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from pipeline.core.quantity import evaluate, in_order
from pipeline.estimators.load.book import load_book
from pipeline.evidence.simulation.arrivals import Traffic, draw_requests
from pipeline.evidence.simulation.replica import Replica
from pipeline.evidence.simulation.simulate import percentiles, simulate_requests
from pipeline.fleet.options import Choice, Demand, options_for
from pipeline.fleet.pools import MOST_WORKERS, STAGE
from pipeline.fleet.sizing import Sizing, replicas_needed, size_fleets
from tests.support import AS_OF, catalogs

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

APART = {"is_disaggregated": True}
CHOICE = Choice(accelerators=("h100-sxm-80gb", "l40s"), engines=("vllm",), weights=("bf16",))


@pytest.fixture(scope="module")
def units() -> pl.DataFrame:
    """Units of prefill and decode workers that meet an objective."""
    return options_for(Demand("llama-3.1-8b", 2048, 300, 2.0, 0.04, facts=APART), CHOICE, catalogs(), AS_OF)


@pytest.mark.parametrize("spread", [0.0, 1.0])
@pytest.mark.parametrize("burst", [1.0, 2.0])
@pytest.mark.parametrize("load", [0.3, 0.6, 0.85])
def test_a_prompt_waits_as_long_as_in_a_simulation(load: float, burst: float, spread: float) -> None:
    """One server, one prompt after another: means within 10 %, p95 within 20 %."""
    base, token, prompt = 1e-9, 5e-5, 1000
    alone = base + token * prompt
    traffic = Traffic(prompt, 1, burst, spread, 0.0, 60_000)
    requests = draw_requests(traffic, 60_000, 7)
    server = Replica(base, d_s=token, slots=1, step_tokens=60_000)
    seen = percentiles(at_times(server, requests, load / alone))
    row = pl.DataFrame([{
        "prompt_step_s": alone, "prompt_token_s": token, "prompt_pair_s": 0.0, "prompt_tokens": prompt,
        "prompt_cv": spread, "arrival_cv": burst, "prefill_arrivals_per_s": load / alone,
    }])  # fmt: skip
    told = evaluate(row, in_order(load_book(), STAGE, set(row.columns))).row(0, named=True)
    assert told["prefill_loaded_s"] == pytest.approx(seen["ttft_s_mean"], rel=0.1 if burst == 1 else 0.2)
    assert told["prefill_p95_s"] == pytest.approx(seen["ttft_s_p95"], rel=0.2)


def at_times(server: Replica, requests: pl.DataFrame, rate: float) -> pl.DataFrame:
    """The requests at a rate, on one server."""
    return simulate_requests(
        server, (requests["arrival_s"] / rate).to_list(), requests["prompt_tokens"], requests["output_tokens"]
    )


def test_a_unit_is_as_large_as_its_workers(units: pl.DataFrame) -> None:
    """And none is beaten by a smaller one of its plan in rate per device."""
    workers = pl.col("prefill_workers") + pl.col("decode_workers")
    assert units.select((pl.col("device_count") == pl.col("tp") * pl.col("pp") * pl.col("dp") * workers).all()).item()
    assert (
        units.select(pl.col("prefill_workers", "decode_workers").is_between(1, MOST_WORKERS).all()).row(0)
        == (True,) * 2
    )
    plans = units.with_columns(yielded=pl.col("slo_requests_per_s") / pl.col("device_count")).sort("device_count")
    for _, plan in plans.group_by("accelerator", "tp"):
        assert plan["yielded"].is_sorted()


def test_sized_units_keep_the_objective(units: pl.DataFrame) -> None:
    """Both p95, at the rate that they are sized for; a longer queue of prompts shows in the last token too."""
    seen = size_fleets(units, Sizing(30.0, headroom_ratio=0.0, spare_replicas=0))
    assert (seen["ttft_p95_s"] <= 2.0).all()
    assert (seen["tpot_p95_s"] <= 0.04 * 1.001).all()
    assert (seen["e2e_loaded_s"] > seen["ttft_loaded_s"]).all()
    assert (seen["ttft_slo_s"] == 2.0).all()


def test_more_traffic_and_bursts_need_no_fewer_units(units: pl.DataFrame) -> None:
    """At either queue."""
    counts = [replicas_needed(units, rate, cv) for rate, cv in ((10.0, 1.0), (80.0, 1.0), (80.0, 4.0))]
    assert (counts[0] <= counts[1]).all()
    assert (counts[1] <= counts[2]).all()


def test_the_rate_lies_within_its_band(units: pl.DataFrame) -> None:
    """Of the unit, whichever kind of worker binds."""
    rate = pl.col("slo_requests_per_s")
    assert units.select((pl.col("slo_requests_per_s_lo") <= rate * 1.001).all()).item()
    assert units.select((pl.col("slo_requests_per_s_hi") >= rate * 0.999).all()).item()


def test_the_command_says_how_many_of_each(capgrid: Callable[..., Result]) -> None:
    """And keeps the objective with the fleet that it names."""
    words = ("fleet", "--model", "llama-3.1-8b", "--gpu", "h100", "--requests-per-s", 30, "--ttft-p95", "1s", "--json")
    rows: list[dict[str, Any]] = json.loads(capgrid(*words, "--set", "is_disaggregated=true").stdout)
    assert all(row["prefill_workers"] >= 1 and row["decode_workers"] >= 1 for row in rows)
    assert all(row["ttft_p95_s"] <= 1.0 for row in rows if row["ttft_p95_s"] is not None)
    plain: list[dict[str, Any]] = json.loads(capgrid(*words).stdout)
    assert {row["prefill_workers"] for row in plain} == {0}
