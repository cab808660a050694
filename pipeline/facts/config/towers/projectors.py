"""What joins a tower to the text model."""

from __future__ import annotations

from pipeline.facts.config.towers.keys import Parts
from pipeline.facts.config.towers.pieces import linear_layer, merged_width, two_layers


def feature_width(p: Parts) -> int:
    """The tower's width, once for each of its layers that the projector reads."""
    return p.width * p.top.entries("vision_feature_layer")


def llava_projector(p: Parts) -> int:
    """Two matrices, with biases where the config says so."""
    return two_layers(feature_width(p), p.text_width, p.text_width, p.top.flag("multimodal_projector_bias"))


def llava_next_projector(p: Parts) -> int:
    """The same, and a vector that ends a row of patches."""
    return llava_projector(p) + p.text_width


def mistral_projector(p: Parts) -> int:
    """A norm, a matrix that merges patches, and two into the text model."""
    return p.width + (p.width * p.top.size("spatial_merge_size")) ** 2 + llava_projector(p)


def gemma3_projector(p: Parts) -> int:
    """A norm and a matrix."""
    return p.width + p.width * p.text_width


def gemma4_projector(p: Parts) -> int:
    """A matrix after a norm without scales."""
    return p.width * p.text_width


def paligemma_projector(p: Parts) -> int:
    """One matrix."""
    return linear_layer(p.width, p.top.size("projection_dim"))


def cohere_projector(p: Parts) -> int:
    """A gated perceptron over merged patches."""
    between = p.top.size("alignment_intermediate_size")
    return linear_layer(p.width * p.top.size("downsample_factor") ** 2, between) + linear_layer(
        between // 2, p.text_width
    )


def aya_projector(p: Parts) -> int:
    """The same after a norm; as wide as the text model where nothing is said."""
    merged = p.width * p.top.size("downsample_factor") ** 2
    between = p.top.size("alignment_intermediate_size") if p.top.raw("alignment_intermediate_size") else p.text_width
    return 2 * merged + linear_layer(merged, between) + linear_layer(between // 2, p.text_width)


def lfm2_projector(p: Parts) -> int:
    """Two matrices over merged patches, after a norm where the config says so."""
    merged = p.width * p.top.size("downsample_factor") ** 2
    norm = p.top.flag("projector_use_layernorm") * 2 * merged
    return norm + two_layers(merged, p.top.size("projector_hidden_size"), p.text_width, p.top.flag("projector_bias"))


def internvl_projector(p: Parts) -> int:
    """A norm and two matrices over merged patches."""
    merged = p.width * int(1 / p.top.number("downsample_ratio")) ** 2
    return 2 * merged + two_layers(merged, p.text_width, p.text_width)


def kimi_projector(p: Parts) -> int:
    """A norm, and two matrices over merged patches."""
    high, wide = p.own.pair("merge_kernel_size")
    merged = p.width * high * wide
    norm = p.top.size("projection_hidden_size") if p.top.raw("projection_hidden_size") else p.width
    return 2 * norm + two_layers(merged, merged, p.text_width)


def llama4_projector(p: Parts) -> int:
    """One matrix."""
    return p.own.size("vision_output_dim") * p.text_width


def mllama_projector(p: Parts) -> int:
    """One matrix with a bias, over the outputs of several layers side by side."""
    return linear_layer(p.own.size("vision_output_dim"), p.text_width)


def step_projector(p: Parts) -> int:
    """One matrix, four times as wide as the tower."""
    return linear_layer(4 * p.width, p.text_width, p.top.flag("projector_bias"))


def minimax_projector(p: Parts) -> int:
    """Two matrices per patch, and two over merged patches."""
    between, merged = p.top.size("projector_hidden_size"), p.text_width * p.own.size("spatial_merge_size") ** 2
    return two_layers(p.width, between, p.text_width) + two_layers(merged, between, p.text_width)


def ernie_resampler(p: Parts) -> int:
    """Two perceptrons over space and over time, a matrix into the text model, and a norm."""
    spatial = merged_width(p)
    temporal = spatial * p.own.size("temporal_merge_size")
    perceptrons = two_layers(spatial, spatial, spatial) + two_layers(temporal, spatial, spatial) + 4 * spatial
    return perceptrons + linear_layer(spatial, p.text_width) + p.text_width


def idefics_projector(p: Parts) -> int:
    """One matrix over merged patches."""
    return p.width * p.top.size("scale_factor") ** 2 * p.text_width


def ovis_table(p: Parts) -> int:
    """A vector of the text model's width per word of the visual vocabulary."""
    return p.own.size("vocab_size") * p.top.size("hidden_size")


def video_llama_projector(p: Parts) -> int:
    """Two matrices."""
    return two_layers(p.width, p.text_width, p.text_width)


def one_linear(p: Parts) -> int:
    """One matrix with a bias."""
    return linear_layer(p.width, p.text_width)


def voxtral_projector(p: Parts) -> int:
    """Two matrices over four steps side by side."""
    return two_layers(p.own.size("intermediate_size"), p.text_width, p.text_width, bias=False)
