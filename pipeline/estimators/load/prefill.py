"""Workers that only read prompts, under load: a queue for one server, and the time until a prompt is read.

A prompt of s tokens takes what the planner says of one prompt alone; around the mean length, d s + e s^2 / 2.
Prompts that are read together share a step's base, which is left out: at high load the form is a little late.
The queue is that of queue.py, with prompts alone in it.
"""

from statistics import NormalDist

from polars import Expr

from pipeline.core.quantity import Formula, again
from pipeline.estimators.load import queue  # noqa: F401  (enters the queue)
from pipeline.estimators.load.latency import QUANTILES
from pipeline.estimators.load.registry import LOAD, enter_instances, of_load
from pipeline.estimators.load.special import gamma_quantile


def worker_reading_s(prompt_step_s: Expr, prompt_pair_s: Expr, prompt_tokens: Expr, prompt_cv: Expr) -> Expr:
    """Time that a prompt takes of a worker that only reads, on average over lengths.

    Source: study of load, section 2, moments of a lognormal length; a prompt of mean length takes prompt_step_s.
    """
    return prompt_step_s + 0.5 * prompt_pair_s * (1.0 * prompt_tokens * prompt_cv).pow(2)


def worker_reading_scv(prompt_work_square: Expr, prompt_work_s: Expr, prefill_reading_s: Expr) -> Expr:
    """Its squared coefficient of variation.

    Definition.
    """
    return (prompt_work_square - prompt_work_s.pow(2)).clip(0.0) / prefill_reading_s.pow(2)


def worker_offered_ratio(prefill_arrivals_per_s: Expr, prefill_reading_s: Expr) -> Expr:
    """Share of the time that such a worker reads; below 1, or the queue grows without end.

    Definition.
    """
    return (prefill_arrivals_per_s * prefill_reading_s).clip(1e-9, 0.999)


WORKER: dict[str, Formula] = {
    "reading_s": worker_reading_s,
    "reading_scv": worker_reading_scv,
    "offered_ratio": worker_offered_ratio,
}
"""What a worker that only reads has otherwise than a replica that does both."""
LOAD.update(again(LOAD, "prefill", "queueing_delay_s", **WORKER))


@of_load
def prefill_loaded_s(prefill_queueing_delay_s: Expr, prefill_reading_s: Expr) -> Expr:
    """Mean time until a prompt is read.

    Definition.
    """
    return prefill_queueing_delay_s + prefill_reading_s


@of_load
def prefill_loaded_square(
    prefill_queueing_delay_s: Expr, prefill_queue_root: Expr, prefill_reading_s: Expr, prefill_reading_scv: Expr
) -> Expr:
    """Variance of the time until a prompt is read: none waits, or for an exponential time.

    Source: the wait of GI/M/1, as far as its shape; its mean is that of the queue at hand.
    """
    waits = prefill_queueing_delay_s.pow(2) * (2.0 / prefill_queue_root.clip(1e-9) - 1.0)
    return waits + prefill_reading_s.pow(2) * prefill_reading_scv


def prefill_quantile_s(prefill_loaded_s: Expr, prefill_loaded_square: Expr, *, share: float) -> Expr:
    """Time until a prompt is read that {share:.0%} of requests stay within.

    Source: a gamma of that mean and variance.
    """
    return gamma_quantile(prefill_loaded_s, prefill_loaded_square, NormalDist().inv_cdf(share))


enter_instances(prefill_quantile_s, {f"prefill_{name}_s": {"share": share} for name, share in QUANTILES.items()})
