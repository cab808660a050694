"""Kinds of towers: how each differs, and the sizes that its configuration class falls back to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipeline.facts.config.towers.bases import (
    GLM,
    INTERN,
    MOONVIT,
    OMNI_AUDIO,
    QWEN2,
    QWEN2_5,
    QWEN3,
    QWEN3_5,
    SIGLIP,
    WHISPER_ENCODER,
)
from pipeline.facts.config.towers.keys import Parts
from pipeline.facts.config.towers.pieces import (
    Tower,
    class_and_grid_table,
    gemma4_block,
    glm_ocr_block,
    glm_ocr_merger,
    grid_table,
    llama4_adapter,
    mllama_positions,
    no_parameters,
    ovis_biases,
    ovis_tokens,
    qwen2_omni_extra,
    ratio_width,
    sized_table,
    step_downsampling,
)


def mllama_global_blocks(p: Parts) -> int:
    """Llama 3.2 Vision: further blocks with two gates each."""
    return p.own.count("num_global_layers") * (KINDS["mllama_vision_model"].block(p) + 2)


GATED: dict[str, Any] = {"attention_biases": 0, "is_gated": True, "mlp_bias": False, "norm_vectors": 1}
"""Blocks as Llama has them."""
KINDS: dict[str, Tower] = {
    # a tower's own model_type, or the name that its family gives it
    "siglip_vision_model": SIGLIP,
    "siglip2_vision_model": replace(SIGLIP, source="Siglip2VisionConfig", positions=sized_table("num_patches")),
    "clip_vision_model": Tower("CLIPVisionConfig", patch_bias=False, positions=class_and_grid_table, outer_norms=2),
    "pixtral": Tower("PixtralVisionConfig", patch_bias=False, outer_norms=1, **GATED),
    "qwen2_vl": QWEN2,
    "qwen2_5_vl": QWEN2_5,
    "qwen3_vl": QWEN3,
    "qwen3_5": QWEN3_5,
    "glm4v": GLM,
    "glm_ocr": replace(
        GLM,
        source="GlmOcrVisionConfig",
        positions=no_parameters,
        inner_width=lambda p: p.own.size("intermediate_size"),
        outer_norms=1,
        block_extra=glm_ocr_block,
        rest=glm_ocr_merger,
    ),
    "kimi_k25": MOONVIT,
    "moonvit": MOONVIT,
    "internvl_vision": INTERN,
    "intern_vit_6b": replace(INTERN, source="InternVisionConfig of OpenGVLab/InternVL"),
    "mllama_vision_model": Tower(
        "MllamaVisionConfig",
        patch_bias=False,
        positions=mllama_positions,
        attention_biases=0,
        outer_norms=2,
        rest=mllama_global_blocks,
    ),
    "llama4_vision_model": Tower(
        "Llama4VisionConfig", patch_bias=False, positions=class_and_grid_table, outer_norms=2, rest=llama4_adapter
    ),
    "minimax_m3_vl": Tower("MiniMaxM3VLVisionConfig", patch_bias=False, outer_norms=1),
    "step3p7": Tower(
        "Step3p7VisionConfig",
        patch_bias=False,
        positions=grid_table,
        inner_width=ratio_width,
        outer_norms=1,
        block_extra=lambda p: 2 * p.width,
        rest=step_downsampling,
    ),
    "gemma4_vision": Tower(
        "Gemma4VisionConfig",
        patch_bias=False,
        positions=lambda p: 2 * p.own.size("position_embedding_size") * p.width,
        block_extra=gemma4_block,
        **GATED,
    ),
    "ernie4_5_vl_moe": Tower("Ernie4_5_VLMoeVisionConfig", patch_bias=False, outer_norms=1),
    "ovis2": Tower(
        "Ovis2VisionConfig", positions=grid_table, outer_norms=2, block_extra=ovis_biases, rest=ovis_tokens, **GATED
    ),
    "idefics3": Tower("Idefics3VisionConfig", positions=grid_table, outer_norms=1),
    "video_llama_3": Tower("VideoLlama3VisionConfig", outer_norms=1),
    "qwen2_audio_encoder": WHISPER_ENCODER,
    "qwen2_5_omni_audio_encoder": replace(
        WHISPER_ENCODER, source="Qwen2_5OmniAudioEncoderConfig", positions=no_parameters, rest=qwen2_omni_extra
    ),
    "qwen3_omni_moe_audio_encoder": OMNI_AUDIO,
}
