"""Constants that a user's own measurements gave, in place of those that the catalogs state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from polars import col

if TYPE_CHECKING:
    from collections.abc import Sequence


def with_calibrations(entries: pl.DataFrame, key: str, calibrations: pl.DataFrame) -> pl.DataFrame:
    """Engines or devices with what their calibrations say; of two that set one constant, the later holds.

    >>> engines = pl.DataFrame({"engine": ["a", "b"], "engine_step_s": [1.0, 2.0]})
    >>> said = {"engine": ["b", "b"], "engine_step_s": [5.0, 4.0], "fitted_on": ["2026-02-01", "2026-01-01"]}
    >>> with_calibrations(engines, "engine", pl.DataFrame(said))["engine_step_s"].to_list()
    [1.0, 5.0]
    """
    constants = [name for name in calibrations.columns if name in entries.columns and name != key]
    last = (
        by_day(calibrations, key)
        .group_by(key)
        .agg(col(constants).drop_nulls().last().name.prefix("calibrated_"))
        .with_columns(col(key).cast(entries.schema[key]))
    )
    joined = entries.join(last, on=key, how="left", maintain_order="left")
    return joined.with_columns(
        pl.coalesce(f"calibrated_{name}", name).cast(entries.schema[name]).alias(name) for name in constants
    ).select(entries.columns)


def by_day(calibrations: pl.DataFrame, key: str) -> pl.DataFrame:
    """The calibrations of engines, or of devices, the one that holds last."""
    return calibrations.filter(col(key).is_not_null()).sort("fitted_on", maintain_order=True)


def setting(calibrations: pl.DataFrame, key: str, entry: str, constant: str) -> Sequence[str]:
    """The calibrations that set one constant of an engine or a device, the one that holds first."""
    if constant not in calibrations.columns:
        return []
    said = by_day(calibrations, key).filter(col(key) == entry, col(constant).is_not_null())
    return said["calibration"].reverse().to_list()
