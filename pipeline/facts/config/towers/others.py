"""Towers that are no stack of equal blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.facts.config.towers.keys import Count, Parts
from pipeline.facts.config.towers.pieces import linear_layer


def gemma4_audio(p: Parts) -> int:
    """Gemma 4's conformer: two half feed-forwards around attention and a light convolution, 14 norms of one vector.

    Source: Gemma4AudioModel of transformers 5.23.
    """
    width, outputs = p.width, p.own.size("output_proj_dims")
    first, second = p.own.pair("subsampling_conv_channels")
    stem = 9 * first + first + 9 * first * second + second + first // 4 * second * width
    attention = 5 * width**2 + width // p.own.size("num_attention_heads")
    convolution = 3 * width**2 + p.own.size("conv_kernel_size") * width
    block = 2 * (8 * width**2 + 2 * width) + attention + convolution + 5 * width
    return stem + p.own.count("num_hidden_layers") * block + linear_layer(width, outputs) + outputs * p.text_width


def gemma4_patches(p: Parts) -> int:
    """Gemma 4 12B has no tower: patches go through one matrix, three norms and a table, and a projection.

    Source: Gemma4UnifiedVisionEmbedder of transformers 5.23.
    """
    pixels = 3 * (p.own.size("patch_size") * p.own.size("pooling_kernel_size")) ** 2
    width, outputs = p.own.size("mm_embed_dim"), p.own.size("output_proj_dims")
    embedder = 2 * pixels + linear_layer(pixels, width) + 4 * width + 2 * p.own.size("mm_posemb_size") * width
    return embedder + outputs * p.text_width


def gemma4_waves(p: Parts) -> int:
    """Gemma 4 12B reads audio through one matrix.

    Source: Gemma4UnifiedMultimodalEmbedder of transformers 5.23.
    """
    return p.own.size("audio_embed_dim") * p.text_width


@dataclass(frozen=True)
class Part:
    """A tower of its own shape: one count of all of it."""

    source: str
    """Its configuration class, whose sizes it falls back to."""
    parameters: Count
    names: Mapping[str, str] = field(default_factory=dict)


PARTS: dict[str, Part] = {
    "gemma4_audio": Part("Gemma4AudioConfig", gemma4_audio),
    "gemma4_unified_vision": Part("Gemma4UnifiedVisionConfig", gemma4_patches),
    "gemma4_unified_audio": Part("Gemma4UnifiedAudioConfig", gemma4_waves),
}
