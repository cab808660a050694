"""Peak of temporary tensors: the larger of a full forward and a full sampling step.

vLLM runs a forward pass of `batched_tokens_max` tokens, then samples `sequences_max` rows; the peak
of the two is charged to the pool. Other engines need the same memory, whether they charge it or not.

Source: vLLM worker/gpu_model_runner.py, profile_run, 0.6 to 0.27; serving-memory study, section 2.
"""

from typing import NamedTuple

import polars as pl
from polars import Expr

from pipeline.core.quantity import quantity

MLA_SCRATCH_TOKENS = 65_536
"""Longest chunk of cached context that latent attention expands at once. Source: vLLM mla/common.py, 0.11 to 0.27."""


@quantity
def element_bytes(dense_weight_bits: Expr) -> Expr:
    """Bytes of one activation: 4 where weights are 32-bit, else 2.

    Definition.
    """
    return pl.when(dense_weight_bits >= 32).then(4).otherwise(2).cast(pl.Int64)  # noqa: PLR2004


# ----- forward


@quantity
def attention_width(
    heads: Expr, kv_heads: Expr, head_dim: Expr, tp: Expr, kv_latent_dim: Expr, query_latent_dim: Expr,
    rope_head_dim: Expr, value_head_dim: Expr, mla_layers: Expr,
) -> Expr:  # fmt: skip
    """Elements that attention holds for one token in a forward pass: queries, keys, values, output.

    Latent attention holds queries and outputs of the rank's heads, and both latent vectors.

    Source: serving-memory study, section 2, forward (2 nq + 2 nk) d / tp; vLLM mla_attention.py.
    """
    latent = heads * (head_dim + value_head_dim) / tp + kv_latent_dim + rope_head_dim + query_latent_dim.fill_null(0)
    return pl.when(mla_layers > 0).then(latent).otherwise((2.0 * heads + 2.0 * kv_heads) * head_dim / tp)


@quantity
def dense_width(dense_layers: Expr, ffn_width: Expr, hidden: Expr, tp: Expr) -> Expr:
    """Elements that a plain block holds for one token: 3 f / tp + 4 h; MoE layers hold 6 h besides workspaces.

    Source: serving-memory study, section 2, forward (checked within 3 % on dense starts).
    """
    plain = pl.when(dense_layers > 0).then(3.0 * ffn_width / tp + 4.0 * hidden).otherwise(0.0)
    return pl.max_horizontal(plain, 6.0 * hidden)


@quantity
def expert_workspace_width(
    experts_per_token: Expr, expert_width: Expr, expert_depth: Expr, expert_ranks: Expr, ep: Expr,
    expert_is_fused: Expr, runs_fused_experts: Expr,
) -> Expr:  # fmt: skip
    """Elements of the workspaces of routed experts for one token: copies of the token for each of its experts.

    Fused kernels (Triton kernels of mxfp4; FlashInfer on Blackwell) keep the output only, and gpt-oss
    its activations.

    Source: vLLM fused_moe/modular_kernel.py: max(ws13, h) + ws2; ws13 = k max(f / tp, h), ws2 = k max(2 f / tp, h).
    """
    width, depth = 1.0 * expert_width * ep / expert_ranks, expert_depth
    gathered = experts_per_token * (pl.max_horizontal(width, depth) + pl.max_horizontal(2.0 * width, depth))
    fused = depth + pl.when(runs_fused_experts).then(0.0).otherwise(experts_per_token * width)
    chosen = pl.when(runs_fused_experts | expert_is_fused).then(fused).otherwise(gathered)
    return pl.when(experts_per_token > 0).then(chosen).otherwise(0.0)


@quantity
def forward_width(
    attention_width: Expr, dense_width: Expr, expert_workspace_width: Expr, engine_compiles: Expr
) -> Expr:
    """Elements that the widest layer holds for one token in a forward pass.

    A compiled graph holds attention's tensors beside the feed-forward block's; run layer by layer,
    they come one after the other.

    Source: serving-memory study, section 2; vLLM models/llama.py, run without torch.compile up to V0.
    """
    attention = pl.when(engine_compiles).then(attention_width).otherwise(0.0)
    return attention + dense_width + expert_workspace_width


