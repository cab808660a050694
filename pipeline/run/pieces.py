"""The files of a partition: one of each table for each of its models, computed, or taken up from where they stand.

A file is taken up where its content key is the one it would get: from a killed try of the same run, or from an earlier
run, which it is then a link to. Where entries of one axis alone are new or other than in an earlier run's file (an
edited price, a new device), only their rows are computed, and put among the others.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl

from pipeline.core.files import digest, whole, write_parquet
from pipeline.grid import tables
from pipeline.grid.schema import validated
from pipeline.run.digests import Entries, entries, entry_name, gone_entries, is_coded, lacking, rows_key, sort_rows
from pipeline.run.executors import Receipt
from pipeline.run.finished import MANIFEST
from pipeline.run.partitions import part_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pipeline.grid.axes import Axes
    from pipeline.run.job import Job
    from pipeline.run.partitions import Partition

KEY = "capgrid.key"
ENTRIES = "capgrid.entries"
PIECES = ("estimates", "capacity")
"""Tables that partitions make."""
STOOD, LINKED, MENDED, COMPUTED = "stood", "linked", "mended", "computed"
"""How a file came to be: it was there; it is an earlier run's; rows of one axis' entries are new; all are."""


def run_partition(job: Job, partition: Partition) -> Receipt:
    """Make the files of a partition; what stands already is kept, and what an earlier run has is taken up."""
    axes = partition.axes(job.axes)
    said = entries(axes)
    of = {model: {**said, "model": {model: said["model"][model]}} for model in partition.models}
    keys = {model: rows_key(axes, its) for model, its in of.items()}
    how = {model: take_up(job, partition, model, keys[model]) for model in partition.models}
    missing = [model for model, found in how.items() if not found]
    for need, models in models_by_need(job, partition, {model: of[model] for model in missing}).items():
        how |= dict.fromkeys(models, MENDED if need.axis else COMPUTED)
        for place, table in enumerate(PIECES):
            rows = compute_rows(table, partition.axes(job.axes, models), need)
            for model in models:
                piece = rows.filter(pl.col("model").cast(pl.String) == model)
                if need.axis:
                    piece = validated(mend(piece, earlier(job, partition, model)[place], axes, need), table)
                about = provenance(job) | {KEY: keys[model], ENTRIES: json.dumps(of[model])}
                write_parquet(piece, part_path(job.folder, table, model, partition.part), about)
    return receipt(job, partition, how)


def receipt(job: Job, partition: Partition, how: Mapping[str, str]) -> Receipt:
    """What stands now: rows, and the digest of every file."""
    paths = {table: [part_path(job.folder, table, model, partition.part) for model in how] for table in PIECES}
    estimates, capacity = (sum(map(rows_in, paths[table])) for table in PIECES)
    linked = run_digests(job.earlier) if job.earlier and LINKED in how.values() else {}
    files = {}
    for path, found in ((path, found) for its in paths.values() for path, found in zip(its, how.values(), strict=True)):
        name = str(path.relative_to(job.folder))
        files[name] = linked[name] if found == LINKED else digest(path)
    made = Counter(how.values())
    is_reused = not made[COMPUTED] + made[MENDED]
    return Receipt(partition.models, estimates, capacity, is_reused, dict(made), files)


def provenance(job: Job) -> dict[str, str]:
    """Where rows come from: in the metadata of their files."""
    return {"capgrid.run": job.id, "capgrid.as_of": str(job.as_of), "capgrid.grid": job.grid.name}


def rows_in(path: Path) -> int:
    """Rows of a Parquet file, from its footer."""
    return int(pl.scan_parquet(path, hive_partitioning=False, glob=False).select(pl.len()).collect().item())


# ----- computed


def compute_rows(table: str, axes: Axes, need: Need) -> pl.DataFrame:
    """The rows that a need says; none where an earlier run has them all."""
    if need.axis:
        axes = {**axes, need.axis: axes[need.axis].filter(entry_name(need.axis).is_in(need.names))}
        if not need.names or (table == "capacity" and need.axis == "batch"):
            return pl.DataFrame(schema={"model": pl.String})
    made = tables.estimates_of(axes) if table == "estimates" else tables.capacity_of(axes)
    return validated(made, table)


# ----- taken up


def take_up(job: Job, partition: Partition, model: str, key: str) -> str:
    """How a model's files stand already, after taking them from an earlier run; "" where they must be made."""
    here = [part_path(job.folder, table, model, partition.part) for table in PIECES]
    if all(metadata_of(path).get(KEY) == key for path in here):
        return STOOD
    there = earlier(job, partition, model)
    if not there or not all(metadata_of(path).get(KEY) == key and is_whole(path, job.earlier) for path in there):
        return ""
    for old, new in zip(there, here, strict=True):
        link(old, new)
    return LINKED


