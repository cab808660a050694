"""Time per output token and of whole requests under load: means, and quantiles over requests of all lengths.

Requests are looked at in equal shares by length of output. In each the mean time per token is taken
as a gamma of a mean and a variance; quantiles are those of the mixture.
"""

from statistics import NormalDist
from typing import NamedTuple

import polars as pl
from polars import Expr

from pipeline.estimators.load.passes import Arrivals
from pipeline.estimators.load.registry import enter_instances, of_load
from pipeline.estimators.load.special import gamma_deviate

NODES = 8
DEVIATES = tuple(NormalDist().inv_cdf((place + 0.5) / NODES) for place in range(NODES))
"""Where lengths of outputs are looked at: the middles of equal shares of requests."""


@of_load
def cap_ratio(
    step_cap_s: Expr, next_token_s: Expr, next_interference_s: Expr, later_tokens: Expr, longest_step_s: Expr
) -> Expr:
    """How far a full replica's step holds times of tokens down.

    Source: study of load, section 2, f; what others' prompts add is bounded as in the means that it is held against.
    """
    more = pl.min_horizontal(next_interference_s / later_tokens, (longest_step_s - next_token_s).clip(0.0))
    return (step_cap_s / (next_token_s + more)).clip(0.0, 1.0)


@of_load
def longest_step_s(
    decode_only_s: Expr,
    step_tokens: Expr,
    prompt_token_s: Expr,
    prompt_pair_s: Expr,
    prompt_tokens: Expr,
    prefills_first: Expr,
    step_base_s: Expr,
) -> Expr:
    """A step that reads as many prompt tokens as it takes.

    Source: study of load, section 2, smax.
    """
    whole = pl.min_horizontal(1.0 * step_tokens, 1.0 * prompt_tokens)
    read = step_tokens * (prompt_token_s + 0.5 * prompt_pair_s * whole)
    return decode_only_s + read + pl.when(prefills_first).then(step_base_s).otherwise(0.0)


@of_load
def batch_spread(
    step_sequence_s: Expr, reading_ratio: Expr, running_batch: Expr, batch_fano: Expr, sequences_top: Expr
) -> Expr:
    """Variance of the time of a step by the batch that is met.

    Source: study of load, section 2, [beta / (1 - rw)]^2 min(B Fano, (Bmax - B)^2 + B).
    """
    free = running_batch * batch_fano
    full = (sequences_top - running_batch).clip(1.0).pow(2) + running_batch
    return (step_sequence_s / (1.0 - reading_ratio)).pow(2) * pl.min_horizontal(free, full)


@of_load
def batch_correlation_s(
    later_tokens: Expr, next_token_s: Expr, decode_only_s: Expr, step_base_s: Expr, later_scv: Expr
) -> Expr:
    """Correlation time of the batch: over which it forgets how large it was.

    Source: study of load, section 2, theta.
    """
    return later_tokens * next_token_s * decode_only_s / step_base_s * (1.0 + later_scv) / 2.0


class Prompts(NamedTuple):
    """What prompts take of steps."""

    prompt_work_s: Expr
    prompt_work_square: Expr
    prompt_and_step_s: Expr
    prefill_batch: Expr


@of_load
def prompts_spread(
    prompts: Prompts,
    arrivals: Arrivals,
    prefills_first: Expr,
    step_base_s: Expr,
    next_token_s: Expr,
    reading_ratio: Expr,
) -> Expr:
    """Variance that prompts which join by chance bring to an output of one token; less the longer it is.

    Source: study of load, section 2, lambda tau (w2' + w1^2 (ca2 - 1)) / (1 - rw)^2.
    """
    own = step_base_s / prompts.prefill_batch
    first = prompts.prompt_work_square + 2.0 * prompts.prompt_work_s * own + own * own
    square = pl.when(prefills_first).then(first).otherwise(prompts.prompt_work_square)
    uneven = square + prompts.prompt_work_s.pow(2) * (arrivals.arrival_scv - 1.0)
    return (arrivals.served_per_s * next_token_s * uneven / (1.0 - reading_ratio).pow(2)).clip(0.0)


@of_load
def bursts_spread(prompts: Prompts, reading_ratio: Expr, later_mates: Expr) -> Expr:
    """Variance that whole bursts bring to an output of one token; less by the square of its length.

    Source: study of load, section 2, we^2 gb (gb + 1) / (1 - rw)^2.
    """
    return (prompts.prompt_and_step_s / (1.0 - reading_ratio)).pow(2) * later_mates * (later_mates + 1.0)


# ----- by length of output


