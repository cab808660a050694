"""A night from check to prune; and nights that fail, are killed, run out of disk, or meet another one."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import polars as pl
import pytest
import yaml

from pipeline.answers import checking
from pipeline.core.errors import RunError
from pipeline.publish import nightly as nights
from pipeline.publish.history import SCHEMA, beyond_bounds, figures, read_history, remember_night
from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

DAY = "2026-11-22"
EXAMPLES = ROOT / "docs" / "nightly"
HERE = """
[grid]
models       = ["llama-3.1-8b"]
weights      = ["bf16", "fp8"]
kv           = ["bf16"]
engines      = ["vllm"]
accelerators = ["h100-sxm-80gb", "l4"]
parallel     = [{ tp = 1 }, { tp = 2 }]
workloads    = ["chat"]
batches      = [1, 64]
"""


class Place:
    """A folder of runs, catalogs of its own, and a grid of one model."""

    def __init__(self, folder: Path, catalogs: Path, capgrid: Callable[..., Result]) -> None:
        """Write the grid."""
        self.out, self.catalogs, self.capgrid = folder / "outputs", catalogs, capgrid
        self.grid = folder / "night.toml"
        self.grid.write_text(HERE, encoding="utf-8")

    @property
    def words(self) -> list[str]:
        """The command as typed."""
        return ["nightly", "--grid", str(self.grid), "--out", str(self.out), "--catalogs", str(self.catalogs),
                "--workers", "1", "--as-of", DAY]  # fmt: skip

    def night(self, *more: object, code: int = 0) -> dict[str, Any]:
        """Go through a night; its record."""
        said = self.capgrid(*self.words, "--json", *more, code=code)
        record = json.loads(said.stdout)
        assert record == json.loads((self.out / "nightly.json").read_text(encoding="utf-8"))
        return record

    def latest(self) -> str:
        """The run that readers see."""
        return (self.out / "latest").resolve().name

    def edit(self, pattern: str, instead: str, file: str = "accelerators/nvidia-datacenter.toml") -> None:
        """Change catalogs by a pattern that is found exactly once."""
        path = self.catalogs / file
        text, count = re.subn(pattern, instead, path.read_text(encoding="utf-8"), count=1, flags=re.DOTALL)
        assert count == 1
        path.write_text(text, encoding="utf-8")


@pytest.fixture
def place(tmp_path: Path, own_catalogs: Path, capgrid: Callable[..., Result]) -> Place:
    """A place for nights."""
    return Place(tmp_path, own_catalogs, capgrid)


H100_SPEED = r'(accelerator\s*=\s*"h100-sxm-80gb".*?memory_bytes_per_s\s*=\s*)[0-9.e_+]+'


# ----- a good night


def test_a_night_leaves_a_run_a_report_and_a_record(place: Place) -> None:
    """Every step is done, timed and counted; readers find everything under `latest`."""
    record = place.night("--lang", "en", "--lang", "zh")
    assert record["status"] == "done"
    assert [each["step"] for each in record["steps"]] == list(nights.STEPS)
    assert {each["status"] for each in record["steps"]} == {"done"}
    assert all(each["seconds"] >= 0 for each in record["steps"])
    rows = {each["step"]: each["rows"] for each in record["steps"]}
    assert rows["run"] > 0
    assert rows["export"] > 0
    latest = place.out / "latest"
    assert place.latest() == record["run"]
    for name in ("report.html", "report.md", "report.zh.html", "exports/max_batch.csv", "capgrid.duckdb"):
        assert (latest / name).stat().st_size > 100, name
    assert read_history(place.out)["run"].unique().to_list() == [record["run"]]


def test_an_unchanged_night_does_nothing(place: Place) -> None:
    """Not even on another day, where no price begins between the two."""
    first = place.night()
    files = {path: path.stat().st_mtime_ns for path in place.out.rglob("*") if path.name != "nightly.json"}
    again = place.night()
    assert again["status"] == "unchanged"
    assert again["headline"] == f"nothing changed since {first['run']}"
    assert {each["status"] for each in again["steps"][1:]} == {"skipped"}
    now = {path: path.stat().st_mtime_ns for path in place.out.rglob("*") if path.name != "nightly.json"}
    assert {path for path in now if now[path] != files.get(path)} <= {place.out, place.out / nights.LOCK}


def test_a_changed_fact_is_the_headline_of_the_next_night(place: Place) -> None:
    """In the record, in the comment for a chat, and on the page."""
    place.night()
    place.edit(H100_SPEED, r"\g<1>3.2e12")
    record = place.night()
    assert record["status"] == "done"
    assert "1 " in record["headline"]
    comment = (place.out / "latest" / "diff.md").read_text(encoding="utf-8")
    assert "memory_bytes_per_s" in comment
    assert "memory_bytes_per_s" in (place.out / "latest" / "report.html").read_text(encoding="utf-8")
    assert read_history(place.out)["run"].n_unique() == 2


def test_so_many_runs_are_kept(place: Place) -> None:
    """The oldest go; what readers see stays."""
    seen = [place.night("--keep", 2)["run"]]
    for speed in ("3.3e12", "3.25e12", "3.2e12"):
        place.edit(H100_SPEED, rf"\g<1>{speed}")
        seen.append(place.night("--keep", 2)["run"])
    assert sorted(path.parent.name for path in place.out.glob("2*/manifest.json")) == sorted(seen[-2:])
    assert place.latest() == seen[-1]


# ----- nights that fail


def test_figures_beyond_their_bounds_are_not_published(place: Place) -> None:
    """A typing error of a catalog is met at night, not in a budget; who means it says so."""
    good = place.night()["run"]
    place.edit(H100_SPEED, r"\g<1>3.35e13")
    said = place.capgrid(*place.words, code=1)
    assert "not like the nights before" in said.stderr
    assert "usd_per_mtok_output" in said.stderr
    record = json.loads((place.out / "nightly.json").read_text(encoding="utf-8"))
    assert record["status"] == "failed"
    assert "usd_per_mtok_output" in record["reason"]
    status = {each["step"]: each["status"] for each in record["steps"]}
    assert status["check"] == "failed"
    assert {status[name] for name in ("diff", "report", "export", "publish", "prune")} == {"skipped"}
    assert place.latest() == good
    rejected = json.loads((place.out / record["run"] / "rejected.json").read_text(encoding="utf-8"))
    assert any("usd_per_mtok_output" in reason for reason in rejected["rejected"])
    readable(place)
    accepted = place.night("--accept")
    assert accepted["status"] == "done"
    assert place.latest() == accepted["run"] != good


def readable(place: Place) -> None:
    """The last good run answers, and its page is whole."""
    asked = place.capgrid("ask", "max_batch", "--out", place.out, "--catalogs", place.catalogs, "--json")
    assert json.loads(asked.stdout)
    assert (place.out / "latest" / "report.html").read_text(encoding="utf-8").rstrip().endswith("</html>")


def test_a_broken_promise_fails_the_night(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """And names it."""
    good = place.night()["run"]
    place.edit(H100_SPEED, r"\g<1>3.2e12")

    def broken(folder: Path) -> list[str]:
        raise RunError(f"{folder.name}: capacity: 3 rows break fits_is_room_in_the_pool")

    monkeypatch.setattr(nights, "check_tables", broken)
    record = place.night(code=1)
    assert "fits_is_room_in_the_pool" in record["reason"]
    assert place.latest() == good
    monkeypatch.setattr(nights, "check_tables", checking.check_tables)
    assert place.night()["status"] == "done"


def test_a_night_that_runs_out_of_disk_says_so_and_the_next_recovers(place: Place, tmp_path: Path) -> None:
    """A small disk of memory, filled to the brim, then cleared."""
    if os.geteuid() != 0:
        pytest.skip("to mount a small disk takes root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        place.out = disk / "outputs"
        good = place.night()["run"]
        filler = disk / "filler"
        with filler.open("wb") as file:
            file.write(b"x" * (shutil.disk_usage(disk).free - 60_000))
        place.edit(H100_SPEED, r"\g<1>3.2e12")
        said = place.capgrid(*place.words, code=1)
        assert "space" in said.stderr.lower()
        assert place.latest() == good
        readable(place)
        filler.unlink()
        record = place.night()
        assert record["status"] == "done"
        assert place.latest() == record["run"] != good
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def started(place: Place) -> subprocess.Popen[str]:
    """A night of its own process."""
    words = [sys.executable, "-c", "from pipeline.cli.main import cli; cli()", *place.words]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until_working(place: Place, step: str, since: str | None = None) -> None:
    """Wait until a night that began later than another is at a step."""
    for _ in range(600):
        try:
            record = json.loads((place.out / "nightly.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            record = {"steps": [], "began": since}
        at = [each["step"] for each in record["steps"] if each["status"] == "working"]
        if at == [step] and record["began"] != since:
            return
        time.sleep(0.05)
    raise AssertionError(f"never at {step}")


def test_a_killed_night_leaves_the_last_good_run(place: Place) -> None:
    """Its record says where it was, its lock is gone with it, and the next night is done."""
    first = place.night()
    place.edit(H100_SPEED, r"\g<1>3.2e12")
    process = started(place)
    until_working(place, "run", first["began"])
    process.kill()
    process.communicate(timeout=60)
    left = json.loads((place.out / "nightly.json").read_text(encoding="utf-8"))
    assert left["status"] == "working"
    assert left["pid"] == process.pid
    assert place.latest() == first["run"]
    readable(place)
    record = place.night()
    assert record["status"] == "done"
    assert place.latest() == record["run"] != first["run"]


def test_an_interrupted_night_ends_cleanly(place: Place) -> None:
    """With the exit code of an interrupt, no traceback, and a record that says so."""
    process = started(place)
    until_working(place, "run")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in told
    record = json.loads((place.out / "nightly.json").read_text(encoding="utf-8"))
    assert record["status"] == "interrupted"
    assert not (place.out / "latest").exists()
    assert place.night()["status"] == "done"


def test_two_nights_at_once(place: Place) -> None:
    """The second says that there is another, and touches nothing."""
    place.out.mkdir(parents=True)
    with filelock.FileLock(place.out / nights.LOCK):
        said = place.capgrid(*place.words, code=1)
    assert "another night is at work" in said.stderr
    assert not (place.out / "nightly.json").exists()
    assert place.night()["status"] == "done"


@pytest.mark.parametrize(
    ("more", "told"),
    [(("--export", "max_bach"), "max_batch"), (("--keep", "1"), "--keep"), (("--grid", "sma"), "small")],
)
def test_mistakes_are_told_before_anything_is_done(place: Place, more: tuple[str, ...], told: str) -> None:
    """With the nearest name."""
    assert told in place.capgrid(*place.words, *more, code=2).stderr
    assert not (place.out / "nightly.json").exists()


# ----- bounds


def night_of(value: float, nights_before: list[float]) -> list[str]:
    """What is said of a figure after some nights."""
    before = pl.DataFrame({
        "run": [f"r{at}" for at in range(len(nights_before))], "as_of": date(2026, 11, 1), "grid": "g",
        "figure": "tpot_s p50", "kind": "quantile", "value": nights_before,
    }, schema=SCHEMA)  # fmt: skip
    tonight = pl.DataFrame({"figure": ["tpot_s p50"], "kind": ["quantile"], "value": [value]})
    return beyond_bounds(tonight, before, "g")


@pytest.mark.parametrize(("value", "count"), [(1.0, 0), (1.49, 0), (1.51, 1), (0.67, 0), (0.66, 1)])
def test_bounds_stand_around_the_median_of_the_nights(value: float, count: int) -> None:
    """One bad night among many does not move them."""
    assert len(night_of(value, [1.0, 1.0, 90.0, 1.0, 1.0])) == count
    assert night_of(value, []) == []


def test_figures_are_those_of_the_table(small: Any, tmp_path: Path) -> None:
    """Quantiles of plans that fit, and the shares of all."""
    rows = json.loads((small.folder / "manifest.json").read_text(encoding="utf-8"))["rows"]
    found = {row["figure"]: row["value"] for row in figures(small.folder, rows).iter_rows(named=True)}
    table = pl.read_parquet(small.folder / "capacity.parquet")
    assert found["rows of capacity"] == table.height
    assert found["share that fits"] == pytest.approx((table["batch_max"] > 0).mean())
    fitting = table.filter(pl.col("batch_max") > 0)
    assert found["tpot_s p50"] == pytest.approx(fitting["tpot_s"].quantile(0.5))
    remember_night(tmp_path, figures(small.folder, rows), "one", date(2026, 11, 22), "small")
    remember_night(tmp_path, figures(small.folder, rows), "one", date(2026, 11, 22), "small")
    assert read_history(tmp_path).height == len(found)


def test_a_damaged_history_is_told(tmp_path: Path) -> None:
    """With what to do about it."""
    (tmp_path / "history.parquet").write_bytes(b"nothing")
    with pytest.raises(RunError, match="move it away"):
        read_history(tmp_path)


# ----- ready-made examples


def test_the_crontab_is_five_times_and_a_command() -> None:
    """The command is one that capgrid has."""
    lines = [line for line in (EXAMPLES / "crontab").read_text(encoding="utf-8").splitlines() if line[:1].isdigit()]
    times, command = lines[0].split()[:5], " ".join(lines[0].split()[5:])
    assert all(re.fullmatch(r"[\d*/,-]+", each) for each in times)
    assert command.startswith("$CAPGRID nightly ")
    subprocess.run(["/bin/sh", "-n", "-c", command], check=True)


def test_the_units_of_systemd_are_whole() -> None:
    """Systemd's own check where it is installed; sections and keys in any case."""
    for name in ("capgrid-nightly.service", "capgrid-nightly.timer"):
        read = configparser.ConfigParser(strict=False, interpolation=None)
        read.optionxform = str  # type: ignore[assignment,method-assign]
        read.read(EXAMPLES / name, encoding="utf-8")
        assert "Description" in read["Unit"]
    assert "capgrid nightly" in (EXAMPLES / "capgrid-nightly.service").read_text(encoding="utf-8")


def test_the_workflow_and_the_cron_job_are_yaml_with_a_schedule() -> None:
    """And run as nobody in particular."""
    flow = yaml.safe_load((EXAMPLES / "github-actions.yml").read_text(encoding="utf-8"))
    steps = flow["jobs"]["nightly"]["steps"]
    assert any(each.get("run", "").startswith("capgrid nightly") for each in steps)
    claim, job = yaml.safe_load_all((EXAMPLES / "cronjob.yaml").read_text(encoding="utf-8"))
    spec = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["containers"][0]["args"][0] == "nightly"
    assert spec["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert flow[True]["schedule"][0]["cron"] == job["spec"]["schedule"]


def test_the_image_is_built_from_the_wheel_and_does_not_run_as_root() -> None:
    """The last user that is named is the one that runs."""
    lines = (EXAMPLES / "Dockerfile").read_text(encoding="utf-8").splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users == ["capgrid"]
    assert [line for line in lines if line.startswith("FROM")][-1].split()[1].endswith("-slim")
