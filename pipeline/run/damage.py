"""Damage of a run that its sizes do not tell: files of the right size with other bytes in them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.core.errors import PipelineError, RunError
from pipeline.run.finished import changed_files, check_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def remove_spoilt(folder: Path) -> None:
    """Remove files of a run that are not what it wrote, so that they are made again and not taken up."""
    try:
        manifest = check_run(folder)
    except RunError:
        return
    for name in changed_files(folder, manifest):
        (folder / name).unlink(missing_ok=True)


@contextmanager
def blame(*folders: Path) -> Iterator[None]:
    """Tell a library's failure as damage of a run whose files are not what it wrote; any other is our bug, and stays.

    Args:
        folders: of the runs that are read.

    Raises:
        RunError: which files of which run.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        for folder in folders:
            if other := changed_files(folder, check_run(folder)):
                message = f"{folder}: not what the run wrote: {', '.join(other[:3])}; `capgrid run` makes it again"
                raise RunError(message) from error
        raise
