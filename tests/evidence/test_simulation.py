"""The simulation of replicas: against results by hand, laws of queues, and the closed forms that it judges."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import PipelineError, UnknownNameError, UsageError
from pipeline.core.places import bundled
from pipeline.evidence.simulation.arrivals import Traffic, draw_requests, largest_rate_simulated, simulate_at_rate
from pipeline.evidence.simulation.replica import Replica
from pipeline.evidence.simulation.simulate import ROUTINGS, percentiles, simulate_requests

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

LINE = {"a_s": 7.0e-3, "b_s": 2.0e-5, "c_s": 4.6e-8, "d_s": 2.6e-5, "e_s": 4.4e-10}
"""An 8B model in bf16 on one H100, roughly."""
FLAT = Replica(a_s=0.01)


def run(replica: Replica, arrivals: list[float], prompts: list[int], outputs: list[int], **more: Any) -> pl.DataFrame:
    """Simulate requests that are listed."""
    return simulate_requests(replica, arrivals, prompts, outputs, **more)


def poisson(requests_per_s: float, count: int, traffic: Traffic, seed: int = 1) -> dict[str, Any]:
    """Requests at a rate, as arguments of simulate."""
    requests = draw_requests(traffic, count, seed)
    return {
        "arrivals_s": (requests["arrival_s"] / requests_per_s).to_list(),
        "prompt_tokens": requests["prompt_tokens"],
        "output_tokens": requests["output_tokens"],
    }


# ----- by hand


def test_a_single_request_takes_what_its_steps_take() -> None:
    """5,000 tokens in steps of 2,048 are three steps; every later token is a step at its context."""
    replica = Replica(**LINE, step_tokens=2048)
    row = run(replica, [1.0], [5000], [100]).row(0, named=True)
    first = 3 * (LINE["a_s"] + LINE["b_s"]) + LINE["d_s"] * 5000 + LINE["e_s"] * 5000**2 / 2
    contexts = sum(range(5001, 5100)) / 99
    assert row["ttft_s"] == pytest.approx(first, rel=1e-12)
    assert row["tpot_s"] == pytest.approx(LINE["a_s"] + LINE["b_s"] + LINE["c_s"] * contexts, rel=1e-12)
    assert row["e2e_s"] == pytest.approx(row["ttft_s"] + 99 * row["tpot_s"], rel=1e-12)


def test_one_token_has_no_time_per_token() -> None:
    """A time between tokens needs two."""
    assert run(FLAT, [0.0], [10], [1])["tpot_s"].to_list() == [None]


def test_a_request_that_comes_during_a_step_waits_for_its_end() -> None:
    """Steps of 10 ms: one that comes after 25 ms is read in the step from 30 to 40 ms."""
    rows = run(FLAT, [0.0, 0.025], [1, 1], [100, 1])
    assert rows["ttft_s"].to_list() == pytest.approx([0.01, 0.015])


def test_mixed_reading_lengthens_the_steps_of_others_and_reading_first_stops_them() -> None:
    """A prompt of 1 s: mixed, one step of the other takes 1 s more; first, the other loses the whole step."""
    slow = {"a_s": 0.01, "d_s": 0.001}
    for first, lost in ((False, 1.0), (True, 1.01)):
        rows = run(Replica(**slow, prefills_first=first), [0.0, 0.025], [1, 1000], [10, 1])
        assert rows["e2e_s"][0] == pytest.approx(0.001 + 10 * 0.01 + lost)


def test_places_are_given_in_the_order_of_arrival() -> None:
    """One place: the second request is read when the first has ended."""
    rows = run(Replica(a_s=0.01, slots=1), [0.0, 0.0, 0.0], [5, 5, 5], [10, 10, 10])
    assert rows["ttft_s"].to_list() == pytest.approx([0.01, 0.11, 0.21])


def test_the_youngest_starts_again_where_cache_runs_out() -> None:
    """Two of 16 + 16 tokens in three blocks of 16: the second is put back, and read again with what it has made."""
    replica = Replica(a_s=0.01, d_s=0.001, kv_tokens=64)
    rows = run(replica, [0.0, 0.0], [20, 20], [20, 20])
    alone = run(replica, [0.0], [20], [20])["e2e_s"][0]
    assert rows["e2e_s"][0] < rows["e2e_s"][1]
    assert rows["e2e_s"][0] == pytest.approx(alone + 20 * 0.001)
    steps = (rows["e2e_s"][1] - 40 * 0.001) / 0.01
    assert steps > 20, "its prompt, and what it had made, were read again"
    kept = run(Replica(a_s=0.01, d_s=0.001, kv_tokens=64, reserves=True), [0.0, 0.0], [20, 20], [20, 20])
    assert kept["ttft_s"][1] > kept["e2e_s"][0], "reserved, it waits until the first has ended"


def test_the_largest_throughput_is_that_of_full_steps() -> None:
    """All requests at once: 64 places, so many steps for each, reading shared."""
    count, slots, prompt, output = 6400, 64, 512, 128
    replica = Replica(**LINE, slots=slots)
    rows = run(replica, [0.0] * count, [prompt] * count, [output] * count)
    reading = LINE["d_s"] * prompt + LINE["e_s"] * prompt**2 / 2
    step = LINE["a_s"] + slots * (LINE["b_s"] + LINE["c_s"] * (prompt + output / 2))
    assert count / rows["e2e_s"].max() == pytest.approx(slots / (output * step + slots * reading), rel=0.02)


# ----- laws of queues


def test_one_place_and_one_token_is_a_queue_of_pollaczek_and_khinchine() -> None:
    """Poisson arrivals, one server, lognormal service: the mean wait is lambda E[v^2] / 2 (1 - rho)."""
    replica = Replica(a_s=0.005, d_s=2e-5, slots=1, step_tokens=10**8)
    asked = poisson(25.0, 60_000, Traffic(1000, 1, prompt_cv=0.8))
    rows = run(replica, *asked.values())
    serve = 0.005 + 2e-5 * asked["prompt_tokens"]
    load = 25.0 * serve.mean()
    wait = 25.0 * (serve**2).mean() / 2 / (1 - load)
    assert (rows["ttft_s"] - serve).mean() == pytest.approx(wait, rel=0.05)


def test_as_many_are_inside_as_littles_law_says() -> None:
    """Requests in the system, counted by an observer at even times, are the rate times the stay."""
    rows = run(Replica(**LINE), *poisson(12.0, 20_000, Traffic(1000, 250, 1.0, 1.0, 1.0)).values())
    begin, end = rows["arrival_s"][2000], rows["arrival_s"][-1]
    times = pl.Series([begin + (end - begin) * each / 20_000 for each in range(20_000)])
    gone = (rows["arrival_s"] + rows["e2e_s"]).sort().search_sorted(times)
    inside = (rows["arrival_s"].search_sorted(times).cast(pl.Int64) - gone.cast(pl.Int64)).mean()
    late = rows.filter(pl.col("arrival_s") >= begin)
    assert inside == pytest.approx(late.height / (end - begin) * late["e2e_s"].mean(), rel=0.03)


def test_places_with_exponential_stays_are_a_queue_of_erlang() -> None:
    """20 places, steps of one length, geometric outputs: the wait is Erlang C's, and the rest of a step."""
    from numpy.random import default_rng

    places, mean, count, step = 20, 100, 60_000, 0.007
    outputs = default_rng(3).geometric(1 / mean, count).tolist()
    rate = 0.85 * places / (mean * step)
    arrivals = poisson(rate, count, Traffic(1, 1))["arrivals_s"]
    rows = run(Replica(a_s=step, slots=places), arrivals, [1] * count, outputs)
    load = rate * mean * step
    blocked = 1.0
    for place in range(1, places + 1):
        blocked = load * blocked / (place + load * blocked)
    waits = blocked / (1 - load / places * (1 - blocked))
    wait = (rows["ttft_s"] - step).mean()
    assert wait == pytest.approx(waits * mean * step / (places - load) + step / 2, rel=0.1)


