"""What follows attention in each layer: a dense block, routed experts, both, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from pipeline.facts.config.families import Family
from pipeline.facts.config.read import Reader, missing, whole_number, wrong

LFM_SHARE = 2 / 3
"""LFM2's real width, as a share of the stated one."""


class Block(NamedTuple):
    """Feed-forward part of one layer."""

    width: int = 0
    """Width of the dense block; zero where there is none."""
    experts: bool = False


class Experts(NamedTuple):
    """Routed and shared experts of a layer."""

    number: int
    per_token: int
    width: int
    shared_width: int
    latent: int
    """Width that experts work in, where it is not the hidden one; else zero."""


def experts_of(reader: Reader, family: Family) -> Experts | None:
    """The experts of every MoE layer; None in a dense model."""
    count = reader.number("experts", least=0) or 0
    per_token = layer_maximum(reader, "experts_per_token")
    width = layer_maximum(reader, "expert_width") or layer_maximum(reader, "ffn_width") or 0
    shared = shared_width(reader, family, width)
    latent = reader.number("moe_latent_size", least=0) or 0
    switched_off = reader.has("enable_moe_block") and not reader.flag("enable_moe_block")
    if count < 2 or switched_off:  # noqa: PLR2004 - one expert is a dense block
        return None
    if per_token is None or not width:
        raise missing("expert_width" if per_token else "experts_per_token")
    if not 0 < per_token <= count:
        raise wrong("num_experts_per_tok", per_token, f"a whole number from 1 to the {count} experts")
    return Experts(count, per_token, width, shared, latent)


def layer_maximum(reader: Reader, name: str) -> int | None:
    """A count, or the largest of a list with one for each layer."""
    key, value = reader.find(name)
    if isinstance(value, list) and value:
        return max(whole_number(key, each, 0) for each in value)
    return None if value is None else whole_number(key, value, 0)


def shared_width(reader: Reader, family: Family, width: int) -> int:
    """Width of all shared experts together: stated, or so many experts."""
    stated = layer_maximum(reader, "shared_width")
    count = layer_maximum(reader, "shared_experts")
    if stated is not None:
        return stated
    return (family.shared_experts if count is None else count) * width


def blocks_of(reader: Reader, family: Family, kinds: list[str], hidden: int, shared_from: int) -> list[Block]:
    """The feed-forward part of every layer."""
    count = len(kinds)
    widths = widths_of(reader, family, hidden, count, shared_from)
    routed = routed_layers(reader, family, count) if experts_of(reader, family) else frozenset[int]()
    if family.block == "single":
        return [single_block(kind, width) for kind, width in zip(kinds, widths, strict=True)]
    if family.block == "shared":
        return [Block(width if kind == "parallel" else 0) for kind, width in zip(kinds, widths, strict=True)]
    beside = reader.flag("enable_moe_block") or family.sublayers > 1
    return [Block(0 if i in routed and not beside else widths[i], i in routed) for i in range(count)]


def single_block(kind: str, width: int) -> Block:
    """The block of a layer that is nothing else."""
    return Block(width if kind == "mlp" else 0, kind == "moe")


# ----- widths


def widths_of(reader: Reader, family: Family, hidden: int, count: int, shared_from: int) -> list[int]:
    """Width of a dense block in every layer."""
    searched = reader.items("block_configs")
    if searched:
        return [searched_width(each, hidden) for each in (*searched, *searched[-1:] * (count - len(searched)))][:count]
    key, value = reader.find("ffn_width")
    if isinstance(value, list) and value:
        listed = [whole_number(key, each) for each in value]
        return [listed[min(i, len(listed) - 1)] for i in range(count)]
    width = stated_width(reader, family, hidden)
    wide = 2 if reader.flag("use_double_wide_mlp") else 1
    return [width * (wide if i >= shared_from else 1) for i in range(count)]


def stated_width(reader: Reader, family: Family, hidden: int) -> int:
    """The width that a config states, or four times the hidden one; LFM2's is shrunk and rounded."""
    width = reader.number("ffn_width", least=0)
    dense = reader.number("dense_width")
    if dense and reader.number("experts", least=0):
        return dense
    if width is None:
        return assumed_width(reader, family, hidden)
    if reader.number("experts", least=0) == 0 and family.linear == "mamba2":
        return reader.number("shared_intermediate_size") or width
    if reader.flag("block_auto_adjust_ff_dim"):
        share = reader.ratio("block_ffn_dim_multiplier") or 1.0
        return rounded_up(int(share * int(LFM_SHARE * width)), reader.number("block_multiple_of") or 1)
    return width // family.ffn_share


