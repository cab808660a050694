"""Laws of a replica under load: idle at one end, unstable at the other, and nothing gets better by more load."""

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipeline.core.quantity import evaluate, in_order
from pipeline.estimators.load.book import load_book
from pipeline.grid.load import INPUTS, fill_inputs, largest_rate, under_load

CHEAP = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink takes minutes
)
REPLICA = {
    "step_base_s": 0.012, "step_sequence_s": 1e-4, "prompt_token_s": 5e-5, "prompt_pair_s": 1e-9, "step_tokens": 8192.0,
    "slots": 256.0, "kv_slots": 400.0, "kv_growth_ratio": 0.1, "prefills_first": False, "prompt_tokens": 1024.0,
    "prompt_cv": 1.0, "output_tokens": 256.0, "output_cv": 1.0, "arrival_cv": 1.0,
}  # fmt: skip
replicas = st.fixed_dictionaries({
    "step_base_s": st.floats(2e-3, 0.05), "step_sequence_s": st.floats(1e-6, 5e-4),
    "prompt_token_s": st.floats(1e-6, 3e-4), "prompt_pair_s": st.sampled_from([0.0, 1e-10, 2e-9]),
    "step_tokens": st.sampled_from([2048.0, 8192.0]), "slots": st.sampled_from([16.0, 256.0, 1024.0]),
    "kv_slots": st.sampled_from([4.0, 60.0, 4000.0]), "kv_growth_ratio": st.floats(0, 0.9),
    "prefills_first": st.booleans(), "prompt_tokens": st.sampled_from([64.0, 1024.0, 12_000.0]),
    "prompt_cv": st.sampled_from([0.0, 1.0]), "output_tokens": st.sampled_from([2.0, 30.0, 500.0]),
    "output_cv": st.sampled_from([0.0, 1.0]), "arrival_cv": st.sampled_from([0.3, 1.0, 4.0]),
})  # fmt: skip
LATENCIES = ("ttft_loaded_s", "tpot_loaded_s", "e2e_loaded_s")


def at_loads(replica: dict[str, object], *loads: float) -> pl.DataFrame:
    """One replica at some shares of what it can finish."""
    one = pl.DataFrame([replica]).with_columns(arrivals_per_s=1.0)
    most = evaluate(fill_inputs(one), in_order(load_book(), ["arrivals_max_per_s"], {*INPUTS})).item(
        0, "arrivals_max_per_s"
    )
    rates = pl.DataFrame({"arrivals_per_s": [most * load for load in loads]})
    return under_load(one.drop("arrivals_per_s").join(rates, how="cross"))


@CHEAP
@given(replicas)
def test_an_idle_replica_is_as_fast_as_alone(replica: dict[str, object]) -> None:
    """At a vanishing rate a prompt takes its own step, and a token a step of one sequence."""
    seen = at_loads(replica | {"prompt_cv": 0.0, "arrival_cv": 1.0}, 1e-7).row(0, named=True)
    s, own = float(replica["prompt_tokens"]), float(replica["prompt_token_s"])  # type: ignore[arg-type]
    alone = float(replica["step_base_s"]) + own * s + float(replica["prompt_pair_s"]) * s * s / 2  # type: ignore[arg-type]
    assert seen["ttft_loaded_s"] == pytest.approx(alone, rel=1e-3)
    step = float(replica["step_base_s"]) + float(replica["step_sequence_s"])  # type: ignore[arg-type]
    assert seen["tpot_loaded_s"] == pytest.approx(step, rel=1e-3)
    assert seen["load_verdict"] in ("stable", "queueing")


@CHEAP
@given(replicas)
def test_more_load_is_never_faster(replica: dict[str, object]) -> None:
    """Means and the batch rise with the rate as long as no queue for places decides and arrivals are not even.

    The wait of arrivals that are more even than Poisson's is known to some per cent. Where prompts go first
    and a step costs more than they do, more load reads more of them together, which may be faster.
    """
    uneven = replica | {"arrival_cv": max(1.0, float(replica["arrival_cv"]))}  # type: ignore[arg-type]
    if uneven["prefills_first"]:
        uneven |= {"output_tokens": 500.0, "prompt_tokens": 1024.0, "prompt_token_s": 5e-5}
    seen = at_loads(uneven, 0.05, 0.2, 0.4, 0.6, 0.8).filter(pl.col("load_verdict") == "stable")
    for name in ("ttft_loaded_s", "tpot_loaded_s", "running_batch") if seen.height else ():
        assert (seen[name].diff().drop_nulls() >= -0.02 * seen[name].max()).all(), name  # type: ignore[operator]