@quantity
def latent_scratch_bytes(
    mla_layers: Expr, model_len_max_tokens: Expr, sequences_max: Expr, heads: Expr, nope_head_dim: Expr,
    value_head_dim: Expr, tp: Expr,
) -> Expr:  # fmt: skip
    """Keys and values that latent attention expands for a chunk of cached context.

    Source: vLLM mla/common.py, 0.11 to 0.27: min(max(8 len, 64 S), 65,536) tokens of nope + value widths.
    """
    tokens = pl.max_horizontal(8 * model_len_max_tokens, 64 * sequences_max).clip(0, MLA_SCRATCH_TOKENS)
    expanded = 2 * tokens * (heads * (nope_head_dim + value_head_dim) // tp)
    return pl.when(mla_layers > 0).then(expanded).otherwise(0)


@quantity
def tower_tokens(
    tower_parameter_count: Expr, tower_tokens_max: Expr, batched_tokens_max: Expr, model_len_max_tokens: Expr,
    engine_expands_towers: Expr,
) -> Expr:  # fmt: skip
    """Tokens of images that the profiling run keeps: as many whole images as fill a step, at least one.

    Source: vLLM v1/core/encoder_cache_manager.py, encoder budget; 0.11 keeps each image at the size of the budget.
    """
    longest = pl.coalesce(tower_tokens_max, batched_tokens_max)
    image = pl.min_horizontal(longest, model_len_max_tokens)
    budget = pl.max_horizontal(batched_tokens_max, image)
    kept = budget // image * pl.when(engine_expands_towers).then(budget).otherwise(image)
    return pl.when(tower_parameter_count > 0).then(kept).otherwise(0)


TOWER_WORKSPACE_BYTES = 32 * 2**20


@quantity
def tower_activation_bytes(
    tower_tokens: Expr, hidden: Expr, element_bytes: Expr, samples_lean: Expr, engine_lean_profiles_towers: Expr
) -> Expr:
    """Outputs of vision and audio towers that stay through the profiling run, and their workspace.

    Source: vLLM profile_run; serving-memory study, section 2, vision: 2 x 3025 tokens of Mistral Small 3.1 and 32 MiB.
    """
    kept = tower_tokens * hidden * element_bytes + TOWER_WORKSPACE_BYTES
    return pl.when((tower_tokens > 0) & (~samples_lean | engine_lean_profiles_towers)).then(kept).otherwise(0)


@quantity
def forward_bytes(
    batched_tokens_max: Expr,
    element_bytes: Expr,
    forward_width: Expr,
    latent_scratch_bytes: Expr,
    copies_activations: Expr,
    ffn_width: Expr,
    hidden: Expr,
    tp: Expr,
) -> Expr:
    """Temporary tensors of a forward pass of a full step.

    Activations that are quantised are copied at one byte each, and leave two vectors fewer in 16 bits.

    Source: serving-memory study, section 2: T b e; with int8 activations T f - 2 T h besides.
    """
    copied = pl.when(copies_activations).then(ffn_width.fill_null(0) / tp - 2.0 * hidden).otherwise(0.0)
    return batched_tokens_max * (element_bytes * forward_width + copied) + latent_scratch_bytes


# ----- sampling


class Runner(NamedTuple):
    """Which models the engine runs by its newer, leaner runner."""

    engine_lean_bits: Expr
    engine_lean_dense: Expr
    engine_lean_quantised: Expr


@quantity
def samples_lean(
    runner: Runner, class_bit: Expr, moe_layers: Expr, linear_layers: Expr, dense_weight_bits: Expr
) -> Expr:
    """Whether vLLM's second model runner serves the model: it skips top-k and top-p while profiling.

    Source: vLLM config/vllm.py, use_v2_model_runner, 0.22 to 0.27: by class, and from 0.25 every dense model.
    """
    is_dense = (moe_layers == 0) & (linear_layers == 0)
    named = (runner.engine_lean_bits & class_bit != 0) | (runner.engine_lean_dense & is_dense)
    return named & (runner.engine_lean_quantised | (dense_weight_bits >= 16))  # noqa: PLR2004


class Sampler(NamedTuple):
    """What a sampling step takes."""

    engine_sampler_bytes_per_logit: Expr
    engine_sampler_scratch_rows: Expr
    engine_lean_sampler_bytes_per_logit: Expr


@quantity
def sampler_bytes(
    sequences_max: Expr,
    batched_tokens_max: Expr,
    padded_vocab: Expr,
    hidden: Expr,
    element_bytes: Expr,
    pp: Expr,
    samples_lean: Expr,
    sampler: Sampler,
    engine_spreads_layers: Expr,
) -> Expr:
    """Temporary tensors of a sampling step: logits in several forms, and the hidden states that it starts from.

    The last pipeline stage still holds what it received. Where layers are spread by memory, the
    fullest device is not the one that samples.

    Source: serving-memory study, section 2: S V q + T h b + 2 S h b; scratch of 4 B a logit for up to 132 rows.
    """
    rows = pl.min_horizontal(sequences_max, batched_tokens_max)
    per_logit = pl.when(samples_lean).then(sampler.engine_lean_sampler_bytes_per_logit).otherwise(
        sampler.engine_sampler_bytes_per_logit
    ) - pl.when(element_bytes == 4).then(2.0).otherwise(0.0)  # noqa: PLR2004
    scratch = pl.min_horizontal(rows, sampler.engine_sampler_scratch_rows) * ~samples_lean
    received = pl.when(pp > 1).then(2 * batched_tokens_max).otherwise(0)
    states = (batched_tokens_max + received + 2 * rows) * hidden * element_bytes
    whole = padded_vocab * (rows * per_logit + 4.0 * scratch) + states
    return pl.when(engine_spreads_layers & (pp > 1)).then(0.0).otherwise(whole)


# ----- the peak


@quantity
def sampling_bytes(
    sampler_bytes: Expr,
    batched_tokens_max: Expr,
    element_bytes: Expr,
    expert_workspace_width: Expr,
    engine_keeps_expert_workspace: Expr,
) -> Expr:
    """Temporary tensors while an engine samples: the sampler's, and workspaces of routed experts that stay.

    Source: vLLM v1/worker/workspace.py, from 0.15 on.
    """
    return sampler_bytes + batched_tokens_max * element_bytes * expert_workspace_width * engine_keeps_expert_workspace


@quantity
def activation_bytes(
    forward_bytes: Expr, sampling_bytes: Expr, tower_activation_bytes: Expr, engine_workspace_bytes: Expr
) -> Expr:
    """Peak of temporary tensors on one device while the engine profiles itself.

    Source: vLLM profile_run, 0.6 to 0.27; serving-memory study, section 2.
    """
    peak = pl.max_horizontal(forward_bytes, sampling_bytes)
    return (peak + tower_activation_bytes + engine_workspace_bytes).ceil().cast(pl.Int64)


@quantity
def is_forward_bound(forward_bytes: Expr, sampling_bytes: Expr) -> Expr:
    """Whether the forward pass, not the sampler, makes the peak.

    Definition.
    """
    return forward_bytes > sampling_bytes


@quantity
def first_stage_activation_bytes(
    activation_bytes: Expr, forward_bytes: Expr, tower_activation_bytes: Expr, engine_workspace_bytes: Expr, pp: Expr
) -> Expr:
    """Peak of temporary tensors on the first pipeline stage, which samples nothing: what logs of rank 0 show.

    Source: serving-memory study, section 2: 1.094 of 1.10 GiB on the first of two stages.
    """
    first = (forward_bytes + tower_activation_bytes + engine_workspace_bytes).ceil().cast(pl.Int64)
    return pl.when(pp > 1).then(first).otherwise(activation_bytes)


# ----- engines that read all prompts of a batch in one pass


@quantity
def prompt_bytes_per_token(
    forward_width: Expr, engine_reads_whole_batch: Expr, padded_vocab: Expr, engine_prompt_bytes_per_logit: Expr
) -> Expr:
    """Temporary memory of one prompt token where all prompts of a batch are read in one pass; else none.

    Old versions keep the logits of every prompt token besides.

    Source: serving-memory study, section 6, transformers; transformers 4.44, modeling_llama.py: logits.float().
    """
    return (2.0 * forward_width + engine_prompt_bytes_per_logit * padded_vocab) * engine_reads_whole_batch


@quantity
def prompt_excess_bytes(
    prompt_bytes_per_token: Expr, prompt_tokens: Expr, output_tokens: Expr, kv_bytes_per_token: Expr
) -> Expr:
    """What reading a prompt takes per sequence beyond the room that its output will need.

    Only engines that read all prompts of a batch in one pass pay it; the others' step is bounded
    and stands in activation_bytes.

    Source: serving-memory study, section 6, transformers: max(kv (P + O), kv P + 2 P (3 f + 4 h + ...)).

    >>> from pipeline.core.quantity import at
    >>> plan = {"prompt_tokens": 10, "output_tokens": 1}
    >>> at(prompt_excess_bytes, prompt_bytes_per_token=200.0, kv_bytes_per_token=500.0, **plan)
    1500
    """
    excess = prompt_bytes_per_token * prompt_tokens - kv_bytes_per_token * output_tokens
    return excess.clip(0.0).ceil().cast(pl.Int64)
