"""Ways to run partitions: one function each, `(work, partitions) -> receipts as they come in`."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from pipeline.core.errors import RunError

TRIES = 3
AHEAD = 4
"""Partitions handed over for each worker: enough to keep it busy, few enough that no grid fills the memory."""


@dataclass(frozen=True)
class Receipt:
    """What a partition left behind."""

    models: tuple[str, ...]
    estimates_rows: int
    capacity_rows: int
    reused: bool
    how: Mapping[str, int] = field(default_factory=dict)
    """How many models were computed, mended, linked, or stood."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Digest of each file, named from the run's folder on."""


Work = Callable[[Any], Receipt]
Executor = Callable[[Work, Sequence[Hashable], int], Iterator[Receipt]]


def local(work: Work, partitions: Sequence[Hashable], workers: int) -> Iterator[Receipt]:
    """Local processes, one Polars thread each; in this process where one worker is enough.

    A worker that dies (killed, out of memory) takes its pool with it: what is missing is given to a
    new pool. A partition that saw this three times is given up, and the run with it.

    Raises:
        RunError: workers kept dying.
    """
    if workers == 1 or len(partitions) == 1:
        yield from map(work, partitions)
        return
    missing, deaths = dict.fromkeys(partitions), dict.fromkeys(partitions, 0)
    while missing:
        try:
            for partition, receipt in in_pool(work, list(missing), workers):
                del missing[partition]
                yield receipt
        except BrokenProcessPool as error:
            for partition in islice(missing, workers):
                deaths[partition] += 1
            if max(deaths.values()) >= TRIES:
                what = f"workers were killed {TRIES} times (out of memory?), and {len(missing)} partitions are missing"
                raise RunError(f"{what}: run again to resume, with fewer --workers") from error


DASK = "dask"
"""The name of what run.cluster has."""
EXECUTORS: dict[str, Executor] = {"local": local}
"""Ways to run partitions, by the name that `capgrid run --executor` takes."""


def in_pool(work: Work, partitions: Sequence[Hashable], workers: int) -> Iterator[tuple[Hashable, Receipt]]:
    """Partitions through one pool of processes, in the order in which they end."""
    context = multiprocessing.get_context("spawn")  # Polars threads do not survive a fork
    others = multiprocessing.active_children()
    with (
        one_thread_each(),
        ProcessPoolExecutor(min(workers, len(partitions)), context, initializer=end_with_parent) as pool,
    ):
        try:
            yield from hand_over(pool, work, iter(partitions), workers * AHEAD)
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, KeyboardInterrupt):  # files are whole or not there: nobody need wait for a partition
                for worker in set(multiprocessing.active_children()) - set(others):
                    worker.terminate()
            raise


def hand_over(
    pool: ProcessPoolExecutor, work: Work, waiting: Iterator[Hashable], most: int
) -> Iterator[tuple[Hashable, Receipt]]:
    """Partitions and their receipts; at most so many partitions are in the pool at once."""
    flying: dict[Future[Receipt], Hashable] = {}
    while True:
        with deaf_to_interrupts():
            for partition in islice(waiting, most - len(flying)):
                flying[pool.submit(work, partition)] = partition
        if not flying:
            return
        for future in wait(flying, return_when=FIRST_COMPLETED).done:
            yield flying.pop(future), future.result()


def end_with_parent() -> None:
    """Let this worker end when the process that started it is gone: killed, it can no longer say so."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Let processes started meanwhile not hear Ctrl-C: this one hears it, at the end of the block, and ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let processes started meanwhile run Polars on one thread."""
    before = os.environ.get("POLARS_MAX_THREADS")
    os.environ["POLARS_MAX_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["POLARS_MAX_THREADS"]
        else:
            os.environ["POLARS_MAX_THREADS"] = before
