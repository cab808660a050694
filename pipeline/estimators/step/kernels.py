"""What one layer spends in each kernel, in a step of `step_tokens` tokens: one function a kernel.

Products with plain matrices follow from matrices.py, for every matrix: a new one needs no kernel.

`@kernel(times=...)` names the model's column that says how many layers run it; a model without
such layers never computes it. A step of any kind (decode, one prompt, prompts joining a decoding
batch) is the same functions at another `step_tokens`: see decode.py and prefill.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add

import polars as pl
from polars import Expr

from pipeline.core.quantity import Book, Formula, Quantity, instance, quantity, summed
from pipeline.estimators.attention import parameter_names
from pipeline.estimators.matrices import GROUP_OF, MATRICES, TIMES, Made
from pipeline.estimators.step.gemm import DenseGemm, ExpertGemm, HalfGemm, overlapped

KERNELS = {"linear_scan_s": "linear_layers"}
"""Seconds that a layer spends, and the column that counts such layers: one kernel is a fact as it is."""


def kernel(times: str) -> Callable[[Formula], Formula]:
    """Enter a quantity that a step spends once in each of the layers that the column `times` counts."""

    def enter(formula: Formula) -> Formula:
        KERNELS[formula.__name__] = times
        return quantity(formula)

    return enter


# ----- matrix products of a layer's plain matrices: projections of attention, feed-forward blocks, shared experts


def products_s(step_tokens: Expr, gemm: DenseGemm, *, matrices: tuple[Made, ...], **shape: Expr) -> Expr:
    """Products of a step's tokens with the matrices of one layer of those that `{layers}` counts: {names}.

    Source: estimators/matrices.py, by which weights are counted too; the time of a product: estimators/step/gemm.py.
    """
    made = [each(**{name: shape[name] for name in parameter_names(each)}) for each in matrices]
    return reduce(add, (gemm.seconds(step_tokens, one.width, one.depth) for one in made))


def products_of(layers: str) -> Quantity:
    """The quantity `<kind of layer>_products_s`: what one layer's plain matrices take of a step."""
    names = [name for name, times in TIMES.items() if times == layers and GROUP_OF[name] == "dense"]
    matrices = tuple(MATRICES[name] for name in names)
    words = {"layers": layers, "names": ", ".join(names), "matrices": matrices}
    shape = {each: each for one in matrices for each in parameter_names(one)}
    return instance(products_s, f"{layers.removesuffix('_layers')}_products_s", words, **shape)


# ----- routed experts


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
def elementwise_s(step_tokens: Expr, hidden: Expr, elementwise_bytes: Expr, reached_memory_bytes_per_s: Expr) -> Expr:
    """Norms, rotary positions, residuals and activations of one layer.

    Source: step-time study, section 1, norm traffic 30 B m h / (0.8 W).
    """
    return elementwise_bytes * hidden * step_tokens / reached_memory_bytes_per_s


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


def with_kernels(used: Callable[[str], bool]) -> Book:
    """The kernels that a model's layers run, and the quantity `kernels_s`: all of a step."""
    products = {times: products_of(times) for name, times in TIMES.items() if GROUP_OF[name] == "dense"}
    parts = {q.name: times for times, q in products.items() if used(times)}
    parts |= {name: times for name, times in KERNELS.items() if times == "head_count" or used(times)}
    summary = "Device time of one step: every kernel, as often as the model has layers for it."
    return {q.name: q for q in [*products.values(), summed("kernels_s", parts, summary)]}
