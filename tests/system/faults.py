"""Runs to break: a grid of several partitions, the command in a process of its own, and its workers by their ids."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from click.testing import CliRunner
from polars.testing import assert_frame_equal

import pipeline
from pipeline.cli.main import cli
from pipeline.run import compute
from pipeline.run.code import fingerprints
from pipeline.run.partitions import partitions

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = "2026-11-22"
SOON_S = 60
"""How long to wait for what ought to happen at once."""
GRID = """
[grid]
models       = ["llama-3.1-8b", "gemma-3-4b", "mixtral-8x7b", "qwen3-8b", "gpt-oss-20b", "deepseek-v3"]
weights      = ["bf16"]
kv           = ["bf16"]
engines      = ["vllm"]
accelerators = ["h100-sxm-80gb", "l4"]
parallel     = [{ tp = 1 }, { tp = 2 }, { tp = 8 }]
workloads    = ["chat"]
batches      = [1, 16, 256]
"""
PROGRAM = """
import pickle, sys
from functools import partial
from pathlib import Path
import pipeline
from pipeline.run import compute, job
read, (catalogs, code) = pipeline.catalogs, pickle.loads(Path(sys.argv.pop(1)).read_bytes())
pipeline.catalogs = lambda folder=None: read(folder) if folder else catalogs
compute.fingerprints = job.fingerprints = lambda: code
compute.partitions = partial(compute.partitions, most=1)
from pipeline.cli.main import cli
cli()
"""
"""The command, with a partition for each model; what every process would find out anew, this one is told."""


def known(folder: Path) -> Path:
    """What the command is told: the bundled catalogs, and the fingerprints of the code."""
    path = folder / "known.pickle"
    path.write_bytes(pickle.dumps((pipeline.catalogs(), fingerprints())))
    return path


def until(happened: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    for _ in range(SOON_S * 50):
        if happened():
            return
        time.sleep(0.02)
    raise AssertionError(f"never: {what}")


def workers_of(pid: int, program: bytes = b"spawn_main") -> list[int]:
    """Worker processes that a process has started and that live."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            state, parent = (place / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z" and program in (place / "cmdline").read_bytes():
                found.append(int(place.name))
        except (OSError, ValueError):
            continue
    return found


def is_alive(pid: int) -> bool:
    """Whether a process is there and not only waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Place:
    """A folder of runs and a grid file."""

    def __init__(self, folder: Path, told: Path, text: str = GRID) -> None:
        """Write the grid; processes are told what is known there."""
        folder.mkdir(parents=True, exist_ok=True)
        self.out, self.grid, self.told = folder / "outputs", folder / "tiny.toml", told
        self.grid.write_text(text, encoding="utf-8")

    def words(self, *more: object, workers: int = 2) -> list[str]:
        """The command as typed."""
        words = ["run", "--grid", self.grid, "--out", self.out, "--workers", workers, "--as-of", DAY, *more]
        return [str(each) for each in words]

    def start(self, *more: object, workers: int = 2) -> subprocess.Popen[str]:
        """The command in a process, and a group, of its own: to be killed, or to run beside another."""
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(self.told), *self.words(*more, workers=workers)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            env=os.environ | {"COLUMNS": "500"},
        )  # fmt: skip

    def run(self, *more: object, workers: int = 2, code: int = 0) -> str:
        """The command to its end, in this process; what it says on stderr."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compute, "partitions", partial(partitions, most=1))
            ended = CliRunner(env={"COLUMNS": "500"}).invoke(cli, self.words(*more, workers=workers))
        assert isinstance(ended.exception, SystemExit | None), ended.exception
        assert ended.exit_code == code, ended.stderr
        return ended.stderr

    def folder(self) -> Path:
        """The one run's folder, finished or not."""
        (only,) = [path for path in self.out.iterdir() if path.is_dir() and not path.is_symlink()]
        return only

    def published(self) -> bool:
        """Whether readers see a run, or a manifest says that one is complete."""
        return (self.out / "latest").is_symlink() or any(self.out.glob("*/manifest.json"))


def tables(folder: Path) -> dict[str, pl.DataFrame]:
    """Every Parquet file of a run as a frame, by its place."""
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*.parquet"))
    return {str(path): pl.read_parquet(folder / path, hive_partitioning=False, glob=False) for path in paths}


def assert_same(a: Path, b: Path) -> None:
    """Two runs hold the same files with the same rows, and nothing half-written."""
    one, other = tables(a), tables(b)
    assert list(one) == list(other)
    for name, frame in one.items():
        assert_frame_equal(frame, other[name])
    assert [path.name for path in a.rglob(".*")] == []
