"""Ways to run partitions: one function each, `(work, partitions) -> receipts as they come in`."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.core.errors import RunError

TRIES = 3


@dataclass(frozen=True)
class Receipt:
    """What a partition left behind."""

    models: tuple[str, ...]
    estimates_rows: int
    capacity_rows: int
    reused: bool


Partition = tuple[str, ...]
Work = Callable[[Partition], Receipt]
Executor = Callable[[Work, Sequence[Partition], int], Iterator[Receipt]]


def local(work: Work, partitions: Sequence[Partition], workers: int) -> Iterator[Receipt]:
    """Local processes, one Polars thread each; in this process where one worker is enough.

    A worker that dies (killed, out of memory) takes its pool with it: what is missing is given to a
    new pool, up to three times.

    Raises:
        RunError: workers kept dying.
    """
    if workers == 1 or len(partitions) == 1:
        yield from map(work, partitions)
        return
    missing = list(partitions)
    for _ in range(TRIES):
        try:
            for receipt in in_pool(work, missing, workers):
                missing.remove(receipt.models)
                yield receipt
        except BrokenProcessPool:
            continue
        return
    what = f"workers were killed {TRIES} times (out of memory?), and {len(missing)} partitions are missing"
    raise RunError(f"{what}: run again to resume, with fewer --workers")


EXECUTORS: dict[str, Executor] = {"local": local}
"""Ways to run partitions, by the name that `capgrid run --executor` takes."""


def in_pool(work: Work, partitions: Sequence[Partition], workers: int) -> Iterator[Receipt]:
    """Partitions through one pool of processes, in the order in which they end."""
    context = multiprocessing.get_context("spawn")  # Polars threads do not survive a fork
    with one_thread_each(), ProcessPoolExecutor(min(workers, len(partitions)), context) as pool:
        with deaf_to_interrupts():
            futures = [pool.submit(work, partition) for partition in partitions]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Let processes started meanwhile ignore Ctrl-C: this one hears it, and ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


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