class Outputs(NamedTuple):
    """Lengths of outputs, lognormal."""

    later_tokens: Expr
    later_scv: Expr

    def at(self, place: int) -> Expr:
        """Later tokens in the middle of one of the equal shares of requests."""
        sigma = self.later_scv.log1p().sqrt()
        return (self.later_tokens * (sigma * DEVIATES[place] - 0.5 * sigma * sigma).exp()).clip(1e-6)


class Interference(NamedTuple):
    """Prefill interference: others' prompts, as one output meets them."""

    reading_ratio: Expr
    queue_behind_s: Expr
    prompt_and_step_s: Expr
    length_biased_step_s: Expr
    burst_mates: Expr


class Spread(NamedTuple):
    """Parts of the variance between requests."""

    batch_spread: Expr
    batch_correlation_s: Expr
    prompts_spread: Expr
    bursts_spread: Expr


def token_mean(
    outputs: Outputs,
    interference: Interference,
    arrivals: Arrivals,
    next_token_s: Expr,
    cap_ratio: Expr,
    longest_step_s: Expr,
    *,
    place: int,
) -> Expr:
    """Mean time per token of requests in share {number} of {nodes} by length.

    Source: study of load, section 2, mu_j.
    """
    tokens = outputs.at(place)
    around = arrivals.beyond(tokens * next_token_s + interference.length_biased_step_s)
    met = (around - interference.burst_mates).clip(0.0)
    work = interference.reading_ratio * interference.queue_behind_s + interference.prompt_and_step_s * met
    more = work / ((1.0 - interference.reading_ratio) * tokens)
    return cap_ratio * (next_token_s + pl.min_horizontal(more, (longest_step_s - next_token_s).clip(0.0)))


def token_spread(
    outputs: Outputs, spread: Spread, next_token_s: Expr, cap_ratio: Expr, longest_step_s: Expr, *, place: int
) -> Expr:
    """Variance of that time between requests, in share {number} of {nodes}.

    Source: study of load, section 2, var_j.
    """
    tokens = outputs.at(place)
    ages = (tokens * next_token_s / spread.batch_correlation_s).clip(1e-3)
    kept = 2.0 * (ages - 1.0 + (-ages).exp()) / (ages * ages)
    prompts = spread.prompts_spread / tokens + spread.bursts_spread / (tokens * tokens)
    room = (longest_step_s - next_token_s).clip(1e-9).pow(2) / 4.0
    return cap_ratio.pow(2) * (spread.batch_spread * kept + pl.min_horizontal(prompts, room))


MEANS, SPREADS = (tuple(f"token_{what}_{place}" for place in range(NODES)) for what in ("mean", "spread"))
for _template, _names in ((token_mean, MEANS), (token_spread, SPREADS)):
    enter_instances(
        _template, {name: {"place": place, "number": place + 1, "nodes": NODES} for place, name in enumerate(_names)}
    )


class Means(NamedTuple):
    """Mean times per token, by length of output."""

    token_mean_0: Expr
    token_mean_1: Expr
    token_mean_2: Expr
    token_mean_3: Expr
    token_mean_4: Expr
    token_mean_5: Expr
    token_mean_6: Expr
    token_mean_7: Expr


def token_deviates(limit_s: Expr) -> list[Expr]:
    """Normal deviates of a limit on the mean time per token, of each share of requests."""
    least = pl.col("step_base_s") + pl.col("step_sequence_s")
    return [
        gamma_deviate(limit_s - least, (pl.col(mean) - least).clip(1e-7), pl.col(spread).clip(1e-16)).alias(mean)
        for mean, spread in zip(MEANS, SPREADS, strict=True)
    ]


def request_deviates(limit_s: Expr) -> list[Expr]:
    """Normal deviates of a limit on the time to the last token, of each share of requests."""
    outputs = Outputs(pl.col("later_tokens"), pl.col("later_scv"))
    deviates = []
    for place in range(NODES):
        tokens = outputs.at(place)
        mean = pl.col("admission_ttft_s") + tokens * pl.col(MEANS[place])
        spread = pl.col("admission_ttft_square") + tokens * tokens * pl.col(SPREADS[place])
        deviates.append(gamma_deviate(limit_s, mean, spread).alias(MEANS[place]))
    return deviates


@of_load
def tpot_loaded_s(means: Means) -> Expr:
    """Mean time between output tokens under load, over requests.

    Definition.
    """
    return pl.sum_horizontal(means) / NODES


@of_load
def e2e_loaded_s(ttft_loaded_s: Expr, later_tokens: Expr, next_token_s: Expr, interference_s: Expr) -> Expr:
    """Mean time from a request to its last token under load.

    Source: study of load, section 2.
    """
    return ttft_loaded_s + later_tokens * next_token_s + interference_s
