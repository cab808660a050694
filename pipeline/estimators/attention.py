"""Kinds of attention: what one layer keeps for one sequence. A new kind is one function here.

Its name is what catalogs say in `layers = { ... }`; its parameters, but for `context_tokens` and
`tp`, are the fields that a model's entry must then give. Everything else that a kind needs (bytes
kept, bytes read by a decode step, pairs scored by a prefill) follows from what it returns.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import polars as pl
from polars import Expr

from pipeline.core.quantity import Book, Formula, Quantity, instance, quantity

FROM_PLAN = {"context_tokens", "tp"}


class Kept(NamedTuple):
    """What one layer keeps for one sequence of `context_tokens`, on one tensor-parallel rank."""

    tokens: Expr
    """Positions that stay in the cache."""
    elements_per_token: Expr
    """Numbers kept for each of them, in the KV format."""
    heads: Expr
    """KV heads on the rank: each costs the decode kernel a little time per sequence."""
    state_bytes: Expr = pl.lit(0, pl.Int64)
    """Bytes that do not grow with the context, whatever the KV format."""


Kind = Callable[..., Kept]
KINDS: dict[str, Kind] = {}
PROJECTIONS: dict[str, str] = {}


def kind(projection: str) -> Callable[[Kind], Kind]:
    """Enter a kind of attention, saying which projections (kernels.py) its layers run."""

    def enter(formula: Kind) -> Kind:
        KINDS[formula.__name__] = formula
        PROJECTIONS[formula.__name__] = projection
        return formula

    return enter


def kv_heads_on_rank(kv_heads: Expr, tp: Expr) -> Expr:
    """KV heads are split over the ranks, and replicated where there are more ranks than heads."""
    return pl.max_horizontal(kv_heads // tp, 1)


@kind("gqa")
def full(context_tokens: Expr, tp: Expr, kv_heads: Expr, head_dim: Expr, value_head_dim: Expr) -> Kept:
    """A key and a value per KV head and token: MHA, GQA, MQA. Source: arXiv:2305.13245."""
    heads = kv_heads_on_rank(kv_heads, tp)
    return Kept(context_tokens, heads * (head_dim + value_head_dim), heads)


@kind("sliding_gqa")
def sliding(
    context_tokens: Expr,
    tp: Expr,
    window_tokens: Expr,
    sliding_kv_heads: Expr,
    sliding_head_dim: Expr,
    sliding_value_head_dim: Expr,
) -> Kept:
    """As full, of the last `window_tokens` only. Source: arXiv:2310.06825, section 2."""
    heads = kv_heads_on_rank(sliding_kv_heads, tp)
    return Kept(
        pl.min_horizontal(context_tokens, window_tokens), heads * (sliding_head_dim + sliding_value_head_dim), heads
    )


@kind("gqa")
def chunked(context_tokens: Expr, tp: Expr, window_tokens: Expr, kv_heads: Expr, head_dim: Expr) -> Kept:
    """As full, within chunks of `window_tokens`. Source: Llama 4, attention_chunk_size."""
    heads = kv_heads_on_rank(kv_heads, tp)
    return Kept(pl.min_horizontal(context_tokens, window_tokens), heads * 2 * head_dim, heads)


@kind("mla")
def mla(context_tokens: Expr, kv_latent_dim: Expr, rope_head_dim: Expr) -> Kept:
    """One latent vector and one shared rotary key per token, whole on every rank. Source: arXiv:2405.04434, 2.1."""
    return Kept(context_tokens, kv_latent_dim + rope_head_dim, pl.lit(1, pl.Int64))


@kind("linear")
def linear(tp: Expr, state_bytes_per_layer: Expr) -> Kept:
    """A state of fixed size: Mamba, gated delta, short convolution. Source: arXiv:2405.21060."""
    none = pl.lit(0, pl.Int64)
    return Kept(none, none, none, -(-state_bytes_per_layer // tp))


def needed_fields(name: str) -> list[str]:
    """The fields that a model with layers of this kind must state.

    >>> needed_fields("mla")
    ['kv_latent_dim', 'rope_head_dim']
    """
    return [field for field in parameter_names(KINDS[name]) if field not in FROM_PLAN]


# ----- what follows from a kind, for every kind


def read_bytes(kept: Kept, kv_bytes_per_element: Expr) -> Expr:
    """Bytes of cache that one {kind} layer reads for one sequence's next token."""
    return kept.tokens * kept.elements_per_token * kv_bytes_per_element + kept.state_bytes


