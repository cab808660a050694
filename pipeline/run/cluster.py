"""Partitions on a Dask cluster: the work of local processes, on machines that share the run's folder."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import RunError
from pipeline.run.executors import AHEAD, TRIES, one_thread_each

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from pipeline.run.executors import Receipt, Work

PATIENCE_S = 30
"""How long to wait for a scheduler, and for its first worker."""


def dask(work: Work, partitions: Sequence[Hashable], workers: int, scheduler: str | None = None) -> Iterator[Receipt]:
    """Partitions through a Dask cluster: an existing one, or one of so many processes on this machine.

    A partition whose worker is lost, or that fails for want of disk or network, is tried again elsewhere, three times
    in all. When this process is interrupted, what waits is cancelled; what is being computed ends by itself, and its
    files are taken up by the next run.

    Raises:
        RunError: Dask is not installed, no scheduler answers, no worker joins, or workers kept dying.
    """
    with cluster(scheduler, workers) as client:
        library = distributed()
        own = client.scatter(work, broadcast=True)
        waiting = iter(partitions)
        most = AHEAD * max(sum(client.nthreads().values()), 1)
        flying = library.as_completed([submit(client, own, each) for each in islice(waiting, most)])
        try:
            for future in flying:
                yield future.result()
                flying.update([submit(client, own, each) for each in islice(waiting, 1)])
        except library.scheduler.KilledWorker as error:
            raise RunError(f"workers of the cluster were killed {TRIES} times (out of memory?): {error}") from error
        finally:
            client.cancel(list(flying.futures), force=True)


def submit(client: Any, work: Any, partition: Hashable) -> Any:
    """A partition as a task; tried again when it fails, for disks and networks come back."""
    return client.submit(run_one, work, partition, retries=TRIES - 1, pure=False)


def run_one(work: Work, partition: Hashable) -> Receipt:
    """One partition, on a worker."""
    return work(partition)


@contextmanager
def cluster(scheduler: str | None, workers: int) -> Iterator[Any]:
    """A client of a cluster that has at least one worker.

    Raises:
        RunError: there is none.
    """
    library = distributed()
    if scheduler is None:
        with (
            one_thread_each(),
            library.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as own,
            library.Client(own) as client,
        ):
            yield client
        return
    try:
        client = library.Client(scheduler, timeout=PATIENCE_S)
    except (OSError, ValueError, TimeoutError) as error:
        raise RunError(f"no Dask scheduler answers at {scheduler}: {error}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE_S)
        except TimeoutError as error:
            raise RunError(
                f"{scheduler}: no worker joined in {PATIENCE_S} s; start some, as docs/scale.md says"
            ) from error
        yield client


def distributed() -> Any:
    """Dask's own library, untyped.

    Raises:
        RunError: it is not installed.
    """
    try:
        return import_module("distributed")
    except ImportError as error:
        raise RunError('--executor dask needs Dask: pip install "capgrid[dask]"') from error
