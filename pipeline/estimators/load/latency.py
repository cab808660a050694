"""Time to first token under load: mean and quantiles, once the passes are done."""

from statistics import NormalDist

import polars as pl
from polars import Expr

from pipeline.estimators.load.registry import enter_instances, of_load
from pipeline.estimators.load.special import gamma_deviate, gamma_quantile, ln_gamma, normal_cdf

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
VERDICTS = ("stable", "queueing", "unstable")
"""The forms hold; a queue for places, whose times are not reproducible even by simulation; it grows without end."""
NEARLY_FULL, WAITS = 0.9, 0.01
"""Load, and share of waiting requests, from which on a queue for places decides. Source: study of load, section 4."""


# ----- time to first token


@of_load
def admission_ttft_s(
    prefills_first: Expr,
    length_biased_step_s: Expr,
    idle_ratio: Expr,
    prefill_step_s: Expr,
    poisson_queue_s: Expr,
    offered_ratio: Expr,
    decode_only_s: Expr,
    bare_step_s: Expr,
    prompt_work_s: Expr,
    burst_queue_delay_s: Expr,
    burst_mates: Expr,
) -> Expr:
    """Time to first token from admission to the batch, on average: queueing for a step and prefill.

    Source: study of load, section 2, base: the gated step, or the queue of prompts, whichever is longer.
    """
    gated = 0.5 * length_biased_step_s * (1.0 - idle_ratio) + prefill_step_s
    queued = poisson_queue_s + (1.0 - offered_ratio) * (1.0 - idle_ratio) * decode_only_s / 2.0
    queued = queued + bare_step_s + prompt_work_s
    mixed = pl.max_horizontal(gated, queued) + burst_mates * prompt_work_s
    return pl.when(prefills_first).then(queued).otherwise(mixed) + burst_queue_delay_s


@of_load
def admission_ttft_square(
    prefills_first: Expr,
    queueing_delay_s: Expr,
    queue_root: Expr,
    prompt_work_s: Expr,
    prompt_work_square: Expr,
    length_biased_step_s: Expr,
    decode_only_s: Expr,
    idle_ratio: Expr,
    burst_mates: Expr,
    reading_ratio: Expr,
) -> Expr:
    """Its variance.

    Source: study of load, section 3, variance of TTFT; 0.75 where prompts go first was chosen by hand there.
    """
    waits = queueing_delay_s.pow(2) * (2.0 / queue_root.clip(1e-9) - 1.0)
    own = (prompt_work_square - prompt_work_s.pow(2)).clip(0.0)
    busy = 1.0 - idle_ratio
    interference = prompt_work_s.pow(2) * burst_mates * (burst_mates + 1.0)
    mixed = waits + own + (length_biased_step_s * busy).pow(2) / 6.0 + interference
    mixed = mixed + reading_ratio * length_biased_step_s * prompt_work_square / prompt_work_s
    first = 0.75 * waits + own + (decode_only_s * busy).pow(2) / 12.0
    return pl.when(prefills_first).then(first).otherwise(mixed)


# ----- waiting for a place


@of_load
def place_unit(kv_slots: Expr, slots: Expr, later_scv: Expr) -> Expr:
    """Sequences that make one place: more than one where cache decides, as long outputs take more of it.

    Source: study of load, section 2, u.
    """
    return pl.when(kv_slots < slots).then(1.0 + later_scv.clip(0.0, 2.0) / 2.0).otherwise(1.0)


@of_load
def place_occupancy(running_batch: Expr, next_peakedness: Expr, place_unit: Expr) -> Expr:
    """Places that are taken as a request finds them, on average: in a burst, its mates have some of them.

    Source: arrivals of peakedness z find z - 1 more than the average, exactly so where counts are negative binomial
    (Wilkinson 1956, Delbrouck 1981); Poisson arrivals find the average.
    """
    return (running_batch + (next_peakedness - 1.0).clip(0.0)).clip(1e-3) / place_unit


@of_load
def last_place(sequences_top: Expr, place_unit: Expr) -> Expr:
    """Places that there are.

    Definition.
    """
    return sequences_top / place_unit


