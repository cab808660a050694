"""Pieces that towers share: linears, tables, patches, mergers; and a tower of equal blocks made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.facts.config.towers.keys import Count, Parts


def linear_layer(inputs: int, outputs: int, bias: bool = True) -> int:  # noqa: FBT001, FBT002
    """A matrix, and one number per output where it has a bias.

    >>> linear_layer(3, 5), linear_layer(3, 5, bias=False)
    (20, 15)
    """
    return inputs * outputs + bias * outputs


def no_parameters(_: Parts) -> int:
    """Nothing."""
    return 0


def two_layers(inputs: int, between: int, outputs: int, bias: bool = True) -> int:  # noqa: FBT001, FBT002
    """A plain perceptron of two matrices."""
    return linear_layer(inputs, between, bias) + linear_layer(between, outputs, bias)


def gated_layers(width: int, between: int, bias: bool = False) -> int:  # noqa: FBT001, FBT002
    """A gated perceptron of three matrices."""
    return 2 * linear_layer(width, between, bias) + linear_layer(between, width, bias)


def patch_count(p: Parts) -> int:
    """Patches of an image of the size that the tower was trained on."""
    (high, wide), (patch_high, patch_wide) = p.own.pair("image_size"), p.own.pair("patch_size")
    return (high // patch_high) * (wide // patch_wide)


def grid_table(p: Parts) -> int:
    """A learned vector per patch."""
    return patch_count(p) * p.width


def class_and_grid_table(p: Parts) -> int:
    """A class token, and a learned vector for it and for each patch."""
    return (patch_count(p) + 2) * p.width


def sized_table(name: str) -> Count:
    """A learned vector per position, as many as a key says."""
    return lambda p: p.own.size(name) * p.width


def patch_pixels(p: Parts) -> int:
    """Numbers that one patch is read from: channels, frames, height, width."""
    high, wide = p.own.pair("patch_size")
    return p.own.size("num_channels") * p.own.size("temporal_patch_size") * high * wide


def merged_width(p: Parts) -> int:
    """Numbers of the patches that become one token."""
    return p.width * p.own.size("spatial_merge_size") ** 2


# ----- towers of equal blocks


@dataclass(frozen=True)
class Tower:
    """How one kind of tower is built; what its configuration class falls back to."""

    source: str
    """Its configuration class, whose sizes it falls back to."""
    patch_bias: bool = True
    patch_width: Count = patch_pixels
    positions: Count = no_parameters
    attention_biases: int = 4
    inner_width: Count = lambda p: p.own.size("intermediate_size")
    is_gated: bool = False
    mlp_bias: bool = True
    norm_vectors: int = 2
    outer_norms: int = 0
    block_extra: Count = no_parameters
    rest: Count = no_parameters
    names: Mapping[str, str] = field(default_factory=dict)

    def parameters(self, p: Parts) -> int:
        """Parameters of the whole tower, its own merger included."""
        patches = linear_layer(self.patch_width(p), p.width, self.patch_bias)
        outer = self.outer_norms * self.norm_vectors * p.width
        blocks = p.own.count("num_hidden_layers") * (self.block(p) + self.block_extra(p))
        return patches + self.positions(p) + blocks + outer + self.rest(p)

    def block(self, p: Parts) -> int:
        """Attention, feed-forward, and a norm before each."""
        attention = 4 * p.width**2 + self.attention_biases * p.width
        between = self.inner_width(p)
        forward = (
            gated_layers(p.width, between, self.mlp_bias)
            if self.is_gated
            else two_layers(p.width, between, p.width, self.mlp_bias)
        )
        return attention + forward + 2 * self.norm_vectors * p.width


def pooling_head(p: Parts) -> int:
    """SigLIP's head: a probe, attention, a norm and a perceptron, where the config keeps it."""
    width = p.width
    head = (
        width + 4 * linear_layer(width, width) + 2 * width + two_layers(width, p.own.size("intermediate_size"), width)
    )
    return head if p.own.flag("vision_use_head") else 0


def qwen_merger(p: Parts) -> int:
    """Two matrices over the merged patches of Qwen's towers; the norm before them is the tower's last."""
    merged = merged_width(p)
    return two_layers(merged, merged, p.own.size("out_hidden_size"))


def qwen_mergers(p: Parts) -> int:
    """The merger, and one more with a norm over all merged patches for each layer that feeds the text model."""
    merged = merged_width(p)
    return qwen_merger(p) + p.own.entries("deepstack_visual_indexes") * (2 * merged + qwen_merger(p))


def ratio_width(p: Parts) -> int:
    """Feed-forward width as a ratio of the tower's."""
    return int(p.width * p.own.number("mlp_ratio"))


