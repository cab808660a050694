"""How an engine lays the cache out: blocks of tokens, pages of equal size, groups of layers.

vLLM deals layers of different kinds (full, sliding, recurrent) into groups of equal size, which
share one pool of blocks; a short group is padded, a small page lengthened, and both are paid for.
Other engines give each layer its own. Three figures follow: what the engine prints per token
(`kv_shown_bytes_per_token`), what a sequence takes (`kv_bytes_per_sequence`), and what it would
take without blocks, groups and padding (`kv_ideal_bytes_per_sequence`).

Source: vLLM v1/core/kv_cache_utils.py, v1/kv_cache_interface.py; serving-memory study, section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import polars as pl
from polars import Expr

from pipeline.core.quantity import Book, Quantity, instance, quantity, summed
from pipeline.estimators.attention import Kept, column_of, kind_instance, kind_quantity, parameter_names
from pipeline.estimators.matrices import padded

if TYPE_CHECKING:
    from collections.abc import Sequence

LONG = 2**40
"""A context longer than any window, in tokens: what a layer still keeps growing there grows for ever."""


@quantity
def block_tokens(
    asked_block_tokens: Expr, engine_block_tokens: Expr, engine_latent_block_tokens: Expr, mla_layers: Expr
) -> Expr:
    """Tokens of a cache block: as asked, or the engine's default, which latent attention may change.

    Source: catalogs/engines.
    """
    own = pl.when(mla_layers > 0).then(engine_latent_block_tokens).otherwise(engine_block_tokens)
    return pl.coalesce(asked_block_tokens, own)


@quantity
def kept_window_tokens(window_tokens: Expr, engine_bounds_windows: Expr) -> Expr:
    """Tokens that windowed layers keep: engines that do not bound windows keep every token.

    Source: catalogs/engines.
    """
    return pl.when(engine_bounds_windows).then(window_tokens).otherwise(LONG)


@quantity
def unbounded_tokens(prompt_tokens: Expr) -> Expr:
    """A context longer than any window.

    Definition.
    """
    return prompt_tokens.clip(LONG, LONG)


# ----- one layer of one kind, on one device; a parameter `own_x` is read from the kind's `<kind>_x`


def page_layers(own_stage_layers: Expr, group_layers: Expr, engine_groups_layers: Expr) -> Expr:
    """Layers of kind {kind} that are paid for: where layers are grouped, the last group is padded.

    Source: vLLM v1/core/kv_cache_utils.py.
    """
    grouped = -(-own_stage_layers // group_layers) * group_layers
    return pl.when(engine_groups_layers).then(grouped).otherwise(own_stage_layers)


def plain_block_bytes(own_token_bytes: Expr, own_state_bytes: Expr, block_tokens: Expr) -> Expr:
    """Bytes that one {kind} layer needs for a block of tokens, or for its state.

    Source: vLLM v1/core/kv_cache_utils.py.
    """
    return (block_tokens * own_token_bytes).ceil().cast(pl.Int64) + own_state_bytes


def block_bytes(own_plain_block_bytes: Expr, kv_page_bytes: Expr, engine_groups_layers: Expr) -> Expr:
    """Bytes of one block of one {kind} layer as paid for: where layers are grouped, all pages are equal.

    Source: vLLM v1/core/kv_cache_utils.py.
    """
    return pl.when(engine_groups_layers).then(kv_page_bytes).otherwise(own_plain_block_bytes)


def block_tokens_held(
    own_token_bytes: Expr, block_tokens: Expr, kv_page_bytes: Expr, engine_groups_layers: Expr
) -> Expr:
    """Tokens that one block of one {kind} layer holds: as many as its page has room for.

    Source: vLLM v1/core/kv_cache_utils.py.
    """
    held = (kv_page_bytes / own_token_bytes).clip(1.0, LONG).floor().cast(pl.Int64)
    return pl.when(engine_groups_layers & (own_token_bytes > 0)).then(held).otherwise(block_tokens)


def sequence_bytes(own_blocks: Expr, own_block_bytes: Expr) -> Expr:
    """Bytes that one sequence takes in one {kind} layer.

    Source: vLLM v1/core/kv_cache_utils.py.
    """
    return own_blocks * own_block_bytes


def lasting_bytes(own_lasting_blocks: Expr, own_block_bytes: Expr) -> Expr:
    """Bytes of one sequence in one {kind} layer that stop growing.

    Source: vLLM v1/core/kv_cache_utils.py.
    """
    return own_lasting_blocks * own_block_bytes


def paid_bytes_per_token(own_token_bytes: Expr, own_block_bytes: Expr, own_block_tokens_held: Expr) -> Expr:
    """Bytes that one more token adds to one {kind} layer while no window is full.

    Source: vLLM v1/core/kv_cache_utils.py.
    """
    return pl.when(own_token_bytes > 0).then(own_block_bytes / own_block_tokens_held).otherwise(0.0)


def standing_bytes(own_token_bytes: Expr, own_block_bytes: Expr) -> Expr:
    """Bytes of the state of one {kind} layer, as paid for; none where it keeps tokens.

    Source: vLLM v1/core/kv_cache_utils.py.
    """
    return pl.when(own_token_bytes > 0).then(0).otherwise(own_block_bytes)


def reading_bytes(own_reading_blocks: Expr, own_block_bytes: Expr) -> Expr:
    """Bytes of one sequence of the longest length in one {kind} layer while its prompt is read.

    Source: vLLM v1/core/kv_cache_utils.py.
    """
    return own_reading_blocks * own_block_bytes


def growing_bytes_per_token(own_lasting_blocks: Expr, own_paid_bytes_per_token: Expr) -> Expr:
    """Bytes that one more token adds to one {kind} layer however long the context.

    Source: vLLM v1/core/kv_cache_utils.py.
    """
    return pl.when(own_lasting_blocks == 0).then(own_paid_bytes_per_token).otherwise(0.0)


def present_block_tokens(own_stage_layers: Expr, own_token_bytes: Expr, own_block_tokens_held: Expr) -> Expr:
    """Tokens of one block of the {kind} layers of a model; nothing where it has none, or none that keep tokens.

    Source: vLLM v1/core/kv_cache_utils.py.
    """
    return pl.when((own_stage_layers > 0) & (own_token_bytes > 0)).then(own_block_tokens_held)


ALONE = (
    *(page_layers, plain_block_bytes, block_bytes, block_tokens_held, sequence_bytes, lasting_bytes, standing_bytes),
    *(reading_bytes, paid_bytes_per_token, growing_bytes_per_token, present_block_tokens),
)
"""What follows for a kind from its own quantities."""


def blocks(kept: Kept, context_tokens: Expr, own_block_tokens_held: Expr, engine_groups_layers: Expr) -> Expr:
    """Blocks of one {kind} layer that one sequence takes; a window begins inside a block, and touches one more."""
    whole = -(-context_tokens // own_block_tokens_held)
    window = -(-kept.tokens // own_block_tokens_held) + engine_groups_layers
    return pl.when(kept.tokens < context_tokens).then(pl.min_horizontal(window, whole)).otherwise(whole).clip(1)


def lasting_blocks(kept: Kept, context_tokens: Expr, own_block_tokens_held: Expr, engine_groups_layers: Expr) -> Expr:
    """Blocks of one {kind} layer however long the sequence: a full window, or a state; none where it grows."""
    lasting = blocks(kept, context_tokens, own_block_tokens_held, engine_groups_layers)
    return pl.when(kept.tokens >= LONG).then(0).otherwise(lasting)


def reading_blocks(
    kept: Kept,
    context_tokens: Expr,
    own_block_tokens_held: Expr,
    batched_tokens_max: Expr,
    engine_steps_in_flight: Expr,
    engine_groups_layers: Expr,
) -> Expr:
    """Blocks of one {kind} layer while a prompt is read: windows keep the steps in flight besides."""
    whole = -(-context_tokens // own_block_tokens_held)
    held = pl.min_horizontal(kept.tokens - 1 + batched_tokens_max * engine_steps_in_flight, context_tokens)
    window = -(-held // own_block_tokens_held) + engine_groups_layers
    return pl.when(kept.tokens < context_tokens).then(window).otherwise(whole).clip(1) * (kept.tokens > 0) + (
        kept.tokens <= 0
    )


def ideal_bytes(kept: Kept, kv_bytes_per_element: Expr) -> Expr:
    """Bytes that one sequence needs in one {kind} layer, to the byte."""
    return (kept.tokens * kept.elements_per_token * kv_bytes_per_element).ceil().cast(pl.Int64) + kept.state_bytes


KEPT: dict[Callable[..., Expr], str] = {
    blocks: "context_tokens",
    lasting_blocks: "unbounded_tokens",
    reading_blocks: "model_len_max_tokens",
    ideal_bytes: "context_tokens",
}
"""What follows from what a kind keeps, and the context that it is taken at."""


def of_own(name: str, what: Callable[..., Expr]) -> Quantity:
    """What follows for one kind from its other quantities, as a quantity `<kind>_<what>`."""
    return kind_instance(what, name, **{each: column_of(each, name, {}) for each in parameter_names(what)})


# ----- the layers of all kinds


def group_layers(engine_nearly_equal_ratio: Expr, **counts: Expr) -> Expr:
    """Layers of one group of the cache: as many as the rarest kind has, or the most frequent where nearly equal.

    Source: vLLM v1/core/kv_cache_utils.py, group_size.
    """
    present = [pl.when(count > 0).then(count) for count in counts.values()]
    least, most = pl.min_horizontal(present), pl.max_horizontal(present)
    return pl.when(most < engine_nearly_equal_ratio * least).then(most).otherwise(least)


def kv_page_bytes(block_tokens: Expr, *, kinds: tuple[str, ...], **columns: Expr) -> Expr:
    """Bytes of one page: a block of one layer, equal for all kinds; whole blocks of the kind with the largest tokens.

    Source: vLLM unify_kv_cache_spec_page_size; models/config.py, block size of hybrid models.
    """

    def largest(what: str) -> Expr:
        present = (pl.when(columns[f"{kind}_stage_layers"] > 0).then(columns[f"{kind}_{what}"]) for kind in kinds)
        return pl.max_horizontal(each.otherwise(0) for each in present)

    a_block = (block_tokens * largest("token_bytes")).ceil().cast(pl.Int64)
    state = largest("state_bytes")
    return pl.when(a_block > 0).then(padded(pl.max_horizontal(a_block, state), a_block.clip(1))).otherwise(state)


def kv_block_tokens(**blocks: Expr) -> Expr:
    """Tokens of the longest block of any layer: where a sequence grows by it, every layer's blocks are whole.

    Source: vLLM v1/core/kv_cache_utils.py, unify_kv_cache_spec_page_size.
    """
    return pl.max_horizontal(blocks.values()).fill_null(1)


def shown_block_tokens(**blocks: Expr) -> Expr:
    """Tokens of the shortest block of any layer: what the engine's figure of tokens counts by.

    Source: vLLM v1/core/kv_cache_utils.py: blocks // groups x min block size.
    """
    return pl.min_horizontal(blocks.values()).fill_null(1)


def of_all_kinds(kinds: Sequence[str]) -> list[Quantity]:
    """What the kinds of a model's layers settle together."""
    own = {
        what: {f"{kind}_{what}": f"{kind}_{what}" for kind in kinds}
        for what in ("stage_layers", "token_bytes", "state_bytes", "present_block_tokens")
    }
    blocks = own.pop("present_block_tokens")
    paged = {name: name for each in own.values() for name in each}
    return [
        instance(group_layers, "group_layers", **own["stage_layers"]),
        instance(kv_page_bytes, "kv_page_bytes", {"kinds": tuple(kinds)}, **paged),
        instance(kv_block_tokens, "kv_block_tokens", **blocks),
        instance(shown_block_tokens, "shown_block_tokens", **blocks),
    ]


