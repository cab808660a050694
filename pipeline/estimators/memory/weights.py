"""Bytes of the weights on one device, by parameter group and number format."""

import polars as pl
from polars import Expr

from pipeline.core.quantity import quantity
from pipeline.estimators.matrices import handed_out, padded


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
    active_parameter_count: Expr, tower_parameter_count: Expr, embedding_parameter_count: Expr, tied_embeddings: Expr
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
def stage_ratio(layer_count: Expr, pp: Expr) -> Expr:
    """Share of the layers on the fullest pipeline stage.

    Definition.

    >>> from pipeline.core.quantity import at
    >>> at(stage_ratio, layer_count=30, pp=4)
    0.26666666666666666
    """
    return -(-layer_count // pp) / layer_count


@quantity
def table_width(embedding_parameter_count: Expr, vocab: Expr, hidden: Expr) -> Expr:
    """Width of the token tables: the hidden width, or a narrower one that is projected up.

    Source: parameters of the input table over its rows; OPT 350M, word_embed_proj_dim.
    """
    return pl.min_horizontal(embedding_parameter_count // vocab, hidden)


@quantity
def small_parameter_count(
    parameter_count: Expr,
    tower_parameter_count: Expr,
    vocab: Expr,
    table_width: Expr,
    head_parameter_count: Expr,
    matrix_parameter_count: Expr,
) -> Expr:
    """Parameters outside the large matrices: norms, routers, biases, gates, learned positions.

    Definition.
    """
    tables = vocab * table_width + head_parameter_count
    return parameter_count - tower_parameter_count - tables - matrix_parameter_count


@quantity
def replicated_parameter_count(
    small_parameter_count: Expr, layer_count: Expr, moe_layers: Expr, experts: Expr, hidden: Expr
) -> Expr:
    """Of these, parameters that every rank holds whole, in 16 bits: routers and norms, at most.

    Source: vLLM models: ReplicatedLinear gate, RMSNorm; eight norms of the hidden width a layer bound the norms.
    """
    routers = (moe_layers * experts).fill_null(0)
    return pl.min_horizontal(small_parameter_count.clip(0), (routers + 8 * layer_count) * hidden)


@quantity
def small_bytes(
    small_parameter_count: Expr, replicated_parameter_count: Expr, dense_weight_bits: Expr, tp: Expr
) -> Expr:
    """What the parameters outside the large matrices take on one tensor-parallel rank.

    Definition.
    """
    split = small_parameter_count - replicated_parameter_count
    return 2.0 * replicated_parameter_count + split * dense_weight_bits / 8.0 / tp


VOCABULARY_MULTIPLE = 64
"""Rows of the token tables are padded to it. Source: vLLM vocab_parallel_embedding.py, DEFAULT_VOCAB_PADDING_SIZE."""


@quantity
def padded_vocab(vocab: Expr) -> Expr:
    """Rows of the token tables as engines keep them.

    Source: vLLM vocab_parallel_embedding.py, DEFAULT_VOCAB_PADDING_SIZE.
    """
    return padded(vocab, VOCABULARY_MULTIPLE)


@quantity
def table_bytes(
    padded_vocab: Expr, table_width: Expr, table_weight_bits: Expr, tied_embeddings: Expr, tp: Expr, pp: Expr
) -> Expr:
    """Token tables on the fullest stage: input and output; one where they are tied, or on different stages.

    Source: vLLM: VocabParallelEmbedding on the first stage, ParallelLMHead on the last.
    """
    one = handed_out((padded_vocab // tp * table_width * table_weight_bits / 8.0).ceil().cast(pl.Int64))
    return one * pl.when(tied_embeddings | (pp > 1)).then(1).otherwise(2)


@quantity
def hosted_bytes(table_bytes: Expr, tied_embeddings: Expr, pp: Expr, engine_hosts_tables: Expr) -> Expr:
    """Of the token tables, what the engine keeps off the fullest device: the input table, left to the host.

    Where layers are spread over devices, the output table counts as a layer of the last, which is not the fullest.

    Source: llama.cpp: token_embd stays on the CPU, split by n_layer + 1; serving-memory study, section 6.
    """
    spared = pl.when(pp > 1).then(table_bytes).when(tied_embeddings).then(0).otherwise(table_bytes // 2)
    return spared * engine_hosts_tables


@quantity
def tower_bytes(tower_parameter_count: Expr, tower_is_split: Expr, tp: Expr) -> Expr:
    """Vision and audio towers on one rank, in 16 bits: split like other matrices, or whole on every rank.

    Source: vLLM models by class: see the field in catalogs/models.
    """
    return 2.0 * tower_parameter_count / pl.when(tower_is_split).then(tp).otherwise(1)


@quantity
def rope_width(rope_head_dim: Expr, head_dim: Expr) -> Expr:
    """Elements of one position's entry in the rotary tables.

    Definition.
    """
    return pl.coalesce(rope_head_dim, head_dim)


@quantity
def rope_bytes(rope_cache_bytes: Expr, context_tokens_max: Expr, rope_width: Expr) -> Expr:
    """Tables of rotary positions, whole on every rank: as the model's entry says, else 16 bits a position and width.

    Source: vLLM rotary_embedding/base.py: cos_sin_cache of max_position_embeddings rows.
    """
    return handed_out(pl.coalesce(rope_cache_bytes, 2 * context_tokens_max * rope_width))


@quantity
def absorbed_bytes(
    mla_layers: Expr, kv_latent_dim: Expr, heads: Expr, nope_head_dim: Expr, value_head_dim: Expr,
    dense_weight_bits: Expr, tp: Expr,
) -> Expr:  # fmt: skip
    """16-bit copies of the key and value maps that latent attention absorbs, where weights are quantised.

    Source: vLLM mla_attention.py, process_weights_after_loading: W_UK and W_UV, dequantised; views where 16-bit.
    """
    copies = 2 * kv_latent_dim * (heads * (nope_head_dim + value_head_dim) // tp) * mla_layers
    return pl.when((mla_layers > 0) & (dense_weight_bits < 16)).then(copies).otherwise(0)  # noqa: PLR2004


@quantity
def latent_workspace_bytes(mla_layers: Expr, engine_latent_workspace_bytes: Expr) -> Expr:
    """Buffers that the backends of latent attention set up with the model.

    Source: vLLM flashinfer_mla.py, cutlass_mla.py: 128 MiB each.
    """
    return pl.when(mla_layers > 0).then(engine_latent_workspace_bytes).otherwise(0)


@quantity
def weight_bytes(
    matrix_bytes: Expr,
    small_bytes: Expr,
    absorbed_bytes: Expr,
    table_bytes: Expr,
    hosted_bytes: Expr,
    tower_bytes: Expr,
    rope_bytes: Expr,
    latent_workspace_bytes: Expr,
    stage_ratio: Expr,
) -> Expr:
    """Weights on one device: matrices as fused, split and handed out, tables, towers, rotary tables.

    Source: Megatron-LM, arXiv:1909.08053, section 3; serving-memory study, section 1: within 0.13 % of 51 of 53 logs.
    """
    layers = (matrix_bytes + small_bytes + absorbed_bytes) * stage_ratio
    return (
        (layers + table_bytes - hosted_bytes + tower_bytes + rope_bytes + latent_workspace_bytes).ceil().cast(pl.Int64)
    )