def read_heads(kept: Kept) -> Expr:
    """KV heads of one {kind} layer on one device."""
    return kept.heads


def scored_keys(kept: Kept, prompt_tokens: Expr) -> Expr:
    """Keys that a prompt's token sees in one {kind} layer, on average, under a causal mask."""
    tokens = 1.0 * kept.tokens
    return tokens - tokens * tokens / (2.0 * prompt_tokens)


def token_bytes(kept: Kept, kv_bytes_per_element: Expr) -> Expr:
    """Bytes that one more token adds to one {kind} layer while its window is not full."""
    return kept.elements_per_token * kv_bytes_per_element


def state_bytes(kept: Kept) -> Expr:
    """Bytes of one {kind} layer that never depend on the context."""
    return kept.state_bytes


DERIVED: dict[Callable[..., Expr], str] = {  # what is derived, and the context that it is derived at
    read_bytes: "decode_context_tokens",
    read_heads: "decode_context_tokens",
    scored_keys: "prompt_tokens",
    token_bytes: "context_tokens",
    state_bytes: "context_tokens",
}


def kind_quantity(name: str, what: Callable[..., Expr], context: str, **swapped: str) -> Quantity:
    """What follows from one kind, as a quantity `<kind>_<what>` read at some context.

    Args:
        name: the kind.
        what: a function of what the kind keeps, and of columns; `own_x` is the kind's own `<kind>_x`.
        context: the column that is the context.
        swapped: columns that are read instead of others.
    """
    kept_by = KINDS[name]
    words = {
        "kept_by": kept_by,
        "what": what,
        "meaning": (what.__doc__ or "").format(kind=name).removesuffix("."),
        "source": (kept_by.__doc__ or "").rpartition("Source: ")[2],
    }
    columns = [*parameter_names(kept_by), *(each for each in parameter_names(what) if each != "kept")]
    reads = {each: column_of(each, name, {"context_tokens": context, **swapped}) for each in columns}
    return instance(from_kept, f"{name}_{what.__name__}", words, **reads)


def from_kept(*, kept_by: Kind, what: Callable[..., Expr], **columns: Expr) -> Expr:
    """{meaning}.

    Source: {source}
    """
    kept = kept_by(**{each: columns[each] for each in parameter_names(kept_by)})
    return what(kept, **{each: columns[each] for each in parameter_names(what) if each != "kept"})


def parameter_names(function: Callable[..., object]) -> list[str]:
    """The names of a function's parameters."""
    return list(inspect.signature(function).parameters)


def kind_instance(template: Formula, kind: str, *own: str, **reads: str) -> Quantity:
    """One kind's instance of a template, as a quantity `<kind>_<template>`, some columns being the kind's own."""
    columns = {each: f"{kind}_{each}" for each in own} | reads
    return instance(template, f"{kind}_{template.__name__}", {"kind": kind}, **columns)


def column_of(parameter: str, name: str, swapped: Mapping[str, str]) -> str:
    """The column that a parameter means for one kind."""
    own = f"{name}_{parameter.removeprefix('own_')}" if parameter.startswith("own_") else parameter
    return swapped.get(parameter, own)


def stage_layers(layers: Expr, pp: Expr) -> Expr:
    """Layers of kind {kind} on the fullest pipeline stage.

    Definition.
    """
    return -(-layers // pp)


def of_kinds(kinds: Iterable[str]) -> Book:
    """All that follows from these kinds of attention."""
    kinds = list(kinds)
    made = [kind_quantity(name, what, context) for name in kinds for what, context in DERIVED.items()]
    made += [kind_instance(stage_layers, kind, "layers") for kind in kinds]
    return {q.name: q for q in made}


@quantity
def context_tokens(prompt_tokens: Expr, output_tokens: Expr) -> Expr:
    """Tokens that a sequence holds at its end, prompt and output together.

    Definition.
    """
    return prompt_tokens + output_tokens


@quantity
def decode_context_tokens(prompt_tokens: Expr, output_tokens: Expr) -> Expr:
    """Tokens that a sequence holds on average while its output is written.

    Definition.
    """
    return prompt_tokens + output_tokens // 2
