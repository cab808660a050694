"""Parameters of vision and audio towers: small configs counted by hand, published totals, malformed values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import CatalogError
from pipeline.facts.config.towers import FAMILIES, KINDS, tower_parameter_count
from pipeline.facts.config.towers.keys import class_sizes

WIDTH, BETWEEN, LAYERS, TEXT = 8, 12, 3, 10
"""Sizes of the small towers below."""

TEXT_PART = {"hidden_size": TEXT}
SMALL = {
    "hidden_size": WIDTH,
    "intermediate_size": BETWEEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "image_size": 8,
    "patch_size": 4,  # 2 x 2 patches of 4 x 4 pixels in 3 colours
}
MATRICES, BIASES, NORM = 4 * 8 * 8, 4 * 8, 2 * 8
PLAIN = 2 * 8 * 12 + 12 + 8
BLOCK = MATRICES + BIASES + PLAIN + 2 * NORM
PIXELS = 3 * 4 * 4
SIGLIP = PIXELS * 8 + 8 + 4 * 8 + 3 * BLOCK + NORM
CLIP = PIXELS * 8 + 8 + (4 + 1) * 8 + NORM + 3 * BLOCK + NORM
PIXTRAL = PIXELS * 8 + 8 + 3 * (MATRICES + 3 * 8 * 12 + 2 * 8)
QWEN = {"depth": 3, "hidden_size": 8, "intermediate_size": 12, "num_heads": 2, "patch_size": 4, "out_hidden_size": 10}
QWEN_PIXELS = 2 * PIXELS * 8  # two frames
QWEN_MERGER = 32 * 32 + 32 + 32 * 10 + 10
GLM = {**QWEN, "image_size": 8}
GLM_MERGER = 32 * 10 + 10 + 10 * 10 + 2 * 10 + 3 * 10 * 12
KIMI_JOIN = 2 * 8 + 32 * 32 + 32 + 32 * 10 + 10


def config(model_type: str, vision: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A config with a small tower."""
    part = {} if vision is None else {"vision_config": vision}
    return {"model_type": model_type, "text_config": TEXT_PART, **part, **more}


WITHOUT_HEAD = {**SMALL, "model_type": "siglip_vision_model", "vision_use_head": False}
HEAD = 8 + MATRICES + BIASES + NORM + PLAIN

