"""What a client sees of a replica that keeps `batch` sequences running.

Workloads of kind `static` start one batch of equal prompts together and run it to its end, as the
case study does. In a `closed_loop` each of `batch` clients sends its next request when the last is
answered, so that prompts join a decoding batch all the time.
"""

from typing import NamedTuple

import polars as pl
from polars import Expr

from pipeline.core.choices import first_largest
from pipeline.core.quantity import quantity

EXPERT_OVERHEADS = ("plain", "block", "int4", "mxfp4", "nvfp4")
"""Kinds of work around routed experts, by their codes: scaling of tokens, unpacking of weights."""


class MoeLayer(NamedTuple):
    """The engine's own time per MoE layer, by kind of work; where it is not known, that of plain experts."""

    engine_moe_layer_s: Expr
    engine_block_moe_layer_s: Expr
    engine_int4_moe_layer_s: Expr
    engine_mxfp4_moe_layer_s: Expr
    engine_nvfp4_moe_layer_s: Expr


@quantity
def moe_layer_s(expert_overhead: Expr, times: MoeLayer) -> Expr:
    """The engine's own time per MoE layer in this format: routing, permuting, quantising tokens.

    Source: step-time study, section 1, omoe by engine and format.
    """
    own = [pl.when(expert_overhead == code).then(time) for code, time in enumerate(times) if code]
    return pl.coalesce(*own, times.engine_moe_layer_s)


@quantity
def step_overhead_s(
    layer_count: Expr,
    moe_layers: Expr,
    mla_layers: Expr,
    latent_layer_s: Expr,
    rank_batch: Expr,
    engine_layer_s: Expr,
    moe_layer_s: Expr,
    engine_step_s: Expr,
    engine_sequence_s: Expr,
) -> Expr:
    """The engine's own time in one step: gaps and small kernels per layer, scheduling, sampling.

    Source: step-time study, section 1, L olay + L_moe omoe + 0.5 ms + 5 us b + 10 us L_mla.
    """
    layers_s = layer_count * engine_layer_s + moe_layers * moe_layer_s + latent_layer_s * mla_layers
    return layers_s + engine_step_s + rank_batch * engine_sequence_s


@quantity
def expanding_s(
    decode_sequence_copied_bytes: Expr,
    microbatch: Expr,
    heads: Expr,
    kv_heads: Expr,
    engine_expands_kv: Expr,
    attention_bytes_ratio: Expr,
    reached_memory_bytes_per_s: Expr,
) -> Expr:
    """Copying the keys and values in every step, where the engine appends by copying and repeats them for query heads.

    Read and written once to append, then read once and written as often as query heads share a KV
    head, and read so by attention: 2 + 2 g times more than the cache itself.

    Source: transformers cache_utils.py, DynamicCache.update (torch.cat), and repeat_kv, 4.40 to 4.57.
    """
    more = decode_sequence_copied_bytes * microbatch * (2.0 + 2.0 * heads / kv_heads)
    return more / (attention_bytes_ratio * reached_memory_bytes_per_s) * engine_expands_kv


@quantity
def decode_step_s(
    decode_s: Expr,
    expanding_s: Expr,
    step_overhead_s: Expr,
    engine_bytes_ratio: Expr,
    layer_count: Expr,
    engine_layer_floor_s: Expr,
    draft_ratio: Expr,
) -> Expr:
    """One decode step as the engine runs it, drafting included; never faster than its host can launch kernels.

    Source: step-time study, section 1, step d(b); transformers is bound by a CPU floor per layer.
    """
    step_s = (decode_s / engine_bytes_ratio + expanding_s + step_overhead_s).clip(layer_count * engine_layer_floor_s)
    return step_s * (1.0 + draft_ratio)


@quantity
def prompt_overlap_ratio(
    read_prompt_tokens: Expr, pp: Expr, batched_tokens_max: Expr, stage_overlap_exponent: Expr
) -> Expr:
    """How much faster pipeline stages read a prompt that is cut into pieces, than one stage after the other.

    A last piece that is short counts for its share, so that a longer prompt never takes less time.

    Source: step-time study, section 5: (u p / (u + p - 1))^0.7 for u pieces and p stages, llama.cpp.

    >>> from pipeline.core.quantity import at
    >>> at(prompt_overlap_ratio, read_prompt_tokens=512, pp=4, batched_tokens_max=512, stage_overlap_exponent=0.7)
    1.0
    """
    pieces = (read_prompt_tokens / batched_tokens_max.clip(1)).clip(1.0)
    pieces = pl.when(batched_tokens_max > 0).then(pieces).otherwise(1.0)
    return (pieces * pp / (pieces + pp - 1)).pow(stage_overlap_exponent)


@quantity
def prompt_step_s(
    prompt_s: Expr,
    prompt_overlap_ratio: Expr,
    step_overhead_s: Expr,
    engine_flop_ratio: Expr,
    layer_count: Expr,
    engine_layer_floor_s: Expr,
) -> Expr:
    """Prefill of one prompt on an idle replica, as the engine runs it.

    Source: step-time study, section 1, t_1.
    """
    return (prompt_s / (engine_flop_ratio * prompt_overlap_ratio) + step_overhead_s).clip(
        layer_count * engine_layer_floor_s
    )


