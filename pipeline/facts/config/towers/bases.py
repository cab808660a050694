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

SIGLIP_BASE = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "temporal_patch_size": 1,
    "image_size": 224,
    "patch_size": 16,
}
SO400M = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
QWEN_VIT = {
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "num_channels": 3,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
QWEN3_VIT = {**QWEN_VIT, **SO400M, "patch_size": 16, "out_hidden_size": 3584, "num_position_embeddings": 2304}
WHISPER = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_mel_bins": 128,
    "max_source_positions": 1500,
}
INTERNVIT = {
    **SIGLIP_BASE,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "image_size": 448,
    "patch_size": 14,
    "use_mean_pooling": True,
    "use_absolute_position_embeddings": True,
}
GLM_VIT = {
    **QWEN_VIT,
    "num_hidden_layers": 24,
    "image_size": 336,
    "hidden_size": 1536,
    "num_attention_heads": 12,
    "out_hidden_size": 4096,
    "intermediate_size": 13696,
}

SIGLIP = Tower(
    "SiglipVisionConfig",
    {**SIGLIP_BASE, "vision_use_head": True},
    positions=grid_table,
    outer_norms=1,
    rest=pooling_head,
)
QWEN2 = Tower(
    "Qwen2VLVisionConfig",
    {**QWEN_VIT, "hidden_size": 1280, "out_hidden_size": 3584, "mlp_ratio": 4},
    patch_bias=False,
    inner_width=ratio_width,
    outer_norms=1,
    rest=qwen_merger,
    names={"hidden_size": "embed_dim", "out_hidden_size": "hidden_size"},
)
QWEN2_5 = Tower(
    "Qwen2_5_VLVisionConfig",
    {**QWEN_VIT, "hidden_size": 3584, "intermediate_size": 3420, "out_hidden_size": 3584},
    patch_bias=False,
    is_gated=True,
    norm_vectors=1,
    outer_norms=1,
    rest=qwen_merger,
)
QWEN3 = Tower(
    "Qwen3VLVisionConfig",
    {**QWEN3_VIT, "deepstack_visual_indexes": (8, 16, 24)},
    positions=sized_table("num_position_embeddings"),
    outer_norms=1,
    rest=qwen_mergers,
)
QWEN3_5 = replace(QWEN3, source="Qwen3_5VisionConfig", defaults=QWEN3_VIT, rest=qwen_merger)
GLM = Tower(
    "Glm4vVisionConfig",
    GLM_VIT,
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
MOONVIT = Tower(
    "Kimi_K25VisionConfig",
    {**SIGLIP_BASE, **SO400M, "patch_size": 14, "pos_emb_height": 64, "pos_emb_width": 64, "merge_kernel_size": (2, 2)},
    positions=moonvit_positions,
    outer_norms=1,
)
INTERN = Tower(
    "InternVLVisionConfig",
    INTERNVIT,
    positions=internvl_positions,
    attention_biases=1,
    block_extra=internvl_block,
    rest=internvl_extra,
)
WHISPER_ENCODER = Tower(
    "Qwen2AudioEncoderConfig",
    WHISPER,
    patch_width=lambda p: 3 * p.own.size("num_mel_bins"),
    positions=sized_table("max_source_positions"),
    attention_biases=3,
    outer_norms=1,
    rest=conv_stem,
)
OMNI_AUDIO = Tower(
    "Qwen3OmniMoeAudioEncoderConfig",
    {**WHISPER, "downsample_hidden_size": 480, "output_dim": 3584},
    patch_bias=False,
    patch_width=lambda _: 0,  # the stem takes its place
    outer_norms=1,
    rest=omni_extra,
)