def glm_merger(p: Parts) -> int:
    """GLM-V: a convolution that merges patches, then a matrix, a norm and a gated perceptron."""
    width = p.own.size("out_hidden_size")
    return (
        linear_layer(merged_width(p), width)
        + width**2
        + 2 * width
        + gated_layers(width, p.own.size("intermediate_size"))
    )


def glm_ocr_merger(p: Parts) -> int:
    """GLM-OCR: the same, as wide as the output times the channels of a picture."""
    width = p.own.size("out_hidden_size")
    between = width * p.own.size("num_channels")
    return linear_layer(merged_width(p), width) + width**2 + 2 * width + gated_layers(width, between)


def glm_ocr_block(p: Parts) -> int:
    """GLM-OCR: biases of attention and feed-forward are one setting; queries and keys have norms per head."""
    biases = 5 * p.width + 2 * p.own.size("intermediate_size")
    return 2 * (p.width // p.own.size("num_attention_heads")) + p.own.flag("attention_bias") * biases


def internvl_block(p: Parts) -> int:
    """InternViT: a scale after each half, and biases and norms of queries and keys where the config asks for them."""
    return (2 + 3 * p.own.flag("attention_bias") + 2 * p.own.flag("use_qk_norm")) * p.width


def internvl_extra(p: Parts) -> int:
    """A norm at the end, where patches are not averaged, and a mask token."""
    return (2 * (not p.own.flag("use_mean_pooling")) + p.own.flag("use_mask_token")) * p.width


def internvl_positions(p: Parts) -> int:
    """A class token, and a table where the config keeps one."""
    return p.width + p.own.flag("use_absolute_position_embeddings") * (patch_count(p) + 1) * p.width


def llama4_adapter(p: Parts) -> int:
    """Llama 4: two matrices over shuffled pixels; the first is as wide as the feed-forward layers."""
    between, outputs = p.own.size("projector_input_dim"), p.own.size("projector_output_dim")
    return p.own.size("intermediate_size") * between + outputs**2


def mllama_positions(p: Parts) -> int:
    """Llama 3.2 Vision: a class token, a table per tile and aspect ratio with gates, and two tables of tiles."""
    tokens, tiles = patch_count(p) + 1, p.own.size("max_num_tiles")
    ratios = p.own.entries("supported_aspect_ratios") + 1
    tables = tokens * p.width * (1 + ratios * tiles) + 2 * ratios * tiles * p.width
    return p.width + tables + 3


def step_downsampling(p: Parts) -> int:
    """Step: two 3 x 3 convolutions, each of which doubles the width."""
    return linear_layer(9 * p.width, 2 * p.width) + linear_layer(18 * p.width, 4 * p.width)


def moonvit_positions(p: Parts) -> int:
    """MoonViT: a table over height and width that is stretched to the image; time is a fixed wave."""
    return p.own.size("pos_emb_height") * p.own.size("pos_emb_width") * p.width


def gemma4_block(p: Parts) -> int:
    """Gemma 4: heads may be wider than the tower and share keys; norms of both; two norms after the halves."""
    head = p.own.size("head_dim")
    heads = 2 * p.own.size("num_attention_heads") + 2 * p.own.size("num_key_value_heads")
    return heads * head * p.width - 4 * p.width**2 + 2 * head + 2 * p.width


def conv_stem(p: Parts) -> int:
    """Whisper: a convolution of three steps over tokens, after the one over mel bins."""
    return linear_layer(3 * p.width, p.width)


def omni_stem(p: Parts) -> int:
    """Qwen3-Omni and Qwen3-ASR: three strided convolutions over mel bins, and a matrix into the tower."""
    channels, bins = p.own.size("downsample_hidden_size"), p.own.size("num_mel_bins")
    for _ in range(3):
        bins = (bins + 1) // 2
    return linear_layer(9, channels) + 2 * linear_layer(9 * channels, channels) + channels * bins * p.width


def omni_extra(p: Parts) -> int:
    """The stem, and two matrices into the text model."""
    return omni_stem(p) + two_layers(p.width, p.width, p.own.size("output_dim"))


def qwen2_omni_extra(p: Parts) -> int:
    """Whisper's second convolution, two vectors around speech, and a matrix into the text model."""
    return conv_stem(p) + 2 * p.own.size("output_dim") + linear_layer(p.width, p.own.size("output_dim"))


def ovis_tokens(p: Parts) -> int:
    """Ovis: patches become weights over a visual vocabulary."""
    words = p.own.size("vocab_size") - p.own.count("num_visual_indicator_tokens")
    return p.width * p.own.size("hidden_stride") ** 2 * words + 2 * words


def ovis_biases(p: Parts) -> int:
    """Ovis: biases of attention and of feed-forward, each a setting."""
    mlp = p.own.flag("mlp_bias") * (2 * p.own.size("intermediate_size") + p.width)
    return 4 * p.own.flag("attention_bias") * p.width + mlp
