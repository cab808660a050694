"""CPU per million rows of `estimates`: this pipeline, DuckDB, plain Python, Parquet encoding alone.

One process, one thread each, interleaved rounds, so that a busy machine slows all alike: read the
ratios. `python benchmarks/bench_run.py [--models N] [--rounds N]`.

* encode: Polars writes the finished frame (zstd 1): what no pipeline of these columns can avoid.
* pipeline: crosses, estimates, checks with Pandera, and encodes `estimates`.
* answers: the `capacity` table of the same plans besides, with its exact inversions.
* duckdb: COPY of the same finished columns with the same codec and level: it computes nothing.
* python: the same formulas row by row (tests/oracle/plain_python.py) on a sample; it encodes nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path

os.environ["POLARS_MAX_THREADS"] = "1"

import duckdb
import polars as pl

import pipeline
from pipeline.estimators.feasible import RULES
from pipeline.grid.axes import Axes, axes_of
from pipeline.grid.plan import by_grain
from pipeline.grid.schema import validated
from pipeline.grid.selection import read_grid
from pipeline.grid.tables import book_for, capacity_of, estimates_of
from pipeline.run.partitions import partitions
from tests.oracle import plain_python

AS_OF = date(2026, 11, 22)
SAMPLE = 2000


def cpu(work: Callable[[], object]) -> float:
    """Seconds of CPU that some work takes in this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def sample_of(axes: Axes) -> list[dict[str, object]]:
    """Facts of some rows, for plain Python."""
    given = [column for frame in axes.values() for column in frame.columns]
    rows = by_grain(axes, book_for(axes["model"]), given, RULES).collect()
    return rows.sample(min(SAMPLE, rows.height), seed=1).to_dicts()


def write(frame: pl.DataFrame, path: Path) -> None:
    """Parquet as a run writes it."""
    frame.write_parquet(path, compression="zstd", compression_level=1)


def copy(frame: pl.DataFrame, path: Path) -> None:
    """Parquet as DuckDB writes it, one thread."""
    connection = duckdb.connect(config={"threads": 1})
    connection.register("finished", frame.to_arrow())
    connection.sql(f"COPY (FROM finished) TO '{path}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)")


def main() -> None:
    """Time all ways in turn, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    catalogs = pipeline.catalogs()
    whole = axes_of(catalogs, read_grid("default", catalogs), AS_OF)
    axes = {**whole, "model": whole["model"].sample(asked.models, seed=1)}
    parts = [part.axes(axes) for part in partitions(axes)]
    sample, seconds = sample_of(axes), defaultdict[str, list[float]](list)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        for _ in range(asked.rounds):
            total: dict[str, float] = defaultdict(float)
            rows = size = 0
            for part in parts:
                frame = estimates_of(part)
                rows += frame.height
                total["pipeline"] += cpu(lambda part=part: write(validated(estimates_of(part), "estimates"), path))
                total["encode"] += cpu(lambda frame=frame: write(frame, path))
                size += path.stat().st_size
                total["duckdb"] += cpu(lambda frame=frame: copy(frame, path))
                total["answers"] += cpu(lambda part=part: validated(capacity_of(part), "capacity"))
            total["python"] = cpu(lambda: [plain_python.row(facts) for facts in sample]) * rows / len(sample)
            for name, spent in total.items():
                seconds[name].append(spent / rows * 1e6)
    report(seconds, rows, size)


def report(seconds: dict[str, list[float]], rows: int, size: int) -> None:
    """Medians per million rows, and what they are against the pipeline."""
    median = {name: statistics.median(each) for name, each in seconds.items()}
    print(f"{rows:,} rows of estimates, {size / rows:.1f} bytes a row")
    print(f"CPU-s per million rows, median of {len(seconds['encode'])} rounds")
    for name in ("encode", "pipeline", "duckdb", "python", "answers"):
        spread = f"{min(seconds[name]):.3f} .. {max(seconds[name]):.3f}"
        print(f"{name:<9} {median[name]:8.3f}  ({spread})  {median[name] / median['pipeline']:6.2f} x pipeline")
    print(f"encode / pipeline {median['encode'] / median['pipeline']:.2f}")


if __name__ == "__main__":
    main()
