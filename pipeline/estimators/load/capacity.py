"""Lengths as moments, and the most that a replica can do."""

import polars as pl
from polars import Expr

from pipeline.estimators.load.registry import of_load
from pipeline.estimators.load.special import erfc


@of_load
def later_tokens(output_tokens: Expr) -> Expr:
    """Tokens of an output after the first, on average: each takes a step.

    Definition.
    """
    return (1.0 * output_tokens - 1.0).clip(1e-6)


@of_load
def later_scv(output_cv: Expr, output_tokens: Expr, later_tokens: Expr) -> Expr:
    """Their squared coefficient of variation.

    Definition.
    """
    return (output_cv * output_tokens / later_tokens).pow(2) * (output_tokens > 1)


@of_load
def gini_complement(later_scv: Expr) -> Expr:
    """How even outputs are: 1 less the Gini coefficient of lognormal lengths; 1 where all are alike.

    Source: study of load, section 2, eta = erfc(sigma / 2).
    """
    return erfc(later_scv.log1p().sqrt() / 2.0)


@of_load
def prompt_work_s(prompt_tokens: Expr, prompt_cv: Expr, prompt_token_s: Expr, prompt_pair_s: Expr) -> Expr:
    """What one more prompt adds to the steps that read it, on average over lognormal lengths.

    Source: study of load, section 2, w1 = E[d s + e s^2 / 2].
    """
    spread = 1.0 + prompt_cv * prompt_cv
    return (prompt_token_s * prompt_tokens + 0.5 * prompt_pair_s * prompt_tokens.pow(2) * spread).clip(1e-12)


@of_load
def prompt_work_square(prompt_tokens: Expr, prompt_cv: Expr, prompt_token_s: Expr, prompt_pair_s: Expr) -> Expr:
    """Mean of its square.

    Source: study of load, section 2, w2; moments of a lognormal length, E s^n = s^n (1 + cv^2)^(n (n - 1) / 2).
    """
    spread, s = 1.0 + prompt_cv * prompt_cv, 1.0 * prompt_tokens
    square, cube, fourth = s.pow(2) * spread, s.pow(3) * spread.pow(3), s.pow(4) * spread.pow(6)
    d, e = prompt_token_s, prompt_pair_s
    return (d * d * square + d * e * cube + e * e * fourth / 4.0).clip(1e-24)


@of_load
def arrival_scv(arrival_cv: Expr) -> Expr:
    """Squared coefficient of variation of the times between arrivals; 0.05 at least.

    Source: study of load, section 2, ca2 of gamma arrivals: 1 are Poisson, a round robin among n evens them out.
    """
    return (arrival_cv * arrival_cv).clip(0.05)


@of_load
def prompts_in_step(step_tokens: Expr, prompt_tokens: Expr) -> Expr:
    """Prompts that a full step reads together.

    Definition.
    """
    return (step_tokens / prompt_tokens).clip(1.0)


@of_load
def sequences_top(slots: Expr, kv_slots: Expr, kv_growth_ratio: Expr) -> Expr:
    """Sequences that run at once at most: places, or cache; less where admitted ones outgrow it and start again.

    Source: study of load, section 3, Bmax; the loss to preemption, 0.25 sqrt(gam), was fitted on 17 simulated cases.
    """
    return pl.min_horizontal(1.0 * slots, kv_slots * (1.0 - 0.25 * kv_growth_ratio.sqrt())).clip(1.0)


@of_load
def sequences_fed(sequences_top: Expr, later_tokens: Expr, step_tokens: Expr, prompt_tokens: Expr) -> Expr:
    """The same, as far as steps have tokens to read as many prompts.

    Source: study of load, section 2, Be.
    """
    return pl.min_horizontal(sequences_top, later_tokens * step_tokens / (prompt_tokens + later_tokens))


@of_load
def arrivals_max_per_s(
    sequences_fed: Expr,
    later_tokens: Expr,
    step_base_s: Expr,
    step_sequence_s: Expr,
    prompt_work_s: Expr,
    prefills_first: Expr,
    prompts_in_step: Expr,
) -> Expr:
    """Requests a second that the replica can finish, however long they wait: beyond, queues grow without end.

    Source: study of load, section 2, lambda_max.
    """
    joining = sequences_fed / later_tokens
    together = pl.min_horizontal(joining / (1.0 - (-joining).exp()), prompts_in_step)
    own_step = pl.when(prefills_first).then(step_base_s / together).otherwise(0.0)
    work = later_tokens * step_sequence_s + prompt_work_s + own_step
    return sequences_fed / (later_tokens * step_base_s + sequences_fed * work)


@of_load
def utilisation_ratio(arrivals_per_s: Expr, arrivals_max_per_s: Expr) -> Expr:
    """Share of what the replica can finish that arrives.

    Definition.
    """
    return arrivals_per_s / arrivals_max_per_s


@of_load
def served_per_s(arrivals_per_s: Expr, arrivals_max_per_s: Expr) -> Expr:
    """Requests that are finished in a second.

    Definition.
    """
    return pl.min_horizontal(arrivals_per_s, arrivals_max_per_s)


@of_load
def step_cap_s(
    step_base_s: Expr, sequences_fed: Expr, step_sequence_s: Expr, prompt_work_s: Expr, later_tokens: Expr
) -> Expr:
    """Time of a step of a full replica, its share of prompts included.

    Source: study of load, section 2, tcap.
    """
    return step_base_s + sequences_fed * (step_sequence_s + prompt_work_s / later_tokens)
