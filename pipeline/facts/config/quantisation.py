"""How a published checkpoint stores its weights: `quantization_config` becomes bits per weight, by parameter group."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import translate
from functools import partial
from typing import Any, TypeGuard

Covers = Callable[[str], bool]
HALF_BITS = 16.0
ROW_BITS = 32 / 4096
"""A 32-bit scale per output row, for a row of 4096."""

MODULES = {
    # group -> module names that stand for it, below `layers.<i>.`
    "attention": ("self_attn.q_proj", "attn.wq_b", "linear_attn.in_proj_qkv"),
    "dense": ("mlp.gate_proj", "ffn.w1"),
    "experts": ("mlp.experts.0.gate_proj", "block_sparse_moe.experts.0.w1", "ffn.experts.0.w1"),
    "shared": ("mlp.shared_experts.gate_proj", "mlp.shared_expert.gate_proj", "ffn.shared_experts.w1"),
}
TABLES = ("lm_head", "head")
IGNORED = ("modules_to_not_convert", "ignored_layers", "ignore", "exclude_modules", "llm_int8_skip_modules")
"""Keys that list modules left in 16 bits."""

ALGORITHMS = {
    "FP8": 8.0,
    "FP8_PB_WO": 8.0 + 32 / 128**2,
    "MXFP8": 8.25,
    "W8A8_SQ_PER_CHANNEL": 8.0 + ROW_BITS,
    "NVFP4": 4.5,
    "W4A16_NVFP4": 4.5,
    "MXFP4": 4.25,
    "W4A16_AWQ": 4.0 + 16 / 128,
    "INT4_AWQ": 4.0 + 16 / 128,
}
"""Bits per weight of modelopt's algorithms, scales included."""


@dataclass(frozen=True)
class Storage:
    """Bits per weight of each parameter group as a checkpoint is published, scales and zero points included."""

    method: str
    bits: Mapping[str, float]
    warnings: tuple[str, ...] = ()


def storage_of(config: Mapping[str, Any], layer_count: int) -> Storage:
    """How a checkpoint with this config.json stores its weights; 16 bits where it says nothing.

    Groups are attention, dense (feed-forward), experts (routed), shared (experts) and tables. Where
    only some layers are quantised, a group's bits are the mean over its layers.

    Args:
        config: the whole config; the section may also stand in the text model's part.
        layer_count: layers of the text model.

    >>> fp8 = {"quant_method": "fp8", "weight_block_size": [128, 128], "ignored_layers": ["model.layers.0.mlp"]}
    >>> storage_of({"quantization_config": fp8}, 2).bits["dense"]
    12.0009765625
    """
    section = section_of(config)
    groups = [*MODULES, "tables"]
    if section is None:
        return Storage("none", dict.fromkeys(groups, HALF_BITS))
    bits, warnings = scheme_bits(section)
    listed = section.get("quantized_layers")
    layers = max(1, min(layer_count, 10_000))
    if isinstance(listed, Mapping) and listed:
        found = bits_of_listed(listed, layers, bits)
    else:
        found = bits_of_ignored(ignored_modules(section), layers, bits)
    return Storage(str(section.get("quant_method") or section.get("quant_algo") or "unknown"), found, tuple(warnings))


