"""One pass: from a guess of the time of a token, and of how peaked the batch is, to a better one."""

from typing import NamedTuple

import polars as pl
from polars import Expr

from pipeline.estimators.load.registry import of_load

START = {"token_s": 0.0, "peakedness": 1.0, "interference_s": 0.0, "prefill_batch": 1.0}
"""The first guess of what the passes find."""
NEXT = {name: f"next_{name}" for name in START}


class Arrivals(NamedTuple):
    """Requests that arrive, and how evenly."""

    served_per_s: Expr
    arrival_scv: Expr

    def beyond(self, seconds: Expr) -> Expr:
        """Arrivals beyond the average in an exponential time after an arrival: burst mates; none if Poisson.

        Source: study of load, section 2, E(t), renewal theory for gamma gaps.
        """
        mean = (self.served_per_s * seconds).clip(1e-12)
        again = (-((self.arrival_scv / mean).log1p()) / self.arrival_scv).exp()
        return (again / (1.0 - again) - mean).clip(0.0)


@of_load
def prompt_and_step_s(prompt_work_s: Expr, prefills_first: Expr, step_base_s: Expr, prefill_batch: Expr) -> Expr:
    """What a prompt takes of the replica: its work, and its share of a step of its own where prompts go first.

    Source: study of load, section 2, we.
    """
    return prompt_work_s + pl.when(prefills_first).then(step_base_s / prefill_batch).otherwise(0.0)


@of_load
def reading_ratio(served_per_s: Expr, prompt_and_step_s: Expr) -> Expr:
    """Share of time that goes to prompts, at most 0.98.

    Source: study of load, section 2, rw.
    """
    return (served_per_s * prompt_and_step_s).clip(0.0, 0.98)


@of_load
def working_ratio(served_per_s: Expr, prompt_and_step_s: Expr, later_tokens: Expr, step_sequence_s: Expr) -> Expr:
    """Share of time that goes to what requests add to steps: prompts and tokens.

    Source: study of load, section 2, rho: marginal work, of a processor that is shared.
    """
    return (served_per_s * (prompt_and_step_s + later_tokens * step_sequence_s)).clip(0.0, 0.999)


@of_load
def next_token_s(
    step_base_s: Expr,
    step_sequence_s: Expr,
    peakedness: Expr,
    interference_s: Expr,
    served_per_s: Expr,
    working_ratio: Expr,
    reading_ratio: Expr,
    sequences_top: Expr,
    step_cap_s: Expr,
) -> Expr:
    """Time from token to token, prompts that join included.

    Source: study of load, section 2, tau = (a + z beta + beta lambda X) / (1 - rho): exact for processor sharing.
    """
    free = (step_base_s + step_sequence_s * (peakedness + served_per_s * interference_s)) / (1.0 - working_ratio)
    full = (step_base_s + step_sequence_s * sequences_top) / (1.0 - reading_ratio)
    return pl.min_horizontal(free, full, step_cap_s)


@of_load
def running_batch(
    served_per_s: Expr,
    later_tokens: Expr,
    next_token_s: Expr,
    interference_s: Expr,
    step_cap_s: Expr,
    sequences_top: Expr,
) -> Expr:
    """Sequences that decode at once, on average: the rate times the batch residency of a request.

    Source: Little's law.
    """
    residency = pl.min_horizontal(later_tokens * next_token_s + interference_s, later_tokens * step_cap_s)
    return pl.min_horizontal(served_per_s * residency, sequences_top)


@of_load
def next_peakedness(running_batch: Expr, arrival_scv: Expr, gini_complement: Expr) -> Expr:
    """Peakedness of the batch: what a request meets beyond the average, as arrivals come in bursts.

    Source: study of load, section 2, z = 1 + 2 eta (z_E - 1).
    """
    batch = running_batch.clip(1e-3)
    met = 1.0 / (1.0 - (-((arrival_scv / batch).log1p()) / arrival_scv).exp()) - batch
    return (1.0 + 2.0 * gini_complement * (met - 1.0)).clip(0.05)


@of_load
def decode_only_s(step_base_s: Expr, step_sequence_s: Expr, running_batch: Expr) -> Expr:
    """A step without prompts at the average batch.

    Definition.
    """
    return step_base_s + step_sequence_s * running_batch


@of_load
def batch_fano(next_peakedness: Expr, working_ratio: Expr) -> Expr:
    """Variance of the batch over its mean.

    Source: study of load, section 2, z / (1 - rho); the batch is taken as negative binomial.
    """
    return (next_peakedness / (1.0 - working_ratio)).clip(1.0001)