@pytest.mark.parametrize("spread", [0.0, 1.0, 2.0])
def test_a_shared_step_does_not_feel_the_law_of_lengths(spread: float) -> None:
    """Steps a + b n are processor sharing: time per token is (a + b) / (1 - rho), whatever the law of lengths."""
    rows = run(
        Replica(a_s=0.007, b_s=2e-4, slots=4000), *poisson(30.0, 20_000, Traffic(1, 100, output_cv=spread)).values()
    )
    late = rows.slice(2000)
    outputs = draw_requests(Traffic(1, 100, output_cv=spread), 20_000, 1)["output_tokens"]
    rho = 30.0 * outputs.mean() * 2e-4
    assert late["e2e_s"].mean() / outputs.slice(2000).mean() == pytest.approx(0.0072 / (1 - rho), rel=0.06)


# ----- laws of the simulation


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 40),
    seed=st.integers(0, 10**6),
    prefills_first=st.booleans(),
    reserves=st.booleans(),
    kv_tokens=st.sampled_from([800, 2000, 10**8]),
    slots=st.sampled_from([1, 3, 256]),
    step_tokens=st.sampled_from([64, 300, 8192]),
)
def test_every_request_ends_and_none_is_quicker_than_alone(count: int, seed: int, **limits: Any) -> None:
    """Whatever the limits: nobody is lost, and company never helps a request to its first token."""
    replica = Replica(**LINE, **limits)
    asked = poisson(20.0, count, Traffic(150, 60, 2.0, 1.0, 1.0, longest_tokens=350), seed)
    rows = run(replica, *asked.values())
    assert rows.null_count().select("ttft_s", "e2e_s").row(0) == (0, 0)
    alone = [
        run(replica, [0.0], [prompt], [output]).row(0, named=True)
        for prompt, output in zip(asked["prompt_tokens"], asked["output_tokens"], strict=True)
    ]
    assert all(rows["ttft_s"] >= pl.Series([each["ttft_s"] for each in alone]) - 1e-9)
    assert all(rows["e2e_s"] >= rows["ttft_s"] - 1e-12)


