"""Questions about a bundled grid of their own: the case study. Computed when asked, by the same way as any run."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from pipeline.answers.store import fill
from pipeline.fleet.demanded import write_fleets
from pipeline.grid.selection import read_grid
from pipeline.run.compute import compute, write_tables
from pipeline.run.job import job_of

if TYPE_CHECKING:
    from pipeline.facts.catalog import Catalogs


def open_grid(name: str, catalogs: Catalogs) -> duckdb.DuckDBPyConnection:
    """A connection to a bundled grid, in memory: nothing is left on disk."""
    connection = duckdb.connect()
    with tempfile.TemporaryDirectory(prefix="capgrid-") as folder:
        job = job_of(catalogs, read_grid(name, catalogs), datetime.now(UTC).date(), Path(folder))
        compute(job, workers=1)
        write_fleets(job, catalogs)
        write_tables(job, catalogs)
        fill(connection, job.folder, catalogs, kept=True)
    return connection
