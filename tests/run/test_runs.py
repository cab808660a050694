"""Runs on disk: what stands where, what is kept, what a crash leaves, who sees it when."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import tomllib
from functools import partial
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest
from click.testing import CliRunner
from polars.testing import assert_frame_equal

from pipeline.cli.main import cli
from pipeline.core.errors import RunError
from pipeline.core.places import bundled
from pipeline.facts.catalog import DEFAULT
from pipeline.grid import tables as tables_of_axes
from pipeline.run import compute as runs
from pipeline.run.executors import Receipt, local

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pipeline.run.job import Job

DAY = "2026-11-22"


def tables(folder: Path) -> dict[str, pl.DataFrame]:
    """Every Parquet file of a run as a frame, by its place."""
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*.parquet"))
    return {str(path): pl.read_parquet(folder / path, hive_partitioning=False) for path in paths}


def same_tables(a: Path, b: Path) -> None:
    """Both runs hold the same files with the same rows, in the same order, of the same types."""
    one, other = tables(a), tables(b)
    assert list(one) == list(other)
    for name, frame in one.items():
        assert_frame_equal(frame, other[name])


def changed(folder: Path) -> dict[str, int]:
    """When each file of the estimates was last written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.glob("estimates/*/*.parquet")}


@pytest.fixture
def make(tiny: Path, tmp_path: Path, capgrid: Callable[..., Any]) -> Callable[..., Path]:
    """Run the tiny grid into a folder of runs, and say where it stands."""

    def of(out: str = "outputs", *args: object, grid: Path = tiny, code: int = 0) -> Path:
        more = args if "--workers" in args else ("--workers", 1, *args)
        more = more if "--as-of" in more else ("--as-of", DAY, *more)
        said = capgrid("run", "--grid", grid, "--out", tmp_path / out, "--json", *more, code=code)
        return tmp_path / out / json.loads(said.stdout)["run"] if code == 0 else tmp_path / out

    return of


@pytest.fixture(scope="module")
def whole(shared: Callable[..., Path], tiny_text: str, capgrid: Callable[..., Any]) -> Path:
    """The tiny grid, run without trouble."""

    def fill(folder: Path) -> None:
        grid = folder / "tiny.toml"
        grid.write_text(tiny_text, encoding="utf-8")
        capgrid("run", "--grid", grid, "--out", folder / "outputs", "--workers", 1, "--as-of", DAY)

    return (shared("tiny", fill) / "outputs" / "latest").resolve()


