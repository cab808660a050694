"""A real start of an engine beside its estimate, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from polars import col

from pipeline.core.errors import PipelineError
from pipeline.evidence.backtest import SIGNED
from pipeline.evidence.measurements import OPTIONAL
from pipeline.evidence.predict import predict_rows
from pipeline.evidence.readers.logs import as_rows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from pathlib import Path

    from pipeline.evidence.readers.logs import StartUp
    from pipeline.facts.catalog import Catalogs


def compare_start(
    path: Path, start: StartUp, asked: Mapping[str, Any], catalogs: Catalogs, as_of: date
) -> pl.DataFrame:
    """Each number of a start-up log beside its estimate.

    Args:
        path: the log, for messages.
        start: what it says.
        asked: columns of measurements that the user states; they go before what the log says.
        catalogs: where facts come from.
        as_of: day whose prices hold.

    Returns:
        quantity, logged, estimated, difference_ratio, lo, hi, line: a row for each number of the log.

    Raises:
        PipelineError: the log says no number, or the plan that it states cannot be estimated; says why.
    """
    stated = [pl.lit(value, OPTIONAL.get(name, pl.String)).alias(name) for name, value in asked.items()]
    rows = as_rows(start)
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in OPTIONAL.items() if name not in rows.columns]
    rows = rows.with_columns(missing).with_columns(stated).with_row_index("measurement_row")
    if rows.is_empty():
        raise PipelineError(f"{path}: states no memory figure; start the engine with its usual log level")
    told = predict_rows(rows, catalogs, as_of)
    reasons = told.filter(col("reason") != "")["reason"].unique().to_list()
    if len(reasons) == 1 and (told["reason"] != "").all():
        raise PipelineError(f"{path}: {reasons[0]}; state it with an option")
    beside = {"logged": col("value"), "estimated": col("predicted"), "difference_ratio": SIGNED}
    lines = col("quantity").replace_strict(start.lines, default="", return_dtype=pl.String)
    return told.select("quantity", **beside, lo="lo", hi="hi", line=lines)