def test_stretches_are_as_single_steps() -> None:
    """Others that come and go cut a stretch short; the times are those of steps one by one, to rounding."""
    asked = poisson(15.0, 300, Traffic(300, 120, 2.0, 1.0, 1.0, longest_tokens=1900))
    for limits in ({}, {"kv_tokens": 4000}, {"prefills_first": True, "reserves": True}):
        rows = run(Replica(**LINE, **limits), *asked.values())
        assert by_steps(Replica(**LINE, **limits), asked) == pytest.approx(rows["e2e_s"].to_list(), abs=1e-9)


class Single:
    """A second writing: every step by itself, every sequence by itself, blocks counted anew each time."""

    def __init__(self, replica: Replica, prompts: list[int], outputs: list[int]) -> None:
        """Nobody is there."""
        self.replica, self.prompts, self.outputs = replica, prompts, outputs
        self.made, self.read, self.target = [0] * len(prompts), [0] * len(prompts), list(prompts)
        self.waiting: list[int] = []
        self.running: list[int] = []

    def decodes(self, i: int) -> bool:
        """Whether a prompt is read."""
        return self.read[i] >= self.target[i]

    def blocks(self, *, after: bool) -> int:
        """Blocks of all that run, before or after the others' next token."""
        return sum(self.blocks_of(i, more=after and self.decodes(i)) for i in self.running)

    def blocks_of(self, i: int, *, more: bool = False) -> int:
        """Blocks of one."""
        if self.replica.reserves:
            return self.replica.blocks_of(self.prompts[i] + self.outputs[i])
        return self.replica.blocks_of(max(self.prompts[i] + self.made[i], self.target[i] + 1) + more)

    def put_back(self) -> bool:
        """The youngest go until the rest fits."""
        gone = False
        while not self.replica.prefills_first and self.blocks(after=True) > self.replica.blocks:
            out, gone = self.running.pop(), True
            self.target[out], self.read[out] = self.prompts[out] + self.made[out], 0
            self.waiting.insert(0, out)
        return gone

    def chunks(self) -> dict[int, int]:
        """Prompt tokens of this step."""
        admit = not self.put_back()
        first = self.replica.prefills_first
        budget = self.replica.step_tokens - (0 if first else sum(map(self.decodes, self.running)))
        chunks = {}
        for i in [i for i in self.running if not self.decodes(i)]:
            chunks[i] = min(self.target[i] - self.read[i], budget)
            budget -= chunks[i]
        while admit and self.waiting and budget > 0 and len(self.running) < self.replica.slots:
            if self.blocks(after=not first) + self.blocks_of(self.waiting[0]) > self.replica.blocks:
                break
            i = self.waiting.pop(0)
            self.running.append(i)
            chunks[i] = min(self.target[i], budget)
            budget -= chunks[i]
        return chunks

    def step(self) -> tuple[float, list[int]]:
        """Time of one step, and who ends with it."""
        decoding, chunks = [], self.chunks()
        if not (self.replica.prefills_first and chunks):
            decoding = [i for i in self.running if i not in chunks]
        context = sum(self.prompts[i] + self.made[i] for i in decoding)
        pairs = sum(chunk * (self.read[i] + chunk / 2) for i, chunk in chunks.items())
        base, each, token, prompt, pair = (getattr(self.replica, f"{name}_s") for name in "abcde")
        seconds = base + each * (len(decoding) + len(chunks)) + token * context + prompt * sum(chunks.values())
        for i, chunk in chunks.items():
            self.read[i] += chunk
        for i in (makers := [*decoding, *filter(self.decodes, chunks)]):
            self.made[i] += 1
        return seconds + pair * pairs, [i for i in makers if self.made[i] == self.outputs[i]]


