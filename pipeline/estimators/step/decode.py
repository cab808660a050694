"""One decode step of a batch: every sequence writes one token."""

from polars import Expr

from pipeline.core.quantity import Book, again, quantity, summed
from pipeline.estimators.attention import PROJECTIONS, kind_instance


@quantity
def microbatch(batch: Expr, pp: Expr, dp: Expr) -> Expr:
    """Sequences that pass a pipeline stage of a data-parallel group together: the batch is dealt out over both.

    Source: arXiv:1811.06965 (GPipe), section 2.

    >>> from pipeline.core.quantity import at
    >>> at(microbatch, batch=6, pp=4, dp=1), at(microbatch, batch=1, pp=4, dp=1)
    (1.5, 1.0)
    """
    return (batch / (pp * dp)).clip(1.0)


def attend_s(
    microbatch: Expr,
    read_bytes: Expr,
    read_heads: Expr,
    attention_launch_s: Expr,
    attention_head_s: Expr,
    attention_bytes_ratio: Expr,
    reached_memory_bytes_per_s: Expr,
) -> Expr:
    """Decode attention of one {kind} layer: launch, reading the cache, a little for each sequence and KV head.

    Source: step-time study, section 1, decode attention t0 + KV bytes / (eb W) + c b n_kv.
    """
    per_sequence_s = read_bytes / (attention_bytes_ratio * reached_memory_bytes_per_s) + attention_head_s * read_heads
    return attention_launch_s + microbatch * per_sequence_s


@quantity
def mla_attend_flop(
    decode_step_tokens: Expr,
    heads: Expr,
    tp: Expr,
    decode_context_tokens: Expr,
    kv_latent_dim: Expr,
    rope_head_dim: Expr,
) -> Expr:
    """Arithmetic of one layer's decode attention on the latent, which every query head reads anew.

    Source: arXiv:2405.04434, section 2.1 (absorbed form): 2 (H / tp) ctx (2 kv_latent + rope) a sequence.
    """
    return 2.0 * decode_step_tokens * (heads / tp) * decode_context_tokens * (2 * kv_latent_dim + rope_head_dim)


@quantity
def mla_attend_arithmetic_s(mla_attend_flop: Expr, latent_flop_ratio: Expr, reached_half_flop_per_s: Expr) -> Expr:
    """Seconds of that arithmetic, at a share of the 16-bit peak.

    Source: step-time study, section 1, decode attention, MLA term.
    """
    return mla_attend_flop / (latent_flop_ratio * reached_half_flop_per_s)


@quantity
def pipeline_hop_s(
    decode_step_tokens: Expr, hidden: Expr, pp: Expr, collective_base_s: Expr, peer_bytes_per_s: Expr
) -> Expr:
    """Handing one step's activations from stage to stage, all hops together.

    Source: arXiv:1811.06965; constants of the link as for collectives.
    """
    hop_s = collective_base_s + (2.0 * decode_step_tokens * hidden / peer_bytes_per_s).fill_null(0.0)
    return (pp - 1) * hop_s


@quantity
def decode_s(decode_kernels_s: Expr, decode_attention_s: Expr, pipeline_hop_s: Expr) -> Expr:
    """What the devices do in one decode step, before the engine's own overhead.

    Definition.
    """
    return decode_kernels_s + decode_attention_s + pipeline_hop_s


@quantity
def decode_traffic_s(
    weight_bytes: Expr,
    moe_layers: Expr,
    experts: Expr,
    decode_distinct_experts: Expr,
    expert_parameter_count: Expr,
    expert_weight_bits: Expr,
    expert_ranks: Expr,
    pp: Expr,
    decode_attention_bytes: Expr,
    memory_bytes_per_s: Expr,
) -> Expr:
    """Seconds that a decode step must read memory at its full rate: weights in use, and the cache.

    Source: roofline (Williams et al. 2009).
    """
    idle_ratio = 1.0 - decode_distinct_experts / experts
    idle = idle_ratio * expert_parameter_count * expert_weight_bits / 8.0 / (expert_ranks * pp)
    read = weight_bytes - idle.fill_null(0.0) * (moe_layers > 0) + decode_attention_bytes
    return read * pp / memory_bytes_per_s


@quantity
def decode_arithmetic_s(flop_per_token: Expr, decode_step_tokens: Expr, tp: Expr, dense_flop_per_s: Expr) -> Expr:
    """Seconds that a decode step must multiply at the achieved rate.

    Source: roofline (Williams et al. 2009).
    """
    return flop_per_token * decode_step_tokens / (tp * dense_flop_per_s)


@quantity
def decode_communication_s(decode_all_reduce_s: Expr, layer_count: Expr, pipeline_hop_s: Expr) -> Expr:
    """Seconds of a decode step that devices spend handing activations to each other.

    Definition.
    """
    return decode_all_reduce_s * layer_count + pipeline_hop_s


def with_decode(book: Book, kinds: list[str]) -> Book:
    """The book with a decode step in it: kernels at one token a sequence, and reading each kind's cache."""
    attend = {f"{kind}_attend_s": f"{kind}_layers" for kind in kinds}
    attend |= {"mla_attend_arithmetic_s": "mla_layers"} if "mla" in kinds else {}
    read = {f"{kind}_read_bytes": f"{kind}_stage_layers" for kind in kinds}
    copied = {f"{kind}_read_bytes": f"{kind}_layers" for kind in kinds if PROJECTIONS[kind].endswith("gqa")}
    made = [
        *(kind_instance(attend_s, kind, "read_bytes", "read_heads") for kind in kinds),
        summed("decode_attention_s", attend, "Decode attention of all layers in one step."),
        summed("decode_sequence_read_bytes", read, "Cache that one sequence's next token reads on one device."),
        summed("decode_sequence_copied_bytes", copied, "Keys and values of one sequence, of all stages."),
    ]
    book = {**book, **{q.name: q for q in made}}
    book = again(book, "decode", "distinct_experts", step_tokens=tokens_of_each)
    return again(book, "decode", "kernels_s", step_tokens=tokens_of_each, step_sequences=tokens_of_each)


def tokens_of_each(microbatch: Expr, verified_tokens: Expr) -> Expr:
    """A decode step is one token of every sequence, or several that were drafted and are verified together.

    Source: speculative decoding, arXiv:2211.17192, section 2.
    """
    return microbatch * verified_tokens


@quantity
def decode_attention_bytes(decode_sequence_read_bytes: Expr, microbatch: Expr) -> Expr:
    """Cache that one decode step reads on one device.

    Definition.
    """
    return decode_sequence_read_bytes * microbatch
