"""Numbers of the report that are not of one plan: headline, fleets, prices, ages, and which models it shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl
from polars import col

from pipeline.facts.catalog import ASSUMED
from pipeline.publish.report.plans import capacity, scan_rows
from pipeline.run.finished import check_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OLD_DAYS = 120
"""From this age on a price is marked as old."""


@dataclass(frozen=True)
class Overview:
    """What a run says as a whole."""

    manifest: dict[str, Any]
    as_of: date
    models: pl.DataFrame
    """`model, family, parameter_count, release_date`: those of the run, the ones to show first at the top."""
    accelerators: pl.DataFrame
    """`accelerator, memory_gb, usd_per_hour, price_cloud, price_date, age_days`: small memories first."""
    workloads: pl.DataFrame
    """`workload, prompt_tokens, output_tokens, ttft_slo_s, tpot_slo_s`, in the grid's order."""
    weights: list[str]
    counts: dict[str, Any]
    fleets: pl.DataFrame
    """The cheapest option of each demand of the grid."""
    facts: pl.DataFrame
    """By kind of entry: `facts, assumed, read_first, read_last, age_days`."""


def overview(run: Path, wanted: Sequence[str] = ()) -> Overview:
    """What a run says as a whole.

    Args:
        run: its folder.
        wanted: ids of models to show before all others.

    Raises:
        RunError: the run is unfinished or damaged.
    """
    manifest = check_run(run)
    as_of = date.fromisoformat(manifest["as_of"])
    rows = capacity(run)
    facts = pl.read_parquet(run / "facts.parquet", glob=False)
    counts = rows.select(
        capacity=pl.len(), fit_ratio=(col("batch_max") > 0).mean(), slo_ratio=(col("batch_slo") > 0).mean()
    ).collect()
    pairs = rows.group_by("model", "accelerator").agg(holds=(col("batch_max") > 0).any()).collect()
    held = {"pairs": pairs.height, "pairs_held": int(pairs["holds"].sum()), **counts.row(0, named=True)}
    fleets = cheapest_fleets(run)
    return Overview(
        manifest,
        as_of,
        order_models(rows, facts, [*wanted, *fleets["model"].to_list()]),
        accelerators_of(rows, as_of),
        workloads_of(rows, manifest["grid"]["workloads"]),
        grid_order(rows.select("weights").unique().collect()["weights"].to_list(), manifest["grid"]["weights"]),
        held,
        fleets,
        ages(facts, as_of),
    )


def grid_order(found: Sequence[str], grid: Sequence[str]) -> list[str]:
    """Names in the order of the grid, those that it does not name after them.

    >>> grid_order(["fp8", "bf16", "x"], ["bf16", "fp8", "int4"])
    ['bf16', 'fp8', 'x']
    """
    return [*(name for name in grid if name in found), *sorted(set(found) - set(grid))]


def entry_fields(facts: pl.DataFrame, kind: str, fields: Sequence[str]) -> pl.DataFrame:
    """Entries of one kind, `id` and the named fields as text."""
    rows = facts.filter(col("kind") == kind)
    found = [
        rows.filter(col("field") == field).select(id="name", **{field: "value"}).unique("id", keep="first")
        for field in fields
    ]
    ids = rows.select(id="name").unique(maintain_order=True)
    for each in found:
        ids = ids.join(each, on="id", how="left", maintain_order="left")
    return ids


def order_models(rows: pl.LazyFrame, facts: pl.DataFrame, first: Sequence[str]) -> pl.DataFrame:
    """The run's models: those named first, then the newest of each family, then the others, new ones first."""
    named = list(dict.fromkeys(first))
    told = entry_fields(facts, "model", ["family", "release_date"]).rename({"id": "model"})
    sizes = rows.group_by("model").agg(col("parameter_count").first())
    known = sizes.join(told.lazy(), on="model", how="left").sort(
        "release_date", "model", descending=[True, False], nulls_last=True
    )
    place = col("model").replace_strict(
        {name: at for at, name in enumerate(named)}, default=None, return_dtype=pl.Int64
    )
    ranked = known.with_columns(place=place, turn=pl.int_range(pl.len()).over("family"))
    newest = (col("turn") == 0) & col("release_date").is_not_null()
    return (
        ranked.with_columns(newest=newest)
        .sort("place", "newest", "release_date", "model", descending=[False, True, True, False], nulls_last=True)
        .select("model", "family", "parameter_count", "release_date")
        .collect()
    )


def accelerators_of(rows: pl.LazyFrame, as_of: date) -> pl.DataFrame:
    """The run's accelerators, small memories first, with the price that is in force and its age."""
    first = rows.group_by("accelerator").agg(
        memory_gb=col("device_memory_bytes").first() / 1e9,
        usd_per_hour=(col("usd_per_hour") / col("device_count")).drop_nulls().first().round_sig_figs(5),
        price_cloud=col("price_cloud").drop_nulls().first(),
        price_date=col("price_date").drop_nulls().first(),
    )
    age = (pl.lit(as_of) - col("price_date")).dt.total_days()
    return first.with_columns(age_days=age).sort("memory_gb", "usd_per_hour", "accelerator", nulls_last=True).collect()


def workloads_of(rows: pl.LazyFrame, grid: Sequence[str]) -> pl.DataFrame:
    """The run's workloads in the order of its grid."""
    columns = ("workload", "prompt_tokens", "output_tokens", "ttft_slo_s", "tpot_slo_s")
    found = rows.select(columns).unique().collect()
    order = grid_order(found["workload"].to_list(), grid)
    return found.sort(col("workload").replace_strict({name: at for at, name in enumerate(order)}))


def cheapest_fleets(run: Path) -> pl.DataFrame:
    """The cheapest option of each demand of a run; none where its grid demands none."""
    path = run / "fleet.parquet"
    if not path.is_file():
        return pl.DataFrame(schema={"model": pl.String})
    rows = scan_rows(path)
    demand = ["model", "workload", "prompt_tokens", "output_tokens", "demand_requests_per_s"]
    demand += ["ttft_slo_s", "tpot_slo_s"]
    order = ["usd_per_month", "devices", "device_count", "accelerator", "weights", "kv", "engine"]
    return (
        rows.with_row_index("at")
        .with_columns(first=col("at").min().over(demand))
        .sort("first", *order, "at", nulls_last=True)
        .unique(demand, keep="first", maintain_order=True)
        .drop("at", "first")
        .collect()
    )


def ages(facts: pl.DataFrame, as_of: date) -> pl.DataFrame:
    """How many facts each kind of catalog has, how many are assumptions, and when they were read."""
    return (
        facts.group_by("kind")
        .agg(
            entries=col("name").n_unique(),
            facts=pl.len(),
            assumed=col("source_kind").is_in(ASSUMED).sum(),
            read_first=col("read_on").min(),
            read_last=col("read_on").max(),
        )
        .with_columns(age_days=(pl.lit(as_of) - col("read_first")).dt.total_days())
        .sort("facts", "kind", descending=[True, False])
    )
