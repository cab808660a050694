"""Configs per CPU-second through `facts_of`: how fast a catalog of any size is counted.

`python benchmarks/bench_configs.py [--rounds N]`. The configs are small ones of each sort: dense,
sliding, latent, experts, recurrent, with a tower, and quantised with a list of left-out modules.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

from pipeline.facts.config.counted import config_facts

BASE: dict[str, Any] = {
    "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "vocab_size": 128_256, "max_position_embeddings": 131_072, "tie_word_embeddings": False,
}  # fmt: skip
EXPERTS = {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768}
LEFT_OUT = ["lm_head", *(f"model.layers.{i}.mlp.gate" for i in range(32))]
CONFIGS: dict[str, dict[str, Any]] = {
    "dense": {**BASE, "model_type": "llama"},
    "sliding": {**BASE, "model_type": "gemma2", "sliding_window": 4096},
    "experts": {**BASE, **EXPERTS, "model_type": "qwen3_moe"},
    "latent": {
        **BASE, "model_type": "deepseek_v3", "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 128, "v_head_dim": 128, "n_routed_experts": 256, "num_experts_per_tok": 8,
        "moe_intermediate_size": 2048, "n_shared_experts": 1, "first_k_dense_replace": 3,
    },
    "recurrent": {**BASE, **EXPERTS, "model_type": "qwen3_next", "full_attention_interval": 4},
    "tower": {
        "model_type": "qwen2_5_vl", "text_config": {**BASE, "model_type": "qwen2_5_vl_text"}, "vision_config": {},
    },
    "quantised": {
        **BASE, **EXPERTS, "model_type": "qwen3_moe",
        "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128], "ignored_layers": LEFT_OUT},
    },
}  # fmt: skip


def main() -> None:
    """Print configs per CPU-second, of each sort and of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    spent = {name: statistics.median(seconds(config) for _ in range(rounds)) for name, config in CONFIGS.items()}
    for name, each in spent.items():
        print(f"{name:<10} {1 / each:8.0f} configs per CPU-second")
    print(f"{'all':<10} {len(spent) / sum(spent.values()):8.0f}")


def seconds(config: dict[str, Any], times: int = 50) -> float:
    """CPU-seconds of one config, over some."""
    began = time.process_time()
    for _ in range(times):
        config_facts(config)
    return (time.process_time() - began) / times


if __name__ == "__main__":
    main()
