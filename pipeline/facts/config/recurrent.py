"""Layers with a state of fixed size: what they weigh and what they keep for one sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pipeline.facts.config.families import Family
from pipeline.facts.config.read import Reader


class Mixer(NamedTuple):
    """One recurrent layer."""

    parameters: int
    """All of its tensors."""
    state: int
    """Numbers kept for one sequence: the convolution's tail and the state itself."""
    in_width: int
    """Columns of the input projections."""
    out_width: int
    """Rows of the output projection."""


Rule = Callable[[Reader, Family, int], Mixer]


def mixer_of(reader: Reader, family: Family, hidden: int) -> Mixer:
    """The recurrent layers of a model: by its family, else by the keys that are there."""
    name = family.linear or mixer_name(reader)
    if not family.linear:
        reader.warn(f"recurrent layers of an unknown class: counted as {name}")
    return MIXERS[name](reader, family, hidden)


def mixer_name(reader: Reader) -> str:
    """The kind of recurrence that a config's keys speak of."""
    marks = {
        "linear_attn_config.kda_layers": "kda",
        "linear_num_value_heads": "gated_delta",
        "conv_L_cache": "conv",
        "mamba_dt_rank": "mamba",
        "lru_width": "rglru",
        "state_width": "mamba2",
    }
    return next((name for key, name in marks.items() if reader.has(key)), "lightning")


def gated_delta(reader: Reader, family: Family, hidden: int) -> Mixer:
    """Gated delta net: keys, values, gate, two scalars a head, a short convolution. Source: arXiv:2412.06464."""
    heads = reader.number("heads") or 1
    key_heads = reader.number("linear_num_key_heads") or heads
    value_heads = reader.number("linear_num_value_heads") or heads
    key_dim = reader.number("linear_key_head_dim") or 3 * hidden // (4 * key_heads)
    value_dim = reader.number("linear_value_head_dim") or 2 * key_dim
    keys, values, kernel = key_heads * key_dim, value_heads * value_dim, reader.number("conv_kernel") or 4
    into = 2 * keys + 2 * values + 2 * value_heads
    channels = 2 * keys + values
    weights = hidden * (into + values) + channels * kernel + 2 * value_heads + value_dim
    return Mixer(weights, channels * kernel + value_heads * key_dim * value_dim, into, values)


def mamba2(reader: Reader, family: Family, hidden: int) -> Mixer:
    """Mamba-2: one projection in, a convolution over inputs and states, a norm, one out. Source: arXiv:2405.21060."""
    heads, inner = mamba2_heads(reader, hidden)
    state, kernel = reader.number("state_width") or 128, reader.number("conv_kernel") or 4
    channels = inner + 2 * (reader.number("groups") or 1) * state
    into = inner + channels + heads
    biased = reader.flag("mamba_conv_bias") or reader.flag("use_conv_bias")
    convolution = channels * (kernel + biased)
    bias = into * projection_bias(reader) + hidden * (projection_bias(reader) or reader.flag("projectors_bias"))
    norm = inner if not family.state_norm_if or reader.flag(family.state_norm_if) else 0
    weights = hidden * (into + inner) + convolution + 3 * heads + norm + bias
    return Mixer(weights, channels * kernel + inner * state, into, inner)


def mamba2_heads(reader: Reader, hidden: int) -> tuple[int, int]:
    """Heads of a Mamba-2 mixer and its inner width, each stated or from the other."""
    names = ("mamba_num_heads", "mamba_n_heads", "n_mamba_heads", "num_heads")
    heads = next(filter(None, map(reader.number, names)), 0)
    automatic = reader.find("mamba_d_head")[1] == "auto"
    dim = reader.number("mamba_head_dim") or (None if automatic else reader.number("mamba_d_head"))
    inner = reader.number("mamba_d_ssm") or (heads * dim if heads and dim else None)
    expanded = inner or int((reader.ratio("expand") or 2) * hidden)
    return heads or max(expanded // (reader.number("head_dim") or 64), 1), expanded


def projection_bias(reader: Reader) -> bool:
    """Whether a mixer's projections have biases."""
    return any(map(reader.flag, ("mamba_proj_bias", "use_bias", "add_bias_linear")))


def mamba(reader: Reader, family: Family, hidden: int) -> Mixer:
    """Mamba: an inner width, a low-rank time step, a diagonal state. Source: arXiv:2312.00752, section 3.4."""
    expanded = int((reader.ratio("expand") or 2) * hidden)
    inner = reader.number("ffn_width") or expanded if family.block == "single" else expanded
    state, kernel = reader.number("state_width") or 16, reader.number("conv_kernel") or 4
    rank = time_rank(reader, hidden)
    biased = reader.flag("mamba_conv_bias") or reader.flag("use_conv_bias")
    scan = inner * (rank + 2 * state) + rank * inner + inner + inner * state + inner
    norms = rank + 2 * state if family.state_norms else 0
    bias = (2 * inner + hidden) * projection_bias(reader)
    weights = 3 * hidden * inner + inner * (kernel + biased) + scan + norms + bias
    return Mixer(weights, inner * (kernel + state), 2 * inner, inner)


def time_rank(reader: Reader, hidden: int) -> int:
    """Rank of the time step: stated, or a sixteenth of the hidden width."""
    for name in ("mamba_dt_rank", "time_step_rank"):
        if reader.has(name) and reader.find(name)[1] != "auto":
            return reader.number(name) or 1
    return -(-hidden // 16)


def conv(reader: Reader, family: Family, hidden: int) -> Mixer:
    """Gated short convolution. Source: LFM2."""
    kernel, bias = reader.number("conv_kernel") or 3, reader.flag("conv_bias")
    return Mixer(4 * hidden * hidden + hidden * kernel + 5 * hidden * bias, hidden * kernel, 3 * hidden, hidden)


def lightning(reader: Reader, family: Family, hidden: int) -> Mixer:
    """Lightning attention: queries, keys, values, an output gate, a norm. Source: arXiv:2501.08313, section 2.2."""
    heads = reader.need("heads")
    dim = reader.number("head_dim") or hidden // heads or 1
    width = heads * dim
    return Mixer(5 * hidden * width + width, width * dim, 4 * width, width)


def rglru(reader: Reader, family: Family, hidden: int) -> Mixer:
    """Real-gated linear recurrence with block-diagonal gates. Source: arXiv:2402.19427, section 2.4."""
    width, heads = reader.number("lru_width") or hidden, reader.need("heads")
    kernel = reader.number("conv_kernel") or 4
    gates = 2 * (width * (width // heads) + width) + width
    weights = 3 * hidden * width + 2 * width + hidden + width * (kernel + 1) + gates
    return Mixer(weights, width * (kernel - 1) + width, 2 * width, width)


def kda(reader: Reader, family: Family, hidden: int) -> Mixer:
    """Kimi delta attention: a decay for each channel, through a low rank. Source: arXiv:2510.26692, section 3."""
    heads = reader.number("linear_attn_config.num_heads") or reader.number("linear_num_heads") or reader.need("heads")
    dim = reader.number("linear_attn_config.head_dim") or reader.number("linear_head_dim") or 128
    width, kernel = heads * dim, reader.number("conv_kernel") or 4
    low_rank = 2 * (hidden * dim + dim * width)
    weights = 4 * hidden * width + 3 * width * kernel + low_rank + hidden * heads + heads + width + dim
    return Mixer(weights, 3 * width * kernel + width * dim, 3 * width, width)


MIXERS: dict[str, Rule] = {each.__name__: each for each in (gated_delta, mamba2, mamba, conv, lightning, rglru, kda)}
"""Recurrent layers by name."""
