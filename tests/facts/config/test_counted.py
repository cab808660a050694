"""A config.json becomes exact facts: every rule on a small made-up model, counted here by hand."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import CatalogError
from pipeline.facts.config.counted import config_facts, entry_of

H, V, N, I = 64, 100, 2, 96  # hidden, vocabulary, layers, feed-forward width  # noqa: E741
Q, K, D = 64, 32, 16  # widths of 4 query and 2 key heads; width of a head
E, T, M = 8, 2, 24  # experts, experts of a token, width of an expert
TABLE, ATTENTION, GATED, PLAIN = V * H, H * (Q + 2 * K) + Q * H, 3 * H * I, 2 * H * I
ROUTED = E * 3 * H * M + H * E
Config = dict[str, Any]


def config(model_type: str, **keys: Any) -> Config:
    """A small model of some type; None takes a key away."""
    base = {
        "model_type": model_type, "hidden_size": H, "vocab_size": V, "num_hidden_layers": N, "intermediate_size": I,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": D, "max_position_embeddings": 512,
        "tie_word_embeddings": False,
    }  # fmt: skip
    return {key: value for key, value in {**base, **keys}.items() if value is not None}


def moe(model_type: str, **keys: Any) -> Config:
    """The same with experts."""
    return config(model_type, num_experts=E, num_experts_per_tok=T, moe_intermediate_size=M, **keys)


def latent(model_type: str, **keys: Any) -> Config:
    """The same with latent attention: ranks 20 and 12, keys of 8 + 4, values of 6."""
    dims = {"q_lora_rank": 20, "kv_lora_rank": 12, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 6}
    return config(model_type, head_dim=None, num_key_value_heads=4, **{**dims, **keys})


def mamba2(model_type: str, **keys: Any) -> Config:
    """The same with Mamba-2: inner width 128 in 8 heads, one group, state 16, kernel 4."""
    names = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_d_state": 16, "mamba_d_conv": 4}
    return config(model_type, mamba_expand=2, mamba_conv_bias=True, **{**names, **keys})


def model(layer: int, norms: int = 2 * H, *, tied: bool = False, final: int = H) -> int:
    """Two equal layers between the tables."""
    return (TABLE if tied else 2 * TABLE) + N * (layer + norms) + final


OLD = {"hidden_size": None, "num_hidden_layers": None, "num_attention_heads": None, "num_key_value_heads": None,
       "intermediate_size": None, "head_dim": None, "max_position_embeddings": None}  # fmt: skip
MHA = 4 * H * H
LATENT = H * 20 + 20 * 4 * 12 + H * (12 + 4) + 12 * 4 * (8 + 6) + 4 * 6 * H + (20 + 12)
MAMBA2 = H * (2 * 128 + 2 * 16 + 8) + (128 + 32) * 5 + 3 * 8 + 128 + 128 * H
MAMBA = 3 * H * 128 + 128 * 5 + 128 * (4 + 32) + 4 * 128 + 128 + 128 * 16 + 128
DELTA = H * (2 * 16 + 2 * 32) + H * 2 * 4 + (2 * 16 + 32) * 4 + 2 * 4 + 8 + 32 * H
DELTA_KEYS = {"linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_num_value_heads": 4,
              "linear_value_head_dim": 8, "linear_conv_kernel_dim": 4}  # fmt: skip
NAS = [{"attention": {"n_heads_in_group": 4}, "ffn": {"ffn_mult": 3.0}},
       {"attention": {"no_op": True}, "ffn": {"no_op": True}}]  # fmt: skip

CASES: dict[str, tuple[Config, int]] = {
    "llama": (config("llama"), model(ATTENTION + GATED)),
    "heads by themselves": (config("llama", num_key_value_heads=None, head_dim=None), model(MHA + GATED)),
    "a head wider than its share": (config("mistral", head_dim=32), model(2 * ATTENTION + GATED)),
    "biases by key": (
        config("llama", attention_bias=True, mlp_bias=True),
        model(ATTENTION + GATED + Q + 2 * K + H + 2 * I + H),
    ),
    "biases by class": (config("qwen2"), model(ATTENTION + GATED + Q + 2 * K)),
    "norms of heads": (config("qwen3"), model(ATTENTION + GATED, 2 * H + 2 * D)),
    "norms of whole widths": (config("olmo2"), model(ATTENTION + GATED, 2 * H + Q + K)),
    "norms without weights": (config("olmo"), model(ATTENTION + GATED, 0, final=0)),
    "one norm, tied by class": (
        config("cohere", tie_word_embeddings=None),
        model(ATTENTION + GATED, H, tied=True),
    ),
    "four norms": (config("gemma2"), model(ATTENTION + GATED, 4 * H)),
    "norms before projections": (config("bitnet"), model(ATTENTION + GATED, 2 * H + Q + I)),
    "no gate": (config("arcee"), model(ATTENTION + PLAIN)),
    "two numbers of an activation": (config("apertus"), model(ATTENTION + PLAIN + 2, 2 * H + 2 * D)),
    "layer norms with all biases": (
        config("starcoder2", use_bias=True),
        model(ATTENTION + PLAIN + Q + 2 * K + H + I + H, 4 * H, final=2 * H),
    ),
    "old names, learned positions, tied": (
        config("gpt2", n_embd=H, n_layer=N, n_head=4, n_positions=50, tie_word_embeddings=None, **OLD),
        model(12 * H * H + 9 * H, 4 * H, tied=True, final=2 * H) + 50 * H,
    ),
    "one key head": (
        config("gpt_bigcode", n_embd=H, n_layer=N, n_head=4, n_inner=I, n_positions=50, multi_query=True, **OLD),
        model(2 * H * H + 2 * H * D + PLAIN + H + 2 * D + H + I + H, 4 * H, final=2 * H) + 50 * H,
    ),
    "positions with an offset": (
        config("opt", ffn_dim=I, intermediate_size=None, num_key_value_heads=None, head_dim=None,
               tie_word_embeddings=True),
        model(MHA + PLAIN + 4 * H + I + H, 4 * H, tied=True, final=2 * H) + 514 * H,
    ),
    "a norm of the embedding": (
        config("bloom", n_embed=H, n_layer=N, n_head=4, tie_word_embeddings=True, **OLD),
        model(12 * H * H + 9 * H, 4 * H, tied=True, final=4 * H),
    ),
    "a bias of the head": (
        config("phi", intermediate_size=I),
        model(ATTENTION + PLAIN + Q + 2 * K + H + I + H, 2 * H, final=2 * H) + V,
    ),
    "parallel norms": (
        config("falcon", num_kv_heads=2, num_key_value_heads=None, new_decoder_architecture=True, ffn_hidden_size=I,
               intermediate_size=None),
        model(ATTENTION + PLAIN, 4 * H, final=2 * H),
    ),
    "half the stated width": (config("qwen"), model(ATTENTION + GATED // 2 + Q + 2 * K)),
    "groups of one key": (
        config("chatglm", multi_query_attention=True, multi_query_group_num=2, num_key_value_heads=None,
               add_qkv_bias=True),
        model(ATTENTION + GATED + Q + 2 * K),
    ),
    "nested": (
        {"model_type": "llava", "text_config": config("llama", tie_word_embeddings=None), "tie_word_embeddings": True},
        model(ATTENTION + GATED, tied=True),
    ),
    "searched layers": (
        config("nemotron-nas", block_configs=NAS, num_key_value_heads=None),
        2 * TABLE + H * (2 * Q + 2 * D) + 3 * H * 256 + 2 * H + H,
    ),
    "experts in every layer": (moe("qwen3_moe"), model(ATTENTION + ROUTED, 2 * H + 2 * D)),
    "experts as wide as a block": (
        config("mixtral", num_local_experts=E, num_experts_per_tok=T),
        model(ATTENTION + E * GATED + H * E),
    ),
    "experts after a dense layer": (
        moe("deepseek", first_k_dense_replace=1, n_shared_experts=2),
        model(ATTENTION) + GATED + ROUTED + 3 * H * 2 * M,
    ),
    "experts in every second layer": (
        moe("qwen3_moe", decoder_sparse_step=2),
        model(ATTENTION, 2 * H + 2 * D) + GATED + ROUTED,
    ),
    "experts by list": (moe("deepseek", moe_layer_freq=[1, 0]), model(ATTENTION) + GATED + ROUTED),
    "a gated shared expert": (
        moe("qwen2_moe", shared_expert_intermediate_size=40),
        model(ATTENTION + Q + 2 * K + ROUTED + 3 * H * 40 + H),
    ),
    "biases of experts and router, sinks": (
        config("gpt_oss", attention_bias=True, num_local_experts=E, num_experts_per_tok=T, sliding_window=128),
        model(ATTENTION + Q + 2 * K + H + 4 + E * (GATED + 2 * I + H) + H * E + E),
    ),
    "experts in a narrow space": (
        config("nemotron_h", hybrid_override_pattern="*E", n_routed_experts=E, num_experts_per_tok=T,
               n_shared_experts=1, moe_intermediate_size=M, moe_shared_expert_intermediate_size=40, moe_latent_size=32),
        2 * TABLE + ATTENTION + E * 2 * 32 * M + H * E + 2 * H * 32 + 2 * H * 40 + 3 * H,
    ),
    "latent attention": (latent("deepseek_v3", n_routed_experts=0), model(LATENT + GATED)),
    "latent attention with plain queries": (
        latent("deepseek_v2", q_lora_rank=0, n_routed_experts=0),
        model(LATENT + GATED - H * 20 - 20 * 48 - 20 + H * 48),
    ),
    "an index that picks tokens": (
        latent("deepseek_v32", n_routed_experts=0, index_n_heads=2, index_head_dim=8),
        model(LATENT + GATED + 20 * 16 + H * 8 + 16 + H * 2),
    ),
    "gated delta in three of four": (
        config("qwen3_5_text", num_hidden_layers=4, full_attention_interval=4, **DELTA_KEYS),
        2 * TABLE + 3 * DELTA + ATTENTION + H * Q + 4 * (GATED + 2 * H) + 2 * D + H,
    ),
    "mamba 2 beside attention": (
        mamba2("falcon_h1", mamba_d_ssm=128, mamba_rms_norm=True),
        model(ATTENTION + MAMBA2 + GATED),
    ),
    "mamba 2 among attention": (mamba2("bamba", attn_layer_indices=[1]), model(GATED) + MAMBA2 + ATTENTION),
    "mamba alone": (
        config("mamba", intermediate_size=128, state_size=16, conv_kernel=4, time_step_rank=4, use_conv_bias=True),
        model(MAMBA, H),
    ),
    "mamba with norms and experts": (
        config("jamba", attn_layer_period=2, attn_layer_offset=1, expert_layer_period=2, expert_layer_offset=1,
               num_experts=E, num_experts_per_tok=T, mamba_d_state=16, mamba_d_conv=4, mamba_expand=2, mamba_dt_rank=4),
        model(0) + MAMBA + 4 + 32 + GATED + ATTENTION + E * GATED + H * E,
    ),
    "short convolutions": (
        config("lfm2", layer_types=["conv", "full_attention"], conv_L_cache=3, block_auto_adjust_ff_dim=False),
        model(GATED) + 4 * H * H + 3 * H + ATTENTION + 2 * D,
    ),
    "lightning attention": (
        config("minimax", layer_types=["linear_attention", "full_attention"], num_local_experts=E,
               num_experts_per_tok=T),
        model(E * GATED + H * E) + 5 * H * Q + Q + ATTENTION,
    ),
    "borrowed keys and inputs for each layer": (
        config("gemma4_text", num_kv_shared_layers=1, layer_types=["sliding_attention", "full_attention"],
               sliding_window=8, global_head_dim=D, hidden_size_per_layer_input=4, vocab_size_per_layer_input=V,
               tie_word_embeddings=True),
        model(2 * H * Q + GATED + D, 4 * H, tied=True) + 2 * H * K + D
        + (V + H) * N * 4 + 4 + N * (2 * H * 4 + H),
    ),
    "unknown class": (config("never-seen"), model(ATTENTION + GATED)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_parameters_are_exact(name: str) -> None:
    """Sizes, weights and costs all stand on these counts."""
    said, expected = CASES[name]
    assert config_facts(said)["text_parameter_count"] == expected


def test_there_is_a_case_for_every_rule() -> None:
    """A rule without a case could break unseen."""
    assert len(CASES) >= 40


KV = 2 * 2 * K
SLIDING = {"sliding_window": 16, "num_hidden_layers": 4}

CACHES: dict[str, tuple[Config, dict[str, Any]]] = {
    "full": (config("llama"), {"kv_bytes_per_token": N * KV, "kv_bytes_at_8192": N * KV * 8192}),
    "all slide": (config("mistral", sliding_window=16), {"sliding_layers": 2, "kv_bytes_at_8192": N * KV * 16}),
    "switched off": (config("qwen2", sliding_window=16, use_sliding_window=False), {"sliding_layers": 0}),
    "from a layer on": (
        config("qwen2", use_sliding_window=True, max_window_layers=3, **SLIDING),
        {"sliding_layers": 1},
    ),
    "by pattern": (
        config("gemma3_text", sliding_window_pattern=2, **SLIDING),
        {"sliding_layers": 2, "kv_bytes_per_token": 2 * KV, "window_tokens": 16},
    ),
    "by letters": (config("exaone4", sliding_window_pattern="LLLG", **SLIDING), {"sliding_layers": 3}),
    "by class": (config("cohere2", **SLIDING), {"sliding_layers": 3}),
    "by names": (
        config("llama", layer_types=["full_attention"] + 3 * ["sliding_attention"], **SLIDING),
        {"layer_kinds": {"full": 1, "sliding": 3}},
    ),
    "by zeros and ones": (
        config("mimo_v2_flash", hybrid_layer_pattern=[0, 1, 1, 0], swa_num_key_value_heads=4, swa_head_dim=D,
               swa_v_head_dim=D, n_routed_experts=0, v_head_dim=D, **SLIDING),
        {"sliding_kv_bytes_per_token": 2 * 2 * KV, "kv_bytes_per_token": 2 * KV},
    ),
    "chunks": (
        moe("llama4_text", attention_chunk_size=32, num_hidden_layers=4, interleave_moe_layer_step=1),
        {"layer_kinds": {"chunked": 3, "full": 1}, "kv_bytes_at_8192": KV * 8192 + 3 * KV * 32},
    ),
    "latent": (latent("deepseek_v3", n_routed_experts=0), {"kv_bytes_per_token": N * 2 * (12 + 4)}),
    "index": (
        latent("deepseek_v32", n_routed_experts=0, index_n_heads=2, index_head_dim=8),
        {"kv_bytes_at_8192": N * 2 * (16 + 8) * 8192},
    ),
    "delta state": (
        config("qwen3_5_text", num_hidden_layers=4, full_attention_interval=4, **DELTA_KEYS),
        {"state_bytes_per_sequence": 3 * 2 * (64 * 4 + 4 * 8 * 8), "kv_bytes_per_token": KV},
    ),
    "mamba 2 state": (
        mamba2("bamba", attn_layer_indices=[1]),
        {"state_bytes_per_sequence": 2 * (160 * 4 + 128 * 16), "kv_bytes_per_token": KV},
    ),
    "borrowed": (
        config("gemma3n_text", num_kv_shared_layers=2, layer_types=4 * ["full_attention"], num_hidden_layers=4),
        {"kv_bytes_per_token": 2 * KV},
    ),
    "active": (
        moe("qwen3_moe"),
        {"active_parameter_count": model(ATTENTION, 2 * H + 2 * D) + N * (T * 3 * H * M + H * E),
         "active_matmul_parameter_count": model(ATTENTION, 2 * H + 2 * D) - TABLE + N * (T * 3 * H * M + H * E)},
    ),
    "prediction heads": (
        config("mimo", num_nextn_predict_layers=1),
        {"prediction_parameter_count": ATTENTION + Q + 2 * K + GATED + 2 * H + 2 * H * H + 3 * H},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CACHES)
def test_cache_and_activity_are_exact(name: str) -> None:
    """The batch before running out of memory stands on these bytes."""
    said, expected = CACHES[name]
    found = config_facts(said)
    assert {key: found[key] for key in expected} == expected


SIZES = st.sampled_from([8, 16, 64, 128])


@given(layers=st.integers(1, 40), heads=st.sampled_from([1, 2, 4]), hidden=SIZES, tied=st.booleans())
@settings(max_examples=100)
def test_twice_the_layers_weigh_twice(layers: int, heads: int, hidden: int, *, tied: bool) -> None:
    """Everything but tables and the last norm belongs to a layer."""
    one, two = (
        config_facts(config("qwen3", num_hidden_layers=n, hidden_size=hidden, num_key_value_heads=heads,
                        tie_word_embeddings=tied))
        for n in (layers, 2 * layers)
    )  # fmt: skip
    outside = (1 if tied else 2) * V * hidden + hidden
    assert two["parameter_count"] - outside == 2 * (one["parameter_count"] - outside)
    assert two["kv_bytes_at_8192"] == 2 * one["kv_bytes_at_8192"]


@given(st.sampled_from(["llama", "qwen2", "phi3", "gemma2", "starcoder2", "exaone4"]), SIZES)
@settings(max_examples=50)
def test_tying_removes_exactly_one_table(model_type: str, hidden: int) -> None:
    """A tied table is stored once."""
    free, tied = (
        config_facts(config(model_type, hidden_size=hidden, tie_word_embeddings=tie)) for tie in (False, True)
    )
    assert free["parameter_count"] - tied["parameter_count"] == V * hidden
    assert free["active_matmul_parameter_count"] == tied["active_matmul_parameter_count"]


@given(st.sampled_from(["mistral", "gemma2", "cohere2", "phi3"]), st.integers(8192, 10**6))
@settings(max_examples=50)
def test_windows_beyond_the_context_change_nothing(model_type: str, window: int) -> None:
    """A window that nothing outgrows keeps every token."""
    wide = config_facts(config(model_type, sliding_window=window))
    free = config_facts(config("llama", sliding_window=None))
    assert wide["kv_bytes_at_8192"] == free["kv_bytes_at_8192"]


# ----- wrong configs

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.text(max_size=8),
    st.lists(st.one_of(st.integers(-5, 300), st.text(max_size=4), st.none(), st.lists(st.integers(), max_size=2)),
             max_size=5),
    st.dictionaries(st.sampled_from(["no_op", "kv_n_heads", "attention", "num_heads", "x"]), st.integers(), max_size=2),
)  # fmt: skip
SAMPLES = [said for said, _ in (*CASES.values(), *CACHES.values())]
EVERY_KEY = sorted({key for said in SAMPLES for key in said} | {
    "compress_ratios", "linear_attn_config", "mlp_layer_types", "cross_attention_layers", "attention_types",
    "text_config", "architectures", "indexer_types", "quantization_config", "moe_layers_enum", "block_types",
    "attn_config", "num_attention_heads_per_layer", "adapter_rank", "hc_mult", "altup_num_inputs", "vision_config",
})  # fmt: skip


ODD_KEYS = st.dictionaries(st.sampled_from(EVERY_KEY), ODD, max_size=4)


@given(said=st.sampled_from(SAMPLES), odd=ODD_KEYS, entry=st.booleans())
@settings(max_examples=4500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_wrong_config_gives_facts_or_an_error_in_words(said: Config, odd: Config, *, entry: bool) -> None:
    """A user's file never shows a traceback."""
    with suppress(CatalogError):
        found = (entry_of if entry else config_facts)({**said, **odd})
        assert all(isinstance(value, int | bool | str | dict | list | None) for value in found.values())
        assert found["parameter_count"] > 0


