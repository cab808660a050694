"""The estimates of one row in plain Python: the loop that the pipeline replaces, and a check of its formulas.

Written a second time, from the equations and not from the expressions, for models of every kind of
attention; tests hold it equal to the production expressions row by row.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

OVERHEADS = ("", "block_", "int4_", "mxfp4_", "nvfp4_")
"""What an engine does around routed experts, by the codes of number formats."""
CONFIDENCES = ("calibrated", "same architecture", "datasheet only")


def kept(kind: str, r: Any, context: int) -> tuple[int, int, int, int]:
    """Tokens kept, elements a token, KV heads, state bytes of one layer on one rank."""
    heads = max(r.kv_heads // r.tp, 1)
    if kind == "full":
        return context, heads * (r.head_dim + r.value_head_dim), heads, 0
    if kind == "sliding":
        heads = max(r.sliding_kv_heads // r.tp, 1)
        return min(context, r.window_tokens), heads * (r.sliding_head_dim + r.sliding_value_head_dim), heads, 0
    if kind == "chunked":
        return min(context, r.window_tokens), heads * 2 * r.head_dim, heads, 0
    if kind == "mla":
        return context, r.kv_latent_dim + r.rope_head_dim, 1, 0
    return 0, 0, 0, -(-r.state_bytes_per_layer // r.tp)


# ----- kernels


def ffn_inputs(r: Any) -> int:
    """Matrices that read a feed-forward block's input: one, and a gate."""
    return 2 if r.gated_ffn else 1


def bandwidth(r: Any) -> float:
    """Memory bandwidth, as far as this very device reaches it."""
    return r.memory_bytes_per_s * r.achieved_bytes_ratio


def half_rate(r: Any) -> float:
    """The 16-bit peak, as far as this very device reaches it."""
    return (r.bf16_flop_per_s or r.fp16_flop_per_s) * r.achieved_flop_ratio


def achieved(r: Any, group: str) -> float:
    """Arithmetic rate of a group of weights."""
    half = r.bf16_flop_per_s or r.fp16_flop_per_s
    peaks = {f: getattr(r, f"{f}_flop_per_s") for f in ("fp16", "bf16", "fp8", "int8", "fp4")} | {
        "half": half,
        None: None,
    }
    native, fallback = peaks[getattr(r, f"{group}_compute")], peaks[getattr(r, f"{group}_fallback")]
    share = native * getattr(r, f"{group}_flop_ratio") if native else fallback * getattr(r, f"{group}_fallback_ratio")
    return share * r.achieved_flop_ratio


def gemm(r: Any, tokens: float, width: float, depth: float, group: str = "dense") -> float:
    """One matrix product."""
    bits = r.dense_weight_bits if group == "dense" else r.table_weight_bits
    flop_per_s, launch, ramp, ratio = (
        getattr(r, f"{group}_{x}") for x in ("achieved", "launch_s", "ramp", "bytes_ratio")
    )
    work = 2.0 * depth * (tokens * width + ramp) / flop_per_s
    moved = (width * depth * bits / 8.0 + 2.0 * tokens * (width + depth)) / (bandwidth(r) * ratio)
    return launch + math.hypot(work, moved)


def kernels(r: Any, tokens: float, sequences: float) -> float:
    """Device time of one step: so many tokens of each data-parallel group, so many sequences that write."""
    total = attention_kernels(r, tokens) + feed_forward_kernels(r, tokens)
    total += r.layer_count * (all_reduce(r, tokens) + 37.5 * r.hidden * tokens / bandwidth(r))
    return total + gemm(r, sequences, r.vocab / r.tp, r.hidden, "half")


def plain_attention(r: Any) -> list[tuple[int, int, int, int]]:
    """Layers with KV heads, all alike or with a window: how many, KV heads, widths of a key and a value."""
    full = (r.gqa_layers, r.kv_heads, r.head_dim, r.value_head_dim)
    sliding = (r.sliding_gqa_layers, r.sliding_kv_heads, r.sliding_head_dim, r.sliding_value_head_dim)
    return [each for each in (full, sliding) if each[0]]


def attention_kernels(r: Any, tokens: float) -> float:
    """Projections of attention, of all layers."""
    total = 0.0
    for layers, kv_heads, key, value in plain_attention(r):
        queries = r.heads * key * (2 if r.gated_attention else 1)  # a gate is as wide as the queries
        into = gemm(r, tokens, queries / r.tp + max(kv_heads / r.tp, 1.0) * (key + value), r.hidden)
        total += layers * (into + gemm(r, tokens, r.hidden, r.heads * value / r.tp))
    if r.mla_layers:
        query = r.heads * (r.nope_head_dim + r.rope_head_dim) / r.tp
        layer = gemm(r, tokens, (r.query_latent_dim or 0) + r.kv_latent_dim + r.rope_head_dim, r.hidden)
        layer += gemm(r, tokens, query, r.query_latent_dim or r.hidden)
        layer += gemm(r, tokens, r.heads * (r.nope_head_dim + r.value_head_dim) / r.tp, r.kv_latent_dim)
        total += r.mla_layers * (layer + gemm(r, tokens, r.hidden, r.heads * r.value_head_dim / r.tp))
    if r.linear_layers:
        into = gemm(r, tokens, r.linear_in_width / r.tp, r.hidden)
        out = gemm(r, tokens, r.hidden, r.linear_out_width / r.tp)
        total += r.linear_layers * (into + out + 20e-6)
    return total


