"""One function a kernel: the seconds that one layer spends in it, in a step of `step_tokens` tokens.

`@kernel(times=...)` names the model's column that says how many layers run it; a model without
such layers never computes it. A step of any kind (decode, one prompt, prompts joining a decoding
batch) is the same functions at another `step_tokens`: see decode.py and prefill.py.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
from polars import Expr

from pipeline.core.quantity import Formula, Quantity, quantity, summed
from pipeline.estimators.step.gemm import DenseGemm, ExpertGemm, HalfGemm, overlapped

KERNELS: dict[str, str] = {}


def kernel(times: str) -> Callable[[Formula], Formula]:
    """Enter a quantity that a step spends once in each of the layers that the column `times` counts."""

    def enter(formula: Formula) -> Formula:
        KERNELS[formula.__name__] = times
        return quantity(formula)

    return enter


# ----- projections of attention


@kernel(times="gqa_layers")
def gqa_projection_s(
    step_tokens: Expr,
    hidden: Expr,
    heads: Expr,
    kv_heads: Expr,
    head_dim: Expr,
    value_head_dim: Expr,
    query_inputs: Expr,
    tp: Expr,
    gemm: DenseGemm,
) -> Expr:
    """Query, key, value and output projections of one layer with KV heads.

    Source: arXiv:1909.08053, section 3: columns of QKV and rows of the output are split over ranks.
    """
    kv_width = pl.max_horizontal(kv_heads / tp, 1.0) * (head_dim + value_head_dim)
    into = gemm.seconds(step_tokens, query_inputs * heads * head_dim / tp + kv_width, hidden)
    return into + gemm.seconds(step_tokens, hidden, heads * value_head_dim / tp)


@kernel(times="sliding_gqa_layers")
def sliding_projection_s(
    step_tokens: Expr,
    hidden: Expr,
    heads: Expr,
    sliding_kv_heads: Expr,
    sliding_head_dim: Expr,
    sliding_value_head_dim: Expr,
    query_inputs: Expr,
    tp: Expr,
    gemm: DenseGemm,
) -> Expr:
    """As gqa_projection_s, of one layer with a sliding window.

    Source: arXiv:1909.08053, section 3.
    """
    return gqa_projection_s(
        step_tokens, hidden, heads, sliding_kv_heads, sliding_head_dim, sliding_value_head_dim, query_inputs, tp, gemm
    )


@kernel(times="mla_layers")
def mla_projection_s(
    step_tokens: Expr,
    hidden: Expr,
    heads: Expr,
    query_latent_dim: Expr,
    kv_latent_dim: Expr,
    rope_head_dim: Expr,
    nope_head_dim: Expr,
    value_head_dim: Expr,
    tp: Expr,
    gemm: DenseGemm,
) -> Expr:
    """Projections of one layer with latent attention: down, up, the absorbed key and value maps, output.

    Source: arXiv:2405.04434, section 2.1 and appendix C.
    """
    query_width = heads * (nope_head_dim + rope_head_dim) / tp
    down = gemm.seconds(step_tokens, query_latent_dim.fill_null(0) + kv_latent_dim + rope_head_dim, hidden)
    up = gemm.seconds(step_tokens, query_width, query_latent_dim.fill_null(hidden))
    absorbed = gemm.seconds(step_tokens, heads * (nope_head_dim + value_head_dim) / tp, kv_latent_dim)
    return down + up + absorbed + gemm.seconds(step_tokens, hidden, heads * value_head_dim / tp)


@kernel(times="linear_layers")
def linear_projection_s(
    step_tokens: Expr, hidden: Expr, linear_in_width: Expr, linear_out_width: Expr, tp: Expr, gemm: DenseGemm
) -> Expr:
    """Projections of one layer with a recurrent state, and its scan.

    The scan and convolution kernels are taken as 20 microseconds a layer.

    Source: step-time study, section 1, linear attention of Qwen3.5.
    """
    into = gemm.seconds(step_tokens, linear_in_width / tp, hidden)
    return into + gemm.seconds(step_tokens, hidden, linear_out_width / tp) + 20e-6


# ----- feed-forward


@kernel(times="dense_layers")
def dense_ffn_s(step_tokens: Expr, hidden: Expr, ffn_width: Expr, ffn_inputs: Expr, tp: Expr, gemm: DenseGemm) -> Expr:
    """Feed-forward block of one plain layer: gate and up in one product, then down.

    Source: arXiv:2002.05202; split over ranks as in arXiv:1909.08053.
    """
    up = gemm.seconds(step_tokens, ffn_inputs * ffn_width / tp, hidden)
    return up + gemm.seconds(step_tokens, hidden, ffn_width / tp)


@kernel(times="shared_expert_layers")
def shared_expert_s(
    step_tokens: Expr, hidden: Expr, shared_expert_width: Expr, ffn_inputs: Expr, tp: Expr, gemm: DenseGemm
) -> Expr:
    """Shared expert of one MoE layer: a plain feed-forward block that every token passes.

    Source: arXiv:2401.06066, section 3.2.
    """
    return dense_ffn_s(step_tokens, hidden, shared_expert_width, ffn_inputs, tp, gemm)


@quantity
def distinct_experts(experts: Expr, experts_per_token: Expr, step_tokens: Expr, dp: Expr) -> Expr:
    """Experts of a layer that at least one token of the step asks for, if all are equally likely.

    E (1 - (1 - k/E)^T), T over all data-parallel groups. Skewed routing touches fewer: this is the upper end.

    Source: expected number of distinct draws (coupon collector), as in step-time study, section 1, Experts.

    >>> from pipeline.core.quantity import at
    >>> at(distinct_experts, experts=8, experts_per_token=2, step_tokens=1, dp=1)
    2.0
    """
    missed = (1.0 - experts_per_token / experts).log() * step_tokens * dp
    return experts * (1.0 - missed.exp())


@kernel(times="moe_layers")
def experts_s(
    step_tokens: Expr,
    distinct_experts: Expr,
    expert_depth: Expr,
    expert_width: Expr,
    experts_per_token: Expr,
    ffn_inputs: Expr,
    expert_ranks: Expr,
    dp: Expr,
    expert: ExpertGemm,
) -> Expr:
    """Routed experts of one MoE layer: each distinct one is read, each token is multiplied.

    Source: step-time study, section 1, Experts: launch + 2-norm of traffic and arithmetic, the arithmetic at
    x / (x + ramp) of its rate for x tokens per distinct expert.
    """
    matrix = (ffn_inputs + 1) * expert_depth * expert_width / expert_ranks
    per_expert = dp * step_tokens * experts_per_token / distinct_experts
    read_s = distinct_experts * matrix * expert.expert_weight_bits / 8.0 / expert.expert_bytes_per_s
    work = 2.0 * matrix * distinct_experts * (per_expert + expert.expert_ramp)
    return expert.expert_launch_s + overlapped(work / expert.expert_flop_per_s, read_s)


@kernel(times="moe_layers")
def expert_exchange_s(
    step_tokens: Expr,
    experts_per_token: Expr,
    hidden: Expr,
    expert_ranks: Expr,
    dp: Expr,
    collective_base_s: Expr,
    peer_bytes_per_s: Expr,
) -> Expr:
    """Sending tokens to the ranks of their experts and back, where data-parallel groups share experts.

    Two all-to-alls: each token goes to at most as many ranks as it has experts, in 16 bits.

    Source: DeepSeek-V3 report, arXiv:2412.19437, section 3.2.2 (dispatch and combine).
    """
    copies = pl.min_horizontal(experts_per_token, expert_ranks - 1)
    moved_s = (2.0 * step_tokens * copies * hidden / peer_bytes_per_s).fill_null(0.0)
    return 2.0 * (collective_base_s + moved_s) * (dp > 1)


# ----- around the layers


@kernel(times="layer_count")
def all_reduce_s(step_tokens: Expr, hidden: Expr, tp: Expr, collective_launch_s: Expr, peer_bytes_per_s: Expr) -> Expr:
    """Two all-reduces of one layer: launch, and 2 (tp - 1) / tp of the activations over the link.

    Source: ring all-reduce (Patarasuk and Yuan 2009); constants in catalogs/efficiencies.
    """
    moved = 4.0 * (tp - 1) / tp * hidden * step_tokens / peer_bytes_per_s
    return 2.0 * collective_launch_s + 2.0 * moved.fill_null(0.0)


@kernel(times="layer_count")
def elementwise_s(step_tokens: Expr, hidden: Expr, reached_memory_bytes_per_s: Expr) -> Expr:
    """Norms, rotary positions, residuals and activations of one layer: about 30 bytes a hidden unit.

    Source: step-time study, section 1, norm traffic 30 B m h / (0.8 W).
    """
    return 37.5 * hidden * step_tokens / reached_memory_bytes_per_s


@kernel(times="head_count")
def head_s(step_sequences: Expr, vocab: Expr, hidden: Expr, tp: Expr, gemm: HalfGemm) -> Expr:
    """The output table, for the last token of each sequence.

    Source: definition of a language-model head; 16-bit in published quantised checkpoints.
    """
    return gemm.seconds(step_sequences, vocab / tp, hidden)


@quantity
def head_count(vocab: Expr) -> Expr:
    """Output tables that a step passes: one.

    Definition.
    """
    return vocab.clip(1, 1)


def step_of(used: Callable[[str], bool]) -> Quantity:
    """The quantity `kernels_s`: all kernels of a step that a model's layers run."""
    parts = {name: times for name, times in KERNELS.items() if times == "head_count" or used(times)}
    return summed("kernels_s", parts, "Device time of one step: every kernel, as often as the model has layers for it.")
