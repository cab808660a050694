"""Weight matrices of one layer, as engines fuse them and split them over ranks. A new one is one function here.

`@matrix(times=..., group=...)` names the model's column that says how many layers have it, and the
parameter group whose number format it is kept in. What follows from a matrix (its bytes on a rank
as the allocator hands them out, its parameters) is derived, for every matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import polars as pl
from polars import Expr

from pipeline.core.quantity import Quantity, instance, quantity, summed
from pipeline.estimators.attention import kv_heads_on_rank, parameter_names

if TYPE_CHECKING:
    from pipeline.core.quantity import Book

MIB = 2**20
ONE = pl.lit(1, pl.Int64)
WHOLE = {
    "tp": ONE,
    "ep": ONE,
    "expert_ranks": ONE,
    "pads_experts": pl.lit(value=False),
    "fp4_output_multiple": ONE,
    "fp4_input_multiple": ONE,
}
"""One rank, nothing padded: a matrix as the checkpoint has it."""


class Matrix(NamedTuple):
    """One matrix on one rank."""

    width: Expr
    """Outputs."""
    depth: Expr
    """Inputs."""
    copies: Expr = ONE
    """Matrices in the one tensor: experts."""


class Format(NamedTuple):
    """How one parameter group is kept."""

    weight_bits: Expr
    """Bits of a weight, scales of its block or group included."""
    scale_bits: Expr
    """Of these, bits of scales: a tensor of their own."""
    row_bytes: Expr
    """Scale of an output row."""


Made = Callable[..., Matrix]
MATRICES: dict[str, Made] = {}
TIMES: dict[str, str] = {}
GROUP_OF: dict[str, str] = {}


def matrix(times: str, group: str) -> Callable[[Made], Made]:
    """Enter a matrix that each of the layers that the column `times` counts has once."""

    def enter(made: Made) -> Made:
        MATRICES[made.__name__] = made
        TIMES[made.__name__], GROUP_OF[made.__name__] = times, group
        return made

    return enter


@quantity
def query_inputs(gated_attention: Expr) -> Expr:
    """Query matrices: one, and a gate of attention's output as wide where there is one.

    Definition.
    """
    return 1 + gated_attention.cast(pl.Int64)


@quantity
def ffn_inputs(gated_ffn: Expr) -> Expr:
    """Matrices that read a feed-forward block's input: one, and a gate where there is one.

    Source: arXiv:2002.05202.
    """
    return 1 + gated_ffn.cast(pl.Int64)


# ----- attention


@matrix(times="gqa_layers", group="dense")
def qkv(
    hidden: Expr, heads: Expr, kv_heads: Expr, head_dim: Expr, value_head_dim: Expr, query_inputs: Expr, tp: Expr
) -> Matrix:
    """Query, key and value projection. Source: vLLM QKVParallelLinear: KV heads are replicated beyond their count."""
    return Matrix(
        query_inputs * heads * head_dim // tp + kv_heads_on_rank(kv_heads, tp) * (head_dim + value_head_dim), hidden
    )


@matrix(times="gqa_layers", group="dense")
def attention_output(hidden: Expr, heads: Expr, value_head_dim: Expr, tp: Expr) -> Matrix:
    """Output projection, its rows split over ranks. Source: arXiv:1909.08053, section 3."""
    return Matrix(hidden, heads * value_head_dim // tp)


@matrix(times="sliding_gqa_layers", group="dense")
def sliding_qkv(
    hidden: Expr,
    heads: Expr,
    sliding_kv_heads: Expr,
    sliding_head_dim: Expr,
    sliding_value_head_dim: Expr,
    query_inputs: Expr,
    tp: Expr,
) -> Matrix:
    """As qkv, of sliding layers. Source: vLLM QKVParallelLinear."""
    return qkv(hidden, heads, sliding_kv_heads, sliding_head_dim, sliding_value_head_dim, query_inputs, tp)


@matrix(times="sliding_gqa_layers", group="dense")
def sliding_output(hidden: Expr, heads: Expr, sliding_value_head_dim: Expr, tp: Expr) -> Matrix:
    """As attention_output, of sliding layers. Source: arXiv:1909.08053, section 3."""
    return attention_output(hidden, heads, sliding_value_head_dim, tp)


@matrix(times="mla_layers", group="dense")
def latent_down(hidden: Expr, query_latent_dim: Expr, kv_latent_dim: Expr, rope_head_dim: Expr) -> Matrix:
    """Query and KV down projections, whole on every rank. Source: vLLM deepseek_v2.py, ReplicatedLinear."""
    return Matrix(query_latent_dim.fill_null(0) + kv_latent_dim + rope_head_dim, hidden)


@matrix(times="mla_layers", group="dense")
def query_up(
    hidden: Expr, heads: Expr, query_latent_dim: Expr, nope_head_dim: Expr, rope_head_dim: Expr, tp: Expr
) -> Matrix:
    """Query up projection, from the latent or from the hidden vector. Source: arXiv:2405.04434, 2.1."""
    return Matrix(heads * (nope_head_dim + rope_head_dim) // tp, query_latent_dim.fill_null(hidden))


@matrix(times="mla_layers", group="dense")
def latent_up(heads: Expr, kv_latent_dim: Expr, nope_head_dim: Expr, value_head_dim: Expr, tp: Expr) -> Matrix:
    """Key and value up projection. Source: arXiv:2405.04434, 2.1."""
    return Matrix(heads * (nope_head_dim + value_head_dim) // tp, kv_latent_dim)


@matrix(times="mla_layers", group="dense")
def latent_output(hidden: Expr, heads: Expr, value_head_dim: Expr, tp: Expr) -> Matrix:
    """Output projection. Source: arXiv:2405.04434, 2.1."""
    return Matrix(hidden, heads * value_head_dim // tp)


@matrix(times="linear_layers", group="dense")
def linear_in(hidden: Expr, linear_in_width: Expr, tp: Expr) -> Matrix:
    """Input projections of a recurrent layer. Source: arXiv:2405.21060."""
    return Matrix(linear_in_width // tp, hidden)


@matrix(times="linear_layers", group="dense")
def linear_out(hidden: Expr, linear_out_width: Expr, tp: Expr) -> Matrix:
    """Output projection of a recurrent layer. Source: arXiv:2405.21060."""
    return Matrix(hidden, linear_out_width // tp)


# ----- feed-forward


@matrix(times="dense_layers", group="dense")
def gate_up(hidden: Expr, ffn_width: Expr, ffn_inputs: Expr, tp: Expr) -> Matrix:
    """Gate and up projections of a plain block, fused. Source: vLLM MergedColumnParallelLinear."""
    return Matrix(ffn_inputs * ffn_width // tp, hidden)


@matrix(times="dense_layers", group="dense")
def down(hidden: Expr, ffn_width: Expr, tp: Expr) -> Matrix:
    """Down projection of a plain block. Source: arXiv:1909.08053, section 3."""
    return Matrix(hidden, ffn_width // tp)


@matrix(times="shared_expert_layers", group="dense")
def shared_gate_up(hidden: Expr, shared_expert_width: Expr, ffn_inputs: Expr, tp: Expr) -> Matrix:
    """As gate_up, of shared experts. Source: arXiv:2401.06066, section 3.2."""
    return gate_up(hidden, shared_expert_width, ffn_inputs, tp)


@matrix(times="shared_expert_layers", group="dense")
def shared_down(hidden: Expr, shared_expert_width: Expr, tp: Expr) -> Matrix:
    """As down, of shared experts. Source: arXiv:2401.06066, section 3.2."""
    return down(hidden, shared_expert_width, tp)


@matrix(times="moe_layers", group="expert")
def experts_gate_up(
    expert_depth: Expr, experts: Expr, expert_width: Expr, ffn_inputs: Expr, pads_experts: Expr,
    fp4_output_multiple: Expr, fp4_input_multiple: Expr, expert_ranks: Expr, ep: Expr,
) -> Matrix:  # fmt: skip
    """Gate and up projections of a layer's routed experts, one tensor. Source: vLLM fused_moe, w13_weight."""
    width = ffn_inputs * -(-expert_width * ep // expert_ranks)
    return padded_experts(width, expert_depth, -(-experts // ep), pads_experts, fp4_output_multiple, fp4_input_multiple)


@matrix(times="moe_layers", group="expert")
def experts_down(
    expert_depth: Expr, experts: Expr, expert_width: Expr, pads_experts: Expr,
    fp4_output_multiple: Expr, fp4_input_multiple: Expr, expert_ranks: Expr, ep: Expr,
) -> Matrix:  # fmt: skip
    """Down projections of a layer's routed experts, one tensor. Source: vLLM fused_moe, w2_weight."""
    depth = -(-expert_width * ep // expert_ranks)
    return padded_experts(expert_depth, depth, -(-experts // ep), pads_experts, fp4_output_multiple, fp4_input_multiple)


def padded_experts(
    width: Expr, depth: Expr, count: Expr, pads_experts: Expr, output_multiple: Expr, input_multiple: Expr
) -> Matrix:
    """Experts on a rank: split over the ranks that share them, and padded where the kernel asks for it."""
    return Matrix(
        pl.when(pads_experts).then(padded(width, output_multiple)).otherwise(width),
        pl.when(pads_experts).then(padded(depth, input_multiple)).otherwise(depth),
        count,
    )


@quantity
def expert_depth(
    expert_parameter_count: Expr, moe_layers: Expr, experts: Expr, expert_width: Expr, ffn_inputs: Expr, hidden: Expr
) -> Expr:
    """Width of the vectors that routed experts read: the hidden width, or a latent one that is smaller.

    Source: parameters of an expert over its width and its count of matrices; Nemotron 3, latent MoE.
    """
    a_layer = moe_layers * experts * (ffn_inputs + 1) * expert_width
    return pl.min_horizontal(expert_parameter_count // a_layer, hidden)


# ----- what follows from a matrix, for every matrix


def padded(value: Expr, multiple: Expr | int) -> Expr:
    """A whole number raised to a multiple.

    >>> pl.select(padded(pl.lit(2880), 256)).item()
    3072
    """
    return -(-value // multiple) * multiple


def handed_out(size: Expr) -> Expr:
    """Bytes that PyTorch's caching allocator counts as used for one tensor.

    In 512 B; tensors from 10 MiB lie in a segment of whole 2 MiB, whose rest is not split off where
    it is at most 1 MiB.

    Source: PyTorch c10/cuda/CUDACachingAllocator.cpp: kMinBlockSize, kMinLargeAlloc, kRoundLarge, should_split.

    >>> pl.select(handed_out(pl.lit(11 * 2**20))).item() / 2**20, pl.select(handed_out(pl.lit(12_900_000))).item()
    (12.0, 12900352)
    """
    small, segment = padded(size, 512), padded(size, 2 * MIB)
    return pl.when((size >= 10 * MIB) & (segment - small <= MIB)).then(segment).otherwise(small)


def matrix_bytes(form: Format, *, made: Made, **shape: Expr) -> Expr:
    """Bytes of the {name} matrix of one layer on one rank: weights, and scales in tensors of their own.

    Source: {source}
    """
    one = made(**shape)
    elements = one.copies * one.width * one.depth
    weights = (elements * (form.weight_bits - form.scale_bits) / 8.0).ceil().cast(pl.Int64)
    scales = (elements * form.scale_bits / 8.0).ceil().cast(pl.Int64)
    rows = (one.copies * one.width * form.row_bytes).cast(pl.Int64)
    return handed_out(weights) + padded(scales, 512) + padded(rows, 512)


def matrix_parameters(*, made: Made, **shape: Expr) -> Expr:
    """Parameters of the {name} matrix of one layer.

    Source: {source}
    """
    one = made(**shape, **{each: whole for each, whole in WHOLE.items() if each in parameter_names(made)})
    return one.copies * one.width * one.depth


def matrix_quantities(name: str) -> list[Quantity]:
    """What follows from one matrix, as quantities `<name>_matrix_bytes` and `<name>_matrix_parameters`."""
    made, group = MATRICES[name], GROUP_OF[name]
    words = {"name": name, "made": made, "source": (made.__doc__ or "").rpartition("Source: ")[2]}
    shape = {each: each for each in parameter_names(made)}
    form = {each: f"{group}_{each}" for each in Format._fields}
    alone = {each: each for each in shape if each not in WHOLE}
    return [
        instance(matrix_bytes, f"{name}_matrix_bytes", words, **shape, **form),
        instance(matrix_parameters, f"{name}_matrix_parameters", words, **alone),
    ]


def with_matrices(used: Callable[[str], bool]) -> Book:
    """The matrices of the layers that some models have, and their sums over all layers."""
    names = [name for name in MATRICES if used(TIMES[name])]
    sums = [
        summed(
            "matrix_bytes",
            {f"{name}_matrix_bytes": TIMES[name] for name in names},
            "Weight matrices of all layers on one tensor-parallel rank.",
        ),
        summed(
            "matrix_parameter_count",
            {f"{name}_matrix_parameters": TIMES[name] for name in names},
            "Parameters of all layers' weight matrices.",
        ),
    ]
    return {q.name: q for q in [*(q for name in names for q in matrix_quantities(name)), *sums]}