@pytest.fixture
def one_model_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions of one model, so that a small grid has several."""
    monkeypatch.setattr(runs, "partitions", partial(runs.partitions, most=1))


# ----- what stands where


def test_a_run_has_the_files_of_the_contract(small: Any) -> None:
    """Others read them by these names."""
    models = json.loads((small.folder / "manifest.json").read_text(encoding="utf-8"))["grid"]["models"]
    files = {str(path.relative_to(small.folder)) for path in small.folder.rglob("*") if path.is_file()}
    assert files >= {"manifest.json", "capacity.parquet", "facts.parquet", "columns.parquet", "capgrid.duckdb"}
    assert {str(path.parent.name) for path in small.folder.glob("estimates/*/*.parquet")} == {
        f"model={model}" for model in models
    }
    assert not [name for name in files if "/." in f"/{name}"], "no temporary file is left"
    latest = small.out / "latest"
    assert latest.is_symlink()
    assert str(latest.readlink()) == small.folder.name, "relative, so that outputs may be moved"


def test_the_manifest_says_what_was_run(small: Any) -> None:
    """Run id, day, grid, rows, seconds, and every file with its size."""
    manifest = json.loads((small.folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["run"] == small.folder.name
    assert manifest["as_of"] == DAY
    assert manifest["seconds"] > 0
    frames = tables(small.folder)
    assert manifest["rows"] == {
        "capacity": frames["capacity.parquet"].height,
        "fleet": frames["fleet.parquet"].height,
        "estimates": sum(frame.height for name, frame in frames.items() if name.startswith("estimates")),
    }
    plans = manifest["plans"]
    assert plans["crossed"] == plans["kept"] + sum(plans["dropped"].values())
    sizes = {
        str(path.relative_to(small.folder)): path.stat().st_size
        for path in small.folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert manifest["files"] == sizes


@pytest.mark.parametrize("table", ["estimates", "capacity"])
def test_tables_carry_the_contracts_columns_keys_first(table: str, small: Any, contract: dict[str, list[str]]) -> None:
    """In both tables, in every file."""
    for name, frame in tables(small.folder).items():
        if name.startswith(table):
            assert [column for column in contract[table] if column not in frame.columns] == []
            assert frame.columns[: len(contract["keys"])] == contract["keys"]
            keys = contract["keys"] + (["batch"] if table == "estimates" else [])
            assert frame.height > 0
            assert not frame.select(keys).is_duplicated().any()


def test_rows_stand_in_the_order_of_the_axes(small: Any) -> None:
    """Sorted rows take less than half the space, and two runs can be compared line by line."""
    grid = json.loads((small.folder / "manifest.json").read_text(encoding="utf-8"))["grid"]
    parallel = [f"{each['tp']}x{each['pp']}x{each['ep']}" for each in grid["parallel"]]
    lists = {
        "model": grid["models"], "weights": grid["weights"], "kv": grid["kv"], "parallel": parallel,
        "accelerator": grid["accelerators"], "engine": grid["engines"], "workload": grid["workloads"],
        "batch": grid["batches"],
    }  # fmt: skip
    for name, frame in tables(small.folder).items():
        if name in {"facts.parquet", "columns.parquet", "fleet.parquet"}:
            continue
        ranked = frame.with_columns(parallel=pl.concat_str("tp", "pp", "ep", separator="x")).select(
            pl.col(axis)
            .cast(pl.String)
            .replace_strict({str(value): place for place, value in enumerate(values)}, return_dtype=pl.Int64)
            for axis, values in lists.items()
            if axis != "batch" or name.startswith("estimates")
        )
        assert_frame_equal(ranked, ranked.sort(ranked.columns))


def test_parquet_carries_where_it_comes_from(small: Any) -> None:
    """A file that was sent by mail still says which run it is of."""
    paths = list(small.folder.rglob("*.parquet"))
    assert len(paths) > 4
    for path in paths:
        about = pl.read_parquet_metadata(path)
        assert about["capgrid.run"] == small.folder.name, path
        if path.parent.parent.name == "estimates":
            assert (about["capgrid.as_of"], about["capgrid.grid"]) == (DAY, "small")
            assert len(about["capgrid.key"]) == 64


def test_every_fact_has_a_source_that_exists(small: Any) -> None:
    """The whole point of writing sources down."""
    facts = pl.read_parquet(small.folder / "facts.parquet")
    known = tomllib.loads((bundled("catalogs") / "sources.toml").read_text(encoding="utf-8"))
    known[DEFAULT] = {"kind": DEFAULT}
    assert facts.height > 1000
    assert set(facts["source"]) <= known.keys()
    assert facts["source_title"].str.len_chars().min() > 0
    assert dict(facts.select("source", "source_kind").iter_rows()) == {
        name: known[name]["kind"] for name in set(facts["source"])
    }
    assert facts.select("kind", "name", "field").null_count().sum_horizontal().item() == 0


def test_every_column_is_described(small: Any) -> None:
    """columns.parquet says of each published column what it is, in which unit, from where."""
    described = pl.read_parquet(small.folder / "columns.parquet")
    for table, path in (("capacity", "capacity.parquet"), ("estimates", "estimates/model=llama-7b/part-0.parquet")):
        columns = pl.read_parquet(small.folder / path, hive_partitioning=False).columns
        rows = described.filter(table_name=table)
        assert rows["column"].to_list() == columns
    assert described["description"].str.len_chars().min() > 10
    assert described["source"].str.len_chars().min() > 0
    assert described.filter(column="ttft_s")["unit"].unique().to_list() == ["s"]


# ----- the database


@pytest.mark.parametrize(
    ("what", "query"),
    {
        "tables": "SELECT table_name, comment FROM duckdb_tables() WHERE NOT internal",
        "views": "SELECT view_name, comment FROM duckdb_views() WHERE NOT internal",
        "macros": "SELECT DISTINCT function_name, comment FROM duckdb_functions() "
        "WHERE NOT internal AND function_type LIKE '%macro%'",
        "columns": "SELECT table_name || '.' || column_name, comment FROM duckdb_columns() WHERE NOT internal",
    }.items(),
)
def test_everything_in_the_database_has_a_comment(what: str, query: str, small: Any) -> None:
    """Whoever opens the file in another tool reads there what a number means."""
    with duckdb.connect(str(small.folder / "capgrid.duckdb"), read_only=True) as connection:
        rows = connection.sql(query).fetchall()
    assert len(rows) >= 2, what
    assert [name for name, comment in rows if not comment] == []


def test_the_database_opens_from_another_folder(small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its views find the Parquet files from anywhere."""
    monkeypatch.chdir(tmp_path)
    with duckdb.connect(str(small.folder / "capgrid.duckdb"), read_only=True) as connection:
        counts = {
            name: connection.sql(f"SELECT count(*) FROM {name}").fetchall()[0][0]  # noqa: S608
            for name in ("estimates", "capacity", "fleet", "facts", "columns", "models", "best_plan", "feasible")
        }
    manifest = json.loads((small.folder / "manifest.json").read_text(encoding="utf-8"))
    assert {name: counts[name] for name in manifest["rows"]} == manifest["rows"]
    assert all(counts.values())


