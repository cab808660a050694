"""A run: catalogs and a grid become a folder of tables, visible only when complete."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from functools import partial, reduce
from math import prod
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.core.errors import GridError, RunError, UnknownNameError
from pipeline.core.places import PACKAGE, bundled
from pipeline.grid.axes import axes_of
from pipeline.grid.code import fingerprints
from pipeline.grid.columns import columns_table
from pipeline.grid.executors import EXECUTORS, Receipt
from pipeline.grid.files import check_link, make_folder, point_link, write_json, write_parquet
from pipeline.grid.plan import Census, census
from pipeline.grid.schema import validated
from pipeline.grid.tables import book_for, capacity_of, estimates_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from pipeline.facts.catalog import Catalogs
    from pipeline.grid.axes import Axes
    from pipeline.grid.executors import Partition
    from pipeline.grid.selection import Grid

ROWS_A_PARTITION = 800_000
"""Rows of estimates crossed at once: enough to plan once for many, few enough for memory."""
FEW_MODELS = 5
MANIFEST = "manifest.json"
REJECTED = "rejected.json"
"""What the manifest of a run that failed its checks is called."""
LATEST = "latest"
PARTS = ".parts"
KEY = "capgrid.key"
CODE = "capgrid.code"
"""In the metadata of columns.parquet: fingerprints of the code that made the run."""


@dataclass(frozen=True)
class Job:
    """One run: what to cross, on which day's prices, and where to."""

    axes: Axes
    grid: Grid
    as_of: date
    folder: Path
    key: str

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
    """A hash of the package's own sources, and of the SQL that comes with it."""
    sources = [*sorted(PACKAGE.rglob("*.py")), *sorted(bundled("sql").rglob("*.sql"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def counted(axes: Axes) -> Census:
    """How many plans the grid has, and why others are dropped.

    Raises:
        GridError: not one can run.
    """
    found = reduce(add, (census({**axes, "model": model}, book_for(model)) for model in by_kinds(axes["model"])))
    if not found.kept:
        reasons = "; ".join(f"{rule}: {n}" for rule, n in found.dropped.items() if n)
        message = f"the grid has no feasible row: all {found.crossed} plans were dropped ({reasons})"
        raise GridError(message)
    return found


def by_kinds(models: pl.DataFrame) -> list[pl.DataFrame]:
    """Models in groups that need the same formulas; groups of a few models share one group.

    A model computed among others of its kind never computes what it has not; planning costs as much
    as ten thousand rows, so that a group of its own pays from some models on.
    """
    counts = sorted(each for each in models.columns if each.endswith("_layers"))
    signature = pl.concat_str([(pl.col(each) > 0).cast(pl.Int8) for each in counts])
    rare = pl.len().over(signature) < FEW_MODELS
    groups = models.with_columns(pl.when(rare).then(pl.lit("rare")).otherwise(signature).alias(""))
    return groups.partition_by("", maintain_order=True, include_key=False)


def partitions(axes: Axes, most: int = ROWS_A_PARTITION) -> list[Partition]:
    """Models to compute together: alike, and at most so many rows before infeasible ones are dropped."""
    rows_a_model = prod(frame.height for name, frame in axes.items() if name != "model")
    groups = (models["model"].to_list() for models in by_kinds(axes["model"]))
    return [part for group in groups for part in dealt(group, -(-len(group) * rows_a_model // most))]


def dealt(models: list[str], parts: int) -> list[Partition]:
    """Some models in so many parts of about one size.

    >>> dealt(["a", "b", "c"], 2)
    [('a', 'c'), ('b',)]
    """
    return [tuple(models[start::parts]) for start in range(min(parts, len(models)))]


def estimates_path(folder: Path, model: str) -> Path:
    """Where a model's curves stand."""
    return folder / "estimates" / f"model={model}" / "part-0.parquet"


def run_partition(job: Job, models: Partition) -> Receipt:
    """Compute, check and write the tables of some models; what stands already is kept."""
    missing = [model for model in models if not stands(job, model)]
    if missing:
        axes = {**job.axes, "model": job.axes["model"].filter(pl.col("model").cast(pl.String).is_in(missing))}
        estimates, capacity = validated(estimates_of(axes), "estimates"), validated(capacity_of(axes), "capacity")
        about = {KEY: job.key, "capgrid.run": job.id, "capgrid.as_of": str(job.as_of), "capgrid.grid": job.grid.name}
        for model in missing:
            of_model = pl.col("model").cast(pl.String) == model
            write_parquet(capacity.filter(of_model), job.folder / PARTS / f"{model}.parquet", about)
            write_parquet(estimates.filter(of_model), estimates_path(job.folder, model), about)
    heights = [(rows_in(estimates_path(job.folder, m)), rows_in(job.folder / PARTS / f"{m}.parquet")) for m in models]
    return Receipt(models, sum(e for e, _ in heights), sum(c for _, c in heights), reused=not missing)


def stands(job: Job, model: str) -> bool:
    """Whether a model's two files are there, whole, and made from the same inputs and formulas."""
    paths = [estimates_path(job.folder, model), job.folder / PARTS / f"{model}.parquet"]
    try:
        return all(pl.read_parquet_metadata(path).get(KEY) == job.key for path in paths)
    except (OSError, pl.exceptions.PolarsError):
        return False


def rows_in(path: Path) -> int:
    """Rows of a Parquet file, from its footer."""
    return int(pl.scan_parquet(path, hive_partitioning=False, glob=False).select(pl.len()).collect().item())


def compute(
    job: Job, workers: int, said: Callable[[Receipt], object] = lambda _: None, executor: str = "local"
) -> list[Receipt]:
    """Run all partitions into the job's folder and join the capacity table; nothing is published yet."""
    make_folder(job.folder)
    check_link(job.folder.parent / LATEST)
    receipts = []
    for receipt in EXECUTORS[executor](partial(run_partition, job), partitions(job.axes), workers):
        said(receipt)
        receipts.append(receipt)
    parts = [
        pl.read_parquet(job.folder / PARTS / f"{model}.parquet", glob=False) for model in job.axes["model"]["model"]
    ]
    capacity = pl.concat(parts)
    write_parquet(capacity, job.folder / "capacity.parquet", {KEY: job.key, "capgrid.run": job.id})
    return receipts


def write_tables(job: Job, catalogs: Catalogs) -> None:
    """The two tables that make the numbers accountable: catalog facts, and what every column means."""
    write_parquet(catalogs.facts, job.folder / "facts.parquet", {"capgrid.run": job.id})
    write_parquet(columns_table(), job.folder / "columns.parquet", {"capgrid.run": job.id, CODE: fingerprints()})


def complete(
    job: Job, found: Census, receipts: list[Receipt], fleets: int, seconds: float, version: str
) -> dict[str, Any]:
    """Write the manifest: from now on the run is complete."""
    shutil.rmtree(job.folder / PARTS, ignore_errors=True)
    for leftover in job.folder.rglob(".*"):  # of workers that were killed while they wrote
        leftover.unlink()
    (job.folder / MANIFEST).unlink(missing_ok=True)  # of a run that was damaged since
    files = [path for path in sorted(job.folder.rglob("*")) if path.is_file()]
    manifest = {
        "run": job.id, "capgrid_version": version, "as_of": job.as_of, "grid": asdict(job.grid), "content_key": job.key,
        "folder": str(job.folder.resolve()),
        "plans": asdict(found) | {"dropped": {k: v for k, v in found.dropped.items() if v}},
        "rows": {
            "estimates": sum(r.estimates_rows for r in receipts),
            "capacity": sum(r.capacity_rows for r in receipts),
            "fleet": fleets,
        },
        "partitions": {"made": sum(not r.reused for r in receipts), "taken_up": sum(r.reused for r in receipts)},
        "seconds": round(seconds, 3),
        "files": {str(path.relative_to(job.folder)): path.stat().st_size for path in files},
        "sha256": {str(path.relative_to(job.folder)): digest(path) for path in files},
    }  # fmt: skip
    write_json(manifest, job.folder / MANIFEST)
    return manifest


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def completed(job: Job) -> dict[str, Any] | None:
    """The manifest of the same run where it is complete already: then there is nothing to compute."""
    try:
        manifest = check_run(job.folder)
    except RunError:
        return None
    if manifest.get("content_key") != job.key:
        return None
    return manifest | {"unchanged": True}


def publish(folder: Path) -> None:
    """Switch `latest` to a complete run: readers see the run before or this one."""
    point_link(folder.parent / LATEST, folder.name)


def reject(folder: Path, reasons: Sequence[str]) -> None:
    """Take a run back that is not to be believed: its manifest becomes a note of why, and nobody finds it."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    write_json({"rejected": list(reasons), **manifest}, folder / REJECTED)
    (folder / MANIFEST).unlink()


def find_run(out: Path, run: str | None = None) -> Path:
    """The folder of a complete run: the latest, or the one named.

    Raises:
        RunError: there is none, or it is unfinished or damaged.
        UnknownNameError: no run has that name.
    """
    folder = out / (run or LATEST)
    known = sorted(path.parent.name for path in out.glob(f"*/{MANIFEST}") if path.parent.name != LATEST)
    if run and run != LATEST and run not in known and not folder.is_dir():
        raise UnknownNameError("run", run, known, hint=f"Runs stand in {out}.")
    if not folder.is_dir():
        message = (
            f"{out}: holds no complete run yet; `capgrid run` makes one"
            if not folder.is_symlink()
            else f"{folder}: points to a run that is gone; `capgrid run` makes a new one"
        )
        raise RunError(message)
    check_run(folder)
    return folder.resolve()


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
        message = f"{folder}: the run is unfinished (it has no {MANIFEST}); {again}"
        raise RunError(message) from error
    except (ValueError, KeyError, AttributeError, TypeError, OSError) as error:
        message = f"{folder / MANIFEST}: damaged; {again}"
        raise RunError(message) from error
    wrong = [name for name, size in files if not (folder / name).is_file() or (folder / name).stat().st_size != size]
    if wrong:
        raise RunError(f"{folder}: the run is damaged, missing or of another size: {', '.join(wrong[:3])}; {again}")
    return manifest