def feed_forward_kernels(r: Any, tokens: float) -> float:
    """Plain blocks, shared experts and routed experts, of all layers."""
    total = 0.0
    for layers, width in ((r.dense_layers, r.ffn_width), (r.shared_expert_layers, r.shared_expert_width)):
        if layers:
            up = gemm(r, tokens, ffn_inputs(r) * width / r.tp, r.hidden)
            total += layers * (up + gemm(r, tokens, r.hidden, width / r.tp))
    if r.moe_layers:
        total += r.moe_layers * (routed_experts(r, tokens * r.dp) + exchange(r, tokens))
    return total


def routed_experts(r: Any, tokens: float) -> float:
    """Routed experts of one layer, spread over the ranks of all groups, for the tokens of all groups."""
    touched = distinct(r, tokens)
    matrix = (ffn_inputs(r) + 1) * expert_depth(r) * r.expert_width / (r.tp * r.dp)
    read = touched * matrix * r.expert_weight_bits / 8.0 / (bandwidth(r) * r.expert_bytes_ratio)
    work = 2.0 * matrix * (tokens * r.experts_per_token + touched * r.expert_ramp) / r.expert_achieved
    return r.expert_launch_s + math.hypot(work, read)


def distinct(r: Any, tokens: float) -> float:
    """Experts of a layer that a step touches."""
    return r.experts * (1.0 - (1.0 - r.experts_per_token / r.experts) ** tokens)


def expert_depth(r: Any) -> int:
    """Inputs of a routed expert: latent MoE reads a narrower vector."""
    an_expert = r.expert_parameter_count / (r.moe_layers * r.experts)
    return min(math.floor(an_expert / ((ffn_inputs(r) + 1) * r.expert_width)), r.hidden)


# ----- links


def peer(r: Any) -> float:
    """Achieved rate between two devices; where nothing is known, moving takes no time."""
    if r.link_bytes_per_s:
        return r.link_bytes_per_s * r.link_ratio
    return r.pcie_bytes_per_s * r.pcie_ratio if r.pcie_bytes_per_s else math.inf


def all_reduce(r: Any, tokens: float) -> float:
    """Two all-reduces of one layer."""
    if r.tp == 1:
        return 0.0
    launch = r.collective_base_s * (1.0 + 0.15 * math.log2(r.tp))
    return 2.0 * launch + 8.0 * (r.tp - 1) / r.tp * r.hidden * tokens / peer(r)


def exchange(r: Any, tokens: float) -> float:
    """Two all-to-alls of one layer: a token goes to each rank that has experts of it but its own, and back."""
    if r.dp == 1:
        return 0.0
    ranks = min(r.experts_per_token, r.tp * r.dp - 1)
    return 2.0 * (r.collective_base_s + 2.0 * r.hidden * tokens * ranks / peer(r))


# ----- a row


def known(facts: dict[str, Any]) -> Any:
    """The facts of one row by name, and what follows at once."""
    r = SimpleNamespace(**facts)
    r.kinds = [k for k in ("full", "sliding", "chunked", "mla", "linear") if facts.get(f"{k}_layers")]
    r.context = r.prompt_tokens + r.output_tokens
    return r


def row(facts: dict[str, Any]) -> dict[str, Any]:
    """Every published quantity of one row, from the facts of its axes."""
    r = known(facts)
    for group in ("dense", "expert", "half"):
        setattr(r, f"{group}_achieved", achieved(r, group))
    return {**memory(r), **(speed := times(r)), **simple(r), **costs(r, speed)}


# ----- memory


GIB, MIB = 2**30, 2**20
HALF, SINGLE = 16, 32
"""Bits of unquantised numbers."""
RISKS = ("weights", "activations", "runtime", "graphs")


def raised(value: int, multiple: int) -> int:
    """A whole number raised to a multiple."""
    return (value + multiple - 1) // multiple * multiple


def allocated(size: float) -> int:
    """What PyTorch's allocator takes for one tensor: 512 B steps; from 10 MiB 2 MiB ones, unless over 1 MiB is left."""
    wanted = raised(math.ceil(size), 512)
    segment = raised(math.ceil(size), 2 * MIB)
    left = segment - wanted
    return segment if size >= 10 * MIB and left <= MIB else wanted


# ----- settings


def by_size(r: Any, name: str) -> int:
    """An engine's default on this device: by its memory, and an A100 sometimes as if it had less."""
    memory = r.device_memory_bytes
    size = 3 if memory >= 160 * GIB else 2 if memory >= 70 * GIB else 1 if memory >= 35 * GIB else 0
    if r.is_ampere and r.engine_ampere_is_middle and size > 1:
        size = 1
    return (getattr(r, f"engine_{name}") or [None] * 4)[size]


