"""From a job to a published run: compute, describe, build the database, switch `latest`."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import filelock

from pipeline.answers.store import build
from pipeline.core.files import check_own, make_folder
from pipeline.fleet.demanded import write_fleets
from pipeline.run.compute import compute, count_plans, write_tables
from pipeline.run.damage import remove_spoilt
from pipeline.run.finished import LOCK, complete_manifest, publish, write_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pipeline.facts.catalog import Catalogs
    from pipeline.grid.plan import Census
    from pipeline.run.executors import Executor, Receipt
    from pipeline.run.job import Job


def make(
    job: Job,
    catalogs: Catalogs,
    workers: int,
    version: str,
    said: Callable[[Receipt], object] = lambda _: None,
    executor: str | Executor = "local",
    *,
    is_published: bool = True,
) -> dict[str, Any]:
    """Make a run and publish it; what a killed run left behind is taken up, and a complete one stays.

    Args:
        job: what to compute, and where to.
        catalogs: written beside the numbers, fact by fact.
        workers: processes.
        version: of capgrid, for the manifest.
        said: called with the receipt of every partition that is done.
        executor: a way to run partitions, or its name in run.executors.EXECUTORS.
        is_published: whether `latest` is switched to it; else that is the caller's to do.

    Returns:
        The run's manifest.
    """
    check_own(job.folder)
    manifest = complete_manifest(job)
    if manifest is None:
        found = count_plans(job.axes)
        with hold_run(job.folder):
            parts = partial(compute, job, workers, said, executor)
            manifest = complete_manifest(job) or make_unpublished(job, catalogs, version, found, parts)
    if is_published:
        publish(job.folder)
    return manifest


@contextmanager
def hold_run(folder: Path) -> Iterator[None]:
    """Hold a run's lock: who comes second waits, and finds it made. The system takes the lock from who is killed."""
    make_folder(folder)
    lock = filelock.FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        logging.getLogger("capgrid").warning("%s: another process makes this run; waiting for it", folder)
        lock.acquire()
    try:
        yield
        (folder / LOCK).unlink(missing_ok=True)  # while it is held: a finished run has no lock
    finally:
        lock.release()


def make_unpublished(
    job: Job, catalogs: Catalogs, version: str, found: Census, compute_parts: Callable[[], list[Receipt]]
) -> dict[str, Any]:
    """Make a run; nobody finds it yet."""
    began = time.perf_counter()
    remove_spoilt(job.folder)
    receipts = compute_parts()
    fleets = write_fleets(job, catalogs)
    write_tables(job, catalogs)
    build(job.folder, catalogs)
    return write_manifest(job, found, receipts, fleets, time.perf_counter() - began, version)
