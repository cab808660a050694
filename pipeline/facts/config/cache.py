"""What one sequence keeps: keys and values by kind of layer, an index, compressed entries, recurrent state."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.facts.config.described import Model
from pipeline.facts.config.layers import Layer
from pipeline.facts.config.projections import RATES

BF16 = 2
"""Bytes of a number, as facts are told."""


class Cache(NamedTuple):
    """Bytes of a sequence in bf16."""

    full: int
    """Per token, of layers that keep every token."""
    sliding: int
    """Per token within the window."""
    window: int | None
    sliding_layers: int
    indexes: int
    """Per token, of the index that picks tokens."""
    compressed: int
    """Per token, of entries that stand for several."""
    state: int
    """Whatever the length."""

    def at(self, tokens: int) -> int:
        """Everything that a sequence of so many tokens keeps."""
        seen = min(tokens, self.window) if self.window else 0
        return (self.full + self.indexes + self.compressed) * tokens + self.sliding * seen + self.state


def cache_of(model: Model) -> Cache:
    """The cache of a model, layer by layer; a layer that borrows keys keeps none."""
    layers = model.stack.layers
    keeping = [layer for layer in layers if layer.keeps]
    sliding = [layer for layer in keeping if layer.attention in WINDOWED]
    recurrent = sum(layer.linear for layer in layers)
    return Cache(
        full=sum(cached_bytes(model, layer) for layer in keeping if layer.attention in {"full", "mla"}),
        sliding=sum(cached_bytes(model, layer) for layer in sliding),
        window=model.stack.window if sliding else None,
        sliding_layers=len(sliding),
        indexes=BF16 * sum(layer.indexed for layer in keeping) * (model.reader.number("index_dim") or 0),
        compressed=int(sum(entry_bytes(model, layer) for layer in keeping)),
        state=BF16 * recurrent * model.mixer.state if model.mixer else 0,
    )


WINDOWED = {"sliding", "chunked", "window", "csa", "hca"}
"""Kinds that keep the last tokens of a window."""


def cached_bytes(model: Model, layer: Layer) -> int:
    """Bytes of one token in one layer: a latent vector, one vector that is key and value, or both for each head."""
    if layer.attention == "mla":
        return BF16 * (model.reader.need("kv_lora_rank") + (model.reader.number("rope_dim", least=0) or 0))
    if layer.attention in {"window", "csa", "hca"}:
        return BF16 * layer.heads.head_dim
    return BF16 * layer.heads.cached


def entry_bytes(model: Model, layer: Layer) -> float:
    """Bytes per token of compressed entries and their index. Source: DeepSeek-V4."""
    if layer.attention not in RATES:
        return 0
    index = model.reader.need("index_dim") if layer.attention == "csa" else 0
    return BF16 * (layer.heads.head_dim + index) / RATES[layer.attention]