def settings(r: Any) -> None:
    """What the engine is set to: what was asked for, else what it takes by itself."""

    def said(name: str, default: Any) -> Any:
        asked = getattr(r, f"asked_{name}")
        return default if asked is None else asked

    r.block = said("block_tokens", r.engine_latent_block_tokens if r.mla_layers else r.engine_block_tokens)
    r.longest = said("model_len_max_tokens", r.context_tokens_max)
    unsplit = r.engine_old_device_whole_prompt_tokens if r.is_old_device else r.engine_whole_prompt_tokens
    step = max(r.longest, 2048) if r.longest <= unsplit else by_size(r, "batched_tokens")
    r.step_tokens = said("batched_tokens_max", step)
    r.rows = said("sequences_max", by_size(r, "sequences"))
    r.eager = bool(r.asked_is_eager) or not r.engine_captures_graphs
    share = r.engine_memory_utilization_ratio
    if share is None:  # SGLang: what its reserve leaves
        reserve = by_size(r, "reserved_bytes") + r.engine_reserved_bytes_per_token * max(r.step_tokens, 2048)
        reserve += r.engine_reserved_rank_bytes * r.tp * r.pp * r.dp
        is_large = r.device_memory_bytes >= 70 * GIB and not (r.is_ampere and r.engine_ampere_is_middle)
        share = 1.0 - max(reserve, r.engine_reserved_large_bytes if is_large else 0) / r.device_memory_bytes
    r.share = said("memory_utilization_ratio", share)


# ----- weights


