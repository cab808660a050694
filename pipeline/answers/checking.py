"""Whether catalogs and a run keep their promises, and what this installation is."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.answers.store import DATABASE, STORAGE
from pipeline.core.errors import CatalogError, RunError
from pipeline.grid.implied import implied_parameters
from pipeline.grid.run import LATEST, check_run
from pipeline.grid.schema import validated

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.facts.catalog import Catalogs

TOLERANCE = 0.015
"""How far the shapes of a model may be from its parameter count: norms, biases and routers are not in them."""


def check_catalogs(catalogs: Catalogs) -> list[str]:
    """What was checked, in lines.

    Raises:
        CatalogError: a model whose shapes do not add up to its parameters.
    """
    models = catalogs.frames["model"].filter(pl.col("family") != "case-study")  # counted as the article counts
    models = models.with_columns(implied=implied_parameters())
    off = models.with_columns(error=pl.col("implied") / pl.col("parameter_count") - 1).filter(
        pl.col("error").abs() > TOLERANCE
    )
    if off.height:
        raise CatalogError(
            f"model '{row['model']}': its shapes make {row['implied']:,} parameters, {row['error']:+.1%} off"
            for row in off.iter_rows(named=True)
        )
    counts = ", ".join(f"{frame.height} {kind}s" for kind, frame in catalogs.frames.items())
    assumed = catalogs.facts.filter(source_kind="assumption").height
    return [
        counts,
        f"{catalogs.facts.height:,} facts with a source, {assumed:,} of them assumptions",
        f"shapes of all models within {TOLERANCE:.1%} of their parameters",
    ]


def check_tables(folder: Path) -> list[str]:
    """Every row of a run against the schemas of its tables, and the manifest against the rows.

    Raises:
        PipelineError: a broken promise.
    """
    manifest = check_run(folder)
    heights = {"capacity": validated(pl.read_parquet(folder / "capacity.parquet"), "capacity").height, "estimates": 0}
    for path in sorted(folder.glob("estimates/*/*.parquet")):
        heights["estimates"] += validated(pl.read_parquet(path, hive_partitioning=False), "estimates").height
    if heights != manifest["rows"]:
        message = f"{folder}: the tables hold {heights}, the manifest says {manifest['rows']}"
        raise RunError(message)
    return [f"{manifest['run']}: {table} {rows:,} rows keep every promise" for table, rows in heights.items()]


PACKAGES = ("capgrid", "polars", "duckdb", "pandera", "pyarrow", "click")


def health(catalogs: Catalogs, out: Path) -> dict[str, Any]:
    """Versions, catalogs and their ages, and the latest run."""
    prices, facts = catalogs.frames["price"], catalogs.facts
    latest = out / LATEST
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "catalogs": str(catalogs.folder),
        "entries": ", ".join(f"{frame.height} {kind}s" for kind, frame in catalogs.frames.items()),
        "facts": facts.height,
        "assumptions": facts.filter(source_kind="assumption").height,
        "newest_source": str(facts["read_on"].max()),
        "oldest_price": str(prices["from_date"].min()),
        "newest_price": str(prices["from_date"].max()),
        "database": f"{DATABASE}, storage {STORAGE}",
        "outputs": str(out.resolve()),
        "latest_run": latest.readlink().name if latest.is_symlink() else "none",
    }
