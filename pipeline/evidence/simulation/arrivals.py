"""Requests to simulate: drawn from means and spreads, and the largest rate of them that meets an objective."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import polars as pl

from pipeline.core.errors import UsageError
from pipeline.evidence.extras import library
from pipeline.evidence.simulation.simulate import percentiles, simulate_requests

if TYPE_CHECKING:
    import numpy as np

    from pipeline.evidence.simulation.replica import Replica

MISSING = "simulation needs numpy: pip install 'capgrid[sim]'"
LOOKS = 5
"""Simulated rates after the bracket is known: within half a per cent for a bracket of a factor of 1.25."""
WIDEST = 9
"""Steps away from the guess, up to a few thousand times more or less, until a bracket is given up."""


@dataclass(frozen=True)
class Traffic:
    """Requests to draw.

    Attributes:
        prompt_tokens: mean length of prompts.
        output_tokens: mean length of outputs.
        arrival_cv: coefficient of variation of the times between arrivals, which are gamma: 1 is Poisson, 0 a clock.
        prompt_cv: coefficient of variation of the lengths of prompts, which are lognormal.
        output_cv: the same of outputs.
        longest_tokens: prompts and outputs longer than this are cut to it.
    """

    prompt_tokens: float
    output_tokens: float
    arrival_cv: float = 1.0
    prompt_cv: float = 0.0
    output_cv: float = 0.0
    longest_tokens: int = 2**40

    def __post_init__(self) -> None:
        """Refuse lengths below one token and spreads below nothing."""
        if min(self.prompt_tokens, self.output_tokens) < 1:
            raise UsageError("prompts and outputs have one token at least, on average")
        if min(self.arrival_cv, self.prompt_cv, self.output_cv) < 0:
            raise UsageError("a coefficient of variation is not below 0")


def draw_requests(traffic: Traffic, requests: int, seed: int) -> pl.DataFrame:
    """So many requests: arrival_s at one request per second, prompt_tokens, output_tokens.

    Other rates are the same requests in less time: divide arrival_s by the rate.

    Raises:
        PipelineError: numpy is not installed.
    """
    random, most = library("numpy", MISSING).random.default_rng(seed), traffic.longest_tokens
    gaps = draw_gaps(traffic.arrival_cv, requests, random)
    prompts = draw_lengths(traffic.prompt_tokens, traffic.prompt_cv, requests, random, most)
    outputs = draw_lengths(traffic.output_tokens, traffic.output_cv, requests, random, most)
    return pl.DataFrame({"arrival_s": gaps.cumsum(), "prompt_tokens": prompts, "output_tokens": outputs})


def draw_gaps(cv: float, count: int, random: np.random.Generator) -> np.ndarray:
    """Times between arrivals of mean 1: gamma."""
    np = library("numpy", MISSING)
    shape = 1.0 / (cv * cv) if cv > 0 else 0.0
    return random.gamma(shape, 1.0 / shape, count) if cv > 0 else np.ones(count)


def draw_lengths(mean: float, cv: float, count: int, random: np.random.Generator, most: int) -> np.ndarray:
    """Lengths in whole tokens, 1 at least: lognormal."""
    numpy = library("numpy", MISSING)
    spread = numpy.log1p(cv * cv)
    real = random.lognormal(numpy.log(mean) - spread / 2.0, numpy.sqrt(spread), count)
    whole: np.ndarray = numpy.rint(real).clip(1, most).astype(numpy.int64)
    return whole


def simulate_at_rate(replica: Replica, requests: pl.DataFrame, requests_per_s: float) -> dict[str, float]:
    """Percentiles of requests of `draw_requests` at a rate."""
    times_s = (requests["arrival_s"] / requests_per_s).to_list()
    return percentiles(simulate_requests(replica, times_s, requests["prompt_tokens"], requests["output_tokens"]))


def largest_rate_simulated(
    replica: Replica, requests: pl.DataFrame, ttft_slo_s: float, tpot_slo_s: float, guess_per_s: float
) -> float:
    """The largest rate at which the simulated p95 of TTFT and TPOT meet an objective; 0 where no rate is known to.

    The same requests are pressed together more and more: bisection, on the logarithm of the rate.

    Args:
        replica: one replica.
        requests: what `draw_requests` returns.
        ttft_slo_s: limit of the p95 of the time to first token [s].
        tpot_slo_s: limit of the p95 of the time per output token [s].
        guess_per_s: where to begin.
    """

    def meets(rate: float) -> bool:
        seen = simulate_at_rate(replica, requests, rate)
        return seen["ttft_s_p95"] <= ttft_slo_s and not seen["tpot_s_p95"] > tpot_slo_s

    low = high = guess_per_s
    met = meets(guess_per_s)
    factor = 1.25
    for _ in range(WIDEST):
        tried = high * factor if met else low / factor
        if meets(tried) != met:
            low, high = (high, tried) if met else (tried, low)
            break
        low = high = tried
        factor = min(factor * factor, 4.0)
    else:
        return high if met else 0.0
    for _ in range(LOOKS):
        middle = sqrt(low * high)
        low, high = (middle, high) if meets(middle) else (low, middle)
    return sqrt(low * high)
