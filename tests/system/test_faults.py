"""Runs that are killed, interrupted, short of disk, or not alone: what stands is whole, and the next one goes on."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pipeline.answers.diff.runs import before_latest, complete_runs
from pipeline.cli.main import cli
from pipeline.publish.nightly import prune
from pipeline.run import compute as runs
from tests.system.faults import DAY, GRID, SOON_S, Place, assert_same, is_alive, known, until, workers_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Finished


KILLS = 50
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds workers in /proc")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What processes need not find out."""
    return known(tmp_path_factory.mktemp("told"))


@pytest.fixture
def place(tmp_path: Path, told: Path) -> Place:
    """A place for runs that go wrong."""
    return Place(tmp_path, told)


@pytest.fixture(scope="module")
def whole(shared: Callable[..., Path], told: Path) -> Path:
    """The same run, undisturbed, in one process."""
    return Place(shared("undisturbed", lambda folder: Place(folder, told).run(workers=1)), told).folder()


# ----- killed


class Killer(threading.Thread):
    """Kills a worker that a process has forked now and then, so many times."""

    def __init__(self, kills: int, dice: random.Random, parent: int) -> None:
        """Begin at the next start."""
        super().__init__(daemon=True)
        self.left, self.dice, self.parent, self.stop = kills, dice, parent, threading.Event()

    def run(self) -> None:
        """Pick a worker, wait, kill it."""
        seen: set[int] = set()
        while self.left and not self.stop.wait(0.01):
            fresh = [pid for pid in workers_of(self.parent, b"forkserver") if pid not in seen]
            if fresh and not self.stop.wait(self.dice.uniform(0, 0.8)):
                pid = self.dice.choice(fresh)
                seen.update(fresh)
                if is_alive(pid):
                    os.kill(pid, signal.SIGKILL)
                    self.left -= 1


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The process that forks workers, its modules imported: they begin to work at once, and not half a second later."""
    context = multiprocessing.get_context("forkserver")
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: context)
    monkeypatch.setenv("POLARS_MAX_THREADS", "1")
    context.set_forkserver_preload(["pipeline.run.pieces"])
    forkserver.ensure_running()
    yield int(forkserver._forkserver._forkserver_pid)  # type: ignore[attr-defined]
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@needs_proc
def test_workers_killed_at_random_moments(
    place: Place, whole: Path, forked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty times over, mostly while they compute or write: every run that ends well is whole and equal."""
    monkeypatch.setattr(runs, "partitions", partial(runs.partitions, most=1))
    killer = Killer(KILLS, random.Random(8), forked)  # noqa: S311
    killer.start()
    try:
        while killer.left:
            ended = CliRunner().invoke(cli, place.words())
            assert isinstance(ended.exception, SystemExit | None), ended.exception
            if ended.exit_code:
                assert "run again to resume" in ended.stderr
                assert not place.published()
            else:
                assert_same(place.folder(), whole)
                shutil.rmtree(place.out)
    finally:
        killer.stop.set()
    assert CliRunner().invoke(cli, place.words()).exit_code == 0
    assert_same(place.folder(), whole)
    assert place.published()


def test_a_killed_tree_is_taken_up(place: Place, whole: Path) -> None:
    """The machine loses power, again and again: what was whole stays, and the last run ends it."""
    dice = random.Random(9)  # noqa: S311
    for _ in range(6):
        process = place.start()
        until(place.out.is_dir, "it began")
        time.sleep(dice.uniform(0, 2.5))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=SOON_S)
        if place.published():  # it was faster
            assert_same(place.folder(), whole)
            shutil.rmtree(place.out)
    place.run(workers=1)
    assert_same(place.folder(), whole)


@needs_proc
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_process_that_started_them(how: signal.Signals, place: Place) -> None:
    """A killed run leaves no processes that hold memory for ever."""
    process = place.start()
    until(lambda: len(workers_of(process.pid)) == 2, "two workers")
    workers = workers_of(process.pid)
    process.send_signal(how)
    process.communicate(timeout=SOON_S)
    until(lambda: not any(map(is_alive, workers)), "the workers are gone")
    assert not place.published()


