"""One night: check, run, check the run, compare, report, export, publish, prune; a record of every step.

Nothing that readers see moves before the run is believed: `latest` is switched near the end, in one step. A night that
fails or is killed leaves the last good run, its report and its database as they are; the next one takes up what
stands.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import filelock
import polars as pl

from pipeline.answers.ask import answer_rows, find
from pipeline.answers.checking import check_catalogs, check_tables
from pipeline.answers.diff.difference import difference, difference_markdown
from pipeline.answers.diff.runs import complete_runs
from pipeline.answers.make import make
from pipeline.answers.store import open_run
from pipeline.core.errors import PipelineError, RunError
from pipeline.core.files import check_link, make_folder, whole, write_json
from pipeline.publish.history import beyond_bounds, figures, read_history, remember_night
from pipeline.publish.report.build import write_report
from pipeline.publish.tables import write_csv
from pipeline.run.finished import LATEST, REJECTED, check_run, find_run, publish, reject
from pipeline.run.job import job_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date

    from pipeline.answers.diff.difference import Difference
    from pipeline.facts.catalog import Catalogs
    from pipeline.grid.selection import Grid
    from pipeline.run.job import Job

SUMMARY = "nightly.json"
LOCK = ".nightly.lock"
STEPS = ("catalogs", "run", "check", "diff", "report", "export", "publish", "prune")
EXPORTS = ("cheapest_for_slo", "fleet", "fleet_cost", "max_batch")
"""Answers that are exported unless others are asked for."""
ROWS_EXPORTED = 100_000
LANGUAGES = ("en",)
STRANGE = (OSError, pl.exceptions.PolarsError, duckdb.Error)
"""What a full disk and the like come as, besides our own errors."""


@dataclass(frozen=True)
class Night:
    """What to do in a night."""

    grid: Grid
    as_of: date
    out: Path
    keep: int = 30
    workers: int = 1
    languages: Sequence[str] = LANGUAGES
    exports: Sequence[str] = EXPORTS
    accept: bool = False
    """Whether figures beyond their bounds are the new level."""


@dataclass
class Step:
    """One step of a night, and how it went."""

    step: str
    status: str = "waiting"
    """waiting, working, done, failed, skipped."""
    rows: int | None = None
    seconds: float | None = None
    said: str = ""


@dataclass
class Record:
    """The record of a night, written to SUMMARY whenever a step begins or ends."""

    out: Path
    grid: str
    as_of: date
    status: str = "working"
    """working (or killed while it was), done, unchanged, failed, interrupted."""
    run: str | None = None
    reason: str = ""
    headline: str = ""
    began: str = ""
    ended: str | None = None
    pid: int = field(default_factory=os.getpid)
    steps: list[Step] = field(default_factory=lambda: [Step(name) for name in STEPS])

    def data(self) -> dict[str, Any]:
        """The record as plain values."""
        return {name: value for name, value in asdict(self).items() if name != "out"}

    def write(self) -> None:
        """Write it down; a disk that is full must not hide the reason of a failure."""
        try:
            write_json(self.data(), self.out / SUMMARY)
        except OSError as error:
            self.reason = self.reason or f"{self.out / SUMMARY}: cannot be written: {error.strerror}"

    def end(self, status: str, reason: str = "") -> None:
        """The night is over."""
        self.status, self.reason, self.ended = status, reason or self.reason, now()
        for each in self.steps:
            each.status = {"waiting": "skipped", "working": "failed"}.get(each.status, each.status)
        self.write()

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """A step: its status and its time, however it ends.

        Raises:
            PipelineError: it failed; says which and why.
        """
        each, began = next(each for each in self.steps if each.step == name), time.perf_counter()
        each.status = "working"
        self.write()
        try:
            yield each
            each.status = "done"
        except STRANGE as error:
            each.status, each.said = "failed", error_words(error)
            message = f"{name}: {each.said}"
            raise RunError(message) from error
        except PipelineError as error:
            each.status, each.said = "failed", str(error)
            raise
        finally:
            each.seconds = round(time.perf_counter() - began, 3)
            self.write()


def now() -> str:
    """The time of day."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def error_words(error: BaseException) -> str:
    """An error of the system, as a person would say it."""
    told = getattr(error, "strerror", None) or str(error).splitlines()[0]
    place = getattr(error, "filename", None)
    return f"{place}: {told}" if place else told


@contextmanager
def hold_night(out: Path) -> Iterator[None]:
    """Hold the folder's lock: one night at a time. It is the system's own, which a killed night does not keep.

    Raises:
        RunError: another night holds it.
    """
    make_folder(out)
    lock = filelock.FileLock(out / LOCK, timeout=0)
    try:
        with lock:
            yield
    except filelock.Timeout as error:
        raise RunError(f"{out}: another night is at work here; {out / SUMMARY} says how far it is") from error