@quantity
def joining_s(joining_prompt_s: Expr, engine_flop_ratio: Expr, rank_batch: Expr) -> Expr:
    """Prefill of all the other clients' prompts of a data-parallel group, as the engine runs it.

    Definition.
    """
    return joining_prompt_s / engine_flop_ratio * (rank_batch - 1)


@quantity
def ttft_s(
    prompt_step_s: Expr,
    decode_step_s: Expr,
    joining_s: Expr,
    is_static: Expr,
    engine_first_token_steps: Expr,
    engine_burst_ratio: Expr,
    kv_transfer_s: Expr,
) -> Expr:
    """Time to first token at this batch: own prefill, steps until it is visible, other prompts in the way.

    Static: all prompts are read before the first token. Closed loop: an engine lets some decode
    steps pass before it shows a token, and some of the other clients' prompts come first. Waiting
    for a free place is not in it. Where workers of their own read prompts, the cache must travel.

    Source: step-time study, section 1, TTFT = t_1 + S d(b) + g c t_p.
    """
    steps = engine_first_token_steps * ~is_static
    ahead = engine_burst_ratio * ~is_static + 1.0 * is_static
    return prompt_step_s + kv_transfer_s + steps * decode_step_s + ahead * joining_s


@quantity
def kv_transfer_s(
    is_disaggregated: Expr,
    kv_bytes_per_sequence: Expr,
    prompt_tokens: Expr,
    output_tokens: Expr,
    peer_bytes_per_s: Expr,
) -> Expr:
    """Handing a prompt's cache from the workers that read it to those that write on; none where they are the same.

    Source: DistServe, arXiv:2401.09670, section 4; the rate is that of collectives.
    """
    share = prompt_tokens / (prompt_tokens + output_tokens)
    moved_s = (kv_bytes_per_sequence * share / peer_bytes_per_s).fill_null(0.0)
    return pl.when(is_disaggregated).then(moved_s).otherwise(0.0)


@quantity
def tpot_s(
    decode_step_s: Expr,
    joining_s: Expr,
    is_static: Expr,
    is_disaggregated: Expr,
    engine_prefill_share_ratio: Expr,
    output_tokens: Expr,
    accepted_tokens: Expr,
) -> Expr:
    """Mean time between output tokens after the first: a decode step and its share of joining prompts.

    A step yields several tokens where drafts are accepted. Prompts read elsewhere are not in the way.

    Source: step-time study, section 1, TPOT = d(b) + phi b t_p / o.
    """
    share = engine_prefill_share_ratio * ~(is_static | is_disaggregated)
    return decode_step_s / accepted_tokens + share * joining_s / output_tokens


@quantity
def prefill_replicas(requests_per_s: Expr, prompt_step_s: Expr, dp: Expr, is_disaggregated: Expr) -> Expr:
    """Workers of the same shape that must read prompts for one that writes, where the two are apart; else none.

    Source: DistServe, arXiv:2401.09670, section 4: both phases keep the same rate.
    """
    return requests_per_s * prompt_step_s / dp * is_disaggregated


@quantity
def e2e_s(ttft_s: Expr, tpot_s: Expr, output_tokens: Expr) -> Expr:
    """Time from a request's start to its last token.

    Definition.

    >>> from pipeline.core.quantity import at
    >>> at(e2e_s, ttft_s=0.5, tpot_s=0.25, output_tokens=5)
    1.5
    """
    return ttft_s + (output_tokens - 1) * tpot_s


@quantity
def requests_per_s(batch: Expr, e2e_s: Expr) -> Expr:
    """Requests that one replica finishes in a second.

    Source: Little's law.
    """
    return batch / e2e_s


@quantity
def output_tokens_per_s(requests_per_s: Expr, output_tokens: Expr) -> Expr:
    """Output tokens that one replica writes in a second, prefill included in the time.

    Definition.
    """
    return requests_per_s * output_tokens


@quantity
def slo_load_ratio(ttft_s: Expr, tpot_s: Expr, ttft_slo_s: Expr, tpot_slo_s: Expr) -> Expr:
    """Share of the workload's objectives that is used up, the worse of the two; above 1 one is broken.

    Definition.
    """
    return pl.max_horizontal(ttft_s / ttft_slo_s, tpot_s / tpot_slo_s)


@quantity
def limited_by_code(
    fits: Expr, decode_traffic_s: Expr, decode_arithmetic_s: Expr, decode_communication_s: Expr, step_overhead_s: Expr
) -> Expr:
    """What the decode step is bound by, as an index into LIMITS: memory first, then the longest part.

    Definition.
    """
    longest = first_largest([decode_traffic_s, decode_arithmetic_s, decode_communication_s, step_overhead_s])
    return ((1 + longest) * fits.cast(pl.UInt8)).cast(pl.UInt8)
