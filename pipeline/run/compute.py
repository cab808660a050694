"""A run: partitions computed into a job's folder, and the tables that make them accountable."""

from __future__ import annotations

from dataclasses import replace
from functools import partial, reduce
from operator import add
from typing import TYPE_CHECKING

import polars as pl

from pipeline.core.errors import GridError
from pipeline.core.files import LEVEL, check_link, make_folder, whole, write_parquet
from pipeline.grid.columns import columns_table
from pipeline.grid.plan import Census, census
from pipeline.grid.tables import book_for
from pipeline.run.code import fingerprints
from pipeline.run.executors import EXECUTORS, Receipt
from pipeline.run.finished import CODE, LATEST, MANIFEST
from pipeline.run.partitions import by_kinds, part_files, partitions
from pipeline.run.pieces import KEY, PIECES, run_partition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pipeline.facts.catalog import Catalogs
    from pipeline.grid.axes import Axes
    from pipeline.run.executors import Executor
    from pipeline.run.job import Job

ROWS_A_GROUP = 100_000
"""Rows of a row group of capacity.parquet: readers of one model skip the others."""


def count_plans(axes: Axes) -> Census:
    """How many plans the grid has, and why others are dropped.

    Raises:
        GridError: not one can run.
    """
    found = reduce(add, (census({**axes, "model": model}, book_for(model)) for model in by_kinds(axes["model"])))
    if not found.kept:
        reasons = "; ".join(f"{rule}: {n}" for rule, n in found.dropped.items() if n)
        raise GridError(f"the grid has no feasible row: all {found.crossed} plans were dropped ({reasons})")
    return found


def compute(
    job: Job, workers: int, said: Callable[[Receipt], object] = lambda _: None, executor: str | Executor = "local"
) -> list[Receipt]:
    """Run all partitions into the job's folder and join the capacity table; nothing is published yet."""
    make_folder(job.folder)
    check_link(job.folder.parent / LATEST)
    job = replace(job, earlier=earlier_run(job))
    run = EXECUTORS[executor] if isinstance(executor, str) else executor
    receipts = []
    for receipt in run(partial(run_partition, job), partitions(job.axes), workers):
        said(receipt)
        receipts.append(receipt)
    remove_others(job, receipts)
    join_capacity(job)
    return receipts


def earlier_run(job: Job) -> Path | None:
    """A complete run of the same grid to take rows from: what `latest` points at, else the newest."""
    out = job.folder.parent
    found = [path.parent for path in out.glob(f"*-{job.grid.name}-*/{MANIFEST}")]
    latest = (out / LATEST).resolve().name
    others = [folder for folder in found if folder.name not in {LATEST, job.id}]
    return max(others, key=lambda each: (each.name == latest, (each / MANIFEST).stat().st_mtime_ns), default=None)


def remove_others(job: Job, receipts: Sequence[Receipt]) -> None:
    """Remove files of partitions that this run does not have: readers take all that stand there."""
    own = {job.folder / name for receipt in receipts for name in receipt.files}
    for path in (path for table in PIECES for path in job.folder.glob(f"{table}/*/*.parquet")):
        if own and path not in own:
            path.unlink()


def join_capacity(job: Job) -> None:
    """Write all models' answers as one file, streamed: it never stands in memory as a whole."""
    models = job.axes["model"]["model"].to_list()
    parts = [path for model in models for path in part_files(job.folder, "capacity", model)]
    rows = pl.scan_parquet(parts, hive_partitioning=False, glob=False)
    about = {KEY: job.key, "capgrid.run": job.id}
    with whole(job.folder / "capacity.parquet") as temporary:
        rows.sink_parquet(
            temporary, compression="zstd", compression_level=LEVEL, row_group_size=ROWS_A_GROUP, metadata=about
        )


def write_tables(job: Job, catalogs: Catalogs) -> None:
    """The two tables that make the numbers accountable: catalog facts, and what every column means."""
    write_parquet(catalogs.facts, job.folder / "facts.parquet", {"capgrid.run": job.id})
    write_parquet(columns_table(), job.folder / "columns.parquet", {"capgrid.run": job.id, CODE: fingerprints()})