@of_load
def places_size(place_occupancy: Expr, batch_fano: Expr) -> Expr:
    """Size parameter of the negative binomial of taken places.

    Definition.
    """
    return place_occupancy / (batch_fano - 1.0)


@of_load
def full_places_log(last_place: Expr, places_size: Expr, batch_fano: Expr) -> Expr:
    """Logarithm of the chance that the last place is the one taken.

    Definition: probability of a negative binomial.
    """
    ways = ln_gamma(last_place + places_size) - ln_gamma(last_place + 1.0) - ln_gamma(places_size)
    return ways + last_place * (1.0 - 1.0 / batch_fano).log() - places_size * batch_fano.log()


@of_load
def waits_ratio(full_places_log: Expr, last_place: Expr, place_occupancy: Expr, batch_fano: Expr, slack: Expr) -> Expr:
    """Share of requests that wait for a place in the batch.

    Source: study of load, section 2, C = h / (h + dl), h the hazard of a negative binomial at the last place.
    """
    below = normal_cdf(gamma_deviate(last_place, place_occupancy, place_occupancy * batch_fano))
    return 1.0 / (1.0 + slack * below.clip(1e-9) / full_places_log.exp().clip(1e-300))


@of_load
def slack(place_root: Expr, arrival_scv: Expr, later_scv: Expr) -> Expr:
    """Room that is left, in units of how uneven arrivals and outputs are.

    Source: GI/M/c (Kleinrock 1975), 1 - sigma, scaled by (1 + ca2) / (ca2 + cs2); for Poisson arrivals, and near
    saturation, it is dl = 2 (1 - rc) / (ca2 + cs2) of the study of load, section 2.
    """
    return (1.0 - place_root).clip(1e-6) * (1.0 + arrival_scv) / (arrival_scv + later_scv)


@of_load
def admission_delay_s(arrivals_max_per_s: Expr, slack: Expr) -> Expr:
    """Admission delay of those requests that wait for a place in the batch.

    Source: study of load, section 2, wc = 1 / (lambda_max dl).
    """
    return 1.0 / (arrivals_max_per_s * slack)


@of_load
def after_step_s(ttft_extra_s: Expr, first_token_steps: Expr, decode_only_s: Expr) -> Expr:
    """What the engine takes to the first token besides the step that reads the prompt: some steps, and some time.

    Source: step-time study, section 1, S d(b): an engine shows a token some steps late.
    """
    return ttft_extra_s + first_token_steps * decode_only_s


@of_load
def ttft_loaded_s(admission_ttft_s: Expr, waits_ratio: Expr, admission_delay_s: Expr, after_step_s: Expr) -> Expr:
    """Mean time to first token under load, queueing included.

    Source: study of load, section 2; what the engine takes besides the step is added.
    """
    return admission_ttft_s + waits_ratio * admission_delay_s + after_step_s


def ttft_quantile_s(
    admission_ttft_s: Expr,
    admission_ttft_square: Expr,
    bare_step_s: Expr,
    waits_ratio: Expr,
    admission_delay_s: Expr,
    after_step_s: Expr,
    *,
    share: float,
) -> Expr:
    """Time to first token under load that {share:.0%} of requests stay within.

    Source: study of load, section 2: a gamma of the mean and variance above the step; or the wait for a place.
    """
    deviate = NormalDist().inv_cdf(share)
    usual = bare_step_s + gamma_quantile((admission_ttft_s - bare_step_s).clip(1e-9), admission_ttft_square, deviate)
    late = admission_delay_s * (waits_ratio / (1.0 - share)).clip(1.0).log()
    held = pl.when(late > 0).then(admission_ttft_s + late).otherwise(0.0)
    return pl.max_horizontal(usual, held) + after_step_s


enter_instances(ttft_quantile_s, {f"ttft_{name}_s": {"share": share} for name, share in QUANTILES.items()})


@of_load
def load_verdict_code(utilisation_ratio: Expr, waits_ratio: Expr) -> Expr:
    """Whether the forms hold, as an index into VERDICTS.

    Source: study of load, section 4.
    """
    queueing = (waits_ratio >= WAITS) | (utilisation_ratio >= NEARLY_FULL)
    return pl.when(utilisation_ratio >= 1.0).then(2).when(queueing).then(1).otherwise(0)