@CHEAP
@given(replicas)
def test_percentiles_are_in_order(replica: dict[str, object]) -> None:
    """Half of the requests are no slower than 95 % of them, and those no slower than 99 %."""
    seen = at_loads(replica, 0.1, 0.5, 0.8)
    for name in ("ttft", "tpot"):
        told = seen.drop_nulls([f"{name}_p50_s", f"{name}_p95_s", f"{name}_p99_s"])
        assert (told[f"{name}_p50_s"] <= told[f"{name}_p95_s"] * 1.005).all()
        assert (told[f"{name}_p95_s"] <= told[f"{name}_p99_s"] * 1.005).all()


@CHEAP
@given(replicas)
def test_beyond_what_it_can_finish_nothing_is_told(replica: dict[str, object]) -> None:
    """A queue that grows without end has no latency."""
    seen = at_loads(replica, 1.0, 1.7)
    assert seen["load_verdict"].to_list() == ["unstable"] * 2
    assert all(seen[name].null_count() == 2 for name in LATENCIES)


@CHEAP
@given(replicas, st.floats(0.05, 5), st.floats(0.005, 0.3), st.floats(1, 4))
def test_a_looser_objective_never_allows_less(
    replica: dict[str, object], ttft: float, tpot: float, more: float
) -> None:
    """The largest rate rises with either limit, as far as the search is fine."""
    rows = pl.DataFrame([replica] * 3).with_columns(
        ttft_slo_s=pl.Series([ttft, ttft * more, ttft]), tpot_slo_s=pl.Series([tpot, tpot, tpot * more])
    )
    tight, late, slow = largest_rate(rows)
    assert late >= tight * 0.99
    assert slow >= tight * 0.99


@CHEAP
@given(replicas, st.floats(1, 3))
def test_a_slower_replica_takes_less(replica: dict[str, object], factor: float) -> None:
    """Everything takes longer by a factor, the limits stay: the rate falls by that factor at least."""
    times = ("step_base_s", "step_sequence_s", "prompt_token_s", "prompt_pair_s")
    slower = replica | {name: factor * float(replica[name]) for name in times}  # type: ignore[arg-type]
    rows = pl.DataFrame([replica, slower]).with_columns(ttft_slo_s=2.0, tpot_slo_s=0.06)
    fast, slow = largest_rate(rows)
    assert slow <= fast / factor * 1.02


def test_the_largest_rate_is_on_the_edge_of_the_objective() -> None:
    """A little more breaks it, a little less meets it."""
    rows = pl.DataFrame([REPLICA]).with_columns(ttft_slo_s=1.0, tpot_slo_s=0.03)
    rate = largest_rate(rows, cautious=False).item()
    below, above = under_load(
        pl.concat([rows, rows]).with_columns(arrivals_per_s=pl.Series([rate * 0.985, rate * 1.015]))
    ).iter_rows(named=True)
    assert below["tpot_p95_s"] <= 0.03
    assert above["tpot_p95_s"] > 0.03 or above["ttft_p95_s"] > 1.0


def test_an_objective_that_an_idle_replica_misses_has_no_rate() -> None:
    """0, not a small number."""
    rows = pl.DataFrame([REPLICA, REPLICA]).with_columns(
        ttft_slo_s=pl.Series([0.001, 1.0]), tpot_slo_s=pl.Series([0.05, 0.001])
    )
    assert largest_rate(rows).to_list() == [0.0, 0.0]


def test_bursts_make_it_worse() -> None:
    """The same rate, less evenly."""
    rows = pl.DataFrame([REPLICA] * 3).with_columns(arrival_cv=pl.Series([1.0, 2.0, 4.0]), arrivals_per_s=4.0)
    seen = under_load(rows)
    for name in ("ttft_p95_s", "tpot_p95_s"):
        assert seen[name].is_sorted(), name


def test_every_formula_says_what_it_is_and_where_it_comes_from() -> None:
    """As for all quantities: a sentence, and a source or the word Definition."""
    for name, q in load_book().items():
        assert q.summary.endswith((".", ":")) or q.summary, name
        assert q.source, name


def test_the_inputs_are_all_that_is_needed() -> None:
    """What may be left out is filled with nothing, and nothing else is."""
    assert set(INPUTS) == {*REPLICA, "ttft_extra_s", "first_token_steps"}
