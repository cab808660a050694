"""Cases that the closed forms of load are judged by: replicas, traffic, and both answers to them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.evidence.simulation.arrivals import Traffic, draw_requests, largest_rate_simulated, simulate_at_rate
from pipeline.evidence.simulation.replica import Replica
from pipeline.evidence.simulation.simulate import percentiles, simulate_requests
from pipeline.grid.load import largest_rate, under_load

try:
    from fleet_sim.gpu_profiles.manual import ManualProfile
    from fleet_sim.optimizer.analytical import p99_wait
except ModuleNotFoundError:
    ManualProfile = None

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES = {
    # a, b, c, d, e of a step; assumptions, near what our estimates say of such plans
    "8B": (7.0e-3, 2.0e-5, 4.6e-8, 2.6e-5, 4.4e-10),  # Llama 3.1 8B, bf16, one H100
    "70B": (18.0e-3, 3.0e-5, 2.9e-8, 7.4e-5, 5.5e-10),  # Llama 3.1 70B, bf16, four H100
}
SHAPES = {"chat": (512, 256), "documents": (3000, 150), "writing": (200, 600)}
LOADS = (0.2, 0.4, 0.6, 0.8, 0.95)
OVERLOADS = (1.05, 1.2)
BURSTS = (1.0, 2.0, 4.0)
SPREADS = (0.0, 1.0)
LIMITS = ("none", "slots", "cache")
FEW = 32
"""Sequences that run at once where places or cache are short."""
LONGEST = 30_000
TTFT_SLO_S, TPOT_SLO_S = 1.0, 0.05
SECONDS_APART = 97
GROWS_RATIO = 0.015
"""Share of all requests by which those in the system grow from the second quarter to the last: a queue without end."""


@dataclass(frozen=True)
class Case:
    """One replica and its traffic."""

    line: str
    shape: str
    spread: float
    limit: str
    prefills_first: bool
    burst: float
    seed: int

    @property
    def traffic(self) -> Traffic:
        """What arrives."""
        prompt, output = SHAPES[self.shape]
        longest = min(LONGEST, self.replica.kv_tokens // 3)
        return Traffic(prompt, output, self.burst, self.spread, self.spread, longest)

    @property
    def replica(self) -> Replica:
        """What serves it."""
        prompt, output = SHAPES[self.shape]
        held = occupied(prompt, output, self.spread, reserves=self.prefills_first)
        return Replica(
            *LINES[self.line],
            slots=FEW if self.limit == "slots" else 256,
            kv_tokens=int(FEW * held) if self.limit == "cache" else 10**8,
            prefills_first=self.prefills_first,
            reserves=self.prefills_first,
        )

    def row(self) -> dict[str, Any]:
        """The same as the closed forms read it."""
        return asdict(self) | row_of(self.replica, self.traffic)


def cases(*, quick: bool) -> list[Case]:
    """All cases; a few where it must be quick."""
    lines, shapes = (("8B",), ("chat",)) if quick else (LINES, SHAPES)
    crossed = product(lines, shapes, SPREADS, LIMITS, (False, True), BURSTS)
    return [Case(*each, seed=seed) for seed, each in enumerate(crossed, SECONDS_APART)]


def occupied(prompt: float, output: float, spread: float, *, reserves: bool) -> float:
    """Cache that a sequence holds on average over its stay [tokens]."""
    longer = output * (1 + spread**2)
    return prompt + (longer if reserves else longer / 2)


def row_of(replica: Replica, traffic: Traffic) -> dict[str, Any]:
    """A replica and its traffic as columns of `pipeline.grid.load`. Source: study of load, section 2, features."""
    s, o = traffic.prompt_tokens, traffic.output_tokens
    second = o * o * (1 + traffic.output_cv**2)
    context = s + (second - o) / (o - 1) / 2 if o > 1 else s
    held = occupied(s, o, traffic.output_cv, reserves=replica.reserves)
    return {
        "step_base_s": replica.a_s,
        "step_sequence_s": replica.b_s + replica.c_s * context,
        "prompt_token_s": replica.d_s,
        "prompt_pair_s": replica.e_s,
        "step_tokens": replica.step_tokens,
        "slots": replica.slots,
        "kv_slots": (replica.kv_tokens - s / 2) / held,
        "kv_growth_ratio": 0.0 if replica.reserves else second / (2 * o * held),
        "prefills_first": replica.prefills_first,
        "prompt_tokens": s,
        "prompt_cv": traffic.prompt_cv,
        "output_tokens": o,
        "output_cv": traffic.output_cv,
        "arrival_cv": traffic.arrival_cv,
        "ttft_slo_s": TTFT_SLO_S,
        "tpot_slo_s": TPOT_SLO_S,
    }


def predicted(rows: pl.DataFrame) -> pl.DataFrame:
    """Cases with what the closed forms say of their largest rates."""
    most = under_load(rows.with_columns(arrivals_per_s=pl.lit(1e-6)))
    return rows.with_columns(
        most["arrivals_max_per_s"], closed_per_s=largest_rate(rows), bold_per_s=largest_rate(rows, cautious=False)
    )


def judged(task: tuple[Case, dict[str, Any], tuple[float, ...], int]) -> Iterator[dict[str, Any]]:
    """What simulation says of one case: at every load, in overload, and the largest rate."""
    case, said, loads, count = task
    requests = draw_requests(case.traffic, count, case.seed)
    for load in (*loads, *OVERLOADS):
        rate = load * said["arrivals_max_per_s"]
        times = simulate_requests(
            case.replica, (requests["arrival_s"] / rate).to_list(), requests["prompt_tokens"], requests["output_tokens"]
        )
        seen = {f"seen_{name}": value for name, value in percentiles(times).items()}
        yield {"seed": case.seed, "load": load, "arrivals_per_s": rate, "grows": grows(times), **seen}
    guess = said["bold_per_s"] or 0.3 * said["arrivals_max_per_s"]
    if min_ttft(case) < TTFT_SLO_S:
        limits, again = (TTFT_SLO_S, TPOT_SLO_S), draw_requests(case.traffic, count, case.seed + 10_000)
        first = largest_rate_simulated(case.replica, requests, *limits, guess)
        second = (
            largest_rate_simulated(case.replica, again, *limits, first or guess) if case.seed % 5 in {0, 2} else None
        )
        yield {"seed": case.seed, "load": None, "seen_per_s": first, "seen_again_per_s": second}


def min_ttft(case: Case) -> float:
    """p95 of the time to first token on an idle replica."""
    return simulate_at_rate(case.replica, draw_requests(case.traffic, 400, case.seed), 1e-3)["ttft_s_p95"]


def grows(times: pl.DataFrame) -> bool:
    """Whether requests in the system become more and more while they arrive."""
    ends = (times["arrival_s"] + times["e2e_s"]).sort()
    gone = ends.search_sorted(times["arrival_s"], side="right").cast(pl.Int64)
    inside = pl.Series(range(times.height), dtype=pl.Int64) - gone
    quarter = times.height // 4
    before, last = inside.slice(quarter, quarter).mean(), inside.slice(3 * quarter).mean()
    return bool(last - before > GROWS_RATIO * times.height and last > 1.3 * before)


# ----- other ways to answer

RHO_MOST = 0.85
"""Utilisation at most of vllm-sr-sim's sizing."""


