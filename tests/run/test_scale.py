"""Grids of any size: cut models, counts of billions, rows taken from an earlier run, clusters, what answers read."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections import Counter
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.core.places import bundled
from pipeline.grid.axes import axes_of
from pipeline.grid.plan import census
from pipeline.grid.selection import read_grid
from pipeline.grid.tables import book_for
from pipeline.run import compute as runs
from pipeline.run import partitions as parting
from pipeline.run.compute import count_plans
from pipeline.run.executors import Receipt, local
from pipeline.run.forecast import forecast
from pipeline.run.partitions import by_kinds
from tests.support import AS_OF, catalogs

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.grid.axes import Axes

DAY = "2026-11-22"
GRID = """
[grid]
models       = ["llama-3.1-8b", "gemma-3-4b", "mixtral-8x7b"]
weights      = ["bf16", "fp8"]
kv           = ["bf16"]
engines      = ["vllm", "sglang"]
accelerators = ["h100-sxm-80gb", "l4", "a100-sxm-80gb"]
parallel     = [{ tp = 1 }, { tp = 2 }]
workloads    = ["chat", "reasoning"]
batches      = [1, 16, 256]
"""
PRICE = (r'(accelerator\s*=\s*"l4".*?usd_per_hour\s*=\s*)[0-9.]+', r"\g<1>0.31", "prices/aws.toml")


def tables(folder: Path) -> dict[str, pl.DataFrame]:
    """Every Parquet file of a run, by its place."""
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*.parquet"))
    return {str(path): pl.read_parquet(folder / path, hive_partitioning=False, glob=False) for path in paths}


def assert_same(a: Path, b: Path) -> None:
    """Two runs hold the same files with the same rows, to the last bit."""
    one, other = tables(a), tables(b)
    assert list(one) == list(other)
    for name, frame in one.items():
        assert_frame_equal(frame, other[name], check_exact=True)


class Place:
    """Catalogs of its own, a grid, and folders of runs."""

    def __init__(self, folder: Path, own: Path, capgrid: Callable[..., Any]) -> None:
        """Write the grid."""
        self.folder, self.catalogs, self.capgrid = folder, own, capgrid
        self.grid = folder / "wide.toml"
        self.grid.write_text(GRID, encoding="utf-8")

    def run(self, out: str = "outputs", *more: object) -> tuple[Path, dict[str, Any]]:
        """The folder and the manifest of a run."""
        words = ["run", "--grid", self.grid, "--out", self.folder / out, "--catalogs", self.catalogs, "--as-of", DAY]
        more = more if "--workers" in more else ("--workers", 1, *more)
        manifest = json.loads(self.capgrid(*words, "--json", *more).stdout)
        return self.folder / out / manifest["run"], manifest

    def begin(self, begun: Path) -> Path:
        """The folder of a run that was made before, copied to where this place's runs stand."""
        shutil.copytree(begun, self.folder / "outputs", symlinks=True)
        return (self.folder / "outputs" / "latest").resolve()

    def edit(self, pattern: str, instead: str, file: str = "") -> None:
        """Change a catalog, or the grid, by a pattern that is found."""
        path = self.catalogs / file if file else self.grid
        text, count = re.subn(pattern, instead, path.read_text(encoding="utf-8"), count=1, flags=re.DOTALL)
        assert count == 1
        path.write_text(text, encoding="utf-8")


@pytest.fixture
def place(tmp_path: Path, own_catalogs: Path, capgrid: Callable[..., Any]) -> Place:
    """A place for runs."""
    return Place(tmp_path, own_catalogs, capgrid)


