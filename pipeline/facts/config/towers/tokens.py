"""Tokens of the largest image that a tower hands to its text model.

Source: vLLM 0.27, get_mm_max_tokens_per_item of each model class; sizes that stand in no config.json are the ones of
the published processors.
"""

from __future__ import annotations

from pipeline.facts.config.towers.keys import Count, Parts

TILES = 16
"""Tiles of Llama 4's largest image: max_patches of its processor; the whole image comes beside them."""

QWEN_TOKENS = 16_384
"""Qwen 2-VL: 12,845,056 pixels of 28 x 28 each; Qwen 3-VL: 16,777,216 of 32 x 32."""


def fixed(tokens: int) -> Count:
    """As many, whatever the config says.

    >>> from pipeline.facts.config.towers.keys import Keys
    >>> fixed(QWEN_TOKENS)(Parts(Keys({}), Keys({}), Keys({})))
    16384
    """
    return lambda _: tokens


def patches(p: Parts, merge: float = 1) -> int:
    """Patches of one square, side by side merged.

    >>> from pipeline.facts.config.towers.keys import Keys
    >>> patches(Parts(Keys({"image_size": 336, "patch_size": 14}), Keys({}), Keys({})), merge=2)
    144
    """
    (height, width), (tall, wide) = p.own.pair("image_size"), p.own.pair("patch_size")
    return max(int(height / (tall * merge)) * int(width / (wide * merge)), 1)


def gemma3_tokens(p: Parts) -> int:
    """As the config says: no crops by default."""
    return p.top.size("mm_tokens_per_image")


def gemma4_unified_tokens(p: Parts) -> int:
    """As the tower says."""
    return p.own.size("num_soft_tokens")


def llama4_tokens(p: Parts) -> int:
    """All tiles and the whole image, each shuffled together."""
    return (TILES + 1) * patches(p, 1 / p.own.number("pixel_shuffle_ratio"))


def mistral3_tokens(p: Parts) -> int:
    """The largest square, merged."""
    return patches(p, p.top.size("spatial_merge_size"))


def internvl_tokens(p: Parts) -> int:
    """All tiles and a thumbnail."""
    return (p.top.size("max_dynamic_patch") + 1) * patches(p, 1 / p.top.number("downsample_ratio"))
