"""From a job to a published run: compute, describe, build the database, switch `latest`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pipeline.answers.store import build
from pipeline.fleet.demanded import write_fleets
from pipeline.grid.run import complete, completed, compute, counted, publish, write_tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.facts.catalog import Catalogs
    from pipeline.grid.executors import Receipt
    from pipeline.grid.run import Job


def make(
    job: Job,
    catalogs: Catalogs,
    workers: int,
    version: str,
    said: Callable[[Receipt], object] = lambda _: None,
    executor: str = "local",
    *,
    is_published: bool = True,
) -> dict[str, Any]:
    """Make a run and publish it; what a killed run left behind is taken up, and a complete one stays.

    Args:
        job: what to compute, and where to.
        catalogs: written beside the numbers, fact by fact.
        workers: processes.
        version: of capgrid, for the manifest.
        said: told of every partition that is done.
        executor: a name of grid.executors.EXECUTORS.
        is_published: whether `latest` is switched to it; else that is the caller's to do.

    Returns:
        The run's manifest.
    """
    manifest = completed(job) or made(job, catalogs, workers, version, said, executor)
    if is_published:
        publish(job.folder)
    return manifest


def made(
    job: Job, catalogs: Catalogs, workers: int, version: str, said: Callable[[Receipt], object], executor: str
) -> dict[str, Any]:
    """Make a run; nobody finds it yet."""
    began = time.perf_counter()
    found = counted(job.axes)
    receipts = compute(job, workers, said, executor)
    fleets = write_fleets(job, catalogs)
    write_tables(job, catalogs)
    build(job.folder, catalogs)
    return complete(job, found, receipts, fleets, time.perf_counter() - began, version)
