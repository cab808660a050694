"""The products that one token passes are the parameters that it multiplies."""

from __future__ import annotations

import runpy

import pytest

from pipeline.facts.config.counted import config_facts
from tests.support import ROOT

CONFIGS = runpy.run_path(str(ROOT / "benchmarks" / "bench_configs.py"))["CONFIGS"]


def test_products_of_a_dense_model() -> None:
    """By hand: projections, gate and up together, down, and the output table."""
    products = {each["name"]: (each["n"], each["k"], each["count"]) for each in config_facts(CONFIGS["dense"])["gemms"]}
    assert products == {
        "qkv": (4096 + 2 * 8 * 128, 4096, 32),
        "attention_out": (4096, 4096, 32),
        "dense_up": (2 * 14_336, 4096, 32),
        "dense_down": (4096, 14_336, 32),
        "head": (128_256, 4096, 1),
    }


@pytest.mark.parametrize("name", CONFIGS)
def test_products_make_up_the_active_matrices(name: str) -> None:
    """N x k, as often as a token passes it, is what the token multiplies but for norms, biases and convolutions."""
    facts = config_facts(CONFIGS[name])
    multiplied = sum(each["n"] * each["k"] * each["count"] for each in facts["gemms"])
    assert 0 <= facts["active_matmul_parameter_count"] - multiplied < 0.002 * multiplied
