"""Measured rows: a tidy file, one number a row, becomes a typed frame. Extra columns are carried along."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from pipeline.core.errors import PipelineError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Types = dict[str, type[pl.DataType]]


def columns_in(dtype: type[pl.DataType], names: str) -> Types:
    """Columns of one type, from their names with spaces between.

    >>> columns_in(pl.Int64, "tp pp")
    {'tp': Int64, 'pp': Int64}
    """
    return dict.fromkeys(names.split(), dtype)


NEEDED: Types = {"model": pl.String, "quantity": pl.String, "value": pl.Float64}
OPTIONAL: Types = {
    **columns_in(pl.String, "source engine engine_version weights kv accelerator"),
    **columns_in(pl.Float64, "device_bytes tp pp ep dp attention_dp moe_ep batch prompt_tokens output_tokens"),
    "kind": pl.String,
    **columns_in(pl.Float64, "device_count memory_utilization model_len_max batched_tokens_max"),
    **columns_in(pl.Float64, "sequences_max block_tokens"),
    "eager": pl.Boolean,
}
"""Columns that say what was measured on what; what a file does not state is the engine's default."""


def read_measurements(paths: Sequence[Path]) -> pl.DataFrame:
    """The rows of some CSV or Parquet files, one below the other.

    Raises:
        PipelineError: a file cannot be read, lacks a column, or holds text where a number belongs.
    """
    frames = [with_types(path, read_untyped(path)) for path in paths]
    return pl.concat(frames, how="diagonal_relaxed").with_row_index("measurement_row")


def read_untyped(path: Path) -> pl.DataFrame:
    """One file, every column of a CSV as text."""
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        return pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise PipelineError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error


def with_types(path: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with typed columns; optional ones that are missing are unknown."""
    for name in NEEDED.keys() - set(rows.columns):
        raise PipelineError(f"{path}: has no column '{name}'. {nearest(name, rows.columns)}".rstrip())
    typed = rows.with_columns(
        pl.col(name).cast(dtype, strict=False) if name in rows.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in {**NEEDED, **OPTIONAL}.items()
        if dtype != pl.Boolean
    ).with_columns(truth(rows, "eager"))
    for name, dtype in {**NEEDED, **OPTIONAL}.items():
        if name in rows.columns and dtype == pl.Float64:
            refuse_text(path, name, rows[name], typed[name])
    return typed


def truth(rows: pl.DataFrame, name: str) -> pl.Expr:
    """A column of truths, however they are written."""
    if name not in rows.columns:
        return pl.lit(None, pl.Boolean).alias(name)
    text = pl.col(name).cast(pl.String).str.to_lowercase()
    yes, no = text.is_in(["true", "1", "1.0", "yes"]), text.is_in(["false", "0", "0.0", "no"])
    return pl.when(yes).then(True).when(no).then(False).alias(name)


def refuse_text(path: Path, name: str, said: pl.Series, numbers: pl.Series) -> None:
    """Raise where a number was expected and something else stands."""
    wrong = said.is_not_null() & numbers.is_null() & (said.cast(pl.String).str.strip_chars() != "")
    if wrong.any():
        place = wrong.arg_true()[0]
        raise PipelineError(f"{path}: row {place + 1}: {name} = {str(said[place])[:80]!r} is not a number")
