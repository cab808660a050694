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
    if r.gqa_layers:
        kv_width = max(r.kv_heads / r.tp, 1.0) * (r.head_dim + r.value_head_dim)
        into = gemm(r, tokens, r.heads * r.head_dim / r.tp + kv_width, r.hidden)
        total += r.gqa_layers * (into + gemm(r, tokens, r.hidden, r.heads * r.value_head_dim / r.tp))
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


def row(facts: dict[str, Any]) -> dict[str, Any]:
    """Every published quantity of one row, from the facts of its axes."""
    r = SimpleNamespace(**facts)
    for group in ("dense", "expert", "half"):
        setattr(r, f"{group}_achieved", achieved(r, group))
    r.kinds = [k for k in ("full", "sliding", "chunked", "mla", "linear") if facts.get(f"{k}_layers")]
    r.context = r.prompt_tokens + r.output_tokens
    return {**memory(r), **(speed := times(r)), **simple(r), **costs(r, speed)}


def memory(r: Any) -> dict[str, Any]:
    """Where the bytes go."""
    head = 0 if r.tied_embeddings else r.vocab * r.hidden
    layers = (
        r.parameter_count
        - r.tower_parameter_count
        - r.embedding_parameter_count
        - head
        - (r.expert_parameter_count or 0)
    )
    step = r.expert_width_multiple or 1
    padding = math.ceil(r.expert_width / step) * step / r.expert_width if r.expert_width else 1.0
    bits = layers * r.dense_weight_bits + (r.expert_parameter_count or 0) * r.expert_weight_bits * padding
    stage = math.ceil(r.layer_count / r.pp) / r.layer_count
    table = max(r.embedding_parameter_count, head) if r.pp > 1 else r.embedding_parameter_count + head
    r.weights = math.ceil((bits * stage + table * r.table_weight_bits) / r.tp / 8.0 + 2.0 * r.tower_parameter_count)
    per_token = sequence = 0.0
    for kind in r.kinds:
        tokens, elements, _, state = kept(kind, r, r.context)
        stage_layers = -(-getattr(r, f"{kind}_layers") // r.pp)
        blocks = -(-tokens // r.block_tokens) * r.block_tokens
        sequence += stage_layers * (math.ceil(blocks * elements * r.kv_bytes_per_element) + state)
        per_token += stage_layers * elements * r.kv_bytes_per_element if kind in {"full", "mla"} else 0
    large = r.device_memory_bytes >= 70 * 2**30 and not r.is_ampere
    batched = r.engine_large_batched_tokens if large else r.engine_batched_tokens
    rows = min(r.engine_large_sequences if large else r.engine_sequences, batched)
    width = (2.0 * r.heads + 2.0 * r.kv_heads) * r.head_dim / r.tp
    dense = 3.0 * r.ffn_width / r.tp if r.dense_layers else 0.0
    moe = 0.0
    if r.moe_layers:
        moe = r.experts_per_token * (max(2.0 * r.expert_width / r.tp, r.hidden) + max(r.expert_width / r.tp, r.hidden))
        moe += 7.0 * r.hidden
    width += max(dense + 4.0 * r.hidden, moe)
    sampler = rows * r.vocab * r.engine_sampler_bytes_per_logit + 2.0 * (batched + 2 * rows) * r.hidden
    activation = math.ceil(max(2.0 * batched * width, sampler) + r.engine_workspace_bytes)
    overhead = r.engine_runtime_bytes + r.layer_count * r.engine_runtime_bytes_per_layer
    overhead += r.engine_communicator_bytes if r.tp > 1 else 0
    excess = (
        max(2.0 * r.prompt_tokens * width - per_token * r.output_tokens, 0.0) if r.engine_reads_whole_batch else 0.0
    )
    need = int(sequence) + math.ceil(excess)
    pool = math.floor(
        r.pool_device_ratio * r.device_memory_bytes
        - r.pool_weight_ratio * r.weights
        - r.pool_runtime_ratio * (activation + overhead)
    )
    r.fits = r.batch * need <= pool
    return {
        "weight_bytes": r.weights, "kv_bytes_per_token": per_token, "kv_bytes_per_sequence": int(sequence),
        "sequence_bytes": need, "activation_bytes": activation, "overhead_bytes": overhead, "kv_pool_bytes": pool,
        "vram_bytes": r.weights + activation + overhead + r.batch * need, "fits": r.fits,
        "batch_max": max(pool // need, 0),
    }  # fmt: skip


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
