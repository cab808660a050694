"""Rotary tables and towers of an entry: small configs whose bytes were worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.errors import CatalogError
from pipeline.facts.config.counted import entry_of, model_of
from pipeline.facts.config.rope import rope_cache_bytes
from pipeline.facts.config.towers import tower_facts

MIB = 2**20
Config = dict[str, Any]


def config(model_type: str, context: int, head_dim: int | None, **keys: Any) -> Config:
    """A small model that turns like a large one; None takes a key away."""
    base = {
        "model_type": model_type, "hidden_size": 64, "vocab_size": 100, "num_hidden_layers": 6, "intermediate_size": 96,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": head_dim, "max_position_embeddings": context,
        "tie_word_embeddings": False,
    }  # fmt: skip
    return {key: value for key, value in {**base, **keys}.items() if value is not None}


def yarn(factor: float, original: int) -> Config:
    """A context stretched from a shorter one."""
    return {"type": "yarn", "factor": factor, "original_max_position_embeddings": original}


LATENT = {"kv_lora_rank": 512, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
          "num_key_value_heads": 4}  # fmt: skip
INDEX = {"index_n_heads": 64, "index_head_dim": 128, "index_topk": 2048}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192}
LINEAR = {"rope_type": "linear", "factor": 8.0}
LONG = {"type": "longrope", "long_factor": [1.0], "short_factor": [1.0]}
SECTIONS = {"rope_type": "default", "mrope_section": [24, 20, 20]}
PROPORTIONAL = {"rope_type": "proportional", "partial_rotary_factor": 0.25}
KINDS4 = {"full_attention": PROPORTIONAL, "sliding_attention": {"rope_type": "default"}}
QWEN3_5 = {"mrope_section": [11, 11, 10], "rope_type": "default", "partial_rotary_factor": 0.25}
WINDOW = {"sliding_window": 512}

CASES: dict[str, tuple[Config, int]] = {
    "Llama 3.1: the factor of llama3 stretches no table": (
        config("llama", 131_072, 128, rope_scaling=LLAMA3),
        131_072 * 128 * 2,
    ),
    "a head's width where none is stated": (config("llama", 4096, None), 4096 * 16 * 2),
    "Gemma 3: a table of sliding layers, and one eight times as long": (
        config("gemma3_text", 131_072, 256, rope_scaling=LINEAR, **WINDOW),
        (64 + 512) * MIB,
    ),
    "Gemma 3 1B: two bases": (config("gemma3_text", 32_768, 256, rope_scaling=None, **WINDOW), 2 * 16 * MIB),
    "Gemma 4: a width for each kind of layer": (
        config("gemma4_text", 262_144, 256, global_head_dim=512, rope_parameters=KINDS4, **WINDOW),
        262_144 * (512 + 256) * 2,
    ),
    "OLMo 3: sliding layers are not stretched": (
        config("olmo3", 65_536, 128, rope_scaling=yarn(8, 8192), **WINDOW),
        2 * 65_536 * 128 * 2,
    ),
    "OLMo 3 before it was stretched: one table": (config("olmo3", 8192, 128, **WINDOW), 8192 * 128 * 2),
    "DeepSeek V3: fp32": (config("deepseek_v3", 163_840, 192, rope_scaling=yarn(40, 4096), **LATENT), 40 * MIB),
    "DeepSeek V3.2: an index turns by itself": (
        config("deepseek_v32", 163_840, 192, rope_scaling=yarn(40, 4096), **INDEX, **LATENT),
        2 * 40 * MIB,
    ),
    "Moonlight: latent, not stretched": (config("deepseek_v3", 8192, 192, **LATENT), 8192 * 64 * 2),
    "gpt-oss": (config("gpt_oss", 131_072, 64, rope_scaling=yarn(32, 4096), num_local_experts=4), 131_072 * 64 * 2),
    "Qwen 3 VL: four times the positions": (
        config("qwen3_vl_text", 262_144, 128, rope_scaling=SECTIONS),
        4 * 262_144 * 128 * 2,
    ),
    "Qwen 3.5: a quarter of the head, four times the positions": (
        config("qwen3", 262_144, 256, rope_parameters=QWEN3_5),
        4 * 262_144 * 64 * 2,
    ),
    "GPT-J: a width": (config("gptj", 2048, 256, rotary_dim=64), 2048 * 64 * 2),
    "phi: half a head, by class": (config("phi", 2048, 64), 2048 * 32 * 2),
    "StableLM: a share": (config("stablelm", 4096, 80, partial_rotary_factor=0.25), 4096 * 20 * 2),
    "Pythia: a quarter, by class": (config("gpt_neox", 2048, 128), 2048 * 32 * 2),
    "MiMo V2: two bases, a third of a head": (
        config("mimo_v2_flash", 262_144, 192, partial_rotary_factor=0.334, **WINDOW),
        2 * 262_144 * 64 * 2,
    ),
    "Phi 4 mini: the short and the long table": (
        config("phi3", 131_072, 128, rope_scaling=LONG, partial_rotary_factor=0.75,
               original_max_position_embeddings=4096),
        (4096 + 131_072) * 96 * 2,
    ),
    "InternLM 2.5: dynamic": (
        config("internlm2", 32_768, 128, rope_scaling={"type": "dynamic", "factor": 2.0}),
        65_536 * 128 * 2,
    ),
    "Hunyuan: dynamic by another base": (
        config("hunyuan_v1_dense", 32_768, 128, rope_scaling={"type": "dynamic", "alpha": 1000.0}),
        32_768 * 128 * 2,
    ),
    "OPT: learned positions": (config("opt", 2048, 64, ffn_dim=96), 0),
    "GPT-2: learned positions": (config("gpt2", 1024, 16), 0),
    "BLOOM: positions added to scores": (config("bloom", 2048, 16), 0),
    "Falcon with ALiBi": (config("falcon", 2048, 16, alibi=True), 0),
    "Falcon without": (config("falcon", 2048, 16, alibi=False), 2048 * 16 * 2),
    "Granite 4: no positions": (config("granite", 4096, 16, position_embedding_type="nope"), 0),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_tables_as_counted_by_hand(case: str) -> None:
    """Positions x rotating width x bytes, once for every distinct table."""
    said, expected = CASES[case]
    assert rope_cache_bytes(model_of(said)) == expected


def test_an_entry_states_tables_only_where_they_are_not_as_usual() -> None:
    """One table as long as the context and as wide as a head needs no words."""
    assert "rope_cache_bytes" not in entry_of(config("llama", 131_072, 128, rope_scaling=LLAMA3))
    assert "rope_cache_bytes" not in entry_of(config("deepseek_v3", 8192, 192, **LATENT))
    assert entry_of(config("phi", 2048, 64))["rope_cache_bytes"] == 2048 * 32 * 2
    assert entry_of(config("opt", 2048, 64, ffn_dim=96))["rope_cache_bytes"] == 0


@pytest.mark.parametrize(
    "wrong",
    [{"rope_scaling": 8}, {"rope_scaling": {"type": "linear", "factor": "8"}}, {"rotary_pct": 2.0},
     {"rope_parameters": {"rope_type": "yarn", "factor": 1e7}}],
)  # fmt: skip
def test_a_wrong_setting_is_refused_in_words(wrong: Config) -> None:
    """Never a traceback, never a silent guess."""
    with pytest.raises(CatalogError, match="is not a"):
        entry_of(config("llama", 4096, 16, **wrong))


TOWERS: dict[str, tuple[Config, bool | None, int | None]] = {
    "Gemma 3": ({"model_type": "gemma3"}, None, 256),
    "Mistral Small 3.1": (
        {"model_type": "mistral3", "spatial_merge_size": 2, "vision_config": {"image_size": 1540, "patch_size": 14}},
        False,
        55 * 55,
    ),
    "Llama 4": (
        {"model_type": "llama4", "vision_config": {"image_size": 336, "patch_size": 14, "pixel_shuffle_ratio": 0.5}},
        None,
        17 * 144,
    ),
    "InternVL": (
        {"model_type": "internvl_chat", "vision_config": {"image_size": 448, "patch_size": 14}},
        None,
        13 * 256,
    ),
    "Qwen 2.5 VL": ({"model_type": "qwen2_5_vl"}, None, 16_384),
    "Qwen 3 VL": ({"model_type": "qwen3_vl_moe"}, None, 16_384),
    "Gemma 4": ({"model_type": "gemma4"}, False, None),
    "Kimi K2.5": ({"model_type": "kimi_k25"}, None, None),
    "Gemma 3n": ({"model_type": "gemma3n"}, False, None),
    "text alone": ({"model_type": "llama"}, None, None),
}


@pytest.mark.parametrize("case", TOWERS)
def test_towers_as_engines_hold_them(case: str) -> None:
    """Whether ranks share them, and the tokens of the largest image."""
    said, is_split, tokens = TOWERS[case]
    assert tower_facts(said) == {"tower_is_split": is_split, "tower_tokens_max": tokens}