def run_night(
    night: Night, catalogs: Catalogs, version: str, said: Callable[[Record], object] = lambda _: None
) -> Record:
    """Go through a night.

    Args:
        night: what to do.
        catalogs: read before; they stay as they were read.
        version: of capgrid.
        said: told of the record when it is begun: it fills as steps end.

    Returns:
        The record, which stands in SUMMARY too.

    Raises:
        PipelineError: a step failed; the record says which. `latest` is as it was.
    """
    with hold_night(night.out):
        record = Record(night.out, night.grid.name, night.as_of, began=now())
        said(record)
        try:
            take_steps(night, catalogs, version, record)
        except PipelineError as error:
            record.end("failed", str(error))
            raise
        except KeyboardInterrupt:
            record.end("interrupted", "interrupted; the next night takes up what stands")
            raise
        return record


def take_steps(night: Night, catalogs: Catalogs, version: str, record: Record) -> None:
    """The steps, one after another."""
    with record.step("catalogs") as step:
        step.said = "; ".join(check_catalogs(catalogs))
        check_link(night.out / LATEST)
        job, before = job_of(catalogs, night.grid, night.as_of, night.out), last_good(night.out)
    record.run = job.id
    if before is not None and is_same(job, before):
        record.run, record.headline = before.name, f"nothing changed since {before.name}"
        record.end("unchanged")
        return
    with record.step("run") as step:
        manifest = make(job, catalogs, night.workers, version, is_published=False)
        step.rows, step.said = sum(manifest["rows"].values()), job.id
    with record.step("check") as step:
        step.said, step.rows = check_night(night, job), sum(manifest["rows"].values())
    with record.step("diff") as step:
        found = None if before is None else difference(before, job.folder)
        record.headline = "the first run" if found is None else found.headline
        step.said, step.rows = record.headline, 0 if found is None else found.effects.height
        write_diff(found, job.folder)
    with record.step("report") as step:
        names = ["report.html" if lang == "en" else f"report.{lang}.html" for lang in night.languages]
        for lang, name in zip(night.languages, names, strict=True):
            write_report(job.folder, lang, job.folder / name, found, catalogs=catalogs)
        step.said = ", ".join(names)
    with record.step("export") as step:
        step.rows = export_answers(night, job, catalogs)
        step.said = ", ".join(f"{name}.csv" for name in night.exports)
    with record.step("publish") as step:
        remember_night(night.out, figures(job.folder, manifest["rows"]), job.id, night.as_of, night.grid.name)
        publish(job.folder)
        step.said = f"{LATEST} is {job.id}"
    with record.step("prune") as step:
        gone = prune(night.out, night.keep)
        step.said, step.rows = f"{len(gone)} runs removed" if gone else "nothing to remove", len(gone)
    record.end("done")


def last_good(out: Path) -> Path | None:
    """The run that `latest` points at; none where there is none, or where it is damaged."""
    try:
        return find_run(out)
    except RunError:
        return None


def is_same(job: Job, before: Path) -> bool:
    """Whether a run has the inputs and formulas of the night before, so that there is nothing to do."""
    manifest = check_run(before)
    return bool(manifest["content_key"] == job.key and manifest["grid"]["name"] == job.grid.name)


def check_night(night: Night, job: Job) -> str:
    """Hold a run against its schemas and against the nights before.

    Raises:
        RunError: it breaks a promise, or a figure is beyond its bounds. The run is rejected: `latest` stays.
    """
    try:
        told = check_tables(job.folder)
    except PipelineError as error:
        if (job.folder / "manifest.json").is_file():
            reject(job.folder, [str(error)])
        raise
    found = figures(job.folder, check_run(job.folder)["rows"])
    beyond = beyond_bounds(found, read_history(night.out), night.grid.name)
    if beyond and not night.accept:
        reject(job.folder, beyond)
        reasons = "\n".join(f"  {each}" for each in beyond)
        raise RunError(
            f"{job.id} is not like the nights before, and was not published:\n{reasons}\n"
            f"See {job.folder / REJECTED}. If it is right, `capgrid nightly --accept` takes it as the new level"
        )
    return f"{len(told)} tables keep every promise; {len(beyond)} of {found.height} figures beyond their bounds"


def write_diff(found: Difference | None, folder: Path) -> None:
    """What changed, beside the run, as a comment for a chat or a pull request."""
    if found is not None:
        with whole(folder / "diff.md") as temporary:
            temporary.write_text(difference_markdown(found) + "\n", encoding="utf-8")


def export_answers(night: Night, job: Job, catalogs: Catalogs) -> int:
    """Write the answers that are asked for as CSV into the run's folder; returns their rows."""
    rows = 0
    with open_run(job.folder, catalogs) as connection:
        for name in night.exports:
            question = find(name)
            most = {"limit": str(ROWS_EXPORTED)} if "limit" in question.parameters else {}
            answer = answer_rows(connection, question, most)
            (job.folder / "exports").mkdir(exist_ok=True)
            write_csv(answer, job.folder / "exports" / f"{name}.csv")
            rows += answer.height
    return rows


def prune(out: Path, keep: int) -> list[Path]:
    """Remove the oldest complete runs beyond so many, and rejected ones older than the oldest that stays."""
    runs = complete_runs(out)
    gone, stay = runs[:-keep], runs[-keep:]
    oldest = min((each.stat().st_mtime_ns for each in stay), default=0)
    gone += [path.parent for path in out.glob(f"*/{REJECTED}") if path.parent.stat().st_mtime_ns < oldest]
    for folder in gone:
        shutil.rmtree(folder)
    return gone