def by_steps(replica: Replica, asked: dict[str, Any]) -> list[float]:
    """Times of whole requests, one step after another."""
    arrivals, prompts, outputs = (list(each) for each in asked.values())
    one, ends, now, coming = Single(replica, prompts, outputs), [math.nan] * len(arrivals), 0.0, 0
    while coming < len(arrivals) or one.waiting or one.running:
        if not one.waiting and not one.running:
            now = max(now, arrivals[coming])
        while coming < len(arrivals) and arrivals[coming] <= now:
            one.waiting.append(coming)
            coming += 1
        seconds, ended = one.step()
        now += seconds
        for i in ended:
            one.running.remove(i)
            ends[i] = now - arrivals[i]
    return ends


# ----- several replicas


@pytest.mark.parametrize("routing", ROUTINGS)
def test_replicas_share_all_requests(routing: str) -> None:
    """Every replica gets some, the same seed the same ones."""
    asked = poisson(40.0, 2000, Traffic(1000, 100, 1.0, 1.0, 1.0))
    rows = run(Replica(**LINE), *asked.values(), replicas=4, routing=routing)
    assert rows.equals(run(Replica(**LINE), *asked.values(), replicas=4, routing=routing))
    counts = rows["replica"].value_counts()["count"]
    assert len(counts) == 4
    assert counts.min() > 400


def test_evener_routing_waits_less() -> None:
    """At random, some replicas get more at a time than others."""
    asked = poisson(70.0, 8000, Traffic(1000, 100, 1.0, 1.0, 1.0))
    random, *evener = [
        run(Replica(**LINE), *asked.values(), replicas=4, routing=each)["ttft_s"].quantile(0.95) for each in ROUTINGS
    ]
    assert all(each < 0.85 * random for each in evener)


# ----- what cannot be


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"arrivals": [1.0, 0.5]}, UsageError, "do not fall"),
        ({"arrivals": [-1.0, 0.5]}, UsageError, "do not fall"),
        ({"arrivals": [0.0, math.nan]}, UsageError, "do not fall"),
        ({"prompts": [0, 5]}, UsageError, "one prompt token"),
        ({"outputs": [5, 0]}, UsageError, "one output token"),
        ({"prompts": [5, 10**9]}, PipelineError, "request 2 of 2: 1000000000 prompt"),
        ({"replicas": 0}, UsageError, "replicas = 0"),
        ({"routing": "randm"}, UnknownNameError, "Did you mean random"),
    ],
)
def test_requests_that_cannot_be_are_refused(asked: dict[str, Any], error: type[Exception], words: str) -> None:
    """With words that say what is wrong."""
    usual = {"arrivals": [0.0, 1.0], "prompts": [5, 5], "outputs": [5, 5]} | asked
    with pytest.raises(error, match=words):
        run(FLAT, **usual)


@pytest.mark.parametrize("wrong", [{"a_s": 0.0}, {"b_s": -1.0}, {"slots": 0}, {"a_s": math.nan}])
def test_replicas_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    """A step takes time, and something fits."""
    with pytest.raises(UsageError):
        Replica(**({"a_s": 0.01} | wrong))


def test_traffic_that_cannot_be_is_refused() -> None:
    """Lengths below a token, spreads below nothing."""
    with pytest.raises(UsageError):
        Traffic(0.5, 10)
    with pytest.raises(UsageError):
        Traffic(5, 10, arrival_cv=-1)


