"""Where the bytes of one device go, and how many sequences or tokens fit before it runs out."""

import polars as pl
from polars import Expr

from pipeline.core.quantity import Book, quantity, summed

GIB = 2**30
LARGE_DEVICE_BYTES = 70 * GIB
"""From here on engines take larger default step sizes. Source: vLLM engine/arg_utils.py, 0.11 to 0.27."""


@quantity
def is_large_device(device_memory_bytes: Expr, is_ampere: Expr) -> Expr:
    """Whether engines take their defaults for large devices: 70 GiB or more, and not an A100.

    Source: vLLM engine/arg_utils.py, 0.11 to 0.27.
    """
    return (device_memory_bytes >= LARGE_DEVICE_BYTES) & ~is_ampere


@quantity
def batched_tokens_max(is_large_device: Expr, engine_batched_tokens: Expr, engine_large_batched_tokens: Expr) -> Expr:
    """Tokens that the engine puts into one step at most, by default on this device.

    Source: catalogs/engines.
    """
    return pl.when(is_large_device).then(engine_large_batched_tokens).otherwise(engine_batched_tokens)


@quantity
def sequences_max(is_large_device: Expr, engine_sequences: Expr, engine_large_sequences: Expr) -> Expr:
    """Sequences that the engine runs at once at most, by default on this device.

    Source: catalogs/engines.
    """
    return pl.when(is_large_device).then(engine_large_sequences).otherwise(engine_sequences)


@quantity
def attention_width(heads: Expr, kv_heads: Expr, head_dim: Expr, tp: Expr) -> Expr:
    """Elements that attention holds for one token in a forward pass: queries, keys, values, output.

    Source: serving-memory study, forward (2 nq + 2 nk) d / tp.
    """
    return (2.0 * heads + 2.0 * kv_heads) * head_dim / tp


@quantity
def forward_width(
    hidden: Expr,
    dense_layers: Expr,
    ffn_width: Expr,
    experts_per_token: Expr,
    expert_width: Expr,
    tp: Expr,
    attention_width: Expr,
) -> Expr:
    """Elements that the widest layer holds for one token in a forward pass.

    Plain layers 3 f / tp + 4 h; MoE layers the workspaces of k experts and 7 h.

    Source: serving-memory study, forward (checked within 3 % on dense, 6 % on MoE starts).
    """
    dense = 3.0 * ffn_width / tp * (dense_layers > 0) + 4.0 * hidden
    wide, narrow = pl.max_horizontal(2.0 * expert_width / tp, hidden), pl.max_horizontal(expert_width / tp, hidden)
    return attention_width + pl.max_horizontal(dense, experts_per_token * (wide + narrow) + 7.0 * hidden)


@quantity
def activation_bytes(
    batched_tokens_max: Expr,
    sequences_max: Expr,
    forward_width: Expr,
    vocab: Expr,
    hidden: Expr,
    engine_workspace_bytes: Expr,
    engine_sampler_bytes_per_logit: Expr,
) -> Expr:
    """Peak of temporary tensors on one device: the larger of a full forward step and a full sampling step.

    Source: serving-memory study: T b e + ws, and S V q + T h b + 2 S h b + ws, in 16 bits.
    """
    rows = pl.min_horizontal(sequences_max, batched_tokens_max)
    forward = 2.0 * batched_tokens_max * forward_width
    sampler = rows * vocab * engine_sampler_bytes_per_logit + 2.0 * (batched_tokens_max + 2 * rows) * hidden
    return (pl.max_horizontal(forward, sampler) + engine_workspace_bytes).ceil().cast(pl.Int64)


@quantity
def overhead_bytes(
    engine_runtime_bytes: Expr,
    engine_runtime_bytes_per_layer: Expr,
    engine_communicator_bytes: Expr,
    layer_count: Expr,
    tp: Expr,
) -> Expr:
    """Memory outside the tensor library: kernels' own buffers, and communicators where ranks talk.

    Source: serving-memory study, non-torch memory; constants in catalogs/engines.
    """
    return engine_runtime_bytes + layer_count * engine_runtime_bytes_per_layer + engine_communicator_bytes * (tp > 1)


@quantity
def prompt_bytes_per_token(forward_width: Expr, engine_reads_whole_batch: Expr) -> Expr:
    """Temporary memory of one prompt token where all prompts of a batch are read in one pass; else none.

    Source: serving-memory study, transformers.
    """
    return 2.0 * forward_width * engine_reads_whole_batch


@quantity
def prompt_excess_bytes(
    prompt_bytes_per_token: Expr, prompt_tokens: Expr, output_tokens: Expr, kv_bytes_per_token: Expr
) -> Expr:
    """What reading a prompt takes per sequence beyond the room that its output will need.

    Only engines that read all prompts of a batch in one pass pay it; the others' step is bounded
    and stands in activation_bytes.

    Source: serving-memory study, transformers: max(kv (P + O), kv P + 2 P (3 f + 4 h + ...)).

    >>> from pipeline.core.quantity import at
    >>> plan = {"prompt_tokens": 10, "output_tokens": 1}
    >>> at(prompt_excess_bytes, prompt_bytes_per_token=200.0, kv_bytes_per_token=500.0, **plan)
    1500
    """
    excess = prompt_bytes_per_token * prompt_tokens - kv_bytes_per_token * output_tokens
    return excess.clip(0.0).ceil().cast(pl.Int64)


