"""Every file of sql/answers: a question, what may be set in it, and rows that answer it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.answers.ask import Answer, all_answers, answer_rows
from pipeline.answers.store import open_run
from pipeline.cli.runs import connect
from pipeline.core.errors import UnknownNameError
from pipeline.core.places import bundled

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.facts.catalog import Catalogs

ANSWERS = all_answers()
SAMPLES = {
    "model": "llama-3.1-8b",
    "accelerator": "h100-sxm-80gb",
    "engine": "vllm",
    "weights": "bf16",
    "workload": "chat",
    "device_count": "1",
    "limit": "2",
    "batch": "16",
    "requests_per_s": "40",
    "ttft_s": "3",
    "tpot_s": "0.04",
    "headroom": "0.3",
    "spare": "2",
}
"""A value for each setting that a question may have: one that the small run holds."""
SETTINGS = [(name, setting) for name, answer in ANSWERS.items() for setting in answer.parameters]


@pytest.fixture(scope="module")
def answered(small: Any, bundled_catalogs: Catalogs) -> Callable[..., pl.DataFrame]:
    """Ask a question of the small run, with some settings."""

    def of(name: str, **settings: str) -> pl.DataFrame:
        with connect(ANSWERS[name], bundled_catalogs, small.out, None) as connection:
            return answer_rows(connection, ANSWERS[name], settings)

    return of


def test_there_are_answers_enough() -> None:
    """A planner that answers one question is a script; these names stand in help, demo and contract."""
    assert len(ANSWERS) >= 14
    assert {"max_batch", "devices_needed", "case_study", "pareto", "does_it_fit"} <= ANSWERS.keys()
    assert sorted(ANSWERS) == sorted(path.stem for path in (bundled("sql") / "answers").iterdir())


@pytest.mark.parametrize("name", ANSWERS)
def test_the_first_line_is_the_question(name: str) -> None:
    """It is the help of `capgrid ask`."""
    first = (bundled("sql") / "answers" / f"{name}.sql").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("-- ")
    assert first.endswith("?")
    assert first[3].isupper()
    assert ANSWERS[name].question == first.removeprefix("-- ")


@pytest.mark.parametrize("name", ANSWERS)
def test_every_setting_is_declared_and_used(name: str) -> None:
    """A setting that the SQL does not read would do nothing; one that is not declared cannot be set."""
    answer = ANSWERS[name]
    body = "\n".join(line for line in answer.sql.splitlines() if not line.startswith("--"))
    used = {word.split("$")[1] for word in _words(body) if "$" in word}
    assert used == set(answer.parameters)
    assert all(each.meaning for each in answer.parameters.values())


def _words(sql: str) -> list[str]:
    return "".join(c if c.isalnum() or c in "_$" else " " for c in sql.replace("$", " $")).split()


@pytest.mark.parametrize("name", ANSWERS)
def test_it_answers_without_settings_and_twice_alike(name: str, answered: Callable[..., pl.DataFrame]) -> None:
    """An answer without rows answers nothing; an order that changes makes every diff a false alarm."""
    first, again = answered(name), answered(name)
    assert first.height > 0
    assert_frame_equal(first, again)
    assert "ORDER BY" in ANSWERS[name].sql


@pytest.mark.parametrize(("name", "setting"), SETTINGS, ids=[f"{name}-{setting}" for name, setting in SETTINGS])
def test_every_setting_does_what_it_says(name: str, setting: str, answered: Callable[..., pl.DataFrame]) -> None:
    """Where the rows show the column they all have the value; a limit is a limit; never nothing, never an error."""
    other = {"batch": SAMPLES["batch"]} if "batch" in ANSWERS[name].parameters else {}
    rows = answered(name, **other | {setting: SAMPLES[setting]})
    assert 0 < rows.height <= 20
    if setting == "limit":
        assert rows.height <= 2
        assert_frame_equal(rows, answered(name, **other | {"limit": "20"}).head(2))
    elif setting in rows.columns and setting not in {"batch", "ttft_s", "tpot_s"}:
        assert {str(value).removesuffix(".0") for value in rows[setting].unique()} == {SAMPLES[setting]}


@pytest.mark.parametrize("name", [name for name in ANSWERS if "model" in ANSWERS[name].parameters])
def test_settings_narrow_together(name: str, answered: Callable[..., pl.DataFrame]) -> None:
    """All at once they still find the plan that each of them finds."""
    chosen = {
        each: SAMPLES[each] for each in ("model", "accelerator", "engine", "batch") if each in ANSWERS[name].parameters
    }
    rows = answered(name, **chosen)
    assert rows.height > 0
    for column in chosen.keys() & set(rows.columns) - {"batch"}:
        assert rows[column].cast(pl.String).unique().to_list() == [chosen[column]]


@pytest.mark.parametrize("name", ANSWERS)
def test_no_answer_narrows_by_itself(name: str) -> None:
    """The macro `plans` does: what a setting keeps is said in one place, and is the same in every answer."""
    assert re.search(r"\$\w+ IS NULL OR", ANSWERS[name].sql) is None


NARROWED = {
    "a_model": "model",
    "an_accelerator": "accelerator",
    "an_engine": "engine",
    "some_weights": "weights",
    "a_workload": "workload",
    "some_devices": "device_count",
}
"""Parameters of the macro `plans`, and the column that each of them is about."""


@pytest.mark.parametrize("table", ["capacity", "estimates", "fleet"])
@pytest.mark.parametrize("parameter", NARROWED)
def test_plans_keeps_the_rows_of_a_name_and_no_other(
    table: str, parameter: str, small: Any, bundled_catalogs: Catalogs
) -> None:
    """NULL keeps them all, a name those that bear it."""
    column = NARROWED[parameter]
    *usual, last = (f"${name}" for name in NARROWED)
    of = f"{', '.join(usual)}, some_devices := {last}, a_table := '{table}'"
    sql = f"SELECT count(*) AS rows, min({column}) = max({column}) AS is_one FROM plans({of})"  # noqa: S608
    names = f"SELECT {column} AS name, count(*) AS rows FROM {table} GROUP BY ALL ORDER BY ALL"  # noqa: S608
    with open_run(small.folder, bundled_catalogs) as connection:
        every = connection.sql(names).pl()
        name, rows = every.row(0)
        settings = dict.fromkeys(NARROWED)
        assert connection.sql(sql, params=settings).pl()["rows"].item() == every["rows"].sum()
        assert connection.sql(sql, params=settings | {parameter: name}).pl().row(0) == (rows, True)


def test_a_run_without_the_macro_answers_too(own_small: Any, bundled_catalogs: Catalogs) -> None:
    """Runs that an earlier version made have a database without it; the answers of this one ask for it."""
    database, path = own_small.folder / "capgrid.duckdb", own_small.folder / "manifest.json"
    with duckdb.connect(str(database)) as connection:
        connection.sql("DROP MACRO TABLE plans")
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["files"][database.name] = database.stat().st_size
    path.write_text(json.dumps(manifest | {"folder": str(own_small.folder)}), encoding="utf-8")
    with open_run(own_small.folder, bundled_catalogs) as connection:
        assert answer_rows(connection, ANSWERS["energy"], {"model": SAMPLES["model"]}).height


@pytest.mark.parametrize("name", ANSWERS)
def test_a_misspelt_setting_is_refused(name: str, answered: Callable[..., pl.DataFrame]) -> None:
    """It names what may be set."""
    with pytest.raises(UnknownNameError) as refused:
        answered(name, modle="llama-7b")
    said = str(refused.value)
    assert f"setting of {name} named 'modle'" in said
    assert all(each in said for each in ANSWERS[name].parameters)


@pytest.mark.parametrize(("setting", "value"), [("accelerator", "h10"), ("model", "lama-7b"), ("workload", "chatt")])
def test_a_misspelt_name_in_a_setting_is_refused(
    setting: str, value: str, capgrid: Callable[..., Any], small: Any
) -> None:
    """`--set model=` and `--model` are one thing: an unknown name is said, not answered by no rows."""
    said = capgrid("ask", "max_batch", "--set", f"{setting}={value}", "--out", small.out, code=2).stderr
    assert f"no {setting} named '{value}'" in said


@pytest.mark.parametrize("value", ["many", ""])
def test_a_limit_that_is_no_number_is_refused(value: str, capgrid: Callable[..., Any], small: Any) -> None:
    """The message names the setting and the value."""
    said = capgrid("ask", "max_batch", "--set", f"limit={value}", "--out", small.out, code=2).stderr
    assert f"limit = {value!r} is not a number" in said


def test_a_count_without_a_default_is_checked_too(capgrid: Callable[..., Any], small: Any) -> None:
    """The message names the setting and the value, without DuckDB's view of the query."""
    said = capgrid("ask", "max_batch", "--set", "device_count=one", "--out", small.out, code=2).stderr
    assert "device_count = 'one'" in said
    assert "LINE " not in said