# ----- traffic and the closed forms


def test_drawn_requests_have_the_means_and_spreads_that_were_asked_for() -> None:
    """Of 100,000 requests, within 3 %."""
    requests = draw_requests(Traffic(1000, 300, 2.0, 0.5, 1.0), 100_000, 5)
    gaps = requests["arrival_s"].diff().drop_nulls()
    for values, mean, cv in ((gaps, 1, 2), (requests["prompt_tokens"], 1000, 0.5), (requests["output_tokens"], 300, 1)):
        assert values.mean() == pytest.approx(mean, rel=0.03)
        assert values.std() / values.mean() == pytest.approx(cv, rel=0.03)


def test_the_largest_rate_is_where_the_objective_is_just_met() -> None:
    """A little less meets it, a little more does not; and none does where an idle replica is too slow."""
    replica, requests = Replica(**LINE), draw_requests(Traffic(512, 256, 1.0, 1.0, 1.0), 3000, 2)
    rate = largest_rate_simulated(replica, requests, 0.3, 0.02, 5.0)
    assert simulate_at_rate(replica, requests, rate * 0.97)["tpot_s_p95"] <= 0.02
    assert simulate_at_rate(replica, requests, rate * 1.03)["tpot_s_p95"] > 0.02
    assert largest_rate_simulated(replica, requests.head(300), 0.3, 0.001, 5.0) == 0.0


def closed_row(replica: Replica, burst: float) -> dict[str, Any]:
    """A replica that serves prompts of 512 and outputs of 256 tokens, CV 1, as the closed forms read it."""
    return {
        "step_base_s": replica.a_s, "step_sequence_s": replica.b_s + replica.c_s * (512 + 256),
        "prompt_token_s": replica.d_s, "prompt_pair_s": replica.e_s, "step_tokens": 8192, "slots": 256,
        "kv_slots": 1e6, "kv_growth_ratio": 0.0, "prefills_first": replica.prefills_first, "prompt_tokens": 512.0,
        "prompt_cv": 1.0, "output_tokens": 256.0, "output_cv": 1.0, "arrival_cv": burst,
    }  # fmt: skip


@pytest.mark.parametrize(("burst", "within"), [(1.0, 0.12), (2.0, 0.2)])
@pytest.mark.parametrize("prefills_first", [False, True])
def test_closed_forms_agree_with_the_simulation_where_no_limit_binds(
    burst: float, within: float, *, prefills_first: bool
) -> None:
    """Means within 10 %, p95 within 20 %, the largest rate too: the aims of the study of load."""
    from pipeline.grid.load import largest_rate, under_load

    traffic, rate = Traffic(512, 256, burst, 1.0, 1.0), 14.0
    replica = Replica(**LINE, prefills_first=prefills_first, reserves=prefills_first)
    limits = {"arrivals_per_s": rate, "ttft_slo_s": 1.0, "tpot_slo_s": 0.05}
    row = closed_row(replica, burst) | limits
    said = under_load(pl.DataFrame([row])).row(0, named=True)
    requests = draw_requests(traffic, 10_000, 8)
    seen = simulate_at_rate(replica, requests, rate)
    for name, column in (("ttft", "ttft_loaded_s"), ("tpot", "tpot_loaded_s"), ("e2e", "e2e_loaded_s")):
        assert said[column] == pytest.approx(seen[f"{name}_s_mean"], rel=within)
        assert said[f"{name}_p95_s"] == pytest.approx(seen[f"{name}_s_p95"], rel=0.2)
    most = largest_rate(pl.DataFrame([row]), cautious=False).item()
    assert most == pytest.approx(largest_rate_simulated(replica, requests, 1.0, 0.05, most), rel=0.15)


