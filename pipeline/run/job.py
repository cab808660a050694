"""A job: what to cross, on which day's prices, and the folder and the key that follow from it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from pipeline.core.places import bundled
from pipeline.grid.axes import axes_of
from pipeline.run.code import fingerprints

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from pipeline.facts.catalog import Catalogs
    from pipeline.grid.axes import Axes
    from pipeline.grid.selection import Grid


@dataclass(frozen=True)
class Job:
    """One run: what to cross, on which day's prices, and where to."""

    axes: Axes
    grid: Grid
    as_of: date
    folder: Path
    key: str
    earlier: Path | None = None
    """A complete run to take rows from."""

    @property
    def id(self) -> str:
        """The run's id, and the name of its folder."""
        return self.folder.name


def job_of(catalogs: Catalogs, grid: Grid, as_of: date, out: Path) -> Job:
    """The run of a grid; equal inputs and formulas give an equal id."""
    axes = axes_of(catalogs, grid, as_of)
    demands = pl.DataFrame({"fleets": [json.dumps(each, sort_keys=True) for each in grid.fleets]})
    key = content_key({**axes, "facts": catalogs.facts, "fleets": demands})
    return Job(axes, grid, as_of, out / f"{as_of}-{grid.name}-{key[:10]}", key)


def content_key(frames: Axes) -> str:
    """A hash of everything that a run says: axes, facts with their sources, formulas, SQL."""
    digest = hashlib.sha256(code_key().encode())
    for name, frame in frames.items():
        digest.update(name.encode())
        digest.update(frame.write_ipc(None).getvalue())
    return digest.hexdigest()


def code_key() -> str:
    """A hash of the code that decides results, and of the SQL that comes with it; pages and commands do not count."""
    scripts = [path.read_bytes() for path in sorted(bundled("sql").rglob("*.sql"))]
    return hashlib.sha256(b"".join([fingerprints().encode(), *scripts])).hexdigest()