SUMS = {
    # what of each kind of layer, times which count of layers, as which quantity, meaning what
    "kv_bytes_per_sequence": (
        "sequence_bytes", "page_layers", "KV cache and state that one sequence takes on one device, in whole pages.",
    ),
    "kv_ideal_bytes_per_sequence": (
        "ideal_bytes", "stage_layers", "The same without blocks, groups and padding.",
    ),
    "kv_bytes_per_token": (
        "growing_bytes_per_token", "page_layers",
        "KV cache that one more token adds on one device, where context is full.",
    ),
    "window_bytes_per_token": (
        "paid_bytes_per_token", "page_layers",
        "KV cache that one more token adds on one device while no window is full.",
    ),
    "lasting_kv_bytes": (
        "lasting_bytes", "page_layers", "Cache of one sequence that stops growing: full windows and states.",
    ),
    "state_kv_bytes": (
        "standing_bytes", "page_layers", "State of one sequence that never depends on the context.",
    ),
    "model_len_bytes": (
        "reading_bytes", "page_layers", "Cache of one sequence of the longest length while its prompt is read.",
    ),
    "block_row_bytes": (
        "block_bytes", "page_layers", "One block of every layer, and one state, on one device.",
    ),
}  # fmt: skip


def with_pages(book: Book, kinds: Sequence[str]) -> Book:
    """The book with the cache of all layers in it, as the engine lays it out."""
    made = [of_own(kind, what) for kind in kinds for what in ALONE]
    swapped = {"window_tokens": "kept_window_tokens"}
    made += [kind_quantity(kind, what, context, **swapped) for kind in kinds for what, context in KEPT.items()]
    made += [
        summed(name, {f"{kind}_{what}": f"{kind}_{times}" for kind in kinds}, summary)
        for name, (what, times, summary) in SUMS.items()
    ]
    return {**book, **{q.name: q for q in [*made, *of_all_kinds(kinds)]}}