BY_HAND: dict[str, tuple[dict[str, Any], int]] = {
    "SigLIP with Gemma 3's projector": (config("gemma3", WITHOUT_HEAD), SIGLIP + 8 + 8 * 10),
    "SigLIP with its pooling head": (config("gemma3", SMALL), SIGLIP + HEAD + 8 + 8 * 10),
    "SigLIP of PaliGemma": (config("paligemma", WITHOUT_HEAD, projection_dim=10), SIGLIP + 8 * 10 + 10),
    "SigLIP 2 of LFM2-VL": (
        config(
            "lfm2_vl", {**WITHOUT_HEAD, "model_type": "siglip2_vision_model", "num_patches": 4}, projector_hidden_size=6
        ),
        SIGLIP + 2 * 32 + 32 * 6 + 6 + 6 * 10 + 10,
    ),
    "SigLIP of Command A Vision": (
        config("cohere2_vision", WITHOUT_HEAD, alignment_intermediate_size=6),
        SIGLIP + 32 * 6 + 6 + 3 * 10 + 10,
    ),
    "SigLIP of Aya Vision": (config("aya_vision", WITHOUT_HEAD), SIGLIP + 2 * 32 + 32 * 10 + 10 + 5 * 10 + 10),
    "CLIP of LLaVA": (config("llava", SMALL), CLIP + 8 * 10 + 10 + 10 * 10 + 10),
    "CLIP of LLaVA, two layers read": (
        config("llava", SMALL, vision_feature_layer=[-2, -1], multimodal_projector_bias=False),
        CLIP + 2 * 8 * 10 + 10 * 10,
    ),
    "CLIP of LLaVA-NeXT": (config("llava_next", SMALL), CLIP + 8 * 10 + 10 + 10 * 10 + 10 + 10),
    "Pixtral of Mistral 3": (config("mistral3", SMALL), PIXTRAL + 8 + 32 * 8 + 8 * 10 + 10 * 10),
    "Pixtral of LLaVA": (config("llava", {**SMALL, "model_type": "pixtral"}), PIXTRAL + 8 * 10 + 10 + 10 * 10 + 10),
    "Qwen2-VL": (
        config("qwen2_vl", {"depth": 3, "embed_dim": 8, "mlp_ratio": 1.5, "hidden_size": 10, "patch_size": 4}),
        QWEN_PIXELS + 3 * BLOCK + NORM + QWEN_MERGER,
    ),
    "Qwen2.5-VL": (
        config("qwen2_5_vl", QWEN),
        QWEN_PIXELS + 3 * (MATRICES + BIASES + 3 * 8 * 12 + 2 * 12 + 8 + 2 * 8) + 8 + QWEN_MERGER,
    ),
    "Qwen3-VL": (
        config("qwen3_vl", {**QWEN, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 2]}),
        QWEN_PIXELS + 8 + 16 * 8 + 3 * BLOCK + NORM + QWEN_MERGER + 2 * (2 * 32 + QWEN_MERGER),
    ),
    "Qwen3.5": (
        config("qwen3_5_moe", {**QWEN, "num_position_embeddings": 16}),
        QWEN_PIXELS + 8 + 16 * 8 + 3 * BLOCK + NORM + QWEN_MERGER,
    ),
    "GLM-4.5V": (
        config("glm4v_moe", GLM),
        QWEN_PIXELS + 8 + 4 * 8 + 3 * (MATRICES + 3 * 8 * 10 + 2 * 8) + 2 * 8 + GLM_MERGER,
    ),
    "GLM-OCR": (
        config("glm_ocr", QWEN),
        QWEN_PIXELS
        + 8
        + 3 * (MATRICES + BIASES + 3 * 8 * 12 + 2 * 12 + 8 + 2 * 4 + 2 * 8)
        + 8
        + (32 * 10 + 10 + 10 * 10 + 2 * 10 + 3 * 10 * 30),
    ),
    "MoonViT of Kimi K2.5": (
        config(
            "kimi_k25",
            {
                "vt_hidden_size": 8,
                "vt_intermediate_size": 12,
                "vt_num_hidden_layers": 3,
                "patch_size": 4,
                "init_pos_emb_height": 5,
                "init_pos_emb_width": 7,
            },
            projection_hidden_size=8,
        ),
        PIXELS * 8 + 8 + 35 * 8 + 3 * BLOCK + NORM + KIMI_JOIN,
    ),
    "InternViT": (
        config("internvl", {**SMALL, "image_size": [8, 8], "patch_size": [4, 4], "attention_bias": True}),
        PIXELS * 8 + 8 + (1 + 5) * 8 + 3 * (BLOCK + 2 * 8) + (2 * 32 + 32 * 10 + 10 + 10 * 10 + 10),
    ),
    "Llama 4": (
        config("llama4", {**SMALL, "projector_input_dim": 6, "projector_output_dim": 6, "vision_output_dim": 6}),
        CLIP + 12 * 6 + 6 * 6 + 6 * 10,
    ),
    "Llama 3.2 Vision": (
        config(
            "mllama",
            {**SMALL, "num_global_layers": 1, "max_num_tiles": 2, "vision_output_dim": 24}
            | {"supported_aspect_ratios": [[1, 1], [1, 2]]},
        ),
        PIXELS * 8
        + 8
        + (5 * 8 + 3 * 2 * 5 * 8 + 1)
        + 2 * (3 * 2 * 8 + 1)
        + 2 * NORM
        + 3 * (BLOCK - BIASES)
        + (BLOCK - BIASES + 2)
        + 24 * 10
        + 10,
    ),
    "MiniMax M3": (
        config("minimax_m3_vl", SMALL, projector_hidden_size=6),
        QWEN_PIXELS + NORM + 3 * BLOCK + (8 * 6 + 6 + 6 * 10 + 10) + (40 * 6 + 6 + 6 * 10 + 10),
    ),
    "Step 3.7": (
        config("step3p7", {**SMALL, "mlp_ratio": 1.5}),
        PIXELS * 8 + 4 * 8 + NORM + 3 * (BLOCK + 2 * 8) + (9 * 8 * 16 + 16) + (9 * 16 * 32 + 32) + 32 * 10,
    ),
    "Gemma 4": (
        config("gemma4", {**SMALL, "num_key_value_heads": 1, "head_dim": 6, "position_embedding_size": 5}),
        PIXELS * 8 + 2 * 5 * 8 + 3 * (2 * 2 * 6 * 8 + 2 * 1 * 6 * 8 + 2 * 6 + 3 * 8 * 12 + 4 * 8) + 8 * 10,
    ),
    "Gemma 4 audio": (
        config(
            "gemma4",
            audio_config={
                "hidden_size": 8,
                "num_hidden_layers": 3,
                "num_attention_heads": 2,
                "subsampling_conv_channels": [4, 2],
                "output_proj_dims": 6,
            },
        ),
        (9 * 4 + 4 + 9 * 4 * 2 + 2 + 1 * 2 * 8)
        + 3 * (2 * (8 * 64 + 16) + (5 * 64 + 4) + (3 * 64 + 5 * 8 + 2 * 8) + 3 * 8)
        + (8 * 6 + 6)
        + 6 * 10,
    ),
    "Gemma 4 without towers": (
        config(
            "gemma4_unified",
            {"patch_size": 2, "pooling_kernel_size": 2, "mm_embed_dim": 6, "mm_posemb_size": 5, "output_proj_dims": 6},
            audio_config={"audio_embed_dim": 7},
        ),
        (2 * 48 + 48 * 6 + 6 + 2 * 6 + 5 * 2 * 6 + 2 * 6 + 6 * 10) + 7 * 10,
    ),
    "ERNIE 4.5 VL": (
        config("ernie4_5_vl_moe", QWEN),
        PIXELS * 8
        + 3 * BLOCK
        + NORM
        + 2 * (32 * 32 + 32)
        + (64 * 32 + 32 + 32 * 32 + 32)
        + 2 * 2 * 32
        + (32 * 10 + 10)
        + 10,
    ),
    "Idefics 3": (config("idefics3", SMALL), SIGLIP + 32 * 10),
    "Ovis 2": (
        config("ovis2", {**SMALL, "vocab_size": 9}, hidden_size=10),
        PIXELS * 8 + 8 + 4 * 8 + 8 + 3 * (MATRICES + 3 * 8 * 12 + 2 * 8) + 8 + 8 * 4 + 2 * 4 + 9 * 10,
    ),
    "VideoLLaMA 3": (config("video_llama_3", SMALL), SIGLIP - 4 * 8 + 8 * 10 + 10 + 10 * 10 + 10),
    "Qwen2-Audio": (
        config(
            "qwen2_audio",
            audio_config={"d_model": 8, "encoder_ffn_dim": 12, "encoder_layers": 3}
            | {"num_mel_bins": 4, "max_source_positions": 5},
        ),
        (3 * 4 * 8 + 8) + (3 * 8 * 8 + 8) + 5 * 8 + 3 * (BLOCK - 8) + NORM + 8 * 10 + 10,
    ),
    "Voxtral": (
        config("voxtral", audio_config={**SMALL, "num_mel_bins": 4, "max_source_positions": 5}),
        (3 * 4 * 8 + 8) + (3 * 8 * 8 + 8) + 5 * 8 + 3 * (BLOCK - 8) + NORM + 12 * 10 + 10 * 10,
    ),
    "Qwen3-Omni": (
        {
            "model_type": "qwen3_omni_moe",
            "thinker_config": {
                "vision_config": {**QWEN, "num_position_embeddings": 16, "deepstack_visual_indexes": []},
                "audio_config": {"d_model": 8, "encoder_ffn_dim": 12, "encoder_layers": 3, "num_mel_bins": 16}
                | {"downsample_hidden_size": 2, "output_dim": 10},
            },
        },
        (QWEN_PIXELS + 8 + 16 * 8 + 3 * BLOCK + NORM + QWEN_MERGER)
        + (9 * 2 + 2 + 2 * (9 * 2 * 2 + 2) + 2 * 2 * 8)
        + (3 * BLOCK + NORM + 8 * 8 + 8 + 8 * 10 + 10),
    ),
}


