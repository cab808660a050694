"""What is left for sequences, and how many sequences or tokens fit before a device runs out of memory."""

import polars as pl
from polars import Expr

from pipeline.core.quantity import quantity
from pipeline.estimators.matrices import padded


@quantity
def usable_bytes(device_memory_bytes: Expr, start_up_bytes: Expr, engine_shares_free_memory: Expr) -> Expr:
    """Memory that the engine takes its share of: all that the driver shows, or what is free after start-up.

    Source: vLLM: mem_get_info total; SGLang: free memory after the communicators are set up.
    """
    return device_memory_bytes - start_up_bytes * engine_shares_free_memory


@quantity
def requested_bytes(usable_bytes: Expr, memory_utilization_ratio: Expr, engine_shares_what_is_left: Expr) -> Expr:
    """Memory that the engine may use; all of it where its share is of what weights and the rest leave.

    Source: vLLM worker, request_memory; catalogs/engines.
    """
    share = pl.when(engine_shares_what_is_left).then(1.0).otherwise(memory_utilization_ratio)
    return (usable_bytes * share).floor().cast(pl.Int64)


@quantity
def charged_bytes(
    weight_bytes: Expr,
    activation_bytes: Expr,
    non_torch_bytes: Expr,
    charged_graph_bytes: Expr,
    engine_charges_activation: Expr,
) -> Expr:
    """What the engine takes off before sequences come: weights, and mostly activations and runtime too.

    Source: vLLM: W + A + O [+ graphs]. SGLang and lmdeploy: W. TensorRT-LLM: W + A + O.
    """
    return weight_bytes + (activation_bytes + non_torch_bytes + charged_graph_bytes) * engine_charges_activation


@quantity
def kv_pool_bytes(
    requested_bytes: Expr, charged_bytes: Expr, memory_utilization_ratio: Expr, engine_shares_what_is_left: Expr
) -> Expr:
    """Memory that the engine gives to sequences: what it requested less what it charges.

    vLLM: u M - W - A - O. SGLang: f M' - W. TensorRT-LLM: r (M - W - A - O). lmdeploy: r (M' - W).

    Source: serving-memory study, sections 4 and 6; catalogs/engines.

    >>> from pipeline.core.quantity import at
    >>> vllm = {"memory_utilization_ratio": 0.9, "engine_shares_what_is_left": False}
    >>> at(kv_pool_bytes, requested_bytes=90, charged_bytes=50, **vllm)
    40
    """
    share = pl.when(engine_shares_what_is_left).then(memory_utilization_ratio).otherwise(1.0)
    return ((requested_bytes - charged_bytes) * share).floor().cast(pl.Int64)


@quantity
def first_stage_pool_bytes(kv_pool_bytes: Expr, activation_bytes: Expr, first_stage_activation_bytes: Expr) -> Expr:
    """Pool of the first pipeline stage, which samples nothing: what logs of rank 0 show; the last decides the batch.

    Source: serving-memory study, section 4.
    """
    return kv_pool_bytes + activation_bytes - first_stage_activation_bytes


@quantity
def sequence_bytes(kv_bytes_per_sequence: Expr, prompt_excess_bytes: Expr) -> Expr:
    """Memory that one more sequence takes on one device.

    Definition.
    """
    return kv_bytes_per_sequence + prompt_excess_bytes


@quantity
def vram_bytes(
    weight_bytes: Expr, activation_bytes: Expr, overhead_bytes: Expr, sequence_bytes: Expr, rank_batch: Expr
) -> Expr:
    """Memory that one device needs at this batch: weights, temporaries, runtime, sequences.

    Definition.
    """
    return weight_bytes + activation_bytes + overhead_bytes + rank_batch * sequence_bytes


@quantity
def peak_bytes(
    weight_bytes: Expr,
    unpacked_bytes: Expr,
    kv_bytes_per_sequence: Expr,
    kv_bytes_per_token: Expr,
    prompt_bytes_per_token: Expr,
    prompt_tokens: Expr,
    batch: Expr,
    engine_workspace_bytes: Expr,
    device_count: Expr,
) -> Expr:
    """Largest memory in tensors, added up over devices, of an engine that lays layers over devices.

    Every device reads whole prompts in its turn, and keeps what that took.

    Source: torch.cuda.max_memory_allocated of transformers; serving-memory study, section 6:
    max(W + kv (P + O), W + kv P + n 2 P (3 f + 4 h)) + n workspace.
    """
    reading = (kv_bytes_per_token + device_count * prompt_bytes_per_token) * prompt_tokens
    sequences = batch * pl.max_horizontal(kv_bytes_per_sequence, reading)
    return weight_bytes + unpacked_bytes + sequences + device_count * engine_workspace_bytes


@quantity
def unpacked_bytes(unpacks_weights: Expr, ffn_width: Expr, hidden: Expr, engine_reads_whole_batch: Expr) -> Expr:
    """The largest matrix once more in 16 bits, where a format's kernel unpacks weights before it multiplies.

    Source: auto-gptq 0.7.1 exllama temp_dq; bitsandbytes 0.48 dequantises a linear layer at a time.
    """
    return pl.when(unpacks_weights & engine_reads_whole_batch).then(2 * ffn_width * hidden).otherwise(0).fill_null(0)


