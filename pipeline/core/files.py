"""Files that are either whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import polars as pl

ROOM_BYTES = 4 * 2**20
LEVEL = 1
"""Of zstd: more takes time and saves little."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name to write to; it becomes the file, synced to disk, when the block ends well.

    Raises:
        OSError: it cannot be written, by whatever name a library calls that.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)  # of a killed process of the same id, or a link that leads elsewhere
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        raise
    except Exception as error:
        if full := no_room(temporary):
            raise OSError(full.errno, full.strerror, str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def no_room(path: Path) -> OSError | None:
    """What stands against writing a little more there; Polars and DuckDB do not always say that a disk is full."""
    try:
        with path.open("ab") as file:
            file.write(bytes(ROOM_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def write_parquet(frame: pl.DataFrame, path: Path, about: Mapping[str, str]) -> None:
    """A frame as Parquet (zstd 1: encoding is what a run costs), with its provenance in the file's metadata."""
    with whole(path) as temporary:
        frame.write_parquet(temporary, compression="zstd", compression_level=LEVEL, metadata=dict(about))


def write_json(value: Any, path: Path) -> None:
    """A value as indented JSON."""
    with whole(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, default=str) + "\n", encoding="utf-8")


def digest(path: Path) -> str:
    """The SHA-256 of a file; nothing of one that cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


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


def check_own(folder: Path) -> None:
    """Refuse a run's folder that is a link, or holds one: what is written there would land elsewhere.

    Raises:
        RunError: which link.
    """
    links = [path for path in (folder, *folder.rglob("*")) if path.is_symlink()]
    if links:
        raise RunError(f"{links[0]}: is a link to elsewhere, which a run does not follow; remove it")


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
