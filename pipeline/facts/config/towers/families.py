"""Which towers each model type has, and what joins them to its text model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.facts.config.towers import projectors, tokens
from pipeline.facts.config.towers.keys import Count, class_sizes
from pipeline.facts.config.towers.pieces import no_parameters


@dataclass(frozen=True)
class Side:
    """One tower of a family: where it stands, of which kind it is, how it is joined."""

    key: str
    kind: str
    join: Count = no_parameters
    absent: Mapping[str, Any] | None = field(default_factory=dict)
    """What is built where the config has no such part, on top of the kind's defaults; None: nothing."""
    is_open: bool = False
    """Whether the part's own model_type chooses another kind."""


@dataclass(frozen=True)
class Family:
    """What a model type adds to its text model, and the defaults of its own class."""

    sides: tuple[Side, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    text: Mapping[str, Any] = field(default_factory=dict)
    text_only: tuple[str, ...] = ()
    """Classes of the same model type that have no tower."""
    is_split: bool = True
    """Whether tensor-parallel ranks of vLLM share the towers; else each holds them whole."""
    tokens: Count | None = None
    """Tokens of the largest image; None: not known."""


WHOLE = frozenset({"gemma3n", "deepseek_vl_v2", "phi4mm"})
"""Further model types whose towers every rank of vLLM holds whole: timm, AutoModel, audio conformers."""


def vision(kind: str, join: Count = no_parameters, **more: Any) -> Side:
    """A tower that stands under vision_config."""
    return Side("vision_config", kind, join, **more)


def audio(kind: str, join: Count = no_parameters, **more: Any) -> Side:
    """A tower that stands under audio_config."""
    return Side("audio_config", kind, join, **more)


def siglip(join: Count, **absent: Any) -> Side:
    """A SigLIP under vision_config: that of SO400M, but for what is stated."""
    return vision("siglip_vision_model", join, absent=SO400M | absent, is_open=True)


SO400M = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
HEADLESS = {"vision_use_head": False}
CLIP = class_sizes("CLIPVisionConfig of LLaVA")
LLAVA = Family(
    (vision("clip_vision_model", projectors.llava_projector, absent=CLIP, is_open=True),),
    {"multimodal_projector_bias": True, "vision_feature_layer": -2},
    {"hidden_size": 4096},
)
MISTRAL_DEFAULTS = {"multimodal_projector_bias": False, "vision_feature_layer": -1, "spatial_merge_size": 2}
MISTRAL3 = Family(
    (vision("pixtral", projectors.mistral_projector, absent={"patch_size": 14, "image_size": 1540}, is_open=True),),
    MISTRAL_DEFAULTS,
    {"hidden_size": 5120},
    is_split=False,  # in Mistral's own format, which these repositories load in, up to vLLM 0.19
    tokens=tokens.mistral3_tokens,
)
QWEN2_VL = Family((vision("qwen2_vl"),), tokens=tokens.fixed(tokens.QWEN_TOKENS))
QWEN3_VL = Family((vision("qwen3_vl"),), tokens=tokens.fixed(tokens.QWEN_TOKENS))
QWEN3_5_FAMILY = Family(
    (vision("qwen3_5"),),
    text_only=("Qwen3_5ForCausalLM", "Qwen3_5MoeForCausalLM"),
    tokens=tokens.fixed(tokens.QWEN_TOKENS),
)
GLM4V = Family((vision("glm4v"),))
IDEFICS3 = Family((vision("idefics3", projectors.idefics_projector),), {"scale_factor": 2}, {"hidden_size": 4096})
QWEN2_5_OMNI = Family((vision("qwen2_5_vl"), audio("qwen2_5_omni_audio_encoder")))
QWEN3_OMNI = Family((vision("qwen3_vl"), audio("qwen3_omni_moe_audio_encoder")))

FAMILIES: dict[str, Family] = {
    # model_type of the config: its towers
    "llava": LLAVA,
    "llava_next": replace(LLAVA, sides=(replace(LLAVA.sides[0], join=projectors.llava_next_projector),)),
    "llava_next_video": replace(LLAVA, sides=(replace(LLAVA.sides[0], join=projectors.llava_next_projector),)),
    "llava_onevision": Family(
        (siglip(projectors.llava_next_projector, patch_size=14, image_size=384, num_hidden_layers=26, **HEADLESS),),
        {"multimodal_projector_bias": True, "vision_feature_layer": -1},
        {"hidden_size": 4096},
    ),
    "mistral3": MISTRAL3,
    "lighton_ocr": replace(MISTRAL3, text={"hidden_size": 1024}, is_split=True, tokens=None),
    "gemma3": Family(
        (vision("siglip_vision_model", projectors.gemma3_projector, is_open=True),),
        {"mm_tokens_per_image": 256},
        {"hidden_size": 2304},
        text_only=("Gemma3ForCausalLM",),
        tokens=tokens.gemma3_tokens,
    ),
    "gemma4": Family(
        (vision("gemma4_vision", projectors.gemma4_projector, absent=None), audio("gemma4_audio", absent=None)),
        text={"hidden_size": 2304},
        text_only=("Gemma4ForCausalLM",),
        is_split=False,
    ),
    "gemma4_unified": Family(
        (vision("gemma4_unified_vision", absent=None), audio("gemma4_unified_audio", absent=None)),
        text={"hidden_size": 2304},
        text_only=("Gemma4UnifiedForCausalLM",),
        is_split=False,
        tokens=tokens.gemma4_unified_tokens,
    ),
    "paligemma": Family(
        (siglip(projectors.paligemma_projector, intermediate_size=4096, patch_size=14, vision_use_head=False),),
        {"projection_dim": 2048},
        {"hidden_size": 2048},
    ),
    "qwen2_vl": QWEN2_VL,
    "qwen2_5_vl": replace(QWEN2_VL, sides=(vision("qwen2_5_vl"),)),
    "qwen3_vl": QWEN3_VL,
    "qwen3_vl_moe": QWEN3_VL,
    "qwen3_5": QWEN3_5_FAMILY,
    "qwen3_5_moe": QWEN3_5_FAMILY,
    "qwen2_5_omni_thinker": QWEN2_5_OMNI,
    "qwen2_5_omni": QWEN2_5_OMNI,
    "qwen3_omni_moe_thinker": QWEN3_OMNI,
    "qwen3_omni_moe": QWEN3_OMNI,
    "glm4v": GLM4V,
    "glm4v_moe": GLM4V,
    "glm46v": GLM4V,
    "glm_ocr": Family((vision("glm_ocr"),)),
    "kimi_k25": Family(
        (vision("kimi_k25", projectors.kimi_projector),), {"projection_hidden_size": 1152}, {"hidden_size": 7168}
    ),
    "kimi_vl": Family((vision("moonvit", projectors.kimi_projector),)),
    "internvl": Family(
        (vision("internvl_vision", projectors.internvl_projector),),
        {"downsample_ratio": 0.5, "max_dynamic_patch": 12},
        {"hidden_size": 4096},
        tokens=tokens.internvl_tokens,
    ),
    "internvl_chat": Family(
        (vision("intern_vit_6b", projectors.internvl_projector, is_open=True),),
        {"downsample_ratio": 0.5, "max_dynamic_patch": 12},
        {"hidden_size": 4096},
        tokens=tokens.internvl_tokens,
    ),
    "mllama": Family(
        (vision("mllama_vision_model", projectors.mllama_projector),),
        text={"hidden_size": 4096},
        text_only=("MllamaForCausalLM",),
    ),
    "llama4": Family(
        (vision("llama4_vision_model", projectors.llama4_projector),),
        text={"hidden_size": 5120},
        text_only=("Llama4ForCausalLM",),
        tokens=tokens.llama4_tokens,
    ),
    "minimax_m3_vl": Family(
        (vision("minimax_m3_vl", projectors.minimax_projector),), {"projector_hidden_size": 6144}, {"hidden_size": 6144}
    ),
    "step3p7": Family(
        (vision("step3p7", projectors.step_projector),), {"projector_bias": False}, {"hidden_size": 4096}
    ),
    "ernie4_5_vl_moe": Family((vision("ernie4_5_vl_moe", projectors.ernie_resampler),), text={"hidden_size": 2560}),
    "lfm2_vl": Family(
        (vision("siglip2_vision_model", projectors.lfm2_projector, is_open=True),),
        {
            "projector_hidden_size": 2560,
            "projector_bias": True,
            "projector_use_layernorm": True,
            "downsample_factor": 2,
        },
        {"hidden_size": 2560},
    ),
    "cohere2_vision": Family(
        (siglip(projectors.cohere_projector, intermediate_size=3072, image_size=512, num_attention_heads=12),),
        {"downsample_factor": 2, "alignment_intermediate_size": 36864},
        {"hidden_size": 8192},
    ),
    "aya_vision": Family(
        (siglip(projectors.aya_projector, patch_size=14, image_size=384, num_hidden_layers=26, **HEADLESS),),
        {"downsample_factor": 2},
        {"hidden_size": 8192},
    ),
    "idefics3": IDEFICS3,
    "smolvlm": IDEFICS3,
    "ovis2": Family((vision("ovis2", projectors.ovis_table),), {"hidden_size": 1536}),
    "video_llama_3": Family((vision("video_llama_3", projectors.video_llama_projector),), text={"hidden_size": 4096}),
    "qwen2_audio": Family(
        (audio("qwen2_audio_encoder", projectors.one_linear, is_open=True),), text={"hidden_size": 4096}
    ),
    "voxtral": Family((audio("qwen2_audio_encoder", projectors.voxtral_projector),), text={"hidden_size": 3072}),
}
