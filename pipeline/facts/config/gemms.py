"""The matrix products that one token passes: shapes and how often, of the whole model on one device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from pipeline.facts.config.described import Model
from pipeline.facts.config.layers import Layer

Product = tuple[str, int, int]
"""Name, n (columns of the result), k (columns of the input)."""


def gemms_of(model: Model) -> list[dict[str, Any]]:
    """Every product of a token's way: name, n, k, and how many layers (experts: layers x experts per token) run it.

    Kinds that compress keys and values are left out: their products depend on the step.
    """
    times: Counter[Product] = Counter()
    for layer, layers in Counter(model.stack.layers).items():
        for product, each in layer_products(model, layer):
            times[product] += each * layers
    times["head", model.stack.vocab, model.stack.hidden] += 1
    shapes = ((*product, count) for product, count in times.items() if product[1] > 0 and product[2] > 0)
    return [{"name": name, "n": n, "k": k, "count": count} for name, n, k, count in shapes]


def layer_products(model: Model, layer: Layer) -> Iterator[tuple[Product, int]]:
    """The products of one layer."""
    if layer.attention == "mla":
        yield from latent_products(model, layer)
    elif layer.attention in {"full", "sliding", "chunked"}:
        yield from grouped_products(model, layer)
    if layer.linear and model.mixer:
        yield ("linear_in", model.mixer.in_width, model.stack.hidden), 1
        yield ("linear_out", model.stack.hidden, model.mixer.out_width), 1
    yield from block_products(model, "dense", model.stack.hidden, layer.block.width, 1)
    if layer.block.experts and model.experts:
        yield from expert_products(model)


def grouped_products(model: Model, layer: Layer) -> Iterator[tuple[Product, int]]:
    """Queries, keys and values in one product, then the output. Source: arXiv:1909.08053, section 3."""
    own, hidden = layer.heads, model.stack.hidden
    queries = own.query_width * (2 if model.family.gate == "double" else 1)
    keys = own.kv_heads * (own.head_dim + (0 if layer.key_is_value else own.value_dim)) * layer.keeps
    yield ("qkv", queries + keys, hidden), 1
    yield ("attention_out", hidden, own.heads * own.value_dim), 1


def latent_products(model: Model, layer: Layer) -> Iterator[tuple[Product, int]]:
    """Down to the latents, up to the heads, the output. Source: arXiv:2405.04434, section 2.1."""
    reader, hidden, own = model.reader, model.stack.hidden, layer.heads
    rank, rope = (reader.number(each, least=0) or 0 for each in ("q_lora_rank", "rope_dim"))
    kept = reader.need("kv_lora_rank")
    yield ("latent_down", rank + kept + rope, hidden), 1
    yield ("query_up", own.query_width, rank or hidden), 1
    yield ("key_value_up", own.heads * (own.head_dim - rope + own.value_dim), kept), 1
    yield ("attention_out", hidden, own.heads * own.value_dim), 1


def expert_products(model: Model) -> Iterator[tuple[Product, int]]:
    """Router, the experts of one token, and the shared ones. Source: arXiv:2401.06066, section 3."""
    experts = model.experts
    if experts is None:
        return
    yield ("router", experts.number, model.stack.hidden), 1
    yield from block_products(model, "expert", experts.latent or model.stack.hidden, experts.width, experts.per_token)
    yield from block_products(model, "shared_expert", model.stack.hidden, experts.shared_width, 1)


def block_products(model: Model, name: str, hidden: int, width: int, times: int) -> Iterator[tuple[Product, int]]:
    """A feed-forward block: gate and up in one product, then down. Source: arXiv:2002.05202."""
    if width:
        yield (f"{name}_up", (model.gated - 1) * width, hidden), times
        yield (f"{name}_down", hidden, width), times