def assumed_width(reader: Reader, family: Family, hidden: int) -> int:
    """A width that nobody stated: the expansion times the hidden width."""
    ratio = reader.ratio("expansion_ratio")
    if ratio is None and family.gated is True and not reader.has("expert_width") and family.all_kind != "linear":
        reader.warn(f"intermediate_size is not given: 4 x {hidden} was taken")
    return int((ratio or 4) * hidden)


def rounded_up(width: int, multiple: int) -> int:
    """A width rounded up to a multiple.

    >>> rounded_up(8192 - 1, 256)
    8192
    """
    return -(-width // multiple) * multiple


def searched_width(config: Any, hidden: int) -> int:
    """Width of a searched layer: two thirds of a multiple of the hidden one. Source: Llama-Nemotron, ffn_mult."""
    inner = config.get("ffn") if isinstance(config, dict) else None
    if not isinstance(inner, dict):
        raise wrong("block_configs.ffn", inner, "a table")
    if inner.get("no_op") or inner.get("replace_with_linear"):
        return 0
    share = inner.get("ffn_mult")
    if not isinstance(share, int | float) or not 0 < share < 1_000:  # noqa: PLR2004 - wider blocks do not exist
        raise wrong("ffn_mult", share, "a positive number")
    return rounded_up(int(2 * share * hidden / 3), 256)


# ----- which layers have experts


def routed_layers(reader: Reader, family: Family, count: int) -> frozenset[int]:
    """Layers with routed experts: those that are listed, else those that every rule admits."""
    names, switches = reader.items("mlp_layer_types"), reader.find("moe_layer_freq")[1]
    if names:
        return frozenset(i for i, name in enumerate(names[:count]) if name != "dense")
    if isinstance(switches, list):
        return frozenset(i for i, each in enumerate(switches[:count]) if whole_number("moe_layer_freq", each, 0))
    layers = frozenset(range(count))
    for rule in (experts_by_step, experts_after_first, experts_in_range, experts_by_number):
        admitted = rule(reader, count)
        layers = layers if admitted is None else layers & frozenset(admitted)
    return frozenset(i for i in layers if i % 2 == 0) if family.sublayers > 1 else layers


def experts_by_step(reader: Reader, count: int) -> Iterator[int] | None:
    """By a step. Source: DeepSeek (moe_layer_freq), Qwen (decoder_sparse_step), Llama 4."""
    key, value = reader.find("moe_layer_freq")
    if value is not None:
        step = whole_number(key, value)
        return (i for i in range(count) if i % step == 0)
    step = reader.number("decoder_sparse_step") or reader.number("interleave_moe_layer_step") or 1
    return (i for i in range(count) if (i + 1) % step == 0)


def experts_after_first(reader: Reader, count: int) -> Iterator[int] | None:
    """All but the first few. Source: DeepSeek (first_k_dense_replace), LFM2 (num_dense_layers)."""
    dense = reader.number("first_k_dense_replace", least=0) or reader.number("num_dense_layers", least=0) or 0
    return iter(range(dense, count))


def experts_in_range(reader: Reader, count: int) -> Iterator[int] | None:
    """Every n-th within a range, or from an offset. Source: Ernie 4.5, Jamba."""
    period, offset = reader.number("expert_layer_period"), reader.number("expert_layer_offset", least=0) or 0
    if period:
        return (i for i in range(count) if i % period == offset)
    first, step = reader.number("moe_layer_start_index", least=0) or 0, reader.number("moe_layer_interval") or 1
    last = reader.number("moe_layer_end_index", least=-1)
    end = count - 1 if last is None or last < 0 else last
    return (i for i in range(first, end + 1) if (i + 1) % step == 0)


def experts_by_number(reader: Reader, count: int) -> frozenset[int] | None:
    """By number: those with experts, or those without. Source: Qwen (mlp_only_layers), Llama 4 (moe_layers), Step-3."""
    dense, routed = reader.positions("mlp_only_layers") or frozenset(), reader.positions("moe_layers")
    numbers = reader.find("moe_layers_enum")[1]
    if isinstance(numbers, str):
        routed = frozenset(int(each) for each in numbers.split(",") if each.strip().isdecimal())
    return (routed or frozenset(range(count))) - dense
