"""Sizes and towers that several kinds are variations of."""

from __future__ import annotations

from dataclasses import replace

from pipeline.facts.config.towers.pieces import (
    Tower,
    conv_stem,
    glm_merger,
    grid_table,
    internvl_block,
    internvl_extra,
    internvl_positions,
    moonvit_positions,
    omni_extra,
    pooling_head,
    qwen_merger,
    qwen_mergers,
    ratio_width,
    sized_table,
)

SIGLIP = Tower("SiglipVisionConfig", positions=grid_table, outer_norms=1, rest=pooling_head)
QWEN2 = Tower(
    "Qwen2VLVisionConfig",
    patch_bias=False,
    inner_width=ratio_width,
    outer_norms=1,
    rest=qwen_merger,
    names={"hidden_size": "embed_dim", "out_hidden_size": "hidden_size"},
)
QWEN2_5 = Tower(
    "Qwen2_5_VLVisionConfig", patch_bias=False, is_gated=True, norm_vectors=1, outer_norms=1, rest=qwen_merger
)
QWEN3 = Tower("Qwen3VLVisionConfig", positions=sized_table("num_position_embeddings"), outer_norms=1, rest=qwen_mergers)
QWEN3_5 = replace(QWEN3, source="Qwen3_5VisionConfig", rest=qwen_merger)
GLM = Tower(
    "Glm4vVisionConfig",
    positions=grid_table,
    attention_biases=0,
    inner_width=lambda p: p.own.size("out_hidden_size"),
    is_gated=True,
    mlp_bias=False,
    norm_vectors=1,
    outer_norms=2,
    block_extra=lambda p: 3 * p.own.flag("attention_bias") * p.width,
    rest=glm_merger,
)
MOONVIT = Tower("Kimi_K25VisionConfig", positions=moonvit_positions, outer_norms=1)
INTERN = Tower(
    "InternVLVisionConfig",
    positions=internvl_positions,
    attention_biases=1,
    block_extra=internvl_block,
    rest=internvl_extra,
)
WHISPER_ENCODER = Tower(
    "Qwen2AudioEncoderConfig",
    patch_width=lambda p: 3 * p.own.size("num_mel_bins"),
    positions=sized_table("max_source_positions"),
    attention_biases=3,
    outer_norms=1,
    rest=conv_stem,
)
OMNI_AUDIO = Tower(
    "Qwen3OmniMoeAudioEncoderConfig",
    patch_bias=False,
    patch_width=lambda _: 0,  # the stem takes its place
    outer_norms=1,
    rest=omni_extra,
)