def test_the_database_can_be_opened_by_older_tools(small: Any) -> None:
    """Storage version v1.0.0 is number 64 in the header; DuckDB 1.x reads nothing newer."""
    head = (small.folder / "capgrid.duckdb").read_bytes()[:20]
    assert head[8:12] == b"DUCK"
    assert int.from_bytes(head[12:20], "little") == 64


# ----- again, and otherwise


def test_a_rerun_gives_the_same_id_and_still_answers(make: Callable[..., Path], capgrid: Callable[..., Any]) -> None:
    """Pressing up and enter costs nothing and breaks nothing."""
    first = make()
    before = tables(first)
    again = make()
    assert again == first
    assert [path.name for path in first.parent.iterdir() if path.name != "latest"] == [first.name]
    asked = capgrid("ask", "max_batch", "--out", first.parent, "--json")
    assert json.loads(asked.stdout)
    for name, frame in tables(first).items():
        assert_frame_equal(frame, before[name])


def test_a_rerun_recomputes_nothing(make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The help says so: an unchanged grid computes nothing."""
    before = changed(make())
    calls: list[int] = []
    made = tables_of_axes.estimates_of
    monkeypatch.setattr(tables_of_axes, "estimates_of", lambda axes: calls.append(axes["model"].height) or made(axes))
    assert changed(make()) == before
    assert calls == []


def test_other_inputs_give_another_run(
    make: Callable[..., Path], tiny: Path, own_catalogs: Path, tmp_path: Path
) -> None:
    """Another day, another grid, another fact: each has an id of its own, and `latest` is the last of them."""
    base = make()
    day = make("outputs", "--as-of", "2026-10-15")
    wider = tmp_path / "wider.toml"
    wider.write_text(tiny.read_text(encoding="utf-8").replace("256]", "256, 512]"), encoding="utf-8")
    grid = make(grid=wider)
    llama = own_catalogs / "models" / "llama.toml"
    text = llama.read_text(encoding="utf-8")
    at = text.index('"llama-3.1-8b"')
    llama.write_text(text[:at] + text[at:].replace("14_336", "14_338", 1), encoding="utf-8")
    fact = make("outputs", "--catalogs", own_catalogs)
    assert len({base.name, day.name, grid.name, fact.name}) == 4
    assert (tmp_path / "outputs" / "latest").readlink().name == fact.name
    assert {path.name for path in (tmp_path / "outputs").iterdir()} == {
        "latest", base.name, day.name, grid.name, fact.name,
    }  # fmt: skip


def test_a_named_run_is_read_instead_of_the_latest(make: Callable[..., Path], capgrid: Callable[..., Any]) -> None:
    """Yesterday's numbers stay reachable."""
    old = make()
    new = make("outputs", "--as-of", "2026-10-15")
    query = "SELECT max(price_date)::VARCHAR AS day FROM capacity"
    by_run = {
        run.name: json.loads(capgrid("sql", query, "--out", old.parent, "--run", run.name, "--json").stdout)
        for run in (old, new)
    }
    latest = json.loads(capgrid("sql", query, "--out", old.parent, "--json").stdout)
    assert latest == by_run[new.name]
    assert capgrid("check", "--out", old.parent, "--run", old.name).stdout.count(old.name) == 3


def test_rows_only_counts_what_the_run_then_has(
    make: Callable[..., Path], tiny: Path, capgrid: Callable[..., Any]
) -> None:
    """A promise before an hour of work; nothing is written for it."""
    out = tiny.parent / "outputs"
    counts = json.loads(capgrid("run", "--grid", tiny, "--out", out, "--rows-only").stdout)
    assert not out.exists()
    manifest = json.loads((make() / "manifest.json").read_text(encoding="utf-8"))
    assert {name: counts[name] for name in ("estimates", "capacity")} | {"fleet": 0} == manifest["rows"]
    assert counts["plans"] == manifest["plans"]["kept"]


@pytest.mark.usefixtures("one_model_each")
def test_workers_do_not_change_the_numbers(make: Callable[..., Path]) -> None:
    """One process or two: the same files, row by row."""
    same_tables(make("one", "--workers", 1), make("two", "--workers", 2))


@pytest.mark.usefixtures("one_model_each")
def test_partitions_do_not_change_the_numbers(make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Three models apart, or together: the same files, row by row."""
    apart = make("apart")
    monkeypatch.undo()
    same_tables(apart, make("together"))


# ----- crashes


def stop_after(monkeypatch: pytest.MonkeyPatch, partitions: int) -> None:
    """Interrupt a run after some partitions, as Ctrl-C does."""
    done: list[object] = []
    work = runs.run_partition

    def interrupted(job: Job, models: tuple[str, ...]) -> Receipt:
        if len(done) == partitions:
            raise KeyboardInterrupt
        done.append(models)
        return work(job, models)

    monkeypatch.setattr(runs, "run_partition", interrupted)


def interrupted_run(make: Callable[..., Path], tiny: Path, out: Path, partitions: int) -> Path:
    """The folder that an interrupted run leaves."""
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, partitions)
        args = ["run", "--grid", str(tiny), "--out", str(out), "--workers", "1", "--as-of", DAY]
        stopped = CliRunner().invoke(cli, args)
    assert stopped.exit_code == 130
    assert isinstance(stopped.exception, SystemExit)
    assert not (out / "latest").exists()
    return next(path for path in out.iterdir() if path.is_dir())


@pytest.mark.usefixtures("one_model_each")
def test_an_interrupted_run_goes_on_where_it_stopped(make: Callable[..., Path], whole: Path, tiny: Path) -> None:
    """What was done is kept, what was not is made, and the whole is as if nothing had happened."""
    left = interrupted_run(make, tiny, tiny.parent / "killed", 2)
    kept = changed(left)
    assert len(kept) == 2
    resumed = make("killed")
    assert resumed == left
    assert kept.items() <= changed(resumed).items()
    assert len(changed(resumed)) == 3
    same_tables(resumed, whole)


@pytest.mark.usefixtures("one_model_each")
@pytest.mark.parametrize("damage", ["truncated", "empty", "not parquet", "of another run"])
def test_a_damaged_partition_is_made_again(damage: str, make: Callable[..., Path], whole: Path, tiny: Path) -> None:
    """A half-written or foreign file is not taken for a finished one."""
    left = interrupted_run(make, tiny, tiny.parent / "killed", 2)
    path = min(left.glob("estimates/*/*.parquet"))
    data = path.read_bytes()
    path.write_bytes(
        {"truncated": data[: len(data) // 2], "empty": b"", "not parquet": b"x" * len(data)}.get(damage, data)
    )
    if damage == "of another run":
        pl.read_parquet(path, hive_partitioning=False).with_columns(batch=pl.lit(7, pl.Int64)).write_parquet(
            path, metadata={"capgrid.key": "0" * 64}
        )
    same_tables(make("killed"), whole)


@pytest.mark.parametrize("manifest", [None, "", "{}", "[]", "as it was"])
def test_a_run_that_lost_files_is_made_whole(
    manifest: str | None, make: Callable[..., Path], whole: Path, tmp_path: Path, capgrid: Callable[..., Any]
) -> None:
    """A partition is gone, another cut short, the manifest gone, spoilt or there: the next run mends it all."""
    shutil.copytree(whole.parent, tmp_path / "broken", symlinks=True)
    broken = tmp_path / "broken" / whole.name
    if manifest is None:
        (broken / "manifest.json").unlink()
    elif manifest != "as it was":
        (broken / "manifest.json").write_text(manifest, encoding="utf-8")
    first, second, _ = sorted(broken.glob("estimates/*/*.parquet"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:100])
    assert make("broken") == broken
    same_tables(broken, whole)
    assert capgrid("check", "--out", broken.parent).exit_code == 0


@pytest.mark.parametrize("stage", ["compute", "build", "write_manifest"])
def test_latest_never_points_at_an_unfinished_run(
    stage: str, make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capgrid: Callable[..., Any]
) -> None:
    """A nightly run that fails leaves yesterday's report readable."""
    old = make()

    def fails(*_: object) -> None:
        raise RunError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"pipeline.answers.make.{stage}", fails)
        failed = capgrid(
            "run", "--grid", old.parent.parent / "tiny.toml", "--out", old.parent, "--as-of", "2026-10-15",
            "--workers", 1, code=1,
        )  # fmt: skip
    assert "no space left on device" in failed.stderr
    assert (old.parent / "latest").resolve() == old.resolve()
    assert json.loads(capgrid("ask", "max_batch", "--out", old.parent, "--json").stdout)
    unfinished = [path.name for path in old.parent.iterdir() if path.is_dir() and path.name not in {"latest", old.name}]
    for name in unfinished:
        said = capgrid("sql", "SELECT 1", "--out", old.parent, "--run", name, code=1).stderr
        assert "unfinished" in said
    finished = make("outputs", "--as-of", "2026-10-15")
    assert (old.parent / "latest").resolve() == finished.resolve()


@pytest.mark.parametrize("stage", ["compute", "publish"])
def test_a_rerun_that_fails_leaves_the_run_readable(
    stage: str, make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capgrid: Callable[..., Any]
) -> None:
    """Also when the finished run is the very one that is run again."""
    old = make()

    def fails(*_: object) -> None:
        raise RunError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"pipeline.answers.make.{stage}", fails)
        args = ["run", "--grid", str(old.parent.parent / "tiny.toml"), "--out", str(old.parent), "--as-of", DAY]
        CliRunner().invoke(cli, [*args, "--workers", "1"])
    assert json.loads(capgrid("ask", "max_batch", "--out", old.parent, "--json").stdout)