def matrices(r: Any, tp: int, ranks: int, ep: int) -> list[tuple[int, str, int, int, int]]:
    """Large matrices on one rank: layers that have one, group, how many in a tensor, outputs, inputs.

    Experts are dealt out over `ranks`, everything else over `tp`.
    """
    heads, found = r.heads // tp, []
    for layers, kv_heads, key, value in plain_attention(r):
        own = max(kv_heads // tp, 1)  # each rank has one at least
        queries = (2 if r.gated_attention else 1) * r.heads * key // tp
        found += [(layers, "dense", 1, queries + own * (key + value), r.hidden)]
        found += [(layers, "dense", 1, r.hidden, heads * value)]
    if r.mla_layers:
        down = (r.query_latent_dim or 0) + r.kv_latent_dim + r.rope_head_dim
        found += [
            (r.mla_layers, "dense", 1, down, r.hidden),
            (r.mla_layers, "dense", 1, heads * (r.nope_head_dim + r.rope_head_dim), r.query_latent_dim or r.hidden),
            (r.mla_layers, "dense", 1, heads * (r.nope_head_dim + r.value_head_dim), r.kv_latent_dim),
            (r.mla_layers, "dense", 1, r.hidden, heads * r.value_head_dim),
        ]
    if r.linear_layers:
        found += [(r.linear_layers, "dense", 1, r.linear_in_width // tp, r.hidden)]
        found += [(r.linear_layers, "dense", 1, r.hidden, r.linear_out_width // tp)]
    for layers, width in ((r.dense_layers, r.ffn_width), (r.shared_expert_layers, r.shared_expert_width)):
        if layers:
            found += [(layers, "dense", 1, ffn_inputs(r) * width // tp, r.hidden)]
            found += [(layers, "dense", 1, r.hidden, width // tp)]
    if r.moe_layers:
        split = ranks // ep  # ranks that share one expert
        width, count, read = math.ceil(r.expert_width / split), math.ceil(r.experts / ep), expert_depth(r)
        found += [(r.moe_layers, "expert", count, ffn_inputs(r) * width, read)]
        found += [(r.moe_layers, "expert", count, read, width)]
    return [each for each in found if each[0]]


def matrix_bytes(r: Any) -> int:
    """Large matrices of all layers on one rank, as the allocator hands them out."""
    total = 0
    for layers, group, count, outputs, inputs in matrices(r, r.tp, r.tp * r.dp, r.ep):
        if group == "expert" and r.pads_experts:
            outputs, inputs = raised(outputs, r.fp4_output_multiple), raised(inputs, r.fp4_input_multiple)  # noqa: PLW2901
        bits, scale_bits = getattr(r, f"{group}_weight_bits"), getattr(r, f"{group}_scale_bits")
        elements = count * outputs * inputs
        size = allocated(elements * (bits - scale_bits) / 8) + raised(math.ceil(elements * scale_bits / 8), 512)
        total += layers * (size + raised(int(count * outputs * getattr(r, f"{group}_row_bytes")), 512))
    return total


def weights(r: Any) -> int:
    """Weights on one device of the fullest stage."""
    large = sum(layers * count * outputs * inputs for layers, _, count, outputs, inputs in matrices(r, 1, 1, 1))
    head = 0 if r.tied_embeddings else r.vocab * r.hidden
    table_width = min(r.embedding_parameter_count // r.vocab, r.hidden)
    small = r.parameter_count - r.tower_parameter_count - r.vocab * table_width - head - large
    everywhere = min(max(small, 0), r.hidden * (8 * r.layer_count + (r.moe_layers * r.experts if r.moe_layers else 0)))
    layers = matrix_bytes(r) + 2 * everywhere + (small - everywhere) * r.dense_weight_bits / 8 / r.tp
    if r.mla_layers and r.dense_weight_bits < HALF:  # maps that are absorbed, once more in 16 bits
        layers += r.mla_layers * 2 * r.heads // r.tp * (r.nope_head_dim + r.value_head_dim) * r.kv_latent_dim
    table = allocated(math.ceil(raised(r.vocab, 64) // r.tp * table_width * r.table_weight_bits / 8))
    tables = 1 if r.tied_embeddings or r.pp > 1 else 2
    if r.engine_hosts_tables:  # llama.cpp: the host looks tokens up; with stages the last has the output table
        tables = 0 if r.pp > 1 else 1
    r.towers = 2 * r.tower_parameter_count / (r.tp if r.tower_is_split else 1)
    rotary = r.rope_cache_bytes
    if rotary is None:
        rotary = 2 * r.context_tokens_max * (r.head_dim if r.rope_head_dim is None else r.rope_head_dim)
    buffers = r.engine_latent_workspace_bytes if r.mla_layers else 0
    fullest = math.ceil(r.layer_count / r.pp) / r.layer_count
    return math.ceil(layers * fullest + tables * table + r.towers + allocated(rotary) + buffers)


# ----- cache


class Layers:
    """The layers of one kind on the fullest stage, and what one of them keeps."""

    def __init__(self, r: Any, kind: str) -> None:
        """Read the kind's facts."""
        self.count = math.ceil(getattr(r, f"{kind}_layers") / r.pp)
        _, elements, _, self.state = kept(kind, r, 0)
        self.token = elements * r.kv_bytes_per_element
        is_bounded = kind in {"sliding", "chunked"} and r.engine_bounds_windows
        self.window = r.window_tokens if is_bounded else None
        self.grows = self.token > 0 and self.window is None
        self.touched = 0  # blocks that a window touches besides: it begins inside one
        self.paid = self.held = self.block_bytes = 0

    def blocks(self, context: int) -> int:
        """Blocks of one layer at one length."""
        if not self.token:
            return 1
        whole = max(math.ceil(context / self.held), 1)
        if self.window is None or self.window >= context:
            return whole
        return min(whole, math.ceil(self.window / self.held) + self.touched)

    def blocks_reading(self, context: int, flying: int) -> int:
        """The same while a prompt is read, `flying` tokens in steps under way."""
        if not self.token or self.window is None or self.window >= context:
            return self.blocks(context)
        return math.ceil(min(self.window - 1 + flying, context) / self.held) + self.touched

    def bytes_at(self, context: int) -> int:
        """Bytes of one sequence in all layers of the kind."""
        return self.paid * self.blocks(context) * self.block_bytes


def cache(r: Any) -> None:
    """Deal layers into groups and blocks, as the engine does."""
    r.layers = [Layers(r, kind) for kind in r.kinds]
    for each in r.layers:
        each.paid, each.held = each.count, r.block
        each.block_bytes = math.ceil(r.block * each.token) + each.state
    r.group = 1
    if r.engine_groups_layers:
        counts = [each.count for each in r.layers]
        is_near = max(counts) < r.engine_nearly_equal_ratio * min(counts)
        r.group = max(counts) if is_near else min(counts)
        block, state = max(math.ceil(r.block * x.token) for x in r.layers), max(x.state for x in r.layers)
        page = block * max(math.ceil(state / block), 1) if block else state
        for each in r.layers:
            each.paid, each.block_bytes, each.touched = raised(each.count, r.group), page, 1
            each.held = max(math.floor(page / each.token), 1) if each.token else r.block
    r.per_token = sum(x.paid * x.block_bytes / x.held for x in r.layers if x.grows)
    r.per_sequence = sum(x.bytes_at(r.context) for x in r.layers)
    r.row_bytes = sum(x.paid * x.block_bytes for x in r.layers)
    r.held = [x.held for x in r.layers if x.token] or [1]  # blocks of layers that keep tokens


# ----- temporary tensors


def widths(r: Any) -> None:
    """Elements that a token has alive in the widest layer, and of these the routed experts' workspaces."""
    queries, values = r.heads * r.head_dim / r.tp, r.heads * r.value_head_dim / r.tp
    if r.mla_layers:
        attention = queries + values + r.kv_latent_dim + r.rope_head_dim + (r.query_latent_dim or 0)
    else:
        attention = 2 * queries + 2 * r.kv_heads * r.head_dim / r.tp
    block = 3 * r.ffn_width / r.tp + 4 * r.hidden if r.dense_layers else 0
    r.workspace_width = 0.0
    if r.moe_layers:
        width, depth, k = r.expert_width * r.ep / (r.tp * r.dp), expert_depth(r), r.experts_per_token
        if r.runs_fused_experts:
            r.workspace_width = float(depth)
        elif r.expert_is_fused:
            r.workspace_width = depth + k * width
        else:
            r.workspace_width = k * max(width, depth) + k * max(2 * width, depth)
    r.width = max(block, 6 * r.hidden) + r.workspace_width + (attention if r.engine_compiles else 0)


def tower_output(r: Any, is_lean: bool) -> int:  # noqa: FBT001
    """What towers leave while the engine profiles itself: as many of the largest images as fill a step."""
    is_profiled = r.tower_parameter_count and (r.engine_lean_profiles_towers or not is_lean)
    image = min(r.tower_tokens_max or r.step_tokens, r.longest)
    if not is_profiled or not image:
        return 0
    budget = max(r.step_tokens, image)
    tokens = budget // image * (budget if r.engine_expands_towers else image)
    return tokens * r.hidden * r.element + 32 * MIB


def activation(r: Any) -> int:
    """Peak of temporary tensors: a full forward pass, or a full sampling step."""
    r.element = 4 if r.dense_weight_bits >= SINGLE else 2
    widths(r)
    copied = (r.ffn_width or 0) / r.tp - 2 * r.hidden if r.copies_activations else 0
    r.forward = r.step_tokens * (r.element * r.width + copied)
    if r.mla_layers:
        chunk = min(max(8 * r.longest, 64 * r.rows), 65_536)
        r.forward += chunk * 2 * r.heads // r.tp * (r.nope_head_dim + r.value_head_dim)
    is_plain = not r.moe_layers and not r.linear_layers
    is_served = bool(r.class_bit & r.engine_lean_bits) or (is_plain and r.engine_lean_dense)
    r.is_lean = is_served and (r.dense_weight_bits >= HALF or r.engine_lean_quantised)
    rows, logit = min(r.rows, r.step_tokens), r.engine_sampler_bytes_per_logit
    if r.is_lean:
        logit = r.engine_lean_sampler_bytes_per_logit
    if r.dense_weight_bits >= SINGLE:  # no copy in 32 bits
        logit -= 2
    logits = raised(r.vocab, 64) * rows * logit
    if not r.is_lean:
        logits += raised(r.vocab, 64) * min(rows, r.engine_sampler_scratch_rows) * 4
    vectors = r.step_tokens * (3 if r.pp > 1 else 1) + 2 * rows
    stay = r.step_tokens * r.element * r.workspace_width if r.engine_keeps_expert_workspace else 0
    samples = not (r.engine_spreads_layers and r.pp > 1)  # then another device does
    r.sampling = (logits + vectors * r.hidden * r.element if samples else 0) + stay
    r.beside = tower_output(r, r.is_lean) + r.engine_workspace_bytes
    return math.ceil(max(r.forward, r.sampling) + r.beside)


def prompt_width(r: Any) -> float:
    """Bytes of a prompt token where all prompts of a batch are read in one pass."""
    if not r.engine_reads_whole_batch:
        return 0.0
    return 2 * r.width + r.engine_prompt_bytes_per_logit * raised(r.vocab, 64)


# ----- outside tensors


def outside(r: Any) -> None:
    """Context, communicators, kernels' buffers and CUDA graphs."""
    communicators = 0
    if r.tp * r.dp > 1:  # any two ranks talk
        communicators = r.linked_communicator_bytes if r.link_bytes_per_s else r.pcie_communicator_bytes
    r.at_start = r.engine_context_bytes + communicators // 2
    runtime = r.engine_runtime_bytes + r.engine_runtime_bytes_per_layer * r.layer_count
    r.non_torch = (r.engine_pipeline_runtime_bytes if r.pp > 1 else runtime) + int(
        communicators * r.engine_communicator_ratio
    )
    r.non_torch += r.engine_context_bytes if r.engine_counts_context else 0
    r.non_torch += communicators // 2 if r.engine_counts_start_up else 0
    splits = r.splits_attention and not r.mla_layers
    partial = r.engine_graph_size * r.heads // r.tp * r.head_dim * 4 * 32 if splits else 0
    layers = r.engine_graph_bytes_per_layer * math.ceil(r.layer_count / r.pp)
    r.graphs = 0 if r.eager else math.ceil(1.09 * partial + layers)
    is_charged = r.engine_charges_graphs and not r.eager and not r.is_lean
    r.charged_graphs = math.ceil(0.72 * partial + layers) if is_charged else 0


def pool(r: Any) -> int:
    """What sequences have: vLLM u M - W - A - O, SGLang f M - W, TensorRT-LLM r (M - W - A - O), lmdeploy r (M - W)."""
    whole = r.device_memory_bytes - (r.at_start if r.engine_shares_free_memory else 0)
    taken = r.weights
    if r.engine_charges_activation:
        taken += r.activation + r.non_torch + r.charged_graphs
    if r.engine_shares_what_is_left:
        return math.floor(r.share * (whole - taken))
    return math.floor(math.floor(r.share * whole) - taken)


def memory(r: Any) -> dict[str, Any]:
    """Where the bytes go."""
    settings(r)
    cache(r)
    r.weights, r.activation = weights(r), activation(r)
    outside(r)
    r.pool = pool(r)
    r.prompt_token = prompt_width(r)
    ends = r.per_token * r.output_tokens  # room that a sequence needs at its end, free while its prompt is read
    r.need = r.per_sequence + math.ceil(max(r.prompt_token * r.prompt_tokens - ends, 0.0))
    r.group_batch = math.ceil(r.batch / r.dp)  # sequences of the fullest data-parallel group
    r.fits = r.group_batch * r.need <= r.pool
    r.used = r.weights + r.activation + r.non_torch + r.graphs + r.group_batch * r.need
    return {
        "weight_bytes": r.weights, "kv_bytes_per_token": r.per_token, "kv_bytes_per_sequence": r.per_sequence,
        "sequence_bytes": r.need, "activation_bytes": r.activation, "overhead_bytes": r.non_torch + r.graphs,
        "kv_pool_bytes": r.pool, "vram_bytes": r.used,
        "fits": r.fits, "batch_max": max(r.pool // r.need, 0) * r.dp,
    }  # fmt: skip


# ----- answers: what tables of capacity have besides


def answers(facts: dict[str, Any]) -> dict[str, Any]:
    """Settings, parts of the account, the cache as engines print it, and how sure it all is."""
    r = known(facts)
    memory(r)
    block = r.row_bytes
    if r.engine_groups_layers:
        block = r.layers[0].block_bytes * r.group
    blocks, rows = max(r.pool, 0) // block, r.row_bytes // block
    flying = r.step_tokens * r.engine_steps_in_flight
    of_longest = sum(x.paid * x.block_bytes * x.blocks_reading(r.longest, flying) for x in r.layers)
    concurrency = blocks * block / of_longest
    shown = math.floor(concurrency * r.longest) if r.engine_shows_concurrency else blocks // rows * min(r.held)
    ideal = sum(x.count * (math.ceil(min(r.context, x.window or r.context) * x.token) + x.state) for x in r.layers)
    first = math.ceil(r.forward + r.beside) if r.pp > 1 else r.activation
    return {
        "memory_utilization_ratio": r.share, "batched_tokens_max": r.step_tokens, "sequences_max": r.rows,
        "block_tokens": r.block, "model_len_max_tokens": r.longest, "is_eager": r.eager,
        "non_torch_bytes": r.non_torch, "cuda_graph_bytes": r.graphs, "charged_graph_bytes": r.charged_graphs,
        "first_stage_activation_bytes": first, "first_stage_pool_bytes": r.pool + r.activation - first,
        "kv_ideal_bytes_per_sequence": ideal, "kv_shown_bytes_per_token": r.row_bytes / min(r.held),
        "window_bytes_per_token": sum(x.paid * x.block_bytes / x.held for x in r.layers if x.token),
        "kv_pool_blocks": blocks, "kv_pool_tokens": shown, "concurrency_at_model_len": concurrency,
        "context_max_tokens": longest_sequence(r), **errors(r),
    }  # fmt: skip


def longest_sequence(r: Any) -> int:
    """The longest sequence that fits alone, in whole blocks of every layer: by trying, not by a formula."""
    block = max(r.held)

    def fits(blocks: int) -> bool:
        tokens = blocks * block
        return sum(x.bytes_at(tokens) for x in r.layers) + math.ceil(r.prompt_token * tokens) <= r.pool

    most = 10**15 // block
    if fits(most):
        return r.context_tokens_max // block * block
    fit, too_long = 0, most
    while too_long - fit > 1:
        middle = (fit + too_long) // 2
        fit, too_long = (middle, too_long) if fits(middle) else (fit, middle)
    return fit * block


def errors(r: Any) -> dict[str, Any]:
    """How wrong the account may be at 95 %, and because of what."""
    if r.engine_memory_is_measured and r.engine_memory_measured_bits & r.accelerator_bit:
        level = 0
    else:
        level = 1 if r.engine_memory_architecture_bits & r.architecture_bit else 2
    spread = getattr(r, f"memory_spread_{level}_ratio")
    towers = r.towers / 2 if r.tp > 1 else 0
    ratio = r.sampler_error_ratio * spread
    if r.forward > r.sampling:
        ratio = max(ratio, r.forward_error_ratio)
    outside_error = r.communicator_error_bytes if r.tp * r.dp > 1 else r.runtime_error_bytes
    parts = {
        "weights": math.hypot(r.weight_error_ratio * r.weights, towers),
        "activations": ratio * r.activation if r.engine_charges_activation else 0.0,
        "runtime": spread * outside_error if r.engine_charges_activation else 0.0,
        "graphs": r.graph_error_ratio * r.charged_graphs * (3 if r.tp > 1 else 1),
    }
    margin = math.hypot(*parts.values())
    safe = math.floor((r.pool - margin) / r.need)
    band = 1.2816 / 1.6449 * margin
    return {
        "memory_confidence": CONFIDENCES[level], "memory_error_bytes": margin,
        "memory_risk": max(RISKS, key=parts.__getitem__), "batch_max_lo": max(safe, 0) * r.dp,
        "cuda_graph_error_bytes": r.graph_error_ratio * r.graphs,
        "vram_bytes_lo": r.used - band, "vram_bytes_hi": r.used + band,
    }  # fmt: skip


# ----- time


def times(r: Any) -> dict[str, Any]:
    """How long each phase takes, for a client and for the replica."""
    r.micro = max(r.batch / (r.pp * r.dp), 1.0)  # sequences that pass a stage of a group together
    r.verified = r.micro * r.verified_tokens
    r.unread = max(math.ceil(round(r.prompt_tokens * (1.0 - r.cached_prompt_ratio), 6)), 1)
    host(r)
    decode(r)
    prefill(r)
    ttft, tpot = latencies(r)
    e2e = ttft + (r.output_tokens - 1) * tpot
    return {
        "ttft_s": ttft, "tpot_s": tpot, "e2e_s": e2e, "requests_per_s": r.batch / e2e,
        "output_tokens_per_s": r.batch * r.output_tokens / e2e,
        "slo_load_ratio": max(ttft / r.ttft_slo_s, tpot / r.tpot_slo_s), "moe_layer_s": r.moe_layer_s,
        "kv_transfer_s": r.transfer,
        "prefill_replicas": r.batch / e2e * r.prompt_step / r.dp if r.is_disaggregated else 0.0,
        "decode_tokens_per_s": r.batch * r.accepted_tokens / r.decode_step,
        "prefill_tokens_per_s": r.batch * r.prompt_tokens / ttft,
        **bounds(r),
    }  # fmt: skip


def host(r: Any) -> None:
    """The engine's own time in a step, and the least that it takes to launch one."""
    own = getattr(r, f"engine_{OVERHEADS[r.expert_overhead]}moe_layer_s")
    r.moe_layer_s = r.engine_moe_layer_s if own is None else own
    layers = r.layer_count * r.engine_layer_s + r.moe_layers * r.moe_layer_s + 1e-5 * r.mla_layers
    r.own_time = layers + r.engine_step_s + r.group_batch * r.engine_sequence_s
    r.floor = r.layer_count * r.engine_layer_floor_s


def decode(r: Any) -> None:
    """One decode step: kernels, attention to the cache, hops between stages; drafting besides."""
    attend, context, r.read, r.copied = 0.0, r.prompt_tokens + r.output_tokens // 2, 0.0, 0.0
    for kind in r.kinds:
        layers = getattr(r, f"{kind}_layers")
        tokens, elements, heads, state = kept(kind, r, context)
        cached = tokens * elements * r.kv_bytes_per_element + state
        per_sequence = cached / (r.attention_bytes_ratio * bandwidth(r)) + 1e-8 * heads
        attend += layers * (r.attention_launch_s + r.micro * per_sequence)
        r.read += math.ceil(layers / r.pp) * cached
        if kind not in {"mla", "linear"}:  # of every head, in every stage
            r.copied += layers * cached
    if r.mla_layers:
        latent = 2 * r.kv_latent_dim + r.rope_head_dim
        attend += r.mla_layers * 2.0 * r.verified * r.heads / r.tp * context * latent / (0.3 * half_rate(r))
    r.hops = (r.pp - 1) * (r.collective_base_s + 2.0 * r.verified * r.hidden / peer(r))
    r.step_kernels = kernels(r, r.verified, r.verified)
    device = r.step_kernels + attend + r.hops
    r.decode_step = max(device / r.engine_bytes_ratio + copying(r) + r.own_time, r.floor) * (1.0 + r.draft_ratio)


def copying(r: Any) -> float:
    """Time of an engine that copies the cache at each step: to append to it, and for all heads of a group."""
    if not r.engine_expands_kv:
        return 0.0
    appended, repeated = 2.0, 1.0 + r.heads / r.kv_heads  # read and written; read, and written for each query head
    read_so = r.heads / r.kv_heads - 1.0  # attention reads what was written, not the cache itself
    more = r.copied * r.micro * (appended + repeated + read_so)
    return more / (r.attention_bytes_ratio * bandwidth(r))


def prefill(r: Any) -> None:
    """One prompt read alone, and what one more takes of a batch that decodes."""
    score = scores(r) * (1.0 - r.cached_prompt_ratio**2)  # what is cached has been scored against itself
    pieces = max(r.unread / r.step_tokens, 1.0) if r.step_tokens else 1.0
    overlap = (pieces * r.pp / (pieces + r.pp - 1)) ** 0.7
    alone = kernels(r, r.unread, 1) + score
    r.prompt_step = max(alone / (r.engine_flop_ratio * overlap) + r.own_time, r.floor)
    step = r.asked_batched_tokens_max or r.chunk_tokens  # prompts' tokens in one step, where many wait
    joined = min(max(step / r.unread, 1.0), r.micro)
    mixed = kernels(r, r.verified + joined * r.unread, r.verified)
    r.joining = ((mixed - r.step_kernels) / joined + score) / r.pp


def scores(r: Any) -> float:
    """Attention of a whole prompt to itself, of all layers."""
    total = 0.0
    for kind in r.kinds:
        seen = kept(kind, r, r.prompt_tokens)[0]
        pairs = (seen - seen * seen / (2.0 * r.prompt_tokens)) * (r.prompt_tokens + r.attention_ramp_tokens)
        widths = (r.sliding_head_dim + r.sliding_value_head_dim) if kind == "sliding" else r.head_dim + r.value_head_dim
        work = 2.0 * r.heads / r.tp * widths * pairs
        total += getattr(r, f"{kind}_layers") * work / (r.attention_flop_ratio * half_rate(r))
    return total


def latencies(r: Any) -> tuple[float, float]:
    """Time to first token, and between tokens."""
    others = r.joining / r.engine_flop_ratio * (r.group_batch - 1)
    r.transfer = 0.0
    if r.is_disaggregated:  # the prompt's part of the cache goes to the workers that write
        r.transfer = r.per_sequence * r.prompt_tokens / r.context / peer(r)
    ttft, tpot = r.prompt_step + r.transfer, r.decode_step / r.accepted_tokens
    if r.is_static:
        return ttft + others, tpot
    ttft += r.engine_first_token_steps * r.decode_step + r.engine_burst_ratio * others
    if not r.is_disaggregated:
        tpot += r.engine_prefill_share_ratio * others / r.output_tokens
    return ttft, tpot


def bounds(r: Any) -> dict[str, Any]:
    """What the decode step is bound by, and how busy it keeps the device."""
    idle, active = 0.0, r.parameter_count
    if r.moe_layers:
        idle = 1.0 - distinct(r, r.verified * r.dp) / r.experts
        idle *= r.expert_parameter_count * r.expert_weight_bits / 8.0 / (r.tp * r.dp * r.pp)
        active -= r.expert_parameter_count * (r.experts - r.experts_per_token) // r.experts
    matmul = active - (0 if r.tied_embeddings else r.embedding_parameter_count) - r.tower_parameter_count
    parts = {
        "bandwidth": (r.weights - idle + r.read * r.micro) * r.pp / r.memory_bytes_per_s,
        "compute": 2.0 * matmul * r.verified / (r.tp * r.dense_achieved),
        "communication": all_reduce(r, r.verified) * r.layer_count + r.hops,
        "overhead": r.own_time,
    }
    r.busy = min(max((parts["bandwidth"] + parts["compute"]) / r.decode_step, 0.0), 1.0)
    return {"limited_by": max(parts, key=parts.__getitem__) if r.fits else "memory", "active_parameter_count": active}


ERRORS = {"ttft_s": (0.57, 0.57), "tpot_s": (0.10, 0.21), "output_tokens_per_s": (0.13, 0.22)}
"""Half-widths of bands on a measured device: of dense models, and of those with routed experts."""


def bands(facts: dict[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    """How sure a row's times are: what they rest on, and their 80 % bands."""
    r = SimpleNamespace(**facts)
    if r.engine_measured_bits & r.accelerator_bit:
        level = 0
    else:
        level = 1 if r.engine_measured_architecture_bits & r.architecture_bit else 2
    wide = getattr(r, f"spread_{level}_ratio") * r.engine_spread_ratio
    times_off = {name: 1.0 + wide * error[r.moe_layers > 0] for name, error in ERRORS.items()}
    edges = {f"{name}_lo": made[name] / off for name, off in times_off.items()}
    return (
        edges | {f"{name}_hi": made[name] * off for name, off in times_off.items()} | {"confidence": CONFIDENCES[level]}
    )


def seen_by_clients(facts: dict[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    """What `clients` see of a row: where they are more than the batch, some wait for a place.

    A place becomes free once in the time of an output, for each of the batch.
    """
    clients, batch, tokens = facts["clients"], facts["batch"], facts["output_tokens"]
    waiting = max(clients - batch, 0) / batch * tokens * made["tpot_s"]
    requests = clients / (made["e2e_s"] + waiting)
    return {
        "waiting_s": waiting, "client_ttft_s": made["ttft_s"] + waiting, "client_e2e_s": made["e2e_s"] + waiting,
        "client_requests_per_s": requests, "client_output_tokens_per_s": requests * tokens,
        "client_total_tokens_per_s": requests * (tokens + facts["prompt_tokens"]),
    }  # fmt: skip


def simple(r: Any) -> dict[str, Any]:
    """The case study's closed forms."""
    sequence, half = 4 * r.hidden * r.layer_count * r.context, r.bf16_flop_per_s or r.fp16_flop_per_s
    token, read = 2.0 * r.parameter_count / half, 2.0 * r.parameter_count / r.memory_bytes_per_s
    return {
        "simple_vram_bytes": 2 * r.parameter_count + r.batch * sequence,
        "simple_ttft_s": r.batch * r.prompt_tokens * token + read,
        "simple_tpot_s": r.batch * token + read,
        "simple_batch_max": max((r.device_memory_bytes - 2 * r.parameter_count) // sequence, 0),
    }


def costs(r: Any, speed: dict[str, Any]) -> dict[str, Any]:
    """What it costs, in dollars and joules."""
    devices, tokens = r.tp * r.pp * r.dp, speed["output_tokens_per_s"]
    usd = None if r.device_usd_per_hour is None else r.device_usd_per_hour * devices
    power = None if r.tdp_w is None else r.tdp_w * devices * (0.3 + 0.7 * r.busy)
    per_prompt = 1e6 / 3600.0 * r.joining / (r.engine_flop_ratio * r.prompt_tokens * r.dp)
    return {
        "usd_per_hour": usd,
        "usd_per_mtok_output": usd and 1e6 / 3600.0 * usd / tokens,
        "usd_per_mtok_input": usd and usd * per_prompt,
        "power_w": power,
        "energy_j_per_token": power and power / tokens,
    }
