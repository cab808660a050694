"""What a model class does that its config.json does not say: one declarative entry a family."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Family:
    """The conventions of one model class; the defaults are those of Llama, which most follow.

    A switch is true, false, or the key of the config that decides; `!key` is switched off by it.
    """

    name: str = ""
    known: bool = True
    gated: bool | str = True
    """Three matrices in a feed-forward block, not two."""
    ffn_share: int = 1
    """The config states this many times the real width."""
    norm: str = "rms"
    """Vectors of one norm: rms (weight), layer (weight and bias), none."""
    layer_norms: int = 2
    layer_norms_if: Mapping[str, int] | None = None
    """Norms of a layer where a key is set; the first that is set counts."""
    moe_norms: int = 0
    """Further norms of a layer with routed experts."""
    final_norm: bool | str = True
    embedding_norm: bool = False
    sub_norms: bool = False
    """A norm before each output projection (BitNet)."""
    qk_norm: str = ""
    """Norms of queries and keys: head (one for all heads), layer_head (the same with bias), width (whole)."""
    qk_norm_if: str = ""
    """The key that switches them."""
    qkv_bias: bool | str = "attention_bias"
    out_bias: bool | str = "attention_bias"
    ffn_bias: bool | str = "mlp_bias"
    head_bias: bool | str = False
    router_bias: bool | str = False
    expert_bias: bool | str = False
    router_scales: bool = False
    """A scale per channel and per expert in the router (Gemma 4)."""
    shared_gate: bool = False
    """A gate of one row for the shared expert."""
    shared_experts: int = 0
    """Shared experts that the config does not mention."""
    gate: str = ""
    """Gate of the attention's output: double (in the query projection), width, head."""
    sinks: str = ""
    """Layers with a learned sink per head: all, sliding."""
    activation_parameters: int = 0
    learned_positions: bool | str = False
    position_offset: int = 0
    rope: bool | str = True
    """Attention turns queries and keys by position, where positions are not learned."""
    rotary_share: float = 1.0
    """The part of a head that turns where the config is silent."""
    local_rope: str = ""
    """Rotary table of sliding layers: own (of another base), plain (the same, not stretched)."""
    mrope: bool = False
    """Positions in time, height and width, whether or not the config says so."""
    extra_rows: int = 0
    """Rows of the input table beyond the vocabulary."""
    attention: str = ""
    linear: str = ""
    """Mixer of recurrent layers: a name in recurrent.py."""
    state_norms: bool = False
    """Norms of the time step and of both state projections (Jamba)."""
    state_norm_if: str = ""
    """The key that switches the norm of a Mamba-2 mixer."""
    block: str = ""
    """single: a layer is one mixer or one feed-forward block; shared: attention blocks used by many layers."""
    sublayers: int = 1
    """Attention and dense blocks in one layer."""
    all_kind: str = "full"
    other_kind: str = "sliding"
    full_every: int = 0
    """Every so manieth layer attends to everything, by class."""
    first_full: bool = False
    last_full: bool = False
    windowed: bool | str = False
    """All layers slide where the config names a window."""
    window_extra: str = ""
    """The key that gives the window without the token itself."""


@cache
def family_tables() -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """The families and the class defaults, read once."""
    families, defaults = (
        tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8")) for name in ("families", "class_defaults")
    )
    return families, defaults


@cache
def families_by_class() -> dict[str, str]:
    """Families by the stem of their class's name.

    >>> families_by_class()["qwen3moe"]
    'qwen3_moe'
    """
    return {bare_name(name.removesuffix("_text")): name for name in family_tables()[0]}


def bare_name(name: str) -> str:
    """A name without case and separators."""
    return "".join(filter(str.isalnum, name.casefold()))


def stem(architecture: str) -> str:
    """A class's name without its task.

    >>> stem("Qwen3MoeForCausalLM")
    'qwen3moe'
    """
    return bare_name(architecture.partition("For")[0].removesuffix("Model").removesuffix("LMHead"))


def family_name(model_types: list[str], architectures: list[str]) -> str:
    """The family that a config names, by model type, else by class; empty where none is known.

    >>> family_name(["gemma3n"], []), family_name(["phi-new"], ["PhiForCausalLM"]), family_name(["x"], [])
    ('gemma3n_text', 'phi', '')
    """
    families = family_tables()[0]
    for each in model_types:
        for name in (each, f"{each}_text", each.removesuffix("_text")):
            if name in families:
                return name
    return next((families_by_class()[stem(each)] for each in architectures if stem(each) in families_by_class()), "")


@cache
def family_of(name: str) -> Family:
    """The conventions of a family; those of Llama for a name that nobody knows."""
    entry = {key: value for key, value in family_entry(name).items() if key not in {"like", "class", "defaults"}}
    return Family(name=name, known=bool(name), **entry)


@cache
def class_defaults(name: str) -> Mapping[str, Any]:
    """What the class takes where a config is silent."""
    families, defaults = family_tables()
    entry = families.get(name, {})
    base = defaults.get(entry.get("class", name), {})
    return {**base, **entry.get("defaults", {})}


def family_entry(name: str) -> dict[str, Any]:
    """An entry on top of the one that it is like."""
    entry = family_tables()[0].get(name, {})
    return {**(family_entry(entry["like"]) if "like" in entry else {}), **entry}