@given(st.sampled_from(SAMPLES), st.sets(st.sampled_from(EVERY_KEY), max_size=6))
@settings(max_examples=300, deadline=None)
def test_a_config_that_lacks_keys_gives_facts_or_an_error(said: Config, gone: set[str]) -> None:
    """Half a file is common: the class's defaults stand in with a warning, or the missing key is named."""
    with suppress(CatalogError):
        config_facts({key: value for key, value in said.items() if key not in gone})


@given(st.recursive(ODD, lambda inner: st.dictionaries(st.text(max_size=12), inner, max_size=4), max_leaves=8))
@settings(max_examples=200, deadline=None)
def test_anything_that_is_not_a_config_is_told(thing: Any) -> None:
    """JSON that is no config at all is the commonest slip."""
    with pytest.raises(CatalogError):
        config_facts(thing)


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({"hidden_size": "wide"}, "hidden_size = 'wide' is not a whole number"),
        ({"num_hidden_layers": -2}, "num_hidden_layers = -2 is not a whole number"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers = 1000000 is not at most"),
        ({"vocab_size": 10**30}, "vocab_size = 1000000000000000000000000000000 is not"),
        ({"intermediate_size": [["a"]]}, "intermediate_size = ['a'] is not a whole number"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings = 'yes' is not true or false"),
        ({"layer_types": ["full_attention"]}, "layer kinds are given for 1 layers of 2"),
        ({"num_local_experts": 4, "num_experts_per_tok": 9}, "num_experts_per_tok = 9 is not"),
    ],
)
def test_an_error_names_key_and_value(odd: Config, said: str) -> None:
    """What to put right stands in the message."""
    with pytest.raises(CatalogError, match=r"^config: ") as error:
        config_facts(config("llama", **odd))
    assert said in str(error.value)


def test_what_was_assumed_is_told() -> None:
    """Never a silent guess."""
    assert "counted by Llama's conventions" in config_facts(config("never-seen"))["warnings"][0]
    assert "hidden_size is not given" in config_facts(config("qwen3", hidden_size=None))["warnings"][0]
    assert config_facts(config("llama", mystery_expert_dim=3))["warnings"] == [
        "key 'mystery_expert_dim' was not understood and might change a count"
    ]
    assert not config_facts(config("llama"))["warnings"]


def test_the_catalog_entry_says_the_same() -> None:
    """The catalog is made by this very path."""
    entry = entry_of(moe("qwen3_moe"))
    assert entry["layers"] == {"full": N}
    assert entry["expert_parameter_count"] == N * E * 3 * H * M
    assert (entry["dense_layers"], entry["moe_layers"], entry["hidden"]) == (0, N, H)


def test_the_catalog_refuses_what_it_has_no_field_for() -> None:
    """An entry that says half of a model would be wrong in silence."""
    with pytest.raises(CatalogError, match="one attention and one feed-forward block a layer"):
        entry_of(CASES["mamba 2 beside attention"][0])
