"""What a run should look like by the nights before it: row counts and quantiles, and bounds from their medians."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from polars import col

from pipeline.answers.diff.words import many
from pipeline.core.errors import RunError
from pipeline.core.files import whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from pathlib import Path

FILE = "history.parquet"
NIGHTS = 30
"""Nights that bounds are taken from, the newest of a grid."""
KEPT_NIGHTS = 1000
"""Nights that are kept."""
WATCHED = ["batch_max", "context_max_tokens", "vram_bytes", "ttft_s", "tpot_s"]
WATCHED += ["output_tokens_per_s", "usd_per_mtok_output"]
"""Columns of `capacity` whose quantiles are watched."""
QUANTILES = {"p05": 0.05, "p50": 0.5, "p95": 0.95}
FACTORS = {"rows": 1.25, "quantile": 1.5, "share": 1.25}
"""How far a figure of each kind may be from its median of the nights before, either way: judgement, not measurement."""
SCHEMA = dict.fromkeys(("run", "as_of", "grid", "figure", "kind"), pl.String) | {"as_of": pl.Date, "value": pl.Float64}


def figures(folder: Path, rows: Mapping[str, int]) -> pl.DataFrame:
    """The figures of a run that are watched: `figure`, `kind`, `value`.

    Args:
        folder: of the run.
        rows: of each table, as its manifest says.
    """
    table = pl.scan_parquet(folder / "capacity.parquet", glob=False)
    fitting = table.filter(col("batch_max") > 0)
    quantiles = fitting.select(
        col(name).cast(pl.Float64).quantile(share).alias(f"{name} {place}")
        for name in WATCHED
        for place, share in QUANTILES.items()
    ).collect()
    shares = table.select(
        (col("batch_max") > 0).mean().alias("share that fits"),
        col("usd_per_hour").is_not_null().mean().alias("share with a price"),
    ).collect()
    counted = [{"figure": f"rows of {name}", "kind": "rows", "value": float(n)} for name, n in rows.items()]
    told = [
        {"figure": name, "kind": kind, "value": value}
        for kind, frame in (("quantile", quantiles), ("share", shares))
        for name, value in frame.row(0, named=True).items()
    ]
    return pl.DataFrame(counted + told, schema={name: SCHEMA[name] for name in ("figure", "kind", "value")})


def read_history(out: Path) -> pl.DataFrame:
    """The figures of all nights before; none where there were none.

    Raises:
        RunError: the file is damaged.
    """
    path = out / FILE
    if not path.is_file():
        return pl.DataFrame(schema=SCHEMA)
    try:
        return pl.read_parquet(path, glob=False).select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    except (pl.exceptions.PolarsError, OSError) as error:
        message = f"{path}: damaged ({error}); move it away, and bounds begin anew"
        raise RunError(message) from error


def beyond_bounds(found: pl.DataFrame, history: pl.DataFrame, grid: str) -> list[str]:
    """A sentence for each figure that is too far from its median over the nights before of the same grid."""
    before = (
        history.filter(grid=grid)
        .group_by("figure", maintain_order=True)
        .agg(usual=col("value").tail(NIGHTS).median(), nights=col("value").tail(NIGHTS).len())
    )
    factor = col("kind").replace_strict(FACTORS, return_dtype=pl.Float64)
    far = (col("value") > col("usual") * factor) | (col("value") < col("usual") / factor)
    lost = col("value").is_null() != col("usual").is_null()
    rows = found.join(before, on="figure", how="inner", maintain_order="left").with_columns(factor=factor)
    return [
        f"{row['figure']}: {figure_words(row['value'])}, over {many(row['nights'], 'night')} "
        f"{figure_words(row['usual'])} in the median; {row['factor']:g} times is the bound"
        for row in rows.filter(far | lost).iter_rows(named=True)
    ]


def figure_words(value: float | None) -> str:
    """A figure in words."""
    return "unknown" if value is None else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"  # noqa: PLR2004


def remember_night(out: Path, found: pl.DataFrame, run: str, as_of: date, grid: str) -> None:
    """Put the figures of a good run beside those of the nights before; the same run counts once."""
    tonight = found.select(
        pl.lit(run).alias("run"), pl.lit(as_of).alias("as_of"), pl.lit(grid).alias("grid"), "figure", "kind", "value"
    )
    kept = read_history(out).filter(col("run") != run)
    newest = kept["run"].unique(maintain_order=True).tail(KEPT_NIGHTS - 1)
    with whole(out / FILE) as temporary:
        pl.concat([kept.filter(col("run").is_in(newest.implode())), tonight]).write_parquet(temporary)
