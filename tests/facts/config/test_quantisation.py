"""Bits per weight of published checkpoints, by parameter group."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.facts.config.counted import config_facts
from pipeline.facts.config.quantisation import MODULES, storage_of

W4 = {"num_bits": 4, "group_size": 32, "type": "int", "symmetric": True}
NVFP4 = {"num_bits": 4, "group_size": 16, "type": "float"}

FORMS: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    # what a section says, and bits by group: (4 layers)
    "block fp8": (
        {"quant_method": "fp8", "weight_block_size": [128, 128]},
        {"attention": 8 + 32 / 128**2, "tables": 16},
    ),
    "block fp8, 8-bit scales": (
        {"quant_method": "fp8", "weight_block_size": [128, 128], "scale_fmt": "ue8m0"},
        {"experts": 8 + 8 / 128**2},
    ),
    "row fp8": ({"quant_method": "fp8", "weight_block_size": None}, {"dense": 8 + 32 / 4096}),
    "fbgemm without the first and last feed-forward": (
        {
            "quant_method": "fbgemm_fp8",
            "modules_to_not_convert": ["model.layers.0.mlp.gate_proj", "model.layers.3.mlp.gate_proj"],
        },
        {"dense": (2 * 16 + 2 * (8 + 32 / 4096)) / 4, "attention": 8 + 32 / 4096},
    ),
    "AWQ": ({"quant_method": "awq", "bits": 4, "group_size": 128}, {"attention": 4.15625, "dense": 4.15625}),
    "GPTQ without groups": ({"quant_method": "gptq", "bits": 8, "group_size": -1}, {"dense": 8 + 32 / 4096}),
    "nf4": ({"quant_method": "bitsandbytes", "load_in_4bit": True}, {"dense": 4 + 8 / 64 + 32 / 16384}),
    "int4 experts only, by regular expressions": (
        {
            "quant_method": "compressed-tensors",
            "config_groups": {"group_0": {"weights": W4}},
            "ignore": ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", r"re:.*mlp\.(gate|up|down)_proj.*"],
        },
        {"experts": 4.5, "attention": 16, "shared": 16, "dense": 16, "tables": 16},
    ),
    "nvfp4 with globs of layers": (
        {
            "quant_method": "modelopt",
            "config_groups": {"group_0": {"weights": NVFP4}},
            "ignore": ["model.layers.0*", *(f"model.layers.{i}.self_attn*" for i in range(4))],
        },
        {"attention": 16, "dense": (16 + 3 * 4.5) / 4, "experts": (16 + 3 * 4.5) / 4},
    ),
    "mxfp4 experts only": (
        {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router"]},
        {"experts": 4.25, "attention": 16},
    ),
    "mixed, by a list of what is quantised": (
        {
            "quant_method": "modelopt",
            "quant_algo": "MIXED_PRECISION",
            "quantized_layers": {
                **{f"model.layers.{i}.mlp.experts": {"quant_algo": "NVFP4"} for i in range(4)},
                **{f"model.layers.{i}.self_attn.q_proj": {"quant_algo": "FP8"} for i in (0, 1)},
            },
        },
        {"experts": 4.5, "attention": (2 * 8 + 2 * 16) / 4, "dense": 16, "tables": 16},
    ),
}


@pytest.mark.parametrize(("section", "bits"), FORMS.values(), ids=FORMS)
def test_bits_of_a_published_form(section: dict[str, Any], bits: dict[str, float]) -> None:
    """Scales and zero points count, and what a checkpoint leaves alone stays 16-bit."""
    found = storage_of({"quantization_config": section}, 4)
    assert {group: found.bits[group] for group in bits} == pytest.approx(bits)
    assert not found.warnings


def test_without_a_section_everything_is_16_bit() -> None:
    """Most checkpoints are."""
    assert set(storage_of({}, 8).bits.values()) == {16.0}


def test_the_section_may_stand_in_the_text_part() -> None:
    """As Kimi-K2.5 has it."""
    inner = {"text_config": {"quantization_config": {"quant_method": "fp8"}}}
    assert storage_of(inner, 2).bits["dense"] < 9


def test_an_unknown_method_is_told() -> None:
    """Never a silent guess."""
    found = storage_of({"quantization_config": {"quant_method": "magic"}}, 2)
    assert "magic" in found.warnings[0]
    assert found.bits["dense"] == 16


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(
    [
        "quant_method",
        "weight_block_size",
        "bits",
        "group_size",
        "config_groups",
        "ignore",
        "quantized_layers",
        "quant_algo",
    ]
)


@given(
    st.dictionaries(keys, values | st.sampled_from(["fp8", "awq", "modelopt", "re:(", "NVFP4"])), st.integers(-1, 10**9)
)
def test_no_section_ends_in_a_traceback(section: dict[str, Any], layers: int) -> None:
    """Whatever stands there, each group has from 1 to 64 bits."""
    found = storage_of({"quantization_config": section}, min(layers, 50))
    assert set(found.bits) == {*MODULES, "tables"}
    assert all(bits > 0 for bits in found.bits.values())


def test_a_checkpoint_weighs_what_its_groups_weigh() -> None:
    """Experts in 4.25 bits, everything else in 16: gpt-oss's way, on a small model counted by hand."""
    config = {
        "model_type": "mixtral", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1000, "num_local_experts": 4,
        "num_experts_per_tok": 2, "max_position_embeddings": 512, "tie_word_embeddings": False,
        "quantization_config": {
            "quant_method": "mxfp4",
            "modules_to_not_convert": ["model.layers.*.self_attn", "model.embed_tokens", "lm_head"],
        },
    }  # fmt: skip
    found = config_facts(config)
    experts = 2 * 4 * 3 * 64 * 128
    assert found["expert_parameter_count"] == experts
    assert found["checkpoint_bytes"] == experts * 4.25 / 8 + (found["parameter_count"] - experts) * 2
    assert found["checkpoint_method"] == "mxfp4"
