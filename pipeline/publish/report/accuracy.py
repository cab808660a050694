"""How far the formulas of this version are from the published measurements that come with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from pipeline.core.places import bundled
from pipeline.evidence.backtest import errors_by
from pipeline.evidence.measurements import read_measurements
from pipeline.evidence.predict import predict_rows

if TYPE_CHECKING:
    from datetime import date

    from pipeline.facts.catalog import Catalogs


def accuracy(catalogs: Catalogs, as_of: date) -> pl.DataFrame:
    """Errors by `engine` and `quantity`, and of all rows where both are unknown: ratios, `n` and `answered` counts.

    No rows where the measurements do not come with this installation.
    """
    path = bundled("catalogs") / "measurements" / "published.csv"
    if not path.is_file():
        return pl.DataFrame()
    rows = predict_rows(read_measurements([path]), catalogs, as_of)
    by_kind = errors_by(rows, ["quantity", "engine"])
    whole = errors_by(rows, [])
    return pl.concat([by_kind, whole], how="diagonal")