CUT = partial(parting.partitions, most_of_a_model=30)
"""A budget so small that every model is cut, along two axes."""


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of that budget."""
    monkeypatch.setattr(runs, "partitions", CUT)


def finished(shared: Callable[..., Path], capgrid: Callable[..., Any], name: str, parts: Callable[..., Any]) -> Path:
    """A folder with a run of the grid as it is written above; tests read it, or copy it to go on from there."""

    def fill(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runs, "partitions", parts)
            Place(folder, bundled("catalogs"), capgrid).run()

    return shared(name, fill) / "outputs"


@pytest.fixture
def begun(shared: Callable[..., Path], capgrid: Callable[..., Any]) -> Path:
    """A run of whole models."""
    return finished(shared, capgrid, "wide", parting.partitions)


@pytest.fixture
def begun_cut(shared: Callable[..., Path], capgrid: Callable[..., Any]) -> Path:
    """A run of cut models."""
    return finished(shared, capgrid, "wide-cut", CUT)


def small() -> Axes:
    """The axes of the bundled grid `small`."""
    return axes_of(catalogs(), read_grid("small", catalogs()), AS_OF)


def manifest_of(folder: Path) -> dict[str, Any]:
    """What a run says of itself."""
    said: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return said


# ----- cut models


@pytest.mark.parametrize("most", [30, 100, 300, 1000, 5000, 10**9])
def test_parts_hold_every_plan_once_and_keep_to_the_budget(most: int) -> None:
    """A plan in no part would be missing from the run, in two it would be counted twice; a part too large kills."""
    axes = small()
    names = ("model", "weights", "kv", "engine", "parallel", "accelerator", "workload")
    axes |= {name: axes[name].with_row_index("place") for name in names}
    parts = parting.partitions(axes, most_of_a_model=most)
    seen: Counter[tuple[int, ...]] = Counter()
    for part in parts:
        own = part.axes(axes)
        if part.spans:
            rows = own["batch"].height
            for name in names:
                rows *= own[name].height
            assert rows <= max(most, axes["batch"].height)
            assert len(part.models) == 1
        seen.update(product(*(own[name]["place"].to_list() for name in names)))
    whole = 1
    for name in names:
        whole *= axes[name].height
    assert len(seen) == whole
    assert set(seen.values()) == {1}


def test_cut_models_have_the_rows_of_whole_ones(place: Place, begun: Path, begun_cut: Path) -> None:
    """Part by part; only their order is that of the parts."""
    folder, whole = ((each / "latest").resolve() for each in (begun_cut, begun))
    assert len(list(folder.glob("estimates/model=gemma-3-4b/part-*.parquet"))) > 3
    assert manifest_of(folder)["rows"] == manifest_of(whole)["rows"]
    for table in ("estimates", "capacity"):
        one, two = (
            pl.read_parquet(each / table / "*" / "*.parquet", hive_partitioning=False) for each in (folder, whole)
        )
        by = [name for name in one.columns if one[name].dtype != pl.Float32]
        assert_frame_equal(one.sort(by), two.sort(by), check_exact=True)
        together = pl.read_parquet(folder / "capacity.parquet")
        assert table != "capacity" or together.height == one.height
    assert place.capgrid("check", "--out", folder.parent).exit_code == 0
    asked = [place.capgrid("ask", "max_batch", "--out", each.parent, "--json").stdout for each in (folder, whole)]
    assert asked[0] == asked[1]
    assert place.capgrid("report", "--out", folder.parent, "--file", place.folder / "report.html").exit_code == 0


def test_files_of_another_cut_do_not_stay(place: Place, begun: Path, begun_cut: Path) -> None:
    """A run that stopped under another budget left parts that would be read twice."""
    folder = place.begin(begun_cut)
    (folder / "manifest.json").unlink()
    again, manifest = place.run()
    assert again == folder
    fresh = (begun / "latest").resolve()
    assert_same(again, fresh)
    assert manifest["files"].keys() == manifest_of(fresh)["files"].keys()


# ----- counts


def test_the_census_of_parts_is_that_of_the_whole() -> None:
    """However few rows it keeps while it counts."""
    axes = small()
    whole = count_plans(axes)
    found = [census({**axes, "model": each}, book_for(each)) for each in by_kinds(axes["model"])]
    alone = [
        census({**axes, "model": each, "accelerator": axes["accelerator"][at : at + 1]}, book_for(each))
        for each in by_kinds(axes["model"])
        for at in range(axes["accelerator"].height)
    ]
    for parts in (found, alone):
        assert sum(each.kept for each in parts) == whole.kept
        assert sum(each.crossed for each in parts) == whole.crossed


def test_billions_of_rows_are_counted_without_making_them(place: Place) -> None:
    """What a grid of billions would take is known before any of it is made, in little memory and CPU."""
    place.edit(r"models .*?\]", 'models = ["!family:case-study", "*"]')
    place.edit(r"accelerators .*?\]", 'accelerators = ["device_class:datacenter"]')
    place.edit(r"workloads .*?\]", 'workloads = ["*"]')
    place.edit(r"batches .*?\]", f"batches = {list(range(1, 2001))}")
    began = time.process_time()
    said = json.loads(place.capgrid("run", "--grid", place.grid, "--out", place.folder / "o", "--rows-only").stdout)
    assert time.process_time() - began < 60
    assert said["estimates"] > 10**9
    assert said["estimates"] == said["capacity"] * 2000
    assert said["estimates_bytes"] > said["estimates"]
    assert said["partitions"] > 1000
    assert not (place.folder / "o").exists()


def test_bytes_are_foretold(place: Place) -> None:
    """From a sample; the run of it takes about as much."""
    size = forecast(axes_of(catalogs(), read_grid(str(place.grid), catalogs()), AS_OF))
    _, manifest = place.run()
    assert (size.estimates, size.capacity) == (manifest["rows"]["estimates"], manifest["rows"]["capacity"])
    wrote = sum(bytes_ for name, bytes_ in manifest["files"].items() if name.startswith("estimates/"))
    assert wrote / 3 < size.estimates_bytes < wrote * 3


# ----- an earlier run


def test_an_edited_price_is_computed_alone(place: Place, begun: Path) -> None:
    """Every model has that device: only its rows are made, and the run is the one that all rows would give."""
    place.begin(begun)
    place.edit(*PRICE)
    mended, manifest = place.run()
    assert manifest["models"] == {"mended": 3}
    fresh, _ = place.run("fresh")
    assert_same(mended, fresh)


@pytest.mark.usefixtures("cut")
def test_parts_that_an_edit_does_not_reach_are_the_earlier_runs(place: Place, begun_cut: Path) -> None:
    """The same file under two names: no time, no space."""
    first = place.begin(begun_cut)
    place.edit(*PRICE)
    second, manifest = place.run()
    assert set(manifest["models"]) == {"linked", "computed"}
    assert manifest["models"]["linked"] == 2 * manifest["models"]["computed"]
    same = [path for path in second.glob("*/*/*.parquet") if path.samefile(first / path.relative_to(second))]
    assert len(same) == 2 * manifest["models"]["linked"]
    fresh, _ = place.run("fresh")
    assert_same(second, fresh)


EDITS: dict[str, tuple[tuple[str, str, str], dict[str, int]]] = {
    "a new device": ((r'"l4", ', '"h200-sxm-141gb", "l4", ', ""), {"mended": 3}),
    "a device less": ((r'"l4", ', "", ""), {"mended": 3}),
    "a new batch": ((r"16, 256", "16, 64, 256", ""), {"mended": 3}),
    "a new model": ((r'"gemma-3-4b"', '"qwen3-8b", "gemma-3-4b"', ""), {"mended": 3, "computed": 1}),
    "another order": ((r'"vllm", "sglang"', '"sglang", "vllm"', ""), {"mended": 3}),
    "another model": (
        (r'("llama-3.1-8b".*?)14_336', r"\g<1>14_338", "models/llama.toml"), {"linked": 2, "computed": 1}
    ),
    "two axes": ((r'"l4", (.*)"chat", ', r'"l40s", \g<1>"agent", ', ""), {"computed": 3}),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_a_changed_grid_takes_what_it_can(name: str, place: Place, begun: Path) -> None:
    """Rows of entries that are new or other than before are made; the result is as if all were."""
    place.begin(begun)
    edit, expected = EDITS[name]
    place.edit(*edit)
    mended, manifest = place.run()
    assert manifest["models"] == expected
    fresh, _ = place.run("fresh")
    assert_same(mended, fresh)
    assert place.capgrid("check", "--out", mended.parent).exit_code == 0


@pytest.mark.parametrize("table", ["estimates", "capacity"])
def test_spoilt_files_of_an_earlier_run_are_not_taken(table: str, place: Place, begun: Path) -> None:
    """A disk's error, or a person's, must not live on in tomorrow's run."""
    first = place.begin(begun)
    path = first / table / "model=gemma-3-4b" / "part-0.parquet"
    about = pl.read_parquet_metadata(path)
    about.pop("ARROW:schema", None)
    pl.read_parquet(path).with_columns(pl.col("ttft_s") * 2).write_parquet(path, metadata=about)
    place.edit(*PRICE)
    second, manifest = place.run()
    assert manifest["models"] == {"mended": 2, "computed": 1}
    fresh, _ = place.run("fresh")
    assert_same(second, fresh)