# ----- interrupted


@needs_proc
@pytest.mark.parametrize("to_all", [True, False], ids=["ctrl-c", "kill -INT"])
@pytest.mark.parametrize("later_s", [0.0, 0.8])
def test_an_interrupt_ends_cleanly(later_s: float, place: Place, whole: Path, *, to_all: bool) -> None:
    """Exit code 130, a sentence, no worker left, nothing published; and it goes on from there."""
    process = place.start()
    until(lambda: len(workers_of(process.pid)) == 2, "two workers")
    workers = workers_of(process.pid)
    time.sleep(later_s)
    (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=SOON_S)
    assert "Traceback" not in told
    if process.returncode:
        assert process.returncode == 130
        assert "the same command goes on from there" in told
        assert not place.published()
    until(lambda: not any(map(is_alive, workers)), "the workers are gone")
    place.run(workers=1)
    assert_same(place.folder(), whole)


SLEEPER = """
import os, sys, time
from functools import partial
from pathlib import Path
from pipeline.run import executors
def work(folder, partition):
    Path(folder, str(os.getpid())).touch()
    time.sleep(3600)
if __name__ == "__main__":
    try:
        list(executors.local(partial(work, sys.argv[1]), [("a",), ("b",)], 2))
    except KeyboardInterrupt:
        raise SystemExit(130)
"""


def test_an_interrupt_waits_for_no_partition(tmp_path: Path) -> None:
    """A partition may take minutes; whoever stops a run means now."""
    path, marks = tmp_path / "sleeper.py", tmp_path / "marks"
    path.write_text(SLEEPER, encoding="utf-8")
    marks.mkdir()
    with subprocess.Popen([sys.executable, str(path), str(marks)], start_new_session=True) as process:
        try:
            until(lambda: len(list(marks.iterdir())) == 2, "both work")
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=SOON_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == 130
    until(lambda: not any(is_alive(int(mark.name)) for mark in marks.iterdir()), "the workers are gone")


# ----- disks


