"""Measured points as tidy rows, one number each: what backtest and calibrate read."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.evidence.measure.sweep import spread_ratio

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline.evidence.measure.sweep import Point

COLUMNS = {
    "source": pl.String, "kind": pl.String, "engine": pl.String, "engine_version": pl.String, "model": pl.String,
    "weights": pl.String, "kv": pl.String, "accelerator": pl.String, "device_bytes": pl.Int64,
    "device_count": pl.Int64, "tp": pl.Int64, "pp": pl.Int64, "batch": pl.Int64, "prompt_tokens": pl.Int64,
    "output_tokens": pl.Int64, "quantity": pl.String, "value": pl.Float64, "spread_ratio": pl.Float64,
    "repeats": pl.Int64, "note": pl.String,
}  # fmt: skip


def tidy(points: Sequence[Point], stated: Mapping[str, Any]) -> pl.DataFrame:
    """The rows of all points: medians of repeats, how far their quartiles lie apart, and what was out of memory.

    Args:
        points: what a sweep found.
        stated: columns that hold of every row: model, accelerator, engine, formats.
    """
    same = {"source": "capgrid measure", "kind": "static", "device_count": 1, "tp": 1, "pp": 1, **stated}
    rows = [{**same, **row} for point in points for row in numbers(point)]
    return pl.DataFrame(rows, schema=COLUMNS)


def numbers(point: Point) -> Iterator[dict[str, Any]]:
    """The numbers of one point; a batch that did not fit has only that."""
    plan = {"batch": point.batch, "prompt_tokens": point.prompt_tokens}
    if point.ran_out:
        yield {**plan, "output_tokens": point.output_tokens, "quantity": "oom", "value": 1.0, "repeats": 1}
        return
    first, whole = {**plan, "output_tokens": 1}, {**plan, "output_tokens": point.output_tokens}
    if point.ttft_s:
        yield first | number("ttft_s", point.ttft_s)
    if point.tpot_s:
        yield whole | number("itl_s", point.tpot_s)
    if point.peak_bytes:
        yield first | number("memory_bytes", [point.first_peak_bytes])
        yield whole | number("memory_bytes", [point.peak_bytes])
        yield whole | {"quantity": "oom", "value": 0.0, "repeats": 1}


def number(quantity: str, values: Sequence[float]) -> dict[str, Any]:
    """One number of a point, from its repeats."""
    return {
        "quantity": quantity,
        "value": float(median(values)),
        "spread_ratio": spread_ratio(values),
        "repeats": len(values),
    }
