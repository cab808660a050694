"""How far estimates are from measurements: errors by slice, coverage of bands, and what was not answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from polars import col

from pipeline.core.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Sequence

ANSWERED = col("reason") == ""
SIGNED = col("predicted") / col("value") - 1


def errors_by(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """One row for each slice: how many rows, and the errors of those that were answered.

    Args:
        rows: what predict.predict_rows returns.
        by: columns of the rows; none for one slice of everything.

    Raises:
        UnknownNameError: no such column.
    """
    for name in by:
        if name not in rows.columns:
            raise UnknownNameError("column", name, rows.columns)
    answered = rows.with_columns(
        signed=pl.when((col("value") != 0) & ANSWERED).then(SIGNED),
        ape=pl.when(ANSWERED).then("ape"),
        covered=pl.when(ANSWERED).then(col("value").is_between(col("lo"), col("hi"))),
    )
    statistics = {
        "n": pl.len(),
        "answered": ANSWERED.sum(),
        "median_ape": col("ape").median(),
        "mape": col("ape").mean(),
        "p90_ape": col("ape").quantile(0.9, "linear"),
        "median_signed": col("signed").median(),
        "coverage_80": col("covered").mean(),
    }
    if not by:
        return answered.select(**statistics)
    return answered.group_by(by, maintain_order=True).agg(**statistics).sort(by, nulls_last=True)


def unanswered(rows: pl.DataFrame) -> pl.DataFrame:
    """Why rows were not answered, the most frequent reason first."""
    return rows.filter(~ANSWERED).group_by("reason").agg(n=pl.len()).sort("n", "reason", descending=[True, False])


def backtest_data(rows: pl.DataFrame, by: Sequence[str]) -> dict[str, Any]:
    """The whole report as plain values."""
    slices = [
        {"by": {name: row[name] for name in by}, **{name: value for name, value in row.items() if name not in by}}
        for row in errors_by(rows, by).iter_rows(named=True)
    ]
    return {
        "rows": rows.height,
        "answered": rows.filter(ANSWERED).height,
        "slices": slices,
        "unanswered": unanswered(rows).to_dicts(),
    }