@pytest.mark.parametrize(("small", "parameters"), BY_HAND.values(), ids=BY_HAND)
def test_small_towers_count_as_by_hand(small: dict[str, Any], parameters: int) -> None:
    """Every matrix, bias, norm and table of every kind."""
    assert tower_parameter_count(small) == (parameters, [])


QWEN3_VL_2B = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "out_hidden_size": 2048}
SO400M = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27}
PUBLISHED: dict[str, tuple[dict[str, Any], int]] = {
    # totals of the published checkpoints, less their text models
    "Qwen2-VL-7B": ({"model_type": "qwen2_vl", "vision_config": {"hidden_size": 3584}}, 675_759_104),
    "Qwen2.5-VL-7B": ({"model_type": "qwen2_5_vl", "vision_config": {"hidden_size": 1280}}, 676_550_144),
    "Qwen3-VL-2B": (
        {"model_type": "qwen3_vl", "vision_config": {**QWEN3_VL_2B, "deepstack_visual_indexes": [5, 11, 17]}},
        406_957_056,
    ),
    "Gemma 3 4B": (
        {
            "model_type": "gemma3",
            "text_config": {"hidden_size": 2560},
            "vision_config": {**SO400M, "image_size": 896, "patch_size": 14, "vision_use_head": False},
        },
        419_816_304,
    ),
    "Mistral Small 3.1": (
        {"model_type": "mistral3", "vision_config": {"patch_size": 14}, "text_config": {"hidden_size": 5120}},
        438_958_080,
    ),
    "Llama 3.2 11B Vision": (
        {"model_type": "mllama", "vision_config": {"image_size": 560}, "text_config": {"hidden_size": 4096}},
        895_028_755,
    ),
    "Llama 4": (
        {
            "model_type": "llama4",
            "text_config": {"hidden_size": 5120},
            "vision_config": {"hidden_size": 1408, "image_size": 336, "vision_output_dim": 4096},
        },
        871_932_416,
    ),
}