def others(case: Case, said: dict[str, Any]) -> dict[str, float]:
    """Largest rates by other ways: the mean line of decoding, queueing for places, and vllm-sr-sim's own functions."""
    return {
        "share_per_s": 0.7 * said["arrivals_max_per_s"],
        "kimura_per_s": queueing_for_places(case, said),
        "srsim_per_s": sr_sim(case),
    }


def bisected(meets: Any, most: float) -> float:
    """The largest rate below a bound that meets something."""
    low, high = 0.0, most
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if meets(middle) else (low, middle)
    return low


def erlang_c(places: int, load: float) -> float:
    """Share of requests that wait for one of so many places. Source: Erlang 1917, by the recurrence of Erlang B."""
    blocked = 1.0
    for place in range(1, places + 1):
        blocked = load * blocked / (place + load * blocked)
    return blocked / (1 - load / places * (1 - blocked))


def queueing_for_places(case: Case, said: dict[str, Any]) -> float:
    """M/G/c over places that are served as fast as a full replica serves them, p95 wait after Kimura 1994."""
    places = int(min(case.replica.slots, said["kv_slots"]))
    serve = places / said["arrivals_max_per_s"]
    step = case.replica.a_s + places * said["step_sequence_s"]
    work = said["prompt_token_s"] * said["prompt_tokens"]

    def meets(rate: float) -> bool:
        waits = erlang_c(places, rate * serve)
        slack = 2 * (places / serve - rate) / (1 + said["output_cv"] ** 2)
        return math.log(max(waits / 0.05, 1.0)) / slack + step + work <= TTFT_SLO_S

    return bisected(meets, RHO_MOST * places / serve) if serve / said["output_tokens"] <= TPOT_SLO_S else 0.0


def sr_sim(case: Case) -> float:
    """The same by the functions of vllm-sr-sim, if it is installed; else NaN. It knows no limit of the time per token.

    Its profile takes W = a, H = b + 8192 c, and reads prompts in as many iterations as chunks.
    """
    if ManualProfile is None:
        return math.nan
    replica, traffic = case.replica, case.traffic
    blocks = replica.kv_tokens // replica.block_tokens
    requests = draw_requests(traffic, 3000, case.seed)
    longest = int((requests["prompt_tokens"] + requests["output_tokens"]).quantile(0.99) or 1)
    cap = math.ceil(replica.slots * longest / 8192)
    line = {"W": replica.a_s, "H": replica.b_s + 8192 * replica.c_s, "chunk": replica.step_tokens}
    profile = ManualProfile("case", blk_size=16, total_kv_blks=blocks, max_slots=cap, cost_per_hr=1.0, **line)
    places = max(profile.n_slots(longest), 1)
    pairs = requests.select("prompt_tokens", "output_tokens").iter_rows()
    serve = pl.Series([profile.service_time(s, o, longest) for s, o in pairs])
    mean, cv2 = float(serve.mean()), float(serve.var() / serve.mean() ** 2)
    prompt = math.ceil(traffic.prompt_tokens / replica.step_tokens) * profile.iter_latency(1)
    most = RHO_MOST * places / mean
    return bisected(lambda rate: p99_wait(places, rate, 1 / mean, cv2) + prompt <= TTFT_SLO_S, most)