@contextmanager
def small_disk(folder: Path, size: str, *options: str) -> Iterator[Path]:
    """A disk of memory."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("to mount a small disk takes root")
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *options]), "tmpfs", str(folder)]
    if subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(("free_kb", "workers"), [(0, 2), (12, 1), (60, 2), (400, 1)])
def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(
    free_kb: int, workers: int, tmp_path: Path, whole: Path, told: Path
) -> None:
    """Wherever in a run it fills up: exit code 1, what failed and why, nothing published."""
    with small_disk(tmp_path / "disk", "24m") as disk:
        place, filler = Place(disk, told), disk / "filler"
        with filler.open("wb") as file:
            file.write(b"x" * (shutil.disk_usage(disk).free - free_kb * 1024))
        said = place.run(workers=workers, code=1)
        assert "space" in said.lower()
        assert "Error: " in said
        assert not place.published()
        filler.unlink()
        place.run(workers=workers)
        assert_same(place.folder(), whole)


def test_a_disk_that_cannot_be_written_is_told(tmp_path: Path, told: Path) -> None:
    """With the folder, and the option that names another; readers read on."""
    with small_disk(tmp_path / "disk", "24m") as disk:
        place = Place(disk, told)
        place.run(workers=1)
        before = sorted(disk.rglob("*"))
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        said = place.run("--grid", "case-study", code=1)
        assert "--out" in said
        assert str(place.out) in said
        asked = CliRunner().invoke(cli, ["sql", "SELECT count(*) AS n FROM capacity", "--out", str(place.out)])
        assert asked.exit_code == 0, asked.output
        for words in (["report", "--out", str(place.out)], ["nightly", "--out", str(place.out), "--grid", "small"]):
            failed = CliRunner().invoke(cli, words)
            assert failed.exit_code == 1, failed.output
            assert isinstance(failed.exception, SystemExit), failed.exception
            assert str(place.out.name) in failed.stderr
        assert sorted(disk.rglob("*")) == before


def test_a_folder_that_may_not_be_written_is_told(place: Place) -> None:
    """The same for a person without the right to write there."""
    if os.geteuid() == 0:
        pytest.skip("permissions do not bind root; a disk that is read-only does")
    place.out.mkdir(mode=0o555)
    assert "--out" in place.run(code=1)


# ----- damaged files


READERS = {
    "ask": ["ask", "max_batch"],
    "sql": ["sql", "SELECT sum(tpot_s), sum(vram_bytes), count(DISTINCT confidence) FROM estimates"],
    "check": ["check"],
    "report": ["report", "--file", "{out}/report.html"],
    "diff": ["diff", "latest", "latest"],
    "export": ["export", "{out}/x.csv", "--answer", "max_batch"],
}
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda _: b"",
    "zeros": lambda data: bytes(len(data)),
    "zeros in the middle": lambda data: data[: len(data) // 4] + bytes(len(data) // 2) + data[-(len(data) // 4) :],
    "head": lambda data: b"\xff" * 64 + data[64:],
    "tail": lambda data: data[:-64] + b"\xff" * 64,
}
PARTS = ("capacity.parquet", "estimates/model=llama-7b/part-0.parquet", "fleet.parquet", "capgrid.duckdb")


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory, small: Finished, capgrid: Callable[..., Any]) -> Path:
    """A run whose files are damaged, and mended again, where it was made: its database points there."""
    out = tmp_path_factory.mktemp("mortal") / "outputs"
    shutil.copytree(small.out, out, symlinks=True)
    for name in ("capgrid.duckdb", "manifest.json"):
        (out / "latest" / name).unlink()
    capgrid("run", "--grid", "small", "--out", out, "--workers", 1, "--as-of", DAY)
    return (out / "latest").resolve()


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("part", PARTS)
def test_a_damaged_file_is_told_by_whoever_reads_it(part: str, how: str, mortal: Path, tmp_path: Path) -> None:
    """Never a traceback: an answer where the damage does not matter, else a message; `check` finds all of it."""
    path = mortal / part
    whole = path.read_bytes()
    path.write_bytes(DAMAGES[how](whole))
    try:
        for name, words in READERS.items():
            typed = [*(each.format(out=tmp_path) for each in words), "--out", str(mortal.parent)]
            said = CliRunner().invoke(cli, typed)
            assert isinstance(said.exception, SystemExit | None), (name, said.exception)
            assert said.exit_code in {0, 1}
            if said.exit_code:
                assert "Error: " in said.stderr, name
                assert part.split("/", maxsplit=1)[0] in said.stderr or "`capgrid check`" in said.stderr, name
                assert len(said.stderr) < 2000, name
            assert name != "check" or said.exit_code == 1
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("part", ["capacity.parquet", "estimates/model=gemma-3-4b/part-0.parquet", "capgrid.duckdb"])
def test_a_damaged_run_is_made_again(part: str, how: str, place: Place, whole: Path) -> None:
    """As the message of `check` says: after it, the run is as it was made."""
    shutil.copytree(whole.parent, place.out, symlinks=True)
    path = place.folder() / part
    path.write_bytes(DAMAGES[how](path.read_bytes()))
    found = CliRunner().invoke(cli, ["check", "--out", str(place.out)])
    assert found.exit_code == 1
    assert "`capgrid run` makes it again" in found.stderr
    assert CliRunner().invoke(cli, place.words(workers=1)).exit_code == 0
    assert_same(place.folder(), whole)
    assert CliRunner().invoke(cli, ["check", "--out", str(place.out)]).exit_code == 0


# ----- not alone


@pytest.mark.parametrize("later_s", [0.0, 0.8])
def test_two_runs_at_once_make_one(later_s: float, place: Place, whole: Path) -> None:
    """The second waits for the first, finds its result, and both end well."""
    first = place.start()
    time.sleep(later_s)
    second = place.start()
    for process in (first, second):
        _, told = process.communicate(timeout=5 * SOON_S)
        assert "Traceback" not in told, told
        assert process.returncode == 0, told
    assert_same(place.folder(), whole)
    assert (place.out / "latest").resolve() == place.folder()
    assert CliRunner().invoke(cli, ["check", "--out", str(place.out)]).exit_code == 0


def test_the_second_of_two_runs_takes_over_where_the_first_was_killed(place: Place, whole: Path) -> None:
    """A lock that outlives its holder would be worse than none."""
    first = place.start()
    until(lambda: place.out.is_dir() and any(place.out.glob("*/.lock")), "the first has its lock")
    second = place.start()
    time.sleep(1)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate(timeout=SOON_S)
    _, told = second.communicate(timeout=5 * SOON_S)
    assert second.returncode == 0, told
    assert_same(place.folder(), whole)


def test_runs_of_other_grids_do_not_wait(place: Place) -> None:
    """Only the very same run is locked."""
    other = place.out.parent / "other.toml"
    other.write_text(GRID.replace("16, 256", "16"), encoding="utf-8")
    pair = [place.start(workers=1), place.start("--grid", other, workers=1)]
    for process in pair:
        _, told = process.communicate(timeout=5 * SOON_S)
        assert process.returncode == 0, told
        assert "another run" not in told
    assert len(complete_runs(place.out)) == 2


# ----- clocks


def made(place: Place, capgrid: Callable[..., Any], batches: str) -> Path:
    """A run of its own grid, published."""
    text = re.sub(r"models .*", 'models = ["llama-3.1-8b"]', GRID).replace("[1, 16, 256]", batches)
    place.grid.write_text(text, encoding="utf-8")
    return place.out / json.loads(capgrid(*place.words("--json", workers=1)).stdout)["run"]


def test_a_clock_that_goes_back_changes_no_order(place: Place, capgrid: Callable[..., Any]) -> None:
    """A run is newer than what `latest` pointed at before, whatever the clock says."""
    first = made(place, capgrid, "[1]")
    ahead = time.time() + 10 * 365 * 86_400
    os.utime(first / "manifest.json", (ahead, ahead))  # made when the clock was wrong; it was set right since
    order = [first, *(made(place, capgrid, f"[1, {n}]") for n in (2, 3, 4))]
    assert (place.out / "latest").resolve() == order[-1].resolve()
    assert [each.name for each in complete_runs(place.out)] == [each.name for each in order]
    assert [before_latest(place.out, n).name for n in range(4)] == [each.name for each in reversed(order)]
    told = json.loads(capgrid("diff", "--out", place.out, "--json").stdout)
    assert order[-2].name in json.dumps(told)
    assert {each.name for each in prune(place.out, 2)} == {each.name for each in order[:2]}


# ----- catalogs that change meanwhile


def test_catalogs_edited_while_a_run_works_do_not_reach_it(
    place: Place, whole: Path, own_catalogs: Path, capgrid: Callable[..., Any]
) -> None:
    """One snapshot, read at the start: the result is that of the catalogs as they were."""
    process = place.start("--catalogs", own_catalogs)
    until(place.out.is_dir, "it began to work")
    for path in own_catalogs.rglob("*.toml"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("memory_bytes_per_s", "memory_bytes_per_t").replace("= 4_096", "= 4_097"))
    _, told = process.communicate(timeout=5 * SOON_S)
    assert process.returncode == 0, told
    edited, asis = place.folder(), whole
    facts = ("facts.parquet",)
    for name in ("capacity.parquet", *facts):
        assert (edited / name).is_file()
        assert (asis / name).is_file()
    assert_same(edited, asis)
    assert DAY in edited.name
    shutil.rmtree(own_catalogs / "grids", ignore_errors=True)
    assert "memory_bytes_per_t" in CliRunner().invoke(cli, place.words("--catalogs", own_catalogs)).stderr
