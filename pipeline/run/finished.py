"""Finished runs: the manifest that makes one complete, `latest`, which points at the newest, and who finds them."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import RunError, UnknownNameError
from pipeline.core.files import digest, point_link, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.grid.plan import Census
    from pipeline.run.executors import Receipt
    from pipeline.run.job import Job

MANIFEST = "manifest.json"
REJECTED = "rejected.json"
"""What the manifest of a run that failed its checks is called."""
LATEST = "latest"
LOCK = ".lock"
"""Held by the process that makes a run."""
WRITTEN_FROM = ("report*.html", "report.md", "diff.md", "exports/*", "rejected.json", LOCK)
"""What others write into a run's folder."""
STEP_NS = 10**6
"""What tells two manifests apart on a file system that keeps no nanoseconds."""
CODE = "capgrid.code"
"""In the metadata of columns.parquet: fingerprints of the code that made the run."""


# ----- written


def write_manifest(
    job: Job, found: Census, receipts: list[Receipt], fleets: int, seconds: float, version: str
) -> dict[str, Any]:
    """Write the manifest: from now on the run is complete."""
    for leftover in job.folder.rglob(".*"):  # of workers that were killed while they wrote
        if leftover.name != LOCK:
            leftover.unlink()
    (job.folder / MANIFEST).unlink(missing_ok=True)  # of a run that was damaged since
    rows = {name: sum(getattr(each, f"{name}_rows") for each in receipts) for name in ("estimates", "capacity")}
    reused = sum(each.reused for each in receipts)
    manifest = {
        "run": job.id,
        "capgrid_version": version,
        "as_of": job.as_of,
        "grid": asdict(job.grid),
        "content_key": job.key,
        "folder": str(job.folder.resolve()),
        "plans": asdict(found) | {"dropped": {rule: count for rule, count in found.dropped.items() if count}},
        "rows": rows | {"fleet": fleets},
        "partitions": {"made": len(receipts) - reused, "taken_up": reused},
        "models": dict(sum((Counter(receipt.how) for receipt in receipts), Counter())),
        "seconds": round(seconds, 3),
        **file_marks(job.folder, receipts),
    }
    write_json(manifest, job.folder / MANIFEST)
    return manifest


def file_marks(folder: Path, receipts: Sequence[Receipt]) -> dict[str, dict[str, Any]]:
    """What files are known again by: `files` their sizes, `sha256` their digests."""
    known = {name: sha for receipt in receipts for name, sha in receipt.files.items()}
    files = own_files(folder)
    return {
        "files": {name: path.stat().st_size for name, path in files.items()},
        "sha256": {name: known.get(name) or digest(path) for name, path in files.items()},
    }


def own_files(folder: Path) -> dict[str, Path]:
    """The files that a run itself makes, named from its folder on: no page or export that is written from it."""
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path for name, path in paths.items() if not any(fnmatch(name, other) for other in WRITTEN_FROM)}


def publish(folder: Path) -> None:
    """Switch `latest` to a complete run: readers see the run before or this one.

    A run is newer than the one that `latest` pointed at, also where the clock went back in between.
    """
    manifest, before = folder / MANIFEST, folder.parent / LATEST / MANIFEST
    if before.is_file() and not before.samefile(manifest):
        newest_ns = before.stat().st_mtime_ns
        if manifest.stat().st_mtime_ns <= newest_ns:
            os.utime(manifest, ns=(newest_ns + STEP_NS, newest_ns + STEP_NS))
    point_link(folder.parent / LATEST, folder.name)


def reject(folder: Path, reasons: Sequence[str]) -> None:
    """Take a run back that is not to be believed: its manifest becomes a note of why, and nobody finds it."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    write_json({"rejected": list(reasons), **manifest}, folder / REJECTED)
    (folder / MANIFEST).unlink()


# ----- read


def find_run(out: Path, run: str | None = None) -> Path:
    """The folder of a complete run: the latest, or the one named.

    Raises:
        RunError: there is none, or it is unfinished or damaged.
        UnknownNameError: no run has that name.
    """
    folder = out / (run or LATEST)
    known = sorted(path.parent.name for path in out.glob(f"*/{MANIFEST}") if path.parent.name != LATEST)
    if run and run != LATEST and run not in known and (not is_name(run) or not folder.is_dir()):
        raise UnknownNameError("run", run, known, hint=f"Runs stand in {out}.")
    if not folder.is_dir():
        if folder.is_symlink():
            raise RunError(f"{folder}: points to a run that is gone; `capgrid run` makes a new one")
        raise RunError(f"{out}: holds no complete run yet; `capgrid run` makes one")
    if folder.resolve().parent != out.resolve():
        raise RunError(f"{folder}: leads out of {out}, and is not followed; `capgrid run` makes a run here")
    check_run(folder)
    return folder.resolve()


def is_name(text: str) -> bool:
    """Whether a text can name something in a folder, and leads nowhere else.

    >>> is_name("2026-11-22-small-0123456789"), is_name(".."), is_name("a/b")
    (True, False, False)
    """
    return Path(text).name == text != ".." and len(text.encode(errors="replace")) < 256  # noqa: PLR2004


def check_run(folder: Path) -> dict[str, Any]:
    """The manifest of a run whose files are all there, in the sizes that it states.

    Raises:
        RunError: unfinished or damaged.
    """
    again = "`capgrid run` makes it again"
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = manifest["files"].items()
    except FileNotFoundError as error:
        raise RunError(f"{folder}: the run is unfinished (it has no {MANIFEST}); {again}") from error
    except (ValueError, KeyError, AttributeError, TypeError, OSError, RecursionError) as error:
        raise RunError(f"{folder / MANIFEST}: damaged; {again}") from error
    if any(Path(name).is_absolute() or ".." in Path(name).parts for name, _ in files):
        raise RunError(f"{folder / MANIFEST}: names files outside the run; {again}")
    wrong = [name for name, size in files if not (folder / name).is_file() or (folder / name).stat().st_size != size]
    if wrong:
        raise RunError(f"{folder}: the run is damaged, missing or of another size: {', '.join(wrong[:3])}; {again}")
    return manifest


def complete_manifest(job: Job) -> dict[str, Any] | None:
    """The manifest of the same run where it is complete already, byte for byte: then there is nothing to compute."""
    try:
        manifest = check_run(job.folder)
    except RunError:
        return None
    if manifest.get("content_key") != job.key or changed_files(job.folder, manifest):
        return None
    return manifest | {"unchanged": True}


def changed_files(folder: Path, manifest: dict[str, Any]) -> list[str]:
    """Files of a run whose bytes are not those that it wrote."""
    return [name for name, wrote in manifest.get("sha256", {}).items() if digest(folder / name) != wrote]
