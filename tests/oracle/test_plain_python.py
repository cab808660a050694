"""The production expressions against a second writing of the same equations, in plain Python."""

from __future__ import annotations

import math
import runpy
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import pipeline
from pipeline.estimators.feasible import RULES
from pipeline.grid.axes import KEYS, axes_of
from pipeline.grid.plan import by_grain
from pipeline.grid.selection import Grid, select
from pipeline.grid.tables import book_for
from tests.support import AS_OF, plan

PLAIN = runpy.run_path(str(Path(__file__).parent / "plain_python.py"))
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
    "tensorrt-llm@0.5.0", "lmdeploy", "transformers@4.40.0", "transformers", "llama.cpp", "gpt-fast", "autoawq", "tgi",
    "deepspeed-mii", "mlc-llm", "exllamav2",
)  # fmt: skip
DEVICES = ("t4", "l4", "a100-sxm-80gb", "h100-sxm-80gb", "b200-sxm-180gb", "rtx-4090", "mi300x")
PLANS = (plan(), plan(4, 2), plan(2, ep=2), plan(dp=2), plan(2, dp=4, ep=8), plan(2, 2, dp=2, ep=2))
FEATURES: dict[str, dict[str, Any]] = {
    # what the workloads of a sample are given besides
    "as it comes": {},
    "cached": {"cached_prompt_ratio": 0.625, "chunk_tokens": 2048},
    "drafted": {"verified_tokens": 4, "accepted_tokens": 2.5, "draft_ratio": 0.1},
    "apart": {"is_disaggregated": True, "chunk_tokens": 16_384},
    "all": {"cached_prompt_ratio": 0.9, "verified_tokens": 8, "accepted_tokens": 3.0, "draft_ratio": 0.2,
            "is_disaggregated": True},
}  # fmt: skip
WORKING = ("cached_prompt_ratio", "chunk_tokens", "verified_tokens", "is_disaggregated")
PLACE = (*(key for key in KEYS if key != "device_count"), "batch", *WORKING)
CLIENTS = (1, 24, 1000)
ROW = (
    "weight_bytes", "kv_bytes_per_token", "kv_bytes_per_sequence", "sequence_bytes", "activation_bytes",
    "overhead_bytes", "kv_pool_bytes", "vram_bytes", "fits", "batch_max", "ttft_s", "tpot_s", "e2e_s",
    "requests_per_s", "output_tokens_per_s", "limited_by", "active_parameter_count", "simple_vram_bytes",
    "simple_ttft_s", "simple_tpot_s", "simple_batch_max", "usd_per_hour", "usd_per_mtok_output",
    "usd_per_mtok_input", "power_w", "energy_j_per_token", "slo_load_ratio", "moe_layer_s", "kv_transfer_s",
    "prefill_replicas", "decode_tokens_per_s", "prefill_tokens_per_s",
)  # fmt: skip
ANSWERS = (
    "memory_utilization_ratio", "batched_tokens_max", "sequences_max", "block_tokens", "model_len_max_tokens",
    "is_eager", "non_torch_bytes", "cuda_graph_bytes", "charged_graph_bytes", "first_stage_activation_bytes",
    "first_stage_pool_bytes", "kv_ideal_bytes_per_sequence", "kv_shown_bytes_per_token", "window_bytes_per_token",
    "kv_pool_blocks", "kv_pool_tokens", "concurrency_at_model_len", "context_max_tokens", "memory_confidence",
    "memory_error_bytes", "memory_risk", "batch_max_lo", "cuda_graph_error_bytes", "vram_bytes_lo", "vram_bytes_hi",
)  # fmt: skip
BANDS = (
    "ttft_s_lo", "ttft_s_hi", "tpot_s_lo", "tpot_s_hi", "output_tokens_per_s_lo", "output_tokens_per_s_hi",
    "confidence",
)  # fmt: skip
SEEN = (
    "waiting_s", "client_ttft_s", "client_e2e_s", "client_requests_per_s", "client_output_tokens_per_s",
    "client_total_tokens_per_s",
)  # fmt: skip
COMPARED = (*ROW, *ANSWERS, *BANDS, *SEEN)


TAKEN = {"weights": 4, "kv": 1, "accelerator": 3, "workload": 2, "batch": 1, "clients": 1}
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


def with_features(workloads: pl.DataFrame) -> pl.DataFrame:
    """Each workload as it comes, and with each set of features."""
    return pl.concat(
        workloads.with_columns(pl.lit(value).cast(workloads.schema[name]).alias(name) for name, value in said.items())
        for said in FEATURES.values()
    )


def sampled(engine: str, seed: int) -> list[dict[str, Any]]:
    """A row of every model for one engine as it comes and as it is set up: facts, and all that either writing makes."""
    axes = axes_of(pipeline.catalogs(), grid_of(engine), AS_OF)
    axes |= {"workload": with_features(axes["workload"]), "clients": pl.DataFrame({"clients": CLIENTS})}
    given = [column for frame in axes.values() for column in frame.columns]
    few = {name: f.sample(min(TAKEN.get(name, f.height), f.height), seed=seed) for name, f in axes.items()}
    wanted = [*given, *(name for name in COMPARED if name not in given)]
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
    return [second_writing(facts) for facts in rows]


def second_writing(facts: dict[str, Any]) -> dict[str, Any]:
    """All that plain Python makes of one row's facts."""
    made = PLAIN["row"](facts)
    return made | PLAIN["answers"](facts) | PLAIN["bands"](facts, made) | PLAIN["seen_by_clients"](facts, made)


def is_same(got: object, other: object) -> bool:
    """Whether two values are one, up to rounding."""
    return got == other or (
        isinstance(got, int | float) and isinstance(other, int | float) and math.isclose(got, other, rel_tol=1e-9)
    )


@pytest.mark.parametrize("name", COMPARED)
def test_expressions_equal_a_second_writing(rows: list[dict[str, Any]], plain: list[dict[str, Any]], name: str) -> None:
    """A slip in an expression, a wrong column or an overflow would part the two writings."""
    for facts, expected in zip(rows, plain, strict=True):
        place = " ".join(str(facts[key]) for key in PLACE)
        assert is_same(facts[name], expected[name]), f"{place}: {facts[name]} {expected[name]}"


def test_every_model_and_every_engine_is_among_the_rows(rows: list[dict[str, Any]]) -> None:
    """What no row has, no comparison holds."""
    assert {row["model"] for row in rows} == set(pipeline.catalogs().frames["model"]["model"])
    assert {row["engine"] for row in rows} >= {*(str(setup["name"]) for setup in SETUPS), "vllm", "llama.cpp"}


def test_what_is_seldom_switched_on_is_among_the_rows(rows: list[dict[str, Any]]) -> None:
    """Groups that share experts, expert parallelism, and each feature of a workload."""
    found = {name: {row[name] for row in rows} for name in ("dp", "ep", *WORKING)}
    assert found["dp"] == {1, 2, 4}
    assert found["ep"] == {1, 2, 8}
    assert all(len(found[name]) > 1 for name in WORKING)
    assert {row["achieved_flop_ratio"] < 1 for row in rows} == {True, False}
    assert {row["engine_expands_kv"] for row in rows} == {True, False}
    assert {row["clients"] > row["batch"] for row in rows} == {True, False}
    assert {row["expert_overhead"] for row in rows if row["moe_layers"]} == {0, 1, 2, 3, 4}
