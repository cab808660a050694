"""Reading prompts as a queue of its own, how bursts lengthen it; and the same root for the queue for places."""

import itertools
from typing import NamedTuple

import polars as pl
from polars import Expr

from pipeline.core.quantity import instance
from pipeline.estimators.load.registry import LOAD, of_load

NEWTON = 6
"""Steps to the root of a queue. From below, and convex: they only rise. Six reach 1e-4, below a CV of 1 up to 0.9."""


class Reading(NamedTuple):
    """Reading prompts as a queue of its own: time of one, and how it varies."""

    reading_s: Expr
    reading_scv: Expr


@of_load
def token_overhead_s(
    step_tokens: Expr,
    running_batch: Expr,
    prefills_first: Expr,
    step_base_s: Expr,
    prefill_batch: Expr,
    prompt_tokens: Expr,
    decode_only_s: Expr,
) -> Expr:
    """What a prompt's token takes besides: its share of the step around it.

    Source: study of load, section 2, over.
    """
    room = pl.max_horizontal(step_tokens - running_batch, 0.1 * step_tokens)
    first = step_base_s / (prefill_batch * prompt_tokens)
    return pl.when(prefills_first).then(first).otherwise(decode_only_s / room)


@of_load
def reading_s(prompt_work_s: Expr, token_overhead_s: Expr, prompt_tokens: Expr) -> Expr:
    """Time that a queue of prompts takes for one of them.

    Source: study of load, section 2, v1.
    """
    return prompt_work_s + token_overhead_s * prompt_tokens


@of_load
def reading_scv(
    prompt_work_s: Expr,
    prompt_work_square: Expr,
    token_overhead_s: Expr,
    prompt_tokens: Expr,
    prompt_cv: Expr,
    reading_s: Expr,
) -> Expr:
    """Its squared coefficient of variation.

    Source: study of load, section 2, v2 / v1^2 - 1.
    """
    square = prompt_tokens.pow(2) * (1.0 + prompt_cv * prompt_cv)
    cross = 2.0 * token_overhead_s * prompt_tokens * prompt_work_square / prompt_work_s
    second = prompt_work_square + cross + token_overhead_s.pow(2) * square
    return (second / reading_s.pow(2) - 1.0).clip(0.0)


@of_load
def offered_ratio(served_per_s: Expr, reading_s: Expr) -> Expr:
    """Load of the queue of prompts.

    Source: study of load, section 2, rp.
    """
    return (served_per_s * reading_s).clip(1e-9, 0.9995)


def newton_root(root: Expr, load_ratio: Expr, arrival_scv: Expr) -> Expr:
    """Root of the queue at `{load}`, Newton step {step}.

    The root of sigma = (1 + (1 - sigma) ca2 / rho)^(-1 / ca2), from below. A column for each step: the next uses it
    twice.

    Source: Kleinrock 1975, GI/M/1.
    """
    load_ratio = load_ratio.clip(1e-9, 0.9995)
    inner = 1.0 + (1.0 - root) * arrival_scv / load_ratio
    value = (-inner.log() / arrival_scv).exp()
    slope = value / (inner * load_ratio)
    return root + (value - root) / (1.0 - slope).clip(1e-9)


def enter_root(name: str, load: str) -> None:
    """Enter the Newton steps to the root of the queue at a load, the last under its name."""
    steps = [f"{name}_{step}" for step in range(NEWTON)] + [name]
    for step, (before, after) in enumerate(itertools.pairwise(steps), start=1):
        LOAD[after] = instance(newton_root, after, {"load": load, "step": step}, root=before, load_ratio=load)


def _below(load_ratio: Expr, arrival_scv: Expr) -> Expr:
    """Where the search begins: the root of Poisson arrivals, from which bursts only lead up."""
    return pl.when(arrival_scv >= 1.0).then(load_ratio.clip(1e-9, 0.9995)).otherwise(0.0)


@of_load
def queue_root_0(offered_ratio: Expr, arrival_scv: Expr) -> Expr:
    """Where the search of the root of the queue of prompts begins.

    Definition.
    """
    return _below(offered_ratio, arrival_scv)


@of_load
def place_root_0(utilisation_ratio: Expr, arrival_scv: Expr) -> Expr:
    """Where the search of the root of the queue for places begins.

    Definition.
    """
    return _below(utilisation_ratio, arrival_scv)


enter_root("queue_root", "offered_ratio")
enter_root("place_root", "utilisation_ratio")


@of_load
def queueing_delay_s(queue_root: Expr, reading: Reading, arrival_scv: Expr) -> Expr:
    """Queueing delay of prompts, bursts included.

    Source: study of load, section 2, W: the root of GI/M/1 with gamma arrivals, scaled by (ca2 + cv2) / (1 + ca2).
    """
    waits = (queue_root / (1.0 - queue_root)).clip(0.0, 1e3)
    return waits * reading.reading_s * (arrival_scv + reading.reading_scv) / (1.0 + arrival_scv)


@of_load
def poisson_queue_s(offered_ratio: Expr, reading: Reading) -> Expr:
    """The same wait if arrivals were Poisson.

    Source: Pollaczek and Khinchine.
    """
    return offered_ratio / (1.0 - offered_ratio) * reading.reading_s * (1.0 + reading.reading_scv) / 2.0


@of_load
def burst_queue_delay_s(queueing_delay_s: Expr, poisson_queue_s: Expr) -> Expr:
    """What bursts add to the wait.

    Definition.
    """
    return (queueing_delay_s - poisson_queue_s).clip(0.0)
