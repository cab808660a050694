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


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    """Every model of the catalog on some devices, formats, engines and plans: a sample of a thousand rows."""
    catalogs = pipeline.catalogs()
    grid = Grid(
        "sample",
        models=select(catalogs, "model", ["*"]),
        weights=("bf16", "fp8", "int4-awq", "mxfp4", "nvfp4"),
        kv=("bf16", "fp8"),
        engines=("vllm", "sglang", "tensorrt-llm", "transformers"),
        accelerators=("a100-sxm-80gb", "l4", "h100-sxm-80gb", "b200-sxm-180gb"),
        workloads=("chat", "rag-long", "case-study"),
        parallel=({"tp": 1, "pp": 1, "ep": 1}, {"tp": 4, "pp": 2, "ep": 1}),
        batches=(1, 24, 300),
    )
    axes = axes_of(catalogs, grid, date(2026, 11, 22))
    given = [column for frame in axes.values() for column in frame.columns]
    wanted = [*given, *(name for name in plain_row_names() if name not in given)]
    return by_grain(axes, book_for(axes["model"]), wanted, RULES).collect().sample(1000, seed=1)


def plain_row_names() -> list[str]:
    """What the plain writing computes."""
    return [
        "weight_bytes", "kv_bytes_per_token", "kv_bytes_per_sequence", "sequence_bytes", "activation_bytes",
        "overhead_bytes", "kv_pool_bytes", "vram_bytes", "fits", "batch_max", "ttft_s", "tpot_s", "e2e_s",
        "requests_per_s", "output_tokens_per_s", "limited_by", "active_parameter_count", "simple_vram_bytes",
        "simple_ttft_s", "simple_tpot_s", "simple_batch_max", "usd_per_hour", "usd_per_mtok_output",
        "usd_per_mtok_input", "power_w", "energy_j_per_token",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def plain(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """The same rows by plain Python."""
    return [PLAIN["row"](facts) for facts in rows.iter_rows(named=True)]


@pytest.mark.parametrize("name", plain_row_names())
def test_expressions_equal_a_second_writing(rows: pl.DataFrame, plain: list[dict[str, Any]], name: str) -> None:
    """A slip in an expression, a wrong column or an overflow would part the two writings."""
    for facts, expected in zip(rows.iter_rows(named=True), plain, strict=True):
        got, other = facts[name], expected[name]
        same = got == other or (isinstance(got, int | float) and math.isclose(got, other, rel_tol=1e-9))
        assert same, f"{facts['model']} {facts['weights']} {facts['engine']} {facts['accelerator']}: {got} {other}"
