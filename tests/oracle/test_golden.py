"""Numbers that we promised: a small grid to six digits, and published facts to the last one.

A failure here says that published numbers change. If that is meant, write the new ones with

    CAPGRID_WRITE_GOLDEN=1 pytest tests/test_golden.py

look at the difference of tests/golden/*.csv line by line, and say why in CHANGELOG under Numbers.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import pipeline
from pipeline.grid.schema import keys, validated
from pipeline.grid.tables import capacity_of, estimates_of
from tests.support import axes, catalogs, every, facts, plan, rows, texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.grid.axes import Axes

GOLDEN = Path(__file__).parent / "golden"
WRITE = "CAPGRID_WRITE_GOLDEN"
TABLES = {"estimates": estimates_of, "capacity": capacity_of}


def golden_grid() -> Axes:
    """One model of each kind on two devices, alone and in pairs."""
    return axes(
        ["llama-7b", "llama-3.1-8b", "gemma-3-4b", "mixtral-8x7b", "deepseek-v2-lite"],
        accelerators=["a100-sxm-80gb", "h100-sxm-80gb"],
        parallel=[plan(), plan(2)],
        batches=[1, 16, 256],
    )


@pytest.mark.parametrize("table", TABLES)
def test_the_promised_numbers_hold(table: str) -> None:
    """Whoever planned with yesterday's tables finds today the same numbers, or the reason in CHANGELOG."""
    make: Callable[[Axes], pl.DataFrame] = TABLES[table]
    found = texts(validated(make(golden_grid()), table))
    path = GOLDEN / f"{table}.csv"
    if os.environ.get(WRITE) == "1":
        found.write_csv(path)
    promised = pl.read_csv(path, schema=found.schema)
    assert_frame_equal(found, promised, rel_tol=1e-6, abs_tol=0.0)
    assert found.select(keys(table)).rows() == promised.select(keys(table)).rows()


def test_the_golden_grid_shows_both_ends() -> None:
    """Golden numbers of plans that all fit, or of one limit only, would guard half of the formulas."""
    promised = pl.read_csv(GOLDEN / "estimates.csv")
    assert promised["fits"].unique().sort().to_list() == [False, True]
    assert promised["limited_by"].n_unique() >= 3
    assert promised.height == 5 * 2 * 2 * 3


# ----- published facts, exactly


def test_llama_7b_weighs_what_its_checkpoint_weighs() -> None:
    """6,738,415,616 parameters in 16 bits: the number that everybody can check by hand.

    Beside them stand rotary tables of 2048 positions; all matrices fill whole blocks of the allocator
    but the gate and up projection, 172 MiB, and the down projection, 86 MiB, which do as well.
    """
    wanted = ["weight_bytes", "rope_bytes", "matrix_parameter_count", "small_parameter_count", "kv_bytes_per_token"]
    made = rows(axes(["llama-7b"], weights=["fp16"], kv=["fp16"]), *wanted)
    assert made["matrix_parameter_count"].item() == 32 * (4 * 4096 * 4096 + 3 * 4096 * 11_008)
    assert made["small_parameter_count"].item() == (2 * 32 + 1) * 4096
    assert made["rope_bytes"].item() == 2 * 2048 * 128
    assert made["weight_bytes"].item() == 13_476_831_232 + made["rope_bytes"].item()
    assert made["kv_bytes_per_token"].item() == 524_288


def test_deepseek_v3_keeps_one_latent_vector_per_token_on_every_rank() -> None:
    """(512 + 64) x 61 layers x 2 bytes, with one rank as with eight.

    Source: arXiv:2412.19437.
    """
    kept = rows(axes(["deepseek-v3"], parallel=[plan(), plan(8)]), "kv_bytes_per_token")
    assert kept["kv_bytes_per_token"].to_list() == [70_272, 70_272]


def test_gpt_oss_120b_weighs_what_vllm_logs() -> None:
    """The mxfp4 checkpoint takes 64.38 GiB of the device, within 1 %: what is charged to the pool, padding included.

    Source: start-up log of vLLM.
    """
    weights = rows(axes(["gpt-oss-120b"], weights=["mxfp4"]), "weight_bytes")["weight_bytes"].item()
    assert weights / 2**30 == pytest.approx(64.38, rel=0.01)


CONTEXTS = [1, 16, 1000, 8192, 100_000]


@pytest.mark.parametrize("model", every("model"))
def test_the_cache_of_every_model_is_that_of_its_shapes(model: str) -> None:
    """Counted by hand from the catalog's fields, layer by layer, in 16 bits, without blocks and groups.

    However an engine lays it out, this much stands in the cache.
    """
    shape = catalogs().frames["model"].row(by_predicate=pl.col("model") == model, named=True)
    window = shape["window_tokens"] or 0
    both = shape["kv_heads"] * (shape["head_dim"] + shape["value_head_dim"])
    latent = (shape["kv_latent_dim"] or 0) + (shape["rope_head_dim"] or 0)
    state = (shape["state_bytes_per_layer"] or 0) * shape["linear_layers"]
    growing = 2 * (both * shape["full_layers"] + latent * shape["mla_layers"])

    def kept(tokens: int) -> int:
        widths = shape["sliding_head_dim"] + shape["sliding_value_head_dim"]
        sliding = 2 * shape["sliding_kv_heads"] * widths * shape["sliding_layers"]
        chunked = 4 * shape["kv_heads"] * shape["head_dim"] * shape["chunked_layers"]
        return growing * tokens + (sliding + chunked) * min(tokens, window) + state

    wanted = ["kv_bytes_per_sequence", "kv_bytes_per_token", "kv_ideal_bytes_per_sequence"]
    alone = facts(model, prompt_tokens=CONTEXTS, block_tokens=1, engine_groups_layers=False)
    made = pipeline.estimate(alone, wanted)
    paged = pipeline.estimate(facts(model, prompt_tokens=CONTEXTS), wanted)
    assert made["kv_bytes_per_sequence"].to_list() == [kept(tokens) for tokens in CONTEXTS]
    assert made["kv_bytes_per_token"].unique().to_list() == [growing]
    assert paged["kv_ideal_bytes_per_sequence"].to_list() == [kept(tokens) for tokens in CONTEXTS]


PUBLISHED = {
    # bytes of 16-bit cache that one token adds to all layers: 2 x 2 x L x KV heads x head width
    "llama-2-7b": 2 * 2 * 32 * 32 * 128,
    "llama-3.1-8b": 2 * 2 * 32 * 8 * 128,
    "llama-3.1-70b": 2 * 2 * 80 * 8 * 128,
    "llama-3.1-405b": 2 * 2 * 126 * 8 * 128,
    "qwen2.5-72b": 2 * 2 * 80 * 8 * 128,
    "mixtral-8x7b": 2 * 2 * 32 * 8 * 128,
    "deepseek-v2": 2 * 60 * (512 + 64),
}


@pytest.mark.parametrize("model", PUBLISHED)
def test_the_cache_per_token_is_that_of_the_models_papers(model: str) -> None:
    """The catalog's shapes themselves: a wrong head count passes every law above."""
    made = rows(axes([model]), "kv_bytes_per_token")["kv_bytes_per_token"]
    assert made.to_list() == [PUBLISHED[model]]