def test_pages_and_exports_are_no_part_of_a_run(place: Place, begun: Path) -> None:
    """What is written from a run may be written again: it is in no manifest, also after a repair."""
    folder = place.begin(begun)
    manifest = manifest_of(folder)
    for name in ("report.html", "report.zh.html", "report.md", "diff.md", "exports/max_batch.csv"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("a page", encoding="utf-8")
    (folder / "manifest.json").unlink()
    again, mended = place.run()
    assert again == folder
    assert mended["files"].keys() == manifest["files"].keys()
    assert (folder / "report.html").read_text(encoding="utf-8") == "a page"


# ----- executors


def test_few_partitions_are_in_flight_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Handing over a million partitions at once would take memory that grows with the grid."""
    (tmp_path / "counting_worker.py").write_text(
        "from pipeline.run.executors import Receipt\n\ndef work(n):\n    return Receipt((str(n),), n, 0, False)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import counting_worker

    given: list[int] = []
    done = 0

    class Counting(list[int]):
        """Partitions that note how far they were read."""

        def __iter__(self) -> Any:
            for each in super().__iter__():
                given.append(each)
                yield each

    from pipeline.run import executors

    wait = executors.hand_over
    most = 0

    def watched(pool: Any, work: Any, waiting: Any, ahead: int) -> Any:
        nonlocal done, most
        for pair in wait(pool, work, iter(Counting(waiting)), ahead):
            most = max(most, len(given) - done)
            done += 1
            yield pair

    monkeypatch.setattr(executors, "hand_over", watched)
    receipts: list[Receipt] = list(local(counting_worker.work, list(range(100)), 2))
    assert sorted(each.estimates_rows for each in receipts) == list(range(100))
    assert most <= 2 * executors.AHEAD


def test_dask_makes_the_same_run(place: Place) -> None:
    """Workers of a cluster write what local processes write."""
    distributed = pytest.importorskip("distributed", reason="needs the extra dask")
    here, _ = place.run("here", "--workers", 2)
    there, manifest = place.run("there", "--workers", 2, "--executor", "dask")
    assert_same(here, there)
    assert manifest["models"] == {"computed": 3}
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        third, _ = place.run("third", "--executor", "dask", "--scheduler", address)
    assert_same(here, third)


def test_a_scheduler_that_is_not_there_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its address, and without a traceback."""
    pytest.importorskip("distributed", reason="needs the extra dask")
    from pipeline.run import cluster

    monkeypatch.setattr(cluster, "PATIENCE_S", 1)
    words = ["run", "--grid", place.grid, "--out", place.folder / "o", "--executor", "dask"]
    assert "tcp://127.0.0.1:1" in place.capgrid(*words, "--scheduler", "tcp://127.0.0.1:1", code=1).stderr


def test_a_scheduler_needs_dask(place: Place) -> None:
    """An address that nobody would use is a mistake."""
    words = ["run", "--grid", place.grid, "--out", place.folder / "o", "--scheduler", "tcp://127.0.0.1:1"]
    assert "--executor dask" in place.capgrid(*words, code=2).stderr


# ----- questions


def files_read(connection: duckdb.DuckDBPyConnection, rows: str, **settings: str | None) -> int:
    """How many files a question of the curves opens."""
    sql = f"EXPLAIN ANALYZE SELECT sum(tpot_s) FROM {rows}"  # noqa: S608
    told = connection.sql(sql, params=settings or None).fetchall()[0][1]
    read = re.search(r"Total Files Read: (\d+)", told)
    assert read is not None, told
    return int(read[1])


def test_questions_about_a_model_open_its_files_alone(begun_cut: Path) -> None:
    """Or every answer about one model would take longer with every other."""
    folder = (begun_cut / "latest").resolve()
    own, every = (len(list(folder.glob(f"estimates/model={name}/*.parquet"))) for name in ("gemma-3-4b", "*"))
    assert 1 < own < every
    with duckdb.connect(str(folder / "capgrid.duckdb"), read_only=True) as connection:
        assert files_read(connection, "estimates WHERE model = 'gemma-3-4b'") == own
        assert files_read(connection, "estimates") == every
        plans = "plans($model, NULL, NULL, NULL, NULL, a_table := 'estimates')"
        assert files_read(connection, plans, model="gemma-3-4b") == own
        assert files_read(connection, plans, model=None) == every


def test_a_folder_that_looks_like_a_column_adds_none(place: Place) -> None:
    """Runs may stand under day=2026-11-22; that is no column of theirs."""
    folder, manifest = place.run("day=2026-11-22")
    with duckdb.connect(str(folder / "capgrid.duckdb"), read_only=True) as connection:
        names = [name for name, *_ in connection.sql("DESCRIBE estimates").fetchall()]
        assert connection.sql("SELECT count(*) FROM estimates").fetchall() == [(manifest["rows"]["estimates"],)]
    assert (
        names
        == pl.scan_parquet(folder / "estimates" / "model=gemma-3-4b" / "part-0.parquet", hive_partitioning=False)
        .collect_schema()
        .names()
    )