@of_load
def idle_ratio(running_batch: Expr, batch_fano: Expr, reading_ratio: Expr) -> Expr:
    """Share of requests that find the replica idle.

    Source: study of load, section 2, P0 of a negative binomial.
    """
    return (1.0 - reading_ratio) * (-running_batch * batch_fano.log() / (batch_fano - 1.0)).exp()


@of_load
def length_biased_step_s(
    decode_only_s: Expr, reading_ratio: Expr, served_per_s: Expr, prompt_work_square: Expr
) -> Expr:
    """The length-biased step, which a request meets: long ones are met more often.

    Source: study of load, section 2, t2 = tbar + lambda w2 / (1 - rw^2).
    """
    met = served_per_s * prompt_work_square / (1.0 - reading_ratio * reading_ratio)
    return decode_only_s / (1.0 - reading_ratio) + met


@of_load
def bare_step_s(prefills_first: Expr, step_base_s: Expr, decode_only_s: Expr) -> Expr:
    """What else is in the step that reads a prompt: nothing where prompts go first, else the decoding batch.

    Definition.
    """
    return pl.when(prefills_first).then(step_base_s).otherwise(decode_only_s)


@of_load
def prefill_step_s(
    bare_step_s: Expr, prompt_work_s: Expr, reading_ratio: Expr, length_biased_step_s: Expr, idle_ratio: Expr
) -> Expr:
    """The step that reads the own prompt, and those that arrived meanwhile.

    Source: study of load, section 2, own.
    """
    return bare_step_s + prompt_work_s + reading_ratio * length_biased_step_s * (1.0 - idle_ratio)


@of_load
def burst_mates(
    arrivals: Arrivals, length_biased_step_s: Expr, prefill_step_s: Expr, prefills_first: Expr, prompts_in_step: Expr
) -> Expr:
    """Burst mates that are read in the same step.

    Source: study of load, section 2, sh.
    """
    around = arrivals.beyond(0.5 * length_biased_step_s + pl.when(prefills_first).then(prefill_step_s).otherwise(0.0))
    room = -(prompts_in_step - 1.0) / (2.0 * around.clip(1e-9))
    return around * (1.0 - room.exp())


# ----- prefill interference


@of_load
def queue_behind_s(
    prefills_first: Expr,
    queueing_delay_s: Expr,
    poisson_queue_s: Expr,
    burst_queue_delay_s: Expr,
    step_base_s: Expr,
    prompt_work_s: Expr,
    decode_only_s: Expr,
    offered_ratio: Expr,
    reading_ratio: Expr,
    length_biased_step_s: Expr,
    prefill_step_s: Expr,
) -> Expr:
    """Prompts that queue behind the one that was read, beyond the average.

    Source: study of load, section 2, behind.
    """
    first = queueing_delay_s + step_base_s + prompt_work_s - decode_only_s
    queued = (offered_ratio * poisson_queue_s - reading_ratio * length_biased_step_s).clip(0.0)
    mixed = burst_queue_delay_s + queued + prefill_step_s - decode_only_s / (1.0 - reading_ratio)
    return pl.when(prefills_first).then(first).otherwise(mixed).clip(0.0)


@of_load
def later_mates(
    arrivals: Arrivals, later_tokens: Expr, next_token_s: Expr, length_biased_step_s: Expr, burst_mates: Expr
) -> Expr:
    """Burst mates that arrive while one decodes, and were not read in the same step.

    Source: study of load, section 2, (gk - sh)+.
    """
    return (arrivals.beyond(later_tokens * next_token_s + length_biased_step_s) - burst_mates).clip(0.0)


@of_load
def next_interference_s(reading_ratio: Expr, queue_behind_s: Expr, prompt_and_step_s: Expr, later_mates: Expr) -> Expr:
    """Prefill interference: prompts of others that fall into one output, beyond the average.

    Source: study of load, section 2, X.
    """
    return (reading_ratio * queue_behind_s + prompt_and_step_s * later_mates) / (1.0 - reading_ratio)


@of_load
def next_prefill_batch(
    served_per_s: Expr, reading_ratio: Expr, decode_only_s: Expr, prefill_step_s: Expr, prompts_in_step: Expr
) -> Expr:
    """Prompts that are read together, where any are.

    Source: study of load, section 2, nb = y / (1 - exp(-y)).
    """
    joining = (served_per_s * ((1.0 - reading_ratio) * decode_only_s + reading_ratio * prefill_step_s)).clip(1e-9)
    return pl.min_horizontal(joining / (1.0 - (-joining).exp()), prompts_in_step).clip(1.0)
