"""The production expressions against a second writing of the same equations, in plain Python."""

from __future__ import annotations

import math
import runpy
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import pipeline
from pipeline.estimators.feasible import RULES
from pipeline.grid.axes import axes_of
from pipeline.grid.plan import by_grain
from pipeline.grid.selection import Grid, select
from pipeline.grid.tables import book_for

PLAIN = runpy.run_path(str(Path(__file__).parent.parent / "benchmarks" / "plain_python.py"))
SETUPS = (
    {"engine": "vllm", "name": "vllm-eager", "is_eager": True, "memory_utilization_ratio": 0.85},
    {
        "engine": "vllm@0.11.0", "name": "vllm-set", "batched_tokens_max": 4096, "sequences_max": 64,
        "block_tokens": 32, "model_len_max_tokens": 8192,
    },
    {"engine": "sglang", "name": "sglang-set", "memory_utilization_ratio": 0.8, "batched_tokens_max": 2048},
    {"engine": "vllm", "name": "vllm-short", "model_len_max_tokens": 1024, "batched_tokens_max": 300},
)  # fmt: skip
ENGINES = (
    "vllm@0.6.0", "vllm@0.6.4", "vllm@0.8.0", "vllm@0.8.5", "vllm@0.9.1", "vllm@0.11.0", "vllm@0.15.0", "vllm@0.19.0",
    "vllm@0.20.0", "vllm@0.24.0", "vllm@0.26.0", "vllm", "sglang@0.4.7", "sglang@0.5.3", "sglang", "tensorrt-llm",
    "lmdeploy", "transformers@4.40.0", "transformers", "llama.cpp",
)  # fmt: skip
DEVICES = ("t4", "l4", "a100-sxm-80gb", "h100-sxm-80gb", "b200-sxm-180gb", "rtx-4090")
PLANS = ({"tp": 1, "pp": 1, "ep": 1}, {"tp": 4, "pp": 2, "ep": 1}, {"tp": 2, "pp": 1, "ep": 2})
ROW = (
    "weight_bytes", "kv_bytes_per_token", "kv_bytes_per_sequence", "sequence_bytes", "activation_bytes",
    "overhead_bytes", "kv_pool_bytes", "vram_bytes", "fits", "batch_max", "ttft_s", "tpot_s", "e2e_s",
    "requests_per_s", "output_tokens_per_s", "limited_by", "active_parameter_count", "simple_vram_bytes",
    "simple_ttft_s", "simple_tpot_s", "simple_batch_max", "usd_per_hour", "usd_per_mtok_output",
    "usd_per_mtok_input", "power_w", "energy_j_per_token",
)  # fmt: skip
ANSWERS = (
    "memory_utilization_ratio", "batched_tokens_max", "sequences_max", "block_tokens", "model_len_max_tokens",
    "is_eager", "non_torch_bytes", "cuda_graph_bytes", "charged_graph_bytes", "first_stage_activation_bytes",
    "first_stage_pool_bytes", "kv_ideal_bytes_per_sequence", "kv_shown_bytes_per_token", "window_bytes_per_token",
    "kv_pool_blocks", "kv_pool_tokens", "concurrency_at_model_len", "context_max_tokens", "memory_confidence",
    "memory_error_bytes", "memory_risk", "batch_max_lo", "cuda_graph_error_bytes", "vram_bytes_lo", "vram_bytes_hi",
)  # fmt: skip


TAKEN = {"weights": 4, "kv": 1, "accelerator": 3, "workload": 1, "batch": 1}
"""Of each axis so many are crossed, others for each engine."""


def grid_of(engine: str) -> Grid:
    """Every model with one engine, as it comes and as it is set up, in all formats that it reads."""
    catalogs = pipeline.catalogs()
    reads = catalogs.frames["engine"].row(by_predicate=pl.col("engine") == engine, named=True)
    return Grid(
        "sample",
        models=select(catalogs, "model", ["*"]),
        weights=tuple(reads["formats"]),
        kv=tuple(reads["kv_formats"]),
        engines=(engine,),
        accelerators=select(catalogs, "accelerator", list(DEVICES)),
        workloads=("chat", "rag-long", "case-study"),
        parallel=PLANS,
        batches=(1, 24, 300),
        setups=tuple(setup for setup in SETUPS if setup["engine"] == engine),
    )


def sampled(engine: str, seed: int) -> list[dict[str, Any]]:
    """A row of every model for one engine as it comes and as it is set up: facts, and all that either writing makes."""
    axes = axes_of(pipeline.catalogs(), grid_of(engine), date(2026, 11, 22))
    given = [column for frame in axes.values() for column in frame.columns]
    few = {name: f.sample(min(TAKEN.get(name, f.height), f.height), seed=seed) for name, f in axes.items()}
    wanted = [*given, *(name for name in (*ROW, *ANSWERS) if name not in given)]
    rows = by_grain(few, book_for(axes["model"]), wanted, RULES).collect()
    return (
        rows.sample(fraction=1, shuffle=True, seed=seed)
        .unique(["model", "engine"], keep="first", maintain_order=True)
        .to_dicts()
    )


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """Rows of every model over versions, devices, formats and setups."""
    engines = select(pipeline.catalogs(), "engine", list(ENGINES))
    return [row for seed, engine in enumerate(engines) for row in sampled(engine, seed)]


@pytest.fixture(scope="module")
def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same rows by plain Python."""
    return [PLAIN["row"](facts) | PLAIN["answers"](facts) for facts in rows]


def is_same(got: object, other: object) -> bool:
    """Whether two values are one, up to rounding."""
    return got == other or (
        isinstance(got, int | float) and isinstance(other, int | float) and math.isclose(got, other, rel_tol=1e-9)
    )


@pytest.mark.parametrize("name", [*ROW, *ANSWERS])
def test_expressions_equal_a_second_writing(rows: list[dict[str, Any]], plain: list[dict[str, Any]], name: str) -> None:
    """A slip in an expression, a wrong column or an overflow would part the two writings."""
    keys = ("model", "weights", "kv", "engine", "accelerator", "tp", "pp", "ep", "workload", "batch")
    for facts, expected in zip(rows, plain, strict=True):
        place = " ".join(str(facts[key]) for key in keys)
        assert is_same(facts[name], expected[name]), f"{place}: {facts[name]} {expected[name]}"


def test_every_model_and_every_engine_is_among_the_rows(rows: list[dict[str, Any]]) -> None:
    """What no row has, no comparison holds."""
    assert {row["model"] for row in rows} == set(pipeline.catalogs().frames["model"]["model"])
    assert {row["engine"] for row in rows} >= {*(str(setup["name"]) for setup in SETUPS), "vllm", "llama.cpp"}
