"""What the report shows of a run's plans: the best of each accelerator, their curves, fronts, and what fits where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from polars import col

from pipeline.run.partitions import part_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PLAN = ("engine", "kv", "device_count", "tp", "pp", "ep", "dp")
"""What is chosen where model, workload, weights and accelerator are given."""
CASE = ("model", "workload", "weights", "accelerator")
FRONT = ("model", "workload", "weights")
GB, MS = 1e9, 1e3
DIGITS, CURVE_DIGITS = 4, 3
ORDER = ("meets", "usd", "device_tokens_per_s")
"""A better plan meets the objectives, costs less per token, does more per device."""


def capacity(run: Path) -> pl.LazyFrame:
    """The table `capacity` of a run."""
    return scan_rows(run / "capacity.parquet")


def scan_rows(path: Path) -> pl.LazyFrame:
    """A table of a run, names as text, numbers as Float64 (which are rounded for show)."""
    rows = pl.scan_parquet(path, hive_partitioning=False, glob=False)
    return rows.with_columns(col(pl.Enum, pl.Categorical).cast(pl.String), col(pl.Float32).cast(pl.Float64))


def best_plans(run: Path, models: Sequence[str]) -> pl.DataFrame:
    """The best plan of each model, workload, weight format and accelerator that holds at least one sequence.

    Best is: meets the objectives, then costs least per token, then writes most per device. Columns are in the
    units of their names: `usd` per million output tokens, `_gb` (1e9 bytes) per device, `_ms`.
    """
    keys = [*CASE, *PLAN]
    tokens, usd = col("output_tokens_per_s"), col("usd_per_mtok_output")
    kv = col("vram_bytes") - col("weight_bytes") - col("activation_bytes") - col("overhead_bytes")
    rows = (
        capacity(run)
        .filter(col("model").is_in(list(models)), col("fits"), col("batch_max") > 0)
        .select(
            *keys, "batch", "batch_max", "limited_by", "confidence", "tpot_s",
            meets=col("batch_slo") > 0,
            ttft_ms=col("ttft_s") * MS, tpot_ms=col("tpot_s") * MS, tokens_per_s=tokens,
            device_tokens_per_s=tokens / col("device_count"),
            usd=usd, usd_lo=usd * tokens / col("output_tokens_per_s_hi"),
            usd_hi=usd * tokens / col("output_tokens_per_s_lo"),
            weights_gb=col("weight_bytes") / GB, kv_gb=kv / GB, activations_gb=col("activation_bytes") / GB,
            overhead_gb=col("overhead_bytes") / GB, free_gb=(col("device_memory_bytes") - col("vram_bytes")) / GB,
        )
    )  # fmt: skip
    down = [False] * len(CASE) + [True, False, True] + [False] * len(PLAN)
    ranked = rows.sort([*CASE, *ORDER, *PLAN_ORDER], descending=down, nulls_last=True)
    return ranked.unique(list(CASE), keep="first", maintain_order=True).collect()


PLAN_ORDER = ("device_count", "engine", "kv", "tp", "pp", "ep", "dp")
"""How plans that are as good as each other are ordered: few devices first."""


def estimates(run: Path, models: Sequence[str]) -> pl.LazyFrame:
    """The curves of some models, only of batches that fit; other models' files are not opened."""
    return pl.concat(scan_rows(path) for model in models for path in part_files(run, "estimates", model)).filter("fits")


def plan_curves(run: Path, plans: pl.DataFrame) -> pl.DataFrame:
    """Of each plan, by the grid's batches as far as they fit: `curve_tpot_ms`, `curve_tokens` (per device and second).

    `curve_in_time` says of how many of them, from the first on, the time to first token is within its objective.
    """
    keys = [*CASE, *PLAN]
    slo = capacity(run).select(*keys, "ttft_slo_s")
    wanted = plans.lazy().select(keys).join(slo, on=keys, how="left")
    models = plans["model"].unique().sort().to_list()
    rows = estimates(run, models).join(wanted, on=keys).sort(*keys, "batch")
    in_time = (col("ttft_s") <= col("ttft_slo_s")).cast(pl.Int64).cum_prod().sum()
    told = rows.group_by(keys, maintain_order=True).agg(
        curve_tpot_ms=(col("tpot_s") * MS).round_sig_figs(CURVE_DIGITS),
        curve_tokens=(col("output_tokens_per_s") / col("device_count")).round_sig_figs(CURVE_DIGITS),
        curve_in_time=in_time,
    )
    return plans.lazy().join(told, on=keys, how="left", maintain_order="left").collect()


def fronts(run: Path, models: Sequence[str]) -> pl.DataFrame:
    """Plans and batches of which none is both cheaper and faster: `usd` per million output tokens, `e2e_s`."""
    priced = estimates(run, models).filter(col("usd_per_mtok_output").is_not_null())
    rows = priced.select(*FRONT, "accelerator", *PLAN, "batch", "e2e_s", "tpot_s", usd="usd_per_mtok_output").sort(
        *FRONT, "usd", "e2e_s", "accelerator", *PLAN_ORDER, "batch"
    )
    faster = col("e2e_s") < col("e2e_s").cum_min().shift(1).over(FRONT)
    return rows.filter(faster.fill_null(True)).collect()


def largest_batches(run: Path, models: Sequence[str]) -> pl.DataFrame:
    """The largest `batch_max` over engines, KV formats and parallel plans, by case and `device_count`."""
    rows = capacity(run).filter(col("model").is_in(list(models)))
    keys = [*CASE, "device_count"]
    return rows.group_by(keys).agg(col("batch_max").max()).sort(keys).collect()
