"""Which runs to compare: by id, by place from the newest, or a folder anywhere."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.core.errors import RunError
from pipeline.run.finished import LATEST, MANIFEST, check_run, find_run, is_name

BACK = re.compile(rf"{LATEST}~(\d+)")


def complete_runs(out: Path) -> list[Path]:
    """The folders of complete runs, the oldest first; what `latest` points at is the newest.

    A run is as old as its manifest, which is written last. Folders without one are unfinished and left out.
    """
    folders = [path.parent for path in out.glob(f"*/{MANIFEST}") if not path.parent.is_symlink()]
    latest = (out / LATEST).resolve().name
    return sorted(folders, key=lambda each: (each.name == latest, (each / MANIFEST).stat().st_mtime_ns, each.name))


def find_runs(out: Path, old: str | None, new: str | None) -> tuple[Path, Path]:
    """The folders of two runs.

    Args:
        out: folder of runs.
        old: the run that was; the one before the latest where left out.
        new: the run that is; the latest where left out.

    Raises:
        RunError: fewer runs than asked for, or one that is unfinished or damaged.
        UnknownNameError: no run has that name.
    """
    return find_run_at(out, old or f"{LATEST}~1"), find_run_at(out, new or LATEST)


def find_run_at(out: Path, run: str) -> Path:
    """The folder of one run."""
    back = BACK.fullmatch(run)
    if back:
        return before_latest(out, int(back[1]))
    as_folder = Path(run)
    is_elsewhere = not is_name(run) or not (out / run).is_dir()
    if run != LATEST and is_elsewhere and (as_folder / MANIFEST).is_file():
        check_run(as_folder)
        return as_folder.resolve()
    return find_run(out, run)


def before_latest(out: Path, places: int) -> Path:
    """The complete run so many places before the latest."""
    runs = complete_runs(out)
    if len(runs) <= places:
        held = {0: "holds no complete run yet", 1: "holds one complete run"}.get(
            len(runs), f"holds {len(runs)} complete runs"
        )
        raise RunError(f"{out}: {held}, and {LATEST}~{places} needs {places + 1}; `capgrid run` makes one")
    found = runs[-1 - places]
    check_run(found)
    return found.resolve()