WORKER = '''
import os, signal
from pathlib import Path
from pipeline.run.executors import Receipt

def work(folder, deaths, partition):
    """Die as if out of memory, a given number of times for each partition; then do the work."""
    marks = Path(folder)
    died = len(list(marks.glob(f"{partition[0]}.*")))
    if partition[0] == "b" and died < deaths:
        (marks / f"{partition[0]}.{died}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return Receipt(partition, 1, 2, False)

def err(folder, partition):
    """Leave a mark and fail."""
    (Path(folder) / f"tried.{partition[0]}.{os.getpid()}").touch()
    return 1 / 0
'''


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Work functions in a module that worker processes can import."""
    (tmp_path / "mortal_worker.py").write_text(WORKER, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("mortal_worker")
    yield module
    del sys.modules["mortal_worker"]


def test_a_worker_that_dies_is_retried(worker: Any, tmp_path: Path) -> None:
    """The machine kills one process for its memory; every partition is done all the same, once."""
    marks = tmp_path / "marks"
    marks.mkdir()
    receipts = list(local(partial(worker.work, str(marks), 1), [("a",), ("b",), ("c",)], 2))
    assert sorted(each.models for each in receipts) == [("a",), ("b",), ("c",)]
    assert [path.name for path in marks.iterdir()] == ["b.0"]


def test_a_worker_that_keeps_dying_is_given_up(worker: Any, tmp_path: Path) -> None:
    """Three times, and then a message that says what to do."""
    marks = tmp_path / "marks"
    marks.mkdir()
    with pytest.raises(RunError, match=r"killed 3 times.*fewer --workers"):
        list(local(partial(worker.work, str(marks), 99), [("a",), ("b",), ("c",)], 2))
    assert len(list(marks.iterdir())) == 3


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_the_work_comes_out_as_it_is(workers: int, worker: Any, tmp_path: Path) -> None:
    """It is our bug, and trying again would only hide it: one try, one traceback."""
    with pytest.raises(ZeroDivisionError):
        list(local(partial(worker.err, str(tmp_path)), [("a",), ("b",)], workers))
    assert len(list(tmp_path.glob("tried.a.*"))) == 1


# ----- moved, odd places, tampered


def test_a_moved_run_still_answers(own_small: Any, small: Any, capgrid: Callable[..., Any]) -> None:
    """A folder copied to a colleague gives the same rows, macros and comments included."""
    moved = own_small.out.rename(own_small.out.with_name("elsewhere"))
    for args in (
        ("ask", "max_batch", "--set", "limit=1000"),
        ("ask", "pareto"),
        ("sql", "FROM fleet_size('llama-3.1-8b', 'chat', 10)"),
        ("sql", "SELECT view_name, comment FROM duckdb_views() WHERE comment IS NOT NULL ORDER BY ALL"),
    ):
        here, there = (capgrid(*args, "--out", out, "--json").stdout for out in (small.out, moved))
        assert there == here
        assert json.loads(there)


@pytest.mark.parametrize("name", ["it's two words", "a[1]", "früh {x} 100%"])
def test_runs_stand_in_folders_of_any_name(name: str, make: Callable[..., Path], capgrid: Callable[..., Any]) -> None:
    """Brackets and stars are patterns to readers of Parquet; a folder is a folder."""
    folder = make(name)
    asked = capgrid("sql", "SELECT count(*) AS n FROM estimates", "--out", folder.parent, "--json")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert json.loads(asked.stdout) == [{"n": manifest["rows"]["estimates"]}]
    shutil.move(folder.parent, folder.parent.with_name(f"{name} 2"))
    asked = capgrid(
        "sql", "SELECT count(*) AS n FROM capacity", "--out", folder.parent.with_name(f"{name} 2"), "--json"
    )
    assert json.loads(asked.stdout) == [{"n": manifest["rows"]["capacity"]}]


def test_check_passes_on_a_run(capgrid: Callable[..., Any], small: Any) -> None:
    """Every row against every promise, and the catalogs too."""
    found = json.loads(capgrid("check", "--out", small.out, "--json").stdout)
    manifest = json.loads((small.folder / "manifest.json").read_text(encoding="utf-8"))
    assert len(found["run"]) == len(manifest["rows"]) == 3
    for table, rows in manifest["rows"].items():
        assert any(table in line and f"{rows:,}" in line for line in found["run"])


def rewritten(folder: Path, name: str, **columns: pl.Expr) -> None:
    """A table with other values, and a manifest that hides the change of its size."""
    path = folder / name
    frame = pl.read_parquet(path, hive_partitioning=False).with_columns(**columns)
    frame.write_parquet(path)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"][name] = path.stat().st_size
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "column", "value", "said"),
    [
        ("capacity.parquet", "batch_max", pl.col("batch_max") + 1, "batch_max_is_what_the_pool_holds"),
        ("capacity.parquet", "ttft_s", -pl.col("ttft_s"), "ttft_s >= 0"),
        ("capacity.parquet", "tpot_s", pl.lit(None, pl.Float32), "tpot_s >= 0"),
        ("estimates/model=llama-7b/part-0.parquet", "fits", ~pl.col("fits"), "fits_is_room_in_the_pool"),
        ("estimates/model=llama-7b/part-0.parquet", "e2e_s", pl.lit(float("nan"), pl.Float32), "e2e_s >= 0"),
        ("estimates/model=llama-7b/part-0.parquet", "vram_bytes", pl.col("vram_bytes") + 1, "vram_is_the_sum"),
        ("estimates/model=llama-7b/part-0.parquet", "tp", pl.col("tp").cast(pl.Float64), "tp"),
    ],
)
def test_check_finds_a_broken_promise(
    name: str, column: str, value: pl.Expr, said: str, capgrid: Callable[..., Any], own_small: Any
) -> None:
    """It names the table, the law, and how many rows break it."""
    rewritten(own_small.folder, name, **{column: value})
    failed = capgrid("check", "--out", own_small.out, code=1)
    assert said in failed.stderr
    assert name.split("/", maxsplit=1)[0].removesuffix(".parquet") in failed.stderr


@pytest.mark.parametrize("place", [0.02, 0.35, 0.7, 0.97])
@pytest.mark.parametrize("name", ["capacity.parquet", "estimates/model=llama-7b/part-0.parquet"])
def test_check_finds_bytes_that_were_changed(
    name: str, place: float, capgrid: Callable[..., Any], own_small: Any
) -> None:
    """Of the same size, somewhere in a file: a disk's error, or a person's."""
    path = own_small.folder / name
    data = bytearray(path.read_bytes())
    start = int(len(data) * place)
    data[start : start + 64] = bytes(byte ^ 0xFF for byte in data[start : start + 64])
    path.write_bytes(data)
    failed = capgrid("check", "--out", own_small.out, code=1)
    assert name.split("/", maxsplit=1)[0].removesuffix(".parquet") in failed.stderr


def test_check_finds_a_plausible_lie(capgrid: Callable[..., Any], own_small: Any) -> None:
    """A table with half the prices keeps every law; it is not the table that the run wrote."""
    path = own_small.folder / "capacity.parquet"
    pl.read_parquet(path).with_columns(pl.col("^usd_.*$") / 2).write_parquet(path)
    assert "capacity.parquet" in capgrid("check", "--out", own_small.out, code=1).stderr


def test_check_finds_missing_rows(capgrid: Callable[..., Any], own_small: Any) -> None:
    """Fewer rows than the manifest states."""
    name = "capacity.parquet"
    frame = pl.read_parquet(own_small.folder / name)
    frame.head(-5).write_parquet(own_small.folder / name)
    rewritten(own_small.folder, name)
    failed = capgrid("check", "--out", own_small.out, code=1)
    assert f"'capacity': {frame.height}" in failed.stderr
    assert f"'capacity': {frame.height - 5}" in failed.stderr