@pytest.mark.parametrize(("stated", "parameters"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_towers_are_met_to_the_unit(stated: dict[str, Any], parameters: int) -> None:
    """What is on disk is what is counted; keys left out take the class's defaults."""
    assert tower_parameter_count(stated) == (parameters, [])


@pytest.mark.parametrize(
    "text_only",
    [
        {"model_type": "llama", "hidden_size": 4096},
        {},
        {"model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"]},
        {"model_type": "qwen3_5", "architectures": ["Qwen3_5ForCausalLM"]},
        {"model_type": "gemma4", "text_config": {"hidden_size": 8}, "vision_config": None},
    ],
)
def test_a_text_model_has_no_towers(text_only: dict[str, Any]) -> None:
    """Nothing is counted, and nothing is said."""
    assert tower_parameter_count(text_only) == (0, [])


def test_a_missing_tower_of_a_family_that_always_has_one_is_told() -> None:
    """Its class's defaults are counted, with a warning that names the class."""
    count, warnings = tower_parameter_count(config("llama4"))
    assert count > 0
    assert "Llama4VisionConfig" in warnings[0]


def test_an_unknown_tower_is_estimated_and_told() -> None:
    """A plain transformer where its sizes are stated; nothing where they are not."""
    count, warnings = tower_parameter_count(config("nobody_knows", SMALL))
    assert count == CLIP - NORM + 8 + 8 * 10 + 10 + 10 * 10 + 10
    assert "no tower of this kind is known" in warnings[0]
    count, warnings = tower_parameter_count(config("nobody_knows", {"model_type": "new"}))
    assert count == 0
    assert "not counted" in warnings[0]


def test_doubling_layers_doubles_what_layers_hold() -> None:
    """Blocks are equal; the rest is there once."""
    counts = [tower_parameter_count(config("llava", {**SMALL, "num_hidden_layers": n}))[0] for n in (0, 3, 6)]
    assert counts[2] - counts[1] == counts[1] - counts[0] == 3 * BLOCK


WRONG = [-1, 0.5, "8", [], [[1]], {"a": 1}, True, 10**30, float("nan"), float("inf")]


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize("model_type", ["gemma3", "llava", "qwen3_vl", "mllama"])
def test_a_size_that_cannot_be_true_is_refused(model_type: str, value: Any) -> None:
    """The error names the part and the key."""
    with pytest.raises(CatalogError, match="vision_config: hidden_size"):
        tower_parameter_count(config(model_type, {**SMALL, "hidden_size": value}))


@pytest.mark.parametrize("value", [1, "x", [1], True], ids=repr)
def test_a_part_that_is_no_table_is_refused(value: Any) -> None:
    """A part of a config is a table of keys."""
    for model_type in ("gemma3", "nobody_knows"):
        with pytest.raises(CatalogError, match="vision_config"):
            tower_parameter_count({"model_type": model_type, "vision_config": value})


KEYS = sorted({*SMALL, *QWEN, *(key for tower in KINDS.values() for key in class_sizes(tower.source)), "model_type"})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(sorted(KINDS)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=6,
)
PARTS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6) | VALUES
NAMES = ["vision_config", "audio_config", "text_config", "thinker_config", "visual", "architectures", "hidden_size"]


@given(st.sampled_from([*FAMILIES, "nobody_knows", None, 1, []]), st.dictionaries(st.sampled_from(NAMES), PARTS))
def test_no_config_gives_a_traceback(model_type: Any, parts: dict[str, Any]) -> None:
    """A count with warnings, or one error that names what is wrong."""
    try:
        count, warnings = tower_parameter_count({"model_type": model_type, **parts})
    except CatalogError:
        return
    assert type(count) is int
    assert count >= 0
    assert all(isinstance(each, str) for each in warnings)
