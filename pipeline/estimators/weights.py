"""Bytes of the weights on one device, by parameter group and number format."""

import polars as pl
from polars import Expr

from pipeline.core.quantity import quantity


@quantity
def head_parameter_count(vocab: Expr, hidden: Expr, tied_embeddings: Expr) -> Expr:
    """Parameters of an output table of its own; none where it is the input table.

    Definition.

    >>> from pipeline.core.quantity import at
    >>> at(head_parameter_count, vocab=32_000, hidden=4096, tied_embeddings=False)
    131072000
    """
    return vocab * hidden * (~tied_embeddings).cast(pl.Int64)


@quantity
def active_parameter_count(
    parameter_count: Expr, expert_parameter_count: Expr, experts: Expr, experts_per_token: Expr
) -> Expr:
    """Parameters that one token passes through: all but the routed experts that it is not sent to.

    Source: arXiv:2401.06066, section 3.
    """
    idle = expert_parameter_count * (experts - experts_per_token) // experts
    return parameter_count - idle.fill_null(0)


@quantity
def active_matmul_parameter_count(
    active_parameter_count: Expr,
    tower_parameter_count: Expr,
    embedding_parameter_count: Expr,
    tied_embeddings: Expr,
) -> Expr:
    """The N of "2 N FLOP per token": active parameters that multiply, not merely look up.

    Source: arXiv:2001.08361, section 2.1.
    """
    looked_up = embedding_parameter_count * (~tied_embeddings).cast(pl.Int64)
    return active_parameter_count - looked_up - tower_parameter_count


@quantity
def flop_per_token(active_matmul_parameter_count: Expr) -> Expr:
    """Arithmetic of one token's way through the weights: a multiply and an add for each.

    Source: arXiv:2001.08361, section 2.1.
    """
    return 2.0 * active_matmul_parameter_count


@quantity
def layer_parameter_count(
    parameter_count: Expr,
    tower_parameter_count: Expr,
    embedding_parameter_count: Expr,
    head_parameter_count: Expr,
    expert_parameter_count: Expr,
) -> Expr:
    """Parameters of all layers but the routed experts: attention, plain FFN, shared experts, norms.

    Definition.
    """
    tables = embedding_parameter_count + head_parameter_count
    return parameter_count - tower_parameter_count - tables - expert_parameter_count.fill_null(0)


@quantity
def expert_padding_ratio(expert_width: Expr, expert_width_multiple: Expr) -> Expr:
    """How much larger experts are in memory than in the checkpoint, where kernels pad their width.

    Source: catalogs/formats.toml; vLLM's log of gpt-oss-120b: 64.38 GiB, of 60.7 unpadded.

    >>> from pipeline.core.quantity import at
    >>> at(expert_padding_ratio, expert_width=2880, expert_width_multiple=256)
    1.0666666666666667
    """
    padded = -(-expert_width // expert_width_multiple) * expert_width_multiple
    return (padded / expert_width).fill_null(1.0)


@quantity
def stage_ratio(layer_count: Expr, pp: Expr) -> Expr:
    """Share of the layers on the fullest pipeline stage.

    Definition.

    >>> from pipeline.core.quantity import at
    >>> at(stage_ratio, layer_count=30, pp=4)
    0.26666666666666666
    """
    return -(-layer_count // pp) / layer_count


@quantity
def stage_table_parameter_count(embedding_parameter_count: Expr, head_parameter_count: Expr, pp: Expr) -> Expr:
    """Parameters of the token tables on the fullest stage: the first holds one, the last the other.

    Definition.
    """
    apart = pl.max_horizontal(embedding_parameter_count, head_parameter_count)
    return pl.when(pp > 1).then(apart).otherwise(embedding_parameter_count + head_parameter_count)


@quantity
def weight_bytes(
    layer_parameter_count: Expr,
    expert_parameter_count: Expr,
    stage_table_parameter_count: Expr,
    tower_parameter_count: Expr,
    dense_weight_bits: Expr,
    expert_weight_bits: Expr,
    expert_padding_ratio: Expr,
    table_weight_bits: Expr,
    stage_ratio: Expr,
    tp: Expr,
) -> Expr:
    """Weights on one device: each group of parameters in its own format, split over the ranks.

    Layers and experts are split over tensor-parallel ranks and pipeline stages, token tables over
    ranks; a vision or audio tower stays 16-bit and whole on every rank. Norms, routers and biases
    (under 0.1 % of the parameters) count as layers.

    Source: Megatron-LM, arXiv:1909.08053, section 3; one weight is bits / 8 bytes, scales included.
    """
    experts = expert_parameter_count.fill_null(0) * expert_weight_bits * expert_padding_ratio
    layers = (layer_parameter_count * dense_weight_bits + experts) * stage_ratio
    split_bits = (layers + stage_table_parameter_count * table_weight_bits) / tp
    return (split_bits / 8.0 + 2.0 * tower_parameter_count).ceil().cast(pl.Int64)
