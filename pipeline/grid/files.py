"""Files that are either whole or not there."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import polars as pl


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name to write to; it becomes the file, synced to disk, when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_parquet(frame: pl.DataFrame, path: Path, about: Mapping[str, str]) -> None:
    """A frame as Parquet (zstd 1: encoding is what a run costs), with its provenance in the file's metadata."""
    with whole(path) as temporary:
        frame.write_parquet(temporary, compression="zstd", compression_level=1, metadata=dict(about))


def write_json(value: Any, path: Path) -> None:
    """A value as indented JSON."""
    with whole(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, default=str) + "\n", encoding="utf-8")


def make_folder(folder: Path) -> None:
    """The folder, made if need be.

    Raises:
        RunError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".write-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        message = f"{folder}: cannot be written: {error.strerror}; choose another folder with --out"
        raise RunError(message) from error


def check_link(link: Path) -> None:
    """Refuse, before any work, a place where something else than a link stands.

    Raises:
        RunError: it does.
    """
    if link.exists() and not link.is_symlink():
        raise RunError(f"{link}: is not a link; move it away, it is where the newest run will be pointed at")


def point_link(link: Path, target: str) -> None:
    """Switch a symbolic link in one step: readers see the old target or the new one."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target, target_is_directory=True)
    temporary.replace(link)
