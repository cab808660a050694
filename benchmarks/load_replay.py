"""Replays of traffic: replicas by the rule of five seconds, whether they are enough, and whether fewer are.

The rule: n = ceil(planned rate / largest rate of a replica under Poisson arrivals), where the planned rate is what
95 % of requests see or less in windows of five seconds. Traces are those of catalogs/traffic, made by
benchmarks/load_traces.py; Mooncake and ServeGen are drawn from their statistics where ../shared/traces is present.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import load_tables
import load_traces
import numpy as np
import polars as pl
from load_cases import LINES, row_of
from polars import col

from pipeline.evidence.simulation.arrivals import Traffic
from pipeline.evidence.simulation.replica import Replica
from pipeline.evidence.simulation.simulate import percentiles, simulate_requests
from pipeline.grid.load import largest_rate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WINDOW_S, SHARE = 5.0, 0.95
JITTER_S = 2.0
ROUTINGS = ("random", "least-outstanding")
SERVEGEN = "deepseek-r1"


@dataclass(frozen=True)
class Replay:
    """A trace, how many times its requests come, and an objective."""

    trace: str
    line: str
    copies: int
    keeps_bursts: bool
    ttft_slo_s: float = 1.0
    tpot_slo_s: float = 0.05

    @property
    def replica(self) -> Replica:
        """What serves it."""
        return Replica(*LINES[self.line], kv_tokens=10**8)


def chosen(*, quick: bool) -> list[Replay]:
    """All replays; one where it must be quick."""
    if quick:
        return [Replay("azure-conv-2023", "8B", 2, keeps_bursts=True)]
    azure = [("azure-code-2023", 8), ("azure-conv-2023", 4), ("azure-conv-2023", 20)]
    found = [Replay(name, line, n, keeps) for name, n in azure for line in LINES for keeps in (True, False)]
    if load_traces.TRACES.is_dir():
        found += [Replay("mooncake-conversation", "8B", 2, keeps, ttft_slo_s=5.0) for keeps in (True, False)]
        found += [Replay("servegen-deepseek-r1", "8B", 1, keeps_bursts=True, ttft_slo_s=5.0)]
    return found


def requests_of(name: str) -> pl.DataFrame:
    """The requests of a trace."""
    path = load_traces.OUT / f"{name}.csv"
    if path.is_file():
        return pl.read_csv(path)
    random = np.random.default_rng(7)
    if name == "servegen-deepseek-r1":
        return servegen(random)
    trace = "mooncake_conversation"
    counts = load_traces.table("trace_arrivals_per_minute.csv", trace).sort("minute")["arrivals"].to_list()
    times = load_traces.arrivals(counts, 1.0, random)
    lengths = {k: load_traces.lengths(trace, k, len(times), random) for k in ("input", "output")}
    return pl.DataFrame({"arrival_s": times, "prompt_tokens": lengths["input"], "output_tokens": lengths["output"]})


def servegen(random: np.random.Generator, hours: int = 2) -> pl.DataFrame:
    """The busiest hours of a service of ServeGen: published rates of ten minutes, Poisson within, its lengths."""
    rates = pl.read_csv(load_traces.TRACES / "servegen_rate_10min.csv").filter(model=SERVEGEN).sort("t_seconds")
    per_s = rates["rate_req_s"].to_numpy()
    steps = hours * 6
    busiest = max(range(len(per_s) - steps), key=lambda place: per_s[place : place + steps].sum())
    pieces = [
        600.0 * (place + np.sort(random.random(random.poisson(600.0 * rate))))
        for place, rate in enumerate(per_s[busiest : busiest + steps])
    ]
    times = np.concatenate(pieces)
    hist = pl.read_csv(load_traces.TRACES / "servegen_token_hist.csv").filter(model=SERVEGEN)

    def lengths(kind: str) -> np.ndarray:
        law = hist.filter(kind=kind).sort("lo")
        shares = np.concatenate([[0.0], law["weight"].cum_sum() / law["weight"].sum()])
        edges = np.log(np.concatenate([[1.0], law["hi"].to_numpy().clip(max=2 * law["lo"].to_numpy().clip(16))]))
        return np.rint(np.exp(np.interp(random.random(len(times)), shares, edges))).astype(int)

    return pl.DataFrame(
        {"arrival_s": times, "prompt_tokens": lengths("input_tokens"), "output_tokens": lengths("output_tokens")}
    )


def copied(requests: pl.DataFrame, copies: int, *, keeps_bursts: bool) -> pl.DataFrame:
    """The requests of so many like services: each copy jittered, which keeps bursts; or shifted around the whole."""
    random = np.random.default_rng(11)
    times = requests["arrival_s"].to_numpy()
    whole = times[-1] + 1.0
    shifts = (
        [times + random.uniform(0.0, JITTER_S, len(times)) for _ in range(copies)]
        if keeps_bursts
        else [(times + random.uniform(0.0, whole)) % whole for _ in range(copies)]
    )
    copy = [requests.with_columns(arrival_s=pl.Series(shift)) for shift in shifts]
    return pl.concat(copy).sort("arrival_s")


def planned(requests: pl.DataFrame) -> float:
    """The rate that 95 % of requests see or less, in windows of five seconds [1/s]."""
    seen = requests.select(seen=pl.len().over((col("arrival_s") / WINDOW_S).floor()))
    return float(seen["seen"].quantile(SHARE, "nearest")) / WINDOW_S


def largest(replay: Replay, requests: pl.DataFrame) -> float:
    """The largest rate of one replica by the closed form, under Poisson arrivals."""
    mean = requests.mean().row(0, named=True)
    spread = {name: requests[name].std() / mean[name] for name in ("prompt_tokens", "output_tokens")}
    cvs = {"prompt_cv": spread["prompt_tokens"], "output_cv": spread["output_tokens"]}
    row = row_of(replay.replica, Traffic(mean["prompt_tokens"], mean["output_tokens"], 1.0, **cvs))
    row |= {"ttft_slo_s": replay.ttft_slo_s, "tpot_slo_s": replay.tpot_slo_s}
    return float(largest_rate(pl.DataFrame([row])).item())


def seen(replay: Replay, requests: pl.DataFrame, replicas: int, routing: str = "random") -> dict[str, float]:
    """Percentiles of a replay on so many replicas."""
    lists = (requests["arrival_s"].to_list(), requests["prompt_tokens"], requests["output_tokens"])
    return percentiles(simulate_requests(replay.replica, *lists, replicas, routing), skip_ratio=0.0)


def met(replay: Replay, times: dict[str, float]) -> bool:
    """Whether the objective is met."""
    return times["ttft_s_p95"] <= replay.ttft_slo_s and times["tpot_s_p95"] <= replay.tpot_slo_s


def needed(replay: Replay, requests: pl.DataFrame, routing: str, guess: int) -> int:
    """The fewest replicas that meet the objective, by bisection."""
    low, high = 0, guess
    while not met(replay, seen(replay, requests, high, routing)):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if met(replay, seen(replay, requests, middle, routing)) else (middle, high)
    return high


def replayed(replay: Replay) -> dict[str, Any]:
    """What a replay says of the rule."""
    requests = copied(requests_of(replay.trace), replay.copies, keeps_bursts=replay.keeps_bursts)
    rate, most = planned(requests), largest(replay, requests)
    count = math.ceil(rate / most)
    at_rule = seen(replay, requests, count)
    fewer = seen(replay, requests, count - 1) if count > 1 else None
    return {
        "replay": replay,
        "requests": requests.height,
        "mean_per_s": requests.height / requests["arrival_s"].max(),
        "planned_per_s": rate,
        "largest_per_s": most,
        "rule": count,
        "at_rule": at_rule,
        "met": met(replay, at_rule),
        "fewer_met": met(replay, fewer) if fewer else False,
        **{routing: needed(replay, requests, routing, count) for routing in ROUTINGS},
    }


def replays(*, quick: bool, workers: int) -> list[dict[str, Any]]:
    """All replays."""
    with get_context("spawn").Pool(workers) as pool:
        return pool.map(replayed, chosen(quick=quick), chunksize=1)


def replays_table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Replays as a Markdown table."""
    yield from load_tables.header(
        ["trace", "line", "copies", "requests/s, mean", "planned", "of a replica", "replicas by the rule",
         "TTFT p95", "TPOT p95", "met", "one fewer", "needed, random", "needed, least outstanding"]
    )  # fmt: skip
    for row in rows:
        replay, times = row["replay"], row["at_rule"]
        yield load_tables.line(
            [
                replay.trace,
                replay.line,
                f"{replay.copies}, {'bursts kept' if replay.keeps_bursts else 'shifted'}",
                *(f"{row[name]:.3g}" for name in ("mean_per_s", "planned_per_s", "largest_per_s")),
                row["rule"],
                f"{times['ttft_s_p95']:.2f} s of {replay.ttft_slo_s:g}",
                f"{1e3 * times['tpot_s_p95']:.0f} ms of {1e3 * replay.tpot_slo_s:.0f}",
                "yes" if row["met"] else "no",
                "-" if row["rule"] == 1 else "meets it too" if row["fewer_met"] else "fails",
                row["random"],
                row["least-outstanding"],
            ]
        )
