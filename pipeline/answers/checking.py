"""Whether catalogs and a run keep their promises, and what this installation is."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.answers.store import DATABASE, STORAGE
from pipeline.core.errors import CatalogError, RunError
from pipeline.core.quantity import evaluate, in_order
from pipeline.facts.catalog import ASSUMED
from pipeline.grid.axes import model_axis
from pipeline.grid.schema import validated
from pipeline.grid.tables import book_for
from pipeline.run.finished import LATEST, changed, check_run

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
    positions = pl.col("embedding_parameter_count") - pl.col("vocab") * pl.col("table_width")
    models = with_shapes(models, catalogs).with_columns(
        implied=pl.col("parameter_count") - pl.col("small_parameter_count") + positions
    )
    off = models.with_columns(error=pl.col("implied") / pl.col("parameter_count") - 1).filter(
        pl.col("error").abs() > TOLERANCE
    )
    if off.height:
        raise CatalogError(
            f"model '{row['model']}': its shapes make {row['implied']:,} parameters, {row['error']:+.1%} off"
            for row in off.iter_rows(named=True)
        )
    counts = ", ".join(f"{frame.height} {kind}s" for kind, frame in catalogs.frames.items())
    assumed = catalogs.facts.filter(pl.col("source_kind").is_in(ASSUMED)).height
    return [
        counts,
        f"{catalogs.facts.height:,} facts with a source, {assumed:,} of them assumptions or defaults",
        f"shapes of all models within {TOLERANCE:.1%} of their parameters",
    ]


def with_shapes(models: pl.DataFrame, catalogs: Catalogs) -> pl.DataFrame:
    """Models with the parameters that their matrices and tables leave over."""
    axis = model_axis(models, catalogs.frames["engine"])
    order = in_order(book_for(axis), ["small_parameter_count"], set(axis.columns))
    return evaluate(axis.lazy(), order).collect()


def check_tables(folder: Path) -> list[str]:
    """Every row of a run against the schemas of its tables, and every file against the manifest.

    Raises:
        PipelineError: a broken promise.
        RunError: files that are not what the run wrote.
    """
    manifest = check_run(folder)
    curves = sorted(folder.glob("estimates/*/*.parquet"))
    heights = {
        "capacity": checked_rows(folder / "capacity.parquet", "capacity"),
        "fleet": checked_rows(folder / "fleet.parquet", "fleet"),
        "estimates": sum(checked_rows(path, "estimates") for path in curves),
    }
    other = changed(folder, manifest)
    if heights != manifest["rows"]:
        raise RunError(f"{folder}: the tables hold {heights}, the manifest says {manifest['rows']}")
    if other:
        raise RunError(f"{folder}: not what the run wrote: {', '.join(other)}; `capgrid run` makes it again")
    return [f"{manifest['run']}: {table} {rows:,} rows keep every promise" for table, rows in heights.items()]


def checked_rows(path: Path, table: str) -> int:
    """Rows of one file, all of them checked.

    Raises:
        RunError: it cannot be read.
    """
    try:
        frame = pl.read_parquet(path, hive_partitioning=False, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise RunError(f"{path}: cannot be read: {error}; `capgrid run` makes it again") from error
    return validated(frame, table).height


PACKAGES = ("capgrid", "polars", "duckdb", "pandera", "pyarrow", "click")


def health(catalogs: Catalogs, out: Path) -> dict[str, Any]:
    """Versions, catalogs and their ages, and the latest run."""
    prices, facts = catalogs.frames["price"], catalogs.facts
    latest = out / LATEST
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "catalogs": " and ".join(str(each) for each in (catalogs.folder, catalogs.beside) if each),
        "entries": ", ".join(f"{frame.height} {kind}s" for kind, frame in catalogs.frames.items()),
        "facts": facts.height,
        "assumptions": facts.filter(pl.col("source_kind").is_in(ASSUMED)).height,
        "newest_source": str(facts["read_on"].max()),
        "oldest_price": str(prices["from_date"].min()),
        "newest_price": str(prices["from_date"].max()),
        "database": f"{DATABASE}, storage {STORAGE}",
        "outputs": str(out.resolve()),
        "latest_run": latest.readlink().name if latest.is_symlink() else "none",
    }