def test_a_time_in_a_setting_takes_units(capgrid: Callable[..., Any], small: Any) -> None:
    """The contract: quantities accept units where that helps a person, such as 50ms."""
    bare, with_unit = (
        capgrid("ask", "cheapest_for_slo", "--set", f"tpot_s={value}", "--out", small.out, "--json").stdout
        for value in ("0.05", "50ms")
    )
    assert with_unit == bare


def test_max_batch_is_capacitys_batch_max(answered: Callable[..., pl.DataFrame], small: Any) -> None:
    """The answer that the tool is for: recomputed here from the table, for every plan shape."""
    shape = ["model", "workload", "accelerator", "device_count", "weights", "engine"]
    names = pl.col("model", "workload", "accelerator", "weights", "engine").cast(pl.String)
    table = pl.read_parquet(small.folder / "capacity.parquet").with_columns(names)
    wanted = table.group_by(shape).agg(pl.max("batch_max")).sort(shape)
    got = answered("max_batch", limit="1000000").with_columns(names).select(*shape, "batch_max").sort(shape)
    assert_frame_equal(got, wanted, check_dtypes=False)


def test_max_batch_is_the_last_batch_of_the_curve_that_fits(small: Any) -> None:
    """In the curves every batch up to batch_max fits, and none beyond."""
    keys = ["model", "weights", "kv", "engine", "accelerator", "tp", "pp", "ep", "workload"]
    names = pl.col("model", "weights", "kv", "engine", "accelerator", "workload").cast(pl.String)
    capacity = pl.read_parquet(small.folder / "capacity.parquet").with_columns(names).select(*keys, "batch_max")
    curves = pl.concat(
        [
            pl.read_parquet(path, hive_partitioning=False).with_columns(names)
            for path in small.folder.glob("estimates/*/*")
        ]
    )
    joined = curves.join(capacity, on=keys, validate="m:1")
    assert joined.height == curves.height
    assert joined["fits"].any()
    assert not joined["fits"].all()
    assert (joined["fits"] == (joined["batch"] <= joined["batch_max"])).all()


def test_the_list_of_questions_names_them_all(capgrid: Callable[..., Any]) -> None:
    """`capgrid ask` alone is the table of contents, and needs no run."""
    listed = json.loads(capgrid("ask", "--json").stdout)
    assert {row["name"]: row["question"] for row in listed} == {each.name: each.question for each in ANSWERS.values()}
    assert all(isinstance(each, Answer) for each in ANSWERS.values())