def section_of(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The quantization section of a config, at the top or in the text model's part."""
    parts = [config, *(config.get(name) for name in ("text_config", "llm_config", "language_config"))]
    sections = (part.get("quantization_config") for part in parts if isinstance(part, Mapping))
    return next((section for section in sections if isinstance(section, Mapping) and section), None)


# ----- bits of one scheme


def scheme_bits(section: Mapping[str, Any]) -> tuple[float, list[str]]:
    """Bits of a weight that is quantised by a section, scales included, and what was not understood."""
    method = str(section.get("quant_method") or "").lower().replace("-", "_")
    algorithm = str(section.get("quant_algo") or "")
    groups = section.get("config_groups")
    if isinstance(groups, Mapping) and groups:
        return group_bits(groups)
    if method in METHODS:
        return METHODS[method](section)
    known = ALGORITHMS | {"MIXED_PRECISION": HALF_BITS}
    if algorithm in known:
        return known[algorithm], []
    return HALF_BITS, [f"quantization_config: method '{method or algorithm}' is not known; taken as 16 bits"]


def fp8_bits(section: Mapping[str, Any]) -> tuple[float, list[str]]:
    """fp8, with a scale per block or per row."""
    return 8.0 + fp8_scale_bits(section), []


def mxfp4_bits(section: Mapping[str, Any]) -> tuple[float, list[str]]:
    """4 bits, and an 8-bit scale per 32."""
    return ALGORITHMS["MXFP4"], []


def bitsandbytes_bits(section: Mapping[str, Any]) -> tuple[float, list[str]]:
    """nf4 with double quantisation, or int8 with a scale per row. Source: arXiv:2305.14314; arXiv:2208.07339."""
    return (4.0 + 8 / 64 + 32 / (64 * 256) if section.get("load_in_4bit") else 8.0 + ROW_BITS), []


def fp8_scale_bits(section: Mapping[str, Any]) -> float:
    """Bits of scale per weight: a 32-bit (or 8-bit ue8m0) scale per block, or one per row."""
    block = section.get("weight_block_size")
    scale = 8.0 if section.get("scale_fmt") == "ue8m0" else 32.0
    if isinstance(block, list) and len(block) == 2 and all(is_count(side) for side in block):  # noqa: PLR2004
        return float(scale / (block[0] * block[1]))
    return ROW_BITS


def packed_bits(section: Mapping[str, Any]) -> tuple[float, list[str]]:
    """AWQ and GPTQ: the weight, and per group a 16-bit scale and a packed zero point."""
    bits, group = section.get("bits", section.get("w_bit")), section.get("group_size", section.get("q_group_size"))
    if not is_count(bits):
        return 4.0 + 20 / 128, ["quantization_config: no bits stated; taken as 4 bits with groups of 128"]
    return (bits + (HALF_BITS + bits) / group if is_count(group) else bits + ROW_BITS), []


METHODS: dict[str, Callable[[Mapping[str, Any]], tuple[float, list[str]]]] = {
    "fp8": fp8_bits,
    "fbgemm_fp8": fp8_bits,
    "mxfp4": mxfp4_bits,
    "bitsandbytes": bitsandbytes_bits,
    **dict.fromkeys(("awq", "gptq", "auto_round"), packed_bits),
}
"""What each `quant_method` does to one weight."""


def group_bits(groups: Mapping[str, Any]) -> tuple[float, list[str]]:
    """compressed-tensors and modelopt: the widest of the weight schemes that the groups state."""
    stated = [group.get("weights") for group in groups.values() if isinstance(group, Mapping)]
    schemes = [weights for weights in stated if isinstance(weights, Mapping) and is_count(weights.get("num_bits"))]
    if not schemes:
        return HALF_BITS, ["quantization_config: config_groups state no bits of weights; taken as 16 bits"]
    return max(map(weights_bits, schemes)), []


def weights_bits(weights: Mapping[str, Any]) -> float:
    """One weight scheme: floats carry an 8-bit scale per group, integers a 16-bit one and a zero where asymmetric."""
    bits, group = weights["num_bits"], weights.get("group_size")
    if not is_count(group):
        return float(bits + ROW_BITS)
    if weights.get("type") == "float":
        return float(bits + 8 / group)
    zero = 0 if weights.get("symmetric", True) else bits
    return float(bits + (HALF_BITS + zero) / group)


def is_count(value: Any) -> TypeGuard[int]:
    """Whether a value is a whole number from 1."""
    return type(value) is int and 0 < value < 2**31


# ----- which groups a scheme covers


def ignored_modules(section: Mapping[str, Any]) -> list[str]:
    """Patterns of modules that stay 16-bit."""
    lists = (section.get(key) for key in IGNORED)
    return [str(each) for value in lists if isinstance(value, list) for each in value if isinstance(each, str)]


def bits_of_ignored(patterns: list[str], layers: int, bits: float) -> dict[str, float]:
    """Mean bits of each group: 16 in layers whose modules a pattern names; token tables stay 16-bit."""
    prefix, by_layer = prefix_of(patterns), by_layer_of(patterns)
    found = {"tables": HALF_BITS}
    for group, modules in MODULES.items():
        kept = sum(
            any(covers(by_layer[i] + by_layer[-1], f"{prefix}layers.{i}.{module}") for module in modules)
            for i in range(layers)
        )
        found[group] = bits + (HALF_BITS - bits) * kept / layers
    return found


def bits_of_listed(listed: Mapping[str, Any], layers: int, otherwise: float) -> dict[str, float]:
    """Mean bits of each group where a checkpoint lists what it quantises; the rest is 16-bit."""
    by_layer: dict[int, dict[str, float]] = defaultdict(dict)
    for name, scheme in listed.items():
        algorithm = scheme.get("quant_algo") if isinstance(scheme, Mapping) else None
        by_layer[layer_of(name)][within_layer(name)] = ALGORITHMS.get(str(algorithm), otherwise)
    stated = {group: [listed_bits(by_layer[i], modules) for i in range(layers)] for group, modules in MODULES.items()}
    # attention is in every layer, so that one without it in the list has it in 16 bits
    stated["attention"] = [HALF_BITS if bits is None else bits for bits in stated["attention"]]
    found = {group: mean_bits(bits) for group, bits in stated.items()}
    return found | {"tables": mean_bits([listed_bits(by_layer[-1], TABLES)])}


def within_layer(name: str) -> str:
    """What a module is called below its layer.

    >>> within_layer("model.layers.3.mlp.experts"), within_layer("lm_head")
    ('mlp.experts', 'lm_head')
    """
    return name.partition("layers.")[2].partition(".")[2] or name


def mean_bits(bits: Iterable[float | None]) -> float:
    """Mean over the layers that list a group; 16 where none does."""
    stated = [each for each in bits if each is not None]
    return sum(stated) / len(stated) if stated else HALF_BITS


def listed_bits(named: Mapping[str, float], modules: Iterable[str]) -> float | None:
    """Bits of a group in one layer: of the first listed module that is one of the group's, or holds one."""
    for module in modules:
        parts = module.split(".")
        held = (named.get(".".join(parts[:length])) for length in range(len(parts), 0, -1))
        bits = next((each for each in held if each is not None), None)
        if bits is not None:
            return bits
    return None


def layer_of(name: str) -> int:
    """The layer that a module's name or pattern stands in; -1 where it names none."""
    number = name.partition("layers.")[2].partition(".")[0].rstrip("*\\")
    return int(number) if number.isascii() and number.isdigit() and len(number) < 7 else -1  # noqa: PLR2004


def by_layer_of(patterns: Iterable[str]) -> dict[int, list[Covers]]:
    """Patterns by the layer that they name, -1 for all layers, as tests of a module's name."""
    found: dict[int, list[Covers]] = defaultdict(list)
    for pattern in patterns:
        found[layer_of(pattern)].append(test_of(pattern))
    return found


def test_of(pattern: str) -> Covers:
    """A pattern as a test of a name: names cover all below them, `*` anything, `re:` opens a regular expression."""
    glob = pattern.rstrip("*")
    if not pattern.startswith("re:") and "*" not in glob:
        return partial(begins, glob if glob != pattern else f"{pattern}.")
    try:
        matches = re.compile(pattern[3:] if pattern.startswith("re:") else translate(f"{glob}*")).match
    except (re.error, RecursionError, OverflowError):
        return partial(begins, pattern)
    return lambda name: matches(name) is not None


def begins(start: str, name: str) -> bool:
    """Whether a name begins so."""
    return name.startswith(start)


def covers(tests: Iterable[Covers], module: str) -> bool:
    """Whether a pattern names a module, or a part of it."""
    return any(test(f"{module}.weight") for test in tests)


def prefix_of(patterns: Iterable[str]) -> str:
    """What stands before `layers.` in the checkpoint's module names."""
    found = (pattern.partition("layers.") for pattern in patterns if not pattern.startswith(("re:", "*")))
    return next((before for before, marker, _ in found if marker), "model.")
