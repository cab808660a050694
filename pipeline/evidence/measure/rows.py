"""Measured points as tidy rows, one number each: what backtest and calibrate read."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.evidence.measure.sweep import quartile_ratio
from pipeline.evidence.measurements import columns_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline.evidence.measure.sweep import Point

COLUMNS: dict[str, type[pl.DataType]] = {
    **columns_in(pl.String, "source kind engine engine_version model weights kv accelerator"),
    **columns_in(pl.Int64, "device_bytes device_count tp pp batch prompt_tokens output_tokens"),
    "quantity": pl.String,
    **columns_in(pl.Float64, "value spread_ratio"),
    "repeats": pl.Int64,
    "note": pl.String,
}


def tidy_rows(points: Sequence[Point], stated: Mapping[str, Any]) -> pl.DataFrame:
    """The rows of all points: medians of repeats, how far their quartiles lie apart, and what was out of memory.

    Args:
        points: what a sweep found.
        stated: columns that hold of every row: model, accelerator, engine, formats.
    """
    same = {"source": "capgrid measure", "kind": "static", "device_count": 1, "tp": 1, "pp": 1, **stated}
    rows = [{**same, **row} for point in points for row in point_rows(point)]
    return pl.DataFrame(rows, schema=COLUMNS)


def point_rows(point: Point) -> Iterator[dict[str, Any]]:
    """The numbers of one point; a batch that did not fit has only that."""
    plan = {"batch": point.batch, "prompt_tokens": point.prompt_tokens}
    if point.ran_out:
        yield {**plan, "output_tokens": point.output_tokens, "quantity": "oom", "value": 1.0, "repeats": 1}
        return
    first, whole = {**plan, "output_tokens": 1}, {**plan, "output_tokens": point.output_tokens}
    if point.ttft_s:
        yield first | repeats_row("ttft_s", point.ttft_s)
    if point.tpot_s:
        yield whole | repeats_row("itl_s", point.tpot_s)
    if point.peak_bytes:
        yield first | repeats_row("memory_bytes", [point.first_peak_bytes])
        yield whole | repeats_row("memory_bytes", [point.peak_bytes])
        yield whole | {"quantity": "oom", "value": 0.0, "repeats": 1}


def repeats_row(quantity: str, values: Sequence[float]) -> dict[str, Any]:
    """One number of a point, from its repeats."""
    middle, spread = float(median(values)), quartile_ratio(values)
    return {"quantity": quantity, "value": middle, "spread_ratio": spread, "repeats": len(values)}
