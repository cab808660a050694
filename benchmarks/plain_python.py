"""The estimates of one row in plain Python: the loop that the pipeline replaces, and a check of its formulas.

Written a second time, from the equations and not from the expressions, for models of every kind of
attention; tests hold it equal to the production expressions row by row.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

LIMITS = ("memory", "bandwidth", "compute", "communication", "overhead")
CONFIDENCES = ("calibrated", "same architecture", "datasheet only")


def kept(kind: str, r: Any, context: int) -> tuple[int, int, int, int]:
    """Tokens kept, elements a token, KV heads, state bytes of one layer on one rank."""
    heads = max(r.kv_heads // r.tp, 1)
    if kind == "full":
        return context, heads * (r.head_dim + r.value_head_dim), heads, 0
    if kind == "sliding":
        heads = max(r.sliding_kv_heads // r.tp, 1)
        return min(context, r.window_tokens), heads * 2 * r.sliding_head_dim, heads, 0
    if kind == "chunked":
        return min(context, r.window_tokens), heads * 2 * r.head_dim, heads, 0
    if kind == "mla":
        return context, r.kv_latent_dim + r.rope_head_dim, 1, 0
    return 0, 0, 0, -(-r.state_bytes_per_layer // r.tp)


def gemm(r: Any, tokens: float, width: float, depth: float, group: str = "dense") -> float:
    """One matrix product."""
    bits = r.dense_weight_bits if group == "dense" else r.table_weight_bits
    flop_per_s, launch, ramp, ratio = (
        getattr(r, f"{group}_{x}") for x in ("achieved", "launch_s", "ramp", "bytes_ratio")
    )
    work = 2.0 * depth * (tokens * width + ramp) / flop_per_s
    moved = (width * depth * bits / 8.0 + 2.0 * tokens * (width + depth)) / (r.memory_bytes_per_s * ratio)
    return launch + math.hypot(work, moved)


def achieved(r: Any, group: str) -> float:
    """Arithmetic rate of a group of weights."""
    half = r.bf16_flop_per_s or r.fp16_flop_per_s
    peaks = {f: getattr(r, f"{f}_flop_per_s") for f in ("fp16", "bf16", "fp8", "int8", "fp4")} | {
        "half": half,
        None: None,
    }
    native, fallback = peaks[getattr(r, f"{group}_compute")], peaks[getattr(r, f"{group}_fallback")]
    return native * getattr(r, f"{group}_flop_ratio") if native else fallback * getattr(r, f"{group}_fallback_ratio")


def distinct(r: Any, tokens: float) -> float:
    """Experts of a layer that a step touches."""
    return r.experts * (1.0 - (1.0 - r.experts_per_token / r.experts) ** tokens)


def kernels(r: Any, tokens: float, sequences: float) -> float:
    """Device time of one step."""
    total = 0.0
    plain = (r.gqa_layers, r.kv_heads, r.head_dim, r.value_head_dim)
    sliding = (r.sliding_gqa_layers, r.sliding_kv_heads, r.sliding_head_dim, r.sliding_head_dim)
    for layers, kv_heads, key, value in (plain, sliding):
        if layers:
            kv_width = max(kv_heads / r.tp, 1.0) * (key + value)
            into = gemm(r, tokens, r.heads * key / r.tp + kv_width, r.hidden)
            total += layers * (into + gemm(r, tokens, r.hidden, r.heads * value / r.tp))
    if r.mla_layers:
        query = r.heads * (r.nope_head_dim + r.rope_head_dim) / r.tp
        layer = gemm(r, tokens, (r.query_latent_dim or 0) + r.kv_latent_dim + r.rope_head_dim, r.hidden)
        layer += gemm(r, tokens, query, r.query_latent_dim or r.hidden)
        layer += gemm(r, tokens, r.heads * (r.nope_head_dim + r.value_head_dim) / r.tp, r.kv_latent_dim)
        total += r.mla_layers * (layer + gemm(r, tokens, r.hidden, r.heads * r.value_head_dim / r.tp))
    if r.linear_layers:
        layer = gemm(r, tokens, r.linear_in_width / r.tp, r.hidden) + gemm(
            r, tokens, r.hidden, r.linear_out_width / r.tp
        )
        total += r.linear_layers * (layer + 20e-6)
    for layers, width in ((r.dense_layers, r.ffn_width), (r.shared_expert_layers, r.shared_expert_width)):
        if layers:
            up = gemm(r, tokens, r.ffn_inputs * width / r.tp, r.hidden)
            total += layers * (up + gemm(r, tokens, r.hidden, width / r.tp))
    if r.moe_layers:
        matrix, touched = (r.ffn_inputs + 1) * r.hidden * r.expert_width / r.tp, distinct(r, tokens)
        read = touched * matrix * r.expert_weight_bits / 8.0 / (r.memory_bytes_per_s * r.expert_bytes_ratio)
        work = 2.0 * matrix * touched * (tokens * r.experts_per_token / touched + r.expert_ramp) / r.expert_achieved
        total += r.moe_layers * (r.expert_launch_s + math.hypot(work, read))
    total += r.layer_count * (all_reduce(r, tokens) + 37.5 * r.hidden * tokens / r.memory_bytes_per_s)
    return total + gemm(r, sequences, r.vocab / r.tp, r.hidden, "half")


def all_reduce(r: Any, tokens: float) -> float:
    """Two all-reduces of one layer."""
    if r.tp == 1:
        return 0.0
    launch = r.collective_base_s * (1.0 + 0.15 * math.log2(r.tp))
    return 2.0 * launch + 8.0 * (r.tp - 1) / r.tp * r.hidden * tokens / peer(r)


def peer(r: Any) -> float:
    """Achieved rate between two devices."""
    return r.link_bytes_per_s * r.link_ratio if r.link_bytes_per_s else r.pcie_bytes_per_s * r.pcie_ratio


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
    sizes = ["small", "middle", "large", "huge"]
    memory = r.device_memory_bytes
    size = 3 if memory >= 160 * GIB else 2 if memory >= 70 * GIB else 1 if memory >= 35 * GIB else 0
    if r.is_ampere and r.engine_ampere_is_middle and size > 1:
        size = 1
    return getattr(r, f"engine_{sizes[size]}_{name}")


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
        reserve = r.engine_reserved_bytes + r.engine_reserved_bytes_per_token * max(r.step_tokens, 2048)
        reserve += r.engine_reserved_rank_bytes * r.tp * r.pp
        is_large = r.device_memory_bytes >= 70 * GIB and not (r.is_ampere and r.engine_ampere_is_middle)
        share = 1.0 - max(reserve, r.engine_reserved_large_bytes if is_large else 0) / r.device_memory_bytes
    r.share = said("memory_utilization_ratio", share)


# ----- weights


def matrices(r: Any, tp: int, ep: int) -> list[tuple[int, str, int, int, int]]:
    """Large matrices on one rank: layers that have one, group, how many in a tensor, outputs, inputs."""
    heads, found = r.heads // tp, []
    plain = (r.gqa_layers, r.kv_heads, r.head_dim, r.value_head_dim)
    sliding = (r.sliding_gqa_layers, r.sliding_kv_heads, r.sliding_head_dim, r.sliding_head_dim)
    for layers, kv_heads, key, value in (plain, sliding):
        own = max(kv_heads // tp, 1)  # each rank has one at least
        found += [(layers, "dense", 1, heads * key + own * key + own * value, r.hidden)]
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
            found += [(layers, "dense", 1, r.ffn_inputs * width // tp, r.hidden)]
            found += [(layers, "dense", 1, r.hidden, width // tp)]
    if r.moe_layers:
        split = tp // ep  # ranks that share one expert
        width, count = math.ceil(r.expert_width / split), math.ceil(r.experts / ep)
        an_expert = r.expert_parameter_count / (r.moe_layers * r.experts)
        read = min(math.floor(an_expert / ((r.ffn_inputs + 1) * r.expert_width)), r.hidden)  # latent MoE reads less
        found += [(r.moe_layers, "expert", count, r.ffn_inputs * width, read)]
        found += [(r.moe_layers, "expert", count, read, width)]
    return [each for each in found if each[0]]


def matrix_bytes(r: Any) -> int:
    """Large matrices of all layers on one rank, as the allocator hands them out."""
    total = 0
    for layers, group, count, outputs, inputs in matrices(r, r.tp, r.ep):
        if group == "expert" and r.pads_experts:
            outputs, inputs = raised(outputs, r.fp4_output_multiple), raised(inputs, r.fp4_input_multiple)  # noqa: PLW2901
        bits, scale_bits = getattr(r, f"{group}_weight_bits"), getattr(r, f"{group}_scale_bits")
        elements = count * outputs * inputs
        size = allocated(elements * (bits - scale_bits) / 8) + raised(math.ceil(elements * scale_bits / 8), 512)
        total += layers * (size + raised(int(count * outputs * getattr(r, f"{group}_row_bytes")), 512))
    return total


def weights(r: Any) -> int:
    """Weights on one device of the fullest stage."""
    large = sum(layers * count * outputs * inputs for layers, _, count, outputs, inputs in matrices(r, 1, 1))
    head = 0 if r.tied_embeddings else r.vocab * r.hidden
    table_width = min(r.embedding_parameter_count // r.vocab, r.hidden)
    small = r.parameter_count - r.tower_parameter_count - r.vocab * table_width - head - large
    everywhere = min(small, r.hidden * (8 * r.layer_count + (r.moe_layers * r.experts if r.moe_layers else 0)))
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
    r.growth = max([x.held for x in r.layers if x.grows], default=1)


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
        width, k = r.expert_width / (r.tp / r.ep), r.experts_per_token
        if r.runs_fused_experts:
            r.workspace_width = float(r.hidden)
        elif r.expert_is_fused:
            r.workspace_width = r.hidden + k * width
        else:
            r.workspace_width = k * max(width, r.hidden) + k * max(2 * width, r.hidden)
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
    if r.tp > 1:
        communicators = r.linked_communicator_bytes if r.link_bytes_per_s else r.pcie_communicator_bytes
    r.at_start = r.engine_context_bytes + communicators // 2
    runtime = r.engine_runtime_bytes + r.engine_runtime_bytes_per_layer * r.layer_count
    r.non_torch = (r.engine_pipeline_runtime_bytes if r.pp > 1 else runtime) + communicators
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
    r.fits = r.batch * r.need <= r.pool
    r.overhead = r.non_torch + r.graphs
    return {
        "weight_bytes": r.weights, "kv_bytes_per_token": r.per_token, "kv_bytes_per_sequence": r.per_sequence,
        "sequence_bytes": r.need, "activation_bytes": r.activation, "overhead_bytes": r.overhead,
        "kv_pool_bytes": r.pool, "vram_bytes": r.weights + r.activation + r.overhead + r.batch * r.need,
        "fits": r.fits, "batch_max": max(r.pool // r.need, 0),
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
    shown = math.floor(concurrency * r.longest) if r.engine_shows_concurrency else blocks // rows * r.growth
    ideal = sum(x.count * (math.ceil(min(r.context, x.window or r.context) * x.token) + x.state) for x in r.layers)
    first = math.ceil(r.forward + r.beside) if r.pp > 1 else r.activation
    return {
        "memory_utilization_ratio": r.share, "batched_tokens_max": r.step_tokens, "sequences_max": r.rows,
        "block_tokens": r.block, "model_len_max_tokens": r.longest, "is_eager": r.eager,
        "non_torch_bytes": r.non_torch, "cuda_graph_bytes": r.graphs, "charged_graph_bytes": r.charged_graphs,
        "first_stage_activation_bytes": first, "first_stage_pool_bytes": r.pool + r.activation - first,
        "kv_ideal_bytes_per_sequence": ideal, "kv_shown_bytes_per_token": r.row_bytes / r.growth,
        "window_bytes_per_token": sum(x.paid * x.block_bytes / x.held for x in r.layers if x.token),
        "kv_pool_blocks": blocks, "kv_pool_tokens": shown, "concurrency_at_model_len": concurrency,
        "context_max_tokens": longest_sequence(r), **errors(r),
    }  # fmt: skip


def longest_sequence(r: Any) -> int:
    """The longest sequence that fits alone, in whole blocks: by trying, not by a formula."""

    def fits(blocks: int) -> bool:
        tokens = blocks * r.growth
        return sum(x.bytes_at(tokens) for x in r.layers) + math.ceil(r.prompt_token * tokens) <= r.pool

    most = 10**15 // r.growth
    if fits(most):
        return r.context_tokens_max
    fit, too_long = 0, most
    while too_long - fit > 1:
        middle = (fit + too_long) // 2
        fit, too_long = (middle, too_long) if fits(middle) else (fit, middle)
    return fit * r.growth


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
    parts = {
        "weights": math.hypot(r.weight_error_ratio * r.weights, towers),
        "activations": ratio * r.activation if r.engine_charges_activation else 0.0,
        "runtime": spread * (r.communicator_error_bytes if r.tp > 1 else r.runtime_error_bytes),
        "graphs": r.graph_error_ratio * r.charged_graphs * (3 if r.tp > 1 else 1),
    }
    margin = math.hypot(*parts.values())
    safe = math.floor((r.pool - margin) / r.need)
    band = 1.2816 / 1.6449 * margin
    used = r.weights + r.activation + r.overhead + r.batch * r.need
    return {
        "memory_confidence": CONFIDENCES[level], "memory_error_bytes": margin,
        "memory_risk": max(RISKS, key=parts.__getitem__), "batch_max_lo": max(safe, 0),
        "cuda_graph_error_bytes": r.graph_error_ratio * r.graphs,
        "vram_bytes_lo": used - band, "vram_bytes_hi": used + band,
    }  # fmt: skip


# ----- time


def times(r: Any) -> dict[str, Any]:
    """How long each phase takes."""
    half, micro = r.bf16_flop_per_s or r.fp16_flop_per_s, max(r.batch / r.pp, 1.0)
    attend = score = read = 0.0
    for kind in r.kinds:
        layers, stage_layers = getattr(r, f"{kind}_layers"), -(-getattr(r, f"{kind}_layers") // r.pp)
        tokens, elements, heads, state = kept(kind, r, r.prompt_tokens + r.output_tokens // 2)
        bytes_ = tokens * elements * r.kv_bytes_per_element + state
        per_sequence = bytes_ / (r.attention_bytes_ratio * r.memory_bytes_per_s) + 1e-8 * heads
        attend += layers * (r.attention_launch_s + micro * per_sequence)
        read += stage_layers * bytes_
        seen = kept(kind, r, r.prompt_tokens)[0]
        pairs = (seen - seen * seen / (2.0 * r.prompt_tokens)) * (r.prompt_tokens + r.attention_ramp_tokens)
        score += (
            layers * 2.0 * r.heads / r.tp * (r.head_dim + r.value_head_dim) * pairs / (r.attention_flop_ratio * half)
        )
    if r.mla_layers:
        latent = 2 * r.kv_latent_dim + r.rope_head_dim
        work = 2.0 * micro * r.heads / r.tp * (r.prompt_tokens + r.output_tokens // 2) * latent
        attend += r.mla_layers * work / (0.3 * half)
    hop = (r.pp - 1) * (r.collective_base_s + 2.0 * micro * r.hidden / peer(r)) if r.pp > 1 else 0.0
    step, joined = kernels(r, micro, micro), min(max(8192 / r.prompt_tokens, 1.0), micro)
    decode = step + attend + hop
    mixed = kernels(r, micro + joined * r.prompt_tokens, micro)
    joining = ((mixed - step) / joined + score) / r.pp
    overhead = r.layer_count * r.engine_layer_s + r.moe_layers * r.engine_moe_layer_s + 1e-5 * r.mla_layers
    overhead += r.engine_step_s + r.batch * r.engine_sequence_s
    floor = r.layer_count * r.engine_layer_floor_s
    decode_step = max(decode / r.engine_bytes_ratio + overhead, floor)
    prompt_step = max((kernels(r, r.prompt_tokens, 1) + score) / r.engine_flop_ratio + overhead, floor)
    others = joining / r.engine_flop_ratio * (r.batch - 1)
    if r.is_static:
        ttft, tpot = prompt_step + others, decode_step
    else:
        ttft = prompt_step + r.engine_first_token_steps * decode_step + r.engine_burst_ratio * others
        tpot = decode_step + r.engine_prefill_share_ratio * others / r.output_tokens
    e2e = ttft + (r.output_tokens - 1) * tpot
    r.joining = joining
    return {
        "ttft_s": ttft, "tpot_s": tpot, "e2e_s": e2e, "requests_per_s": r.batch / e2e,
        "output_tokens_per_s": r.batch * r.output_tokens / e2e, **bounds(r, micro, read, hop, overhead, decode_step),
    }  # fmt: skip


def bounds(r: Any, micro: float, read: float, hop: float, overhead: float, decode_step: float) -> dict[str, Any]:
    """What the decode step is bound by, and how busy it keeps the device."""
    idle = 0.0
    active = r.parameter_count
    if r.moe_layers:
        idle = (
            (1.0 - distinct(r, micro) / r.experts)
            * r.expert_parameter_count
            * r.expert_weight_bits
            / 8.0
            / (r.tp * r.pp)
        )
        active -= r.expert_parameter_count * (r.experts - r.experts_per_token) // r.experts
    matmul = active - (0 if r.tied_embeddings else r.embedding_parameter_count) - r.tower_parameter_count
    traffic = (r.weights - idle + read * micro) * r.pp / r.memory_bytes_per_s
    arithmetic = 2.0 * matmul * micro / (r.tp * r.dense_achieved)
    talk = all_reduce(r, micro) * r.layer_count + hop
    device = "compute" if arithmetic > traffic else "bandwidth"
    around = "overhead" if overhead > talk else "communication"
    bound = around if max(talk, overhead) > max(traffic, arithmetic) else device
    r.busy = min(max((traffic + arithmetic) / decode_step, 0.0), 1.0)
    return {"limited_by": bound if r.fits else "memory", "active_parameter_count": active}


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
    devices, tokens = r.tp * r.pp, speed["output_tokens_per_s"]
    usd = None if r.device_usd_per_hour is None else r.device_usd_per_hour * devices
    power = None if r.tdp_w is None else r.tdp_w * devices * (0.3 + 0.7 * r.busy)
    per_prompt = 1e6 / 3600.0 * r.joining / (r.engine_flop_ratio * r.prompt_tokens)
    return {
        "usd_per_hour": usd,
        "usd_per_mtok_output": usd and 1e6 / 3600.0 * usd / tokens,
        "usd_per_mtok_input": usd and usd * per_prompt,
        "power_w": power,
        "energy_j_per_token": power and power / tokens,
    }