def earlier(job: Job, partition: Partition, model: str) -> list[Path]:
    """A model's files in the earlier run; empty where there is no such run."""
    return [part_path(job.earlier, table, model, partition.part) for table in PIECES] if job.earlier else []


def metadata_of(path: Path) -> dict[str, str]:
    """The metadata of a Parquet file; nothing where it is not there, or is none."""
    try:
        return pl.read_parquet_metadata(path)
    except (OSError, pl.exceptions.PolarsError):
        return {}


def is_whole(path: Path, run: Path | None) -> bool:
    """Whether a file of a complete run is what that run wrote."""
    return run is not None and run_digests(run).get(str(path.relative_to(run))) == digest(path)


@lru_cache(maxsize=4)
def run_digests(run: Path) -> dict[str, str]:
    """The digests of a complete run's files, from its manifest."""
    try:
        return dict(json.loads((run / MANIFEST).read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def link(old: Path, new: Path) -> None:
    """One file under two names, so that a run that is taken up takes no space; a copy where disks cannot."""
    with whole(new) as temporary:
        try:
            os.link(old, temporary)
        except OSError:
            shutil.copyfile(old, temporary)


# ----- mended


@dataclass(frozen=True)
class Need:
    """What must be computed of a model: some entries of one axis where an earlier run has the rest, or everything."""

    axis: str = ""
    names: tuple[str, ...] = ()
    gone: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Entries of axes that the earlier run had besides."""


def models_by_need(job: Job, partition: Partition, of: Mapping[str, Entries]) -> dict[Need, list[str]]:
    """Models by what must be computed of them."""
    groups: dict[Need, list[str]] = {}
    for model, said in of.items():
        groups.setdefault(need_of(job, partition, model, said), []).append(model)
    return groups


def need_of(job: Job, partition: Partition, model: str, said: Entries) -> Need:
    """What must be computed of a model that an earlier run may have in part."""
    there = earlier(job, partition, model)
    before = [json.loads(metadata_of(path).get(ENTRIES, "{}")) for path in there]
    found = lacking(before[0], said) if before and before[0] == before[1] else None
    if found is None or not all(is_whole(path, job.earlier) for path in there):
        return Need()
    more = gone_entries(before[0], said)
    return Need(found[0], tuple(found[1]), tuple((axis, tuple(names)) for axis, names in more.items()))


def mend(new: pl.DataFrame, old: Path, axes: Axes, need: Need) -> pl.DataFrame:
    """An earlier run's rows of what is as it was, and the new ones among them, in the order of the axes."""
    rows = pl.scan_parquet(old, hive_partitioning=False, glob=False)
    for axis, names in [(need.axis, need.names), *need.gone]:
        if names and not is_beside(old, axis):
            rows = rows.filter(~entry_name(axis).is_in(names))
    coded = {axis: frame.schema[axis] for axis, frame in axes.items() if is_coded(frame, axis)}
    kept = rows.with_columns(pl.col(axis).cast(pl.String).cast(dtype) for axis, dtype in coded.items()).collect()
    known = {axis: frame for axis, frame in axes.items() if not is_beside(old, axis)}
    return sort_rows(pl.concat([kept, new]) if new.width == kept.width else kept, known)


def is_beside(path: Path, axis: str) -> bool:
    """Whether rows of a file do not have an axis: answers are looked for among all batches."""
    return axis == "batch" and path.parent.parent.name == "capacity"
