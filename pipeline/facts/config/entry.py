"""A counted model in the words of the catalog, where the catalog has words for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.core.errors import CatalogError
from pipeline.facts.config.cache import BF16
from pipeline.facts.config.described import Model
from pipeline.facts.config.layers import Heads
from pipeline.facts.config.rope import rope_cache_bytes
from pipeline.facts.config.towers import tower_facts

HELD = {"full", "sliding", "chunked", "mla", "linear"}
"""Kinds of layers that the catalog knows."""


def fields_of(model: Model, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The catalog's fields of a model; those that do not apply are left out."""
    problems = list(problems_of(model, facts))
    if problems:
        raise CatalogError(problems)
    stack = model.stack
    fields = {
        **count_fields(facts),
        "vocab": stack.vocab,
        "context_tokens_max": stack.context,
        "hidden": stack.hidden,
        **head_fields(model, facts),
        **latent_fields(model),
        **state_fields(model),
        **feed_forward_fields(model, facts),
    }
    fields["rope_cache_bytes"] = own_rope_bytes(model, fields)
    fields |= tower_facts(model.reader.top) if facts["tower_parameter_count"] else {}
    return {name: value for name, value in fields.items() if value is not None}


def problems_of(model: Model, facts: Mapping[str, Any]) -> Iterator[str]:
    """Why the catalog cannot hold a model."""
    layers = model.stack.layers
    strange = sorted({*facts["layer_kinds"]} - HELD - {"none"})
    if strange:
        yield f"config: the catalog has no fields for attention of kind {', '.join(strange)}"
    attending = sum(layer.attention != "none" for layer in layers) + sum(layer.linear for layer in layers)
    forward = sum((layer.block.width > 0) + layer.block.experts for layer in layers)
    if {attending, forward} != {len(layers)} and attending + forward != len(layers):
        yield "config: the catalog holds one attention and one feed-forward block a layer, or one of the two"
    if not all(layer.keeps for layer in layers):
        yield "config: the catalog has no field for layers that share keys and values"
    if len({layer.block.width for layer in layers} - {0}) > 1:
        yield "config: the catalog holds one width of dense blocks; this model has several"
    if model.stack.context is None:
        yield "config: max_position_embeddings is missing"


def count_fields(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What was counted."""
    return {
        "architecture": facts["architecture"] or None,
        "parameter_count": facts["parameter_count"],
        "tower_parameter_count": facts["tower_parameter_count"] or None,
        "embedding_parameter_count": facts["embedding_parameter_count"] + facts["parameter_groups"].get("positions", 0),
        "tied_embeddings": facts["tied_embeddings"],
    }


def head_fields(model: Model, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Heads of full layers, and of sliding ones where they differ."""
    layers = model.stack.layers
    sliding = next((layer.heads for layer in layers if layer.attention == "sliding"), None)
    whole = next((layer.heads for layer in layers if layer.attention in {"full", "mla", "chunked"}), sliding)
    own = whole or Heads(1, 1, 1, 1)
    apart, kinds = sliding or own, held_kinds(facts, model.stack.context)
    return {
        "heads": own.heads,
        "kv_heads": own.kv_heads,
        "head_dim": own.head_dim,
        "value_head_dim": own.value_dim if own.value_dim != own.head_dim else None,
        "layer_count": len(layers),
        "layers": kinds,
        "window_tokens": facts["window_tokens"] if {"sliding", "chunked"} & kinds.keys() else None,
        "sliding_kv_heads": apart.kv_heads if apart.kv_heads != own.kv_heads else None,
        "sliding_head_dim": even_dim(apart) if sliding and even_dim(apart) != own.head_dim else None,
    }


def held_kinds(facts: Mapping[str, Any], context: int | None) -> dict[str, int]:
    """Layers by kind; a window that no context is longer than is none."""
    window, kinds = facts["window_tokens"], {k: n for k, n in facts["layer_kinds"].items() if k in HELD}
    if window is None or context is None or window < context:
        return kinds
    whole = sum(kinds.pop(kind, 0) for kind in ("full", "sliding", "chunked"))
    return kinds | ({"full": whole} if whole else {})


def even_dim(own: Heads) -> int:
    """Width of a head whose key and value would be alike and cost the same."""
    return (own.head_dim + own.value_dim) // 2


def latent_fields(model: Model) -> dict[str, Any]:
    """Widths of latent attention."""
    reader = model.reader
    if not any(layer.attention == "mla" for layer in model.stack.layers):
        return {}
    return {
        "kv_latent_dim": reader.number("kv_lora_rank"),
        "rope_head_dim": reader.number("rope_dim", least=0) or None,
        "nope_head_dim": reader.number("nope_dim", least=0) or None,
        "query_latent_dim": reader.number("q_lora_rank", least=0) or None,
    }


def state_fields(model: Model) -> dict[str, Any]:
    """State and projections of recurrent layers."""
    if model.mixer is None:
        return {}
    return {
        "state_bytes_per_layer": BF16 * model.mixer.state,
        "linear_in_width": model.mixer.in_width,
        "linear_out_width": model.mixer.out_width,
    }


def feed_forward_fields(model: Model, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Dense blocks and experts."""
    blocks = [layer.block for layer in model.stack.layers]
    dense, routed = sum(block.width > 0 for block in blocks), sum(block.experts for block in blocks)
    plain = {
        "dense_layers": dense,
        "ffn_width": max(block.width for block in blocks) or None,
        "gated_ffn": model.reader.says(model.family.gated),
    }
    if model.experts is None or not routed:
        return plain
    return plain | {
        "moe_layers": routed,
        "experts": model.experts.number,
        "experts_per_token": model.experts.per_token,
        "expert_width": model.experts.width,
        "expert_parameter_count": facts["expert_parameter_count"],
        "shared_expert_width": model.experts.shared_width or None,
    }


def own_rope_bytes(model: Model, fields: Mapping[str, Any]) -> int | None:
    """Bytes of rotary tables, where they differ from one table as long as the context and as wide as a head."""
    width = fields.get("rope_head_dim") or fields["head_dim"]
    total = rope_cache_bytes(model)
    return total if total != BF16 * fields["context_tokens_max"] * width else None