@quantity
def sequence_bytes(kv_bytes_per_sequence: Expr, prompt_excess_bytes: Expr) -> Expr:
    """Memory that one more sequence takes on one device.

    Definition.
    """
    return kv_bytes_per_sequence + prompt_excess_bytes


@quantity
def kv_pool_bytes(
    device_memory_bytes: Expr,
    weight_bytes: Expr,
    activation_bytes: Expr,
    overhead_bytes: Expr,
    pool_device_ratio: Expr,
    pool_weight_ratio: Expr,
    pool_runtime_ratio: Expr,
) -> Expr:
    """Memory that the engine gives to sequences: a share of the device less what it charges to the pool.

    vLLM: u M - W - A - O. SGLang: f M - W. TensorRT-LLM: r (M - W - A - O). lmdeploy: r (M - W).

    Source: serving-memory study, sections 4 and 6; ratios in catalogs/engines.

    >>> from pipeline.core.quantity import at
    >>> vllm = {"pool_device_ratio": 0.9, "pool_weight_ratio": 1.0, "pool_runtime_ratio": 1.0}
    >>> at(kv_pool_bytes, device_memory_bytes=100, weight_bytes=40, activation_bytes=5, overhead_bytes=5, **vllm)
    40
    """
    charged = pool_weight_ratio * weight_bytes + pool_runtime_ratio * (activation_bytes + overhead_bytes)
    return (pool_device_ratio * device_memory_bytes - charged).floor().cast(pl.Int64)


@quantity
def vram_bytes(
    weight_bytes: Expr, activation_bytes: Expr, overhead_bytes: Expr, sequence_bytes: Expr, batch: Expr
) -> Expr:
    """Memory that one device needs at this batch: weights, temporaries, runtime, sequences.

    Definition.
    """
    return weight_bytes + activation_bytes + overhead_bytes + batch * sequence_bytes


@quantity
def fits(batch: Expr, sequence_bytes: Expr, kv_pool_bytes: Expr) -> Expr:
    """Whether all sequences of the batch have their place in the engine's pool.

    Definition.
    """
    return batch * sequence_bytes <= kv_pool_bytes


@quantity
def batch_max(kv_pool_bytes: Expr, sequence_bytes: Expr) -> Expr:
    """Largest batch before out of memory, every sequence at its full length.

    Source: `fits` solved for the batch; it is linear, so the answer is exact.

    >>> from pipeline.core.quantity import at
    >>> at(batch_max, kv_pool_bytes=100, sequence_bytes=30), at(batch_max, kv_pool_bytes=-5, sequence_bytes=30)
    (3, 0)
    """
    return (kv_pool_bytes // sequence_bytes).clip(0)


@quantity
def context_max_tokens(
    kv_pool_bytes: Expr,
    kv_bytes_per_token: Expr,
    window_bytes_per_token: Expr,
    prompt_bytes_per_token: Expr,
    bounded_kv_bytes: Expr,
    state_kv_bytes: Expr,
    window_tokens: Expr,
    block_tokens: Expr,
    context_tokens_max: Expr,
) -> Expr:
    """Longest sequence before out of memory, alone on the replica; whole blocks.

    Past the window only layers with full context grow; short of it every layer does. Where nothing
    grows, the model's own limit. The model's limit does not bound the answer otherwise. Where an
    engine reads whole prompts, all of the sequence may be prompt.

    Source: kv_bytes_per_sequence solved for the context.
    """
    growing = kv_bytes_per_token + prompt_bytes_per_token
    long = (kv_pool_bytes - bounded_kv_bytes) / growing
    short = (kv_pool_bytes - state_kv_bytes) / (window_bytes_per_token + prompt_bytes_per_token)
    unbounded = pl.when(kv_pool_bytes >= bounded_kv_bytes).then(context_tokens_max).otherwise(0)
    past = pl.when(growing > 0).then(long).otherwise(unbounded)
    inside = pl.min_horizontal(short, window_tokens)
    tokens = pl.when(past >= window_tokens.fill_null(0)).then(past).otherwise(inside)
    return (tokens.clip(0.0, 1e15).floor().cast(pl.Int64) // block_tokens * block_tokens).clip(0)


OF_KINDS = {
    # what of each kind of attention, as which quantity, meaning what
    "allocated_bytes": ("kv_bytes_per_sequence", "KV cache and state that one sequence allocates on one device."),
    "growing_bytes": ("kv_bytes_per_token", "KV cache that one more token adds on one device, where context is full."),
    "token_bytes": (
        "window_bytes_per_token",
        "KV cache that one more token adds on one device while no window is full.",
    ),
    "bounded_bytes": ("bounded_kv_bytes", "Cache of one sequence that stops growing: full windows and states."),
    "state_bytes": ("state_kv_bytes", "State of one sequence that never depends on the context."),
}


def with_memory(book: Book, kinds: list[str]) -> Book:
    """The book with the cache of all layers in it, added up over the kinds of attention."""
    made = [
        summed(name, {f"{kind}_{what}": f"{kind}_stage_layers" for kind in kinds}, summary)
        for what, (name, summary) in OF_KINDS.items()
    ]
    return {**book, **{q.name: q for q in made}}