@quantity
def fits(rank_batch: Expr, sequence_bytes: Expr, kv_pool_bytes: Expr) -> Expr:
    """Whether all sequences of the batch have their place in the engine's pool, on every rank.

    Definition.
    """
    return rank_batch * sequence_bytes <= kv_pool_bytes


@quantity
def batch_max(kv_pool_bytes: Expr, sequence_bytes: Expr, dp: Expr) -> Expr:
    """Largest batch before out of memory, every sequence at its full length.

    Source: `fits` solved for the batch; it is linear, so the answer is exact.

    >>> from pipeline.core.quantity import at
    >>> [at(batch_max, kv_pool_bytes=pool, sequence_bytes=30, dp=2) for pool in (100, -5)]
    [6, 0]
    """
    return (kv_pool_bytes // sequence_bytes).clip(0) * dp


@quantity
def context_max_tokens(
    kv_pool_bytes: Expr,
    kv_bytes_per_token: Expr,
    window_bytes_per_token: Expr,
    prompt_bytes_per_token: Expr,
    lasting_kv_bytes: Expr,
    state_kv_bytes: Expr,
    kept_window_tokens: Expr,
    kv_block_tokens: Expr,
    context_tokens_max: Expr,
) -> Expr:
    """Longest sequence before out of memory, alone on the replica; whole blocks.

    Past the window only layers with full context grow; short of it every layer does. Where nothing
    grows, the model's own limit. The model's limit does not bound the answer otherwise. Where an
    engine reads whole prompts, all of the sequence may be prompt.

    Source: kv_bytes_per_sequence solved for the context.
    """
    growing = kv_bytes_per_token + prompt_bytes_per_token
    long = (kv_pool_bytes - lasting_kv_bytes) / growing
    short = (kv_pool_bytes - state_kv_bytes) / (window_bytes_per_token + prompt_bytes_per_token)
    unbounded = pl.when(kv_pool_bytes >= lasting_kv_bytes).then(context_tokens_max).otherwise(0)
    past = pl.when(growing > 0).then(long).otherwise(unbounded)
    inside = pl.min_horizontal(short, padded(kept_window_tokens, kv_block_tokens))
    tokens = pl.when(past >= kept_window_tokens.fill_null(0)).then(past).otherwise(inside)
    return (tokens.clip(0.0, 1e15).floor().cast(pl.Int64) // kv_block_tokens * kv_block_tokens).clip(0)


# ----- as the engine prints them


@quantity
def block_group_bytes(
    kv_page_bytes: Expr, group_layers: Expr, block_row_bytes: Expr, engine_groups_layers: Expr
) -> Expr:
    """One block of the pool on one device: a page of every layer of one group, or of every layer.

    Source: vLLM v1/core/kv_cache_utils.py, num_blocks.
    """
    return pl.when(engine_groups_layers).then(kv_page_bytes * group_layers).otherwise(block_row_bytes)


@quantity
def kv_pool_blocks(kv_pool_bytes: Expr, block_group_bytes: Expr) -> Expr:
    """Blocks of the pool on one device.

    Source: vLLM v1/core/kv_cache_utils.py, num_blocks.
    """
    return kv_pool_bytes.clip(0) // block_group_bytes


@quantity
def kv_shown_bytes_per_token(block_row_bytes: Expr, shown_block_tokens: Expr) -> Expr:
    """Bytes of one token as the engine's own figure of tokens implies: a block of every group.

    Source: vLLM: tokens = blocks // groups x block size.
    """
    return block_row_bytes / shown_block_tokens


@quantity
def concurrency_at_model_len(kv_pool_blocks: Expr, block_group_bytes: Expr, model_len_bytes: Expr) -> Expr:
    """Sequences of the longest length that the pool holds, as vLLM prints it ("maximum concurrency").

    Sliding layers count the window and one step besides: a sequence needs them while its prompt is read.

    Source: vLLM v1/core/kv_cache_utils.py, get_max_concurrency_for_kv_cache_config.
    """
    return kv_pool_blocks * block_group_bytes / model_len_bytes


@quantity
def kv_pool_tokens(
    kv_pool_blocks: Expr,
    block_row_bytes: Expr,
    block_group_bytes: Expr,
    shown_block_tokens: Expr,
    concurrency_at_model_len: Expr,
    model_len_max_tokens: Expr,
    engine_shows_concurrency: Expr,
) -> Expr:
    """Tokens of the pool as the engine prints them.

    Source: vLLM: blocks // groups x block size up to 0.19; from 0.20 the maximum concurrency times the longest length.
    """
    groups = block_row_bytes // block_group_bytes
    by_groups = kv_pool_blocks // groups * shown_block_tokens
    by_length = (concurrency_at_model_len * model_len_max_tokens).floor().cast(pl.Int64)
    return pl.when(engine_shows_concurrency).then(by_length).otherwise(by_groups)