def test_bursts_find_their_mates_in_the_batch() -> None:
    """Places run short long before the average batch fills them: largest rates near the simulated ones, and falling."""
    from pipeline.grid.load import largest_rate

    rates = []
    for burst, within in ((1.0, 0.1), (2.0, 0.15), (4.0, 0.35)):
        replica, traffic = Replica(**LINE, slots=32), Traffic(512, 256, burst, 1.0, 1.0)
        row = closed_row(replica, burst) | {"slots": 32, "ttft_slo_s": 1.0, "tpot_slo_s": 0.05}
        rates.append(largest_rate(pl.DataFrame([row]), cautious=False).item())
        seen = largest_rate_simulated(replica, draw_requests(traffic, 8_000, 21), 1.0, 0.05, rates[-1])
        assert rates[-1] == pytest.approx(seen, rel=within)
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(("name", "rate", "prompts", "outputs"), [("code", 2.57, 2048, 28), ("conv", 5.53, 1155, 211)])
def test_shipped_traces_have_the_published_statistics(name: str, rate: float, prompts: float, outputs: float) -> None:
    """Azure's rates and mean lengths, within a tenth."""
    trace = pl.read_csv(bundled("catalogs") / "traffic" / f"azure-{name}-2023.csv")
    assert trace.columns == ["arrival_s", "prompt_tokens", "output_tokens"]
    assert trace["arrival_s"].is_sorted()
    assert trace.height / trace["arrival_s"].max() == pytest.approx(rate, rel=0.1)
    assert trace["prompt_tokens"].mean() == pytest.approx(prompts, rel=0.1)
    assert trace["output_tokens"].mean() == pytest.approx(outputs, rel=0.1)


# ----- the command

PLAN = ("simulate", "--model", "llama-3.1-8b", "--accelerator", "h100", "--requests", 2000)


def test_the_command_prints_both_answers(capgrid: Callable[..., Result]) -> None:
    """Percentiles simulated and in closed form, near each other; and whether the objective is met."""
    done = capgrid(*PLAN, "--requests-per-s", 8, "--ttft-p95", "1s", "--tpot-p95", "50ms", "--json")
    rows = {row["quantity"]: row for row in json.loads(done.stdout)}
    assert rows["tpot_mean"]["difference_ratio"] == pytest.approx(0, abs=0.05)
    assert rows["ttft_p95"]["difference_ratio"] == pytest.approx(0, abs=0.2)
    assert rows["ttft_p95"]["objective_s"] == 1.0
    assert rows["tpot_p95"]["is_met"] is True
    assert "objective met" in done.stderr


def test_the_command_takes_a_trace(capgrid: Callable[..., Result], tmp_path: Path) -> None:
    """With Azure's own names of columns."""
    path = tmp_path / "trace.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        + "".join(f"2023-11-16 18:00:{second:02}.5,{100 + second},20\n" for second in range(60)),
        encoding="utf-8",
    )
    done = capgrid(*PLAN, "--trace", path, "--replicas", 2, "--routing", "least-outstanding")
    assert "60 requests" in done.stderr
    assert "ttft_p95" in done.stdout


def test_outputs_of_one_token_have_no_time_per_token(capgrid: Callable[..., Result]) -> None:
    """Nothing is told of it, and its limit is not missed."""
    one = ("--output-tokens", 1, "--output-cv", 0, "--requests-per-s", 2, "--json")
    rows = {row["quantity"]: row for row in json.loads(capgrid(*PLAN, *one).stdout)}
    assert rows["tpot_p95"]["simulated_s"] is rows["tpot_p95"]["closed_form_s"] is None
    assert rows["tpot_p95"]["is_met"] is True


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ((), 2, "requests per second"),
        (("--requests-per-s", "nan"), 2, "not a number"),
        (("--requests-per-s", 8, "--static"), 2, "static batch"),
        (("--requests-per-s", 8, "--ttft-p95", "fast"), 2, "ttft_slo_s"),
        (("--requests-per-s", 8, "--routing", "best"), 2, "routing"),
        (("--trace", "/nowhere.csv"), 1, "/nowhere.csv"),
    ],
)
def test_what_cannot_be_simulated_is_said(
    capgrid: Callable[..., Result], options: tuple[object, ...], code: int, words: str
) -> None:
    """A message and an exit code, never a traceback."""
    assert words in capgrid(*PLAN, *options, code=code).stderr


def test_percentiles_leave_the_first_tenth_out() -> None:
    """An empty replica is no steady one."""
    rows = pl.DataFrame({"ttft_s": [9.0] + [1.0] * 9, "tpot_s": [None] * 10, "e2e_s": [9.0] + [2.0] * 9})
    told = percentiles(rows.cast(pl.Float64))
    assert (told["ttft_s_p99"], told["e2e_s_mean"]) == (1.0, 2.0)
    assert math.isnan(told["tpot_s_mean"])
