"""`capgrid sql` reads one run and can do nothing else."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

READS = {
    "select": "SELECT count(*) AS n FROM capacity",
    "from": "FROM estimates SELECT count(*) AS n",
    "with": "WITH x AS (SELECT 1 AS n) FROM x",
    "values": "VALUES (1)",
    "describe": "DESCRIBE capacity",
    "show": "SHOW TABLES",
    "summarize": "SUMMARIZE models",
    "explain": "EXPLAIN SELECT 1",
    "explain analyze": "EXPLAIN ANALYZE SELECT count(*) FROM capacity",
    "macro": "FROM max_batch('llama-3.1-8b', 'h100-sxm-80gb')",
    "view": "FROM best_plan",
    "last semicolon": "SELECT 1;",
    "comment before": "/* why */ SELECT 1",
}

WRITES = {
    "create table": "CREATE TABLE t AS SELECT 1",
    "create temporary table": "CREATE TEMP TABLE t AS SELECT 1",
    "create view": "CREATE OR REPLACE VIEW capacity AS SELECT 1",
    "create macro": "CREATE MACRO m(x) AS x",
    "insert": "INSERT INTO facts SELECT * FROM facts",
    "update": "UPDATE facts SET value = '1'",
    "delete": "DELETE FROM facts",
    "truncate": "TRUNCATE facts",
    "drop": "DROP VIEW capacity",
    "alter": "ALTER TABLE facts RENAME TO f",
    "comment": "COMMENT ON TABLE facts IS 'x'",
    "copy out": "COPY capacity TO '{run}/x.csv'",
    "copy over the run": "COPY (SELECT 1) TO '{run}/capacity.parquet' (FORMAT parquet)",
    "copy in": "COPY facts FROM '{run}/facts.parquet'",
    "export": "EXPORT DATABASE '{run}/x'",
    "import": "IMPORT DATABASE '{run}'",
    "attach": "ATTACH '{run}/x.duckdb' AS x",
    "detach": "DETACH capgrid",
    "use": "USE memory",
    "install": "INSTALL httpfs",
    "load": "LOAD httpfs",
    "set": "SET threads = 1",
    "unlock": "SET enable_external_access = true",
    "reset": "RESET threads",
    "pragma": "PRAGMA threads = 1",
    "pragma profiling": "PRAGMA enable_profiling = 'json'",
    "call": "CALL pragma_version()",
    "vacuum": "VACUUM",
    "checkpoint": "CHECKPOINT",
    "begin": "BEGIN TRANSACTION",
    "prepare": "PREPARE p AS SELECT 1",
    "two statements": "SELECT 1; SELECT 2",
    "hidden statement": "SELECT 1; DROP TABLE facts",
    "hidden after a comment": "SELECT 1 -- \n; DELETE FROM facts",
    "explained create": "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
    "explained copy": "EXPLAIN ANALYZE COPY (SELECT 1) TO '{run}/x.csv'",
    "explained copy over the run": "EXPLAIN ANALYZE COPY (SELECT 1) TO '{run}/capacity.parquet' (FORMAT parquet)",
    "explained attach": "EXPLAIN ANALYZE ATTACH '{run}/x.duckdb' AS x",
    "empty": "",
    "only a comment": "/* nothing */",
}

OUTSIDE = {
    "read_csv": "SELECT * FROM read_csv('{secret}')",
    "read_text": "SELECT * FROM read_text('{secret}')",
    "read_blob": "SELECT * FROM read_blob('{secret}')",
    "read_json": "SELECT * FROM read_json('{secret}')",
    "read_parquet": "SELECT * FROM read_parquet('{secret}')",
    "bare file": "FROM '{secret}'",
    "glob": "SELECT * FROM glob('{outside}/*')",
    "sniff": "FROM sniff_csv('{secret}')",
    "up and out": "SELECT * FROM read_text('{run}/../../secret.csv')",
    "parquet metadata": "FROM parquet_metadata('{secret}')",
    "query text": "FROM query('SELECT * FROM read_text(''{secret}'')')",
    "explained": "EXPLAIN ANALYZE SELECT * FROM read_text('{secret}')",
    "http": "SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')",
    "environment": "SELECT getenv('CAPGRID_SECRET') AS x",
}


def digests(folder: Path) -> dict[str, str]:
    """Every file below a folder, by its bytes."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(params=["in place", "moved"])
def run(request: pytest.FixtureRequest, small: Any, own_small: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A run as it was made, read from its database file; and one that was moved, read from its Parquet."""
    chosen = small if request.param == "in place" else own_small
    monkeypatch.chdir(own_small.out.parent)
    monkeypatch.setenv("CAPGRID_SECRET", "sesame")
    secret = chosen.out.parent / "secret.csv"
    secret.write_text("word\nsesame\n", encoding="utf-8")
    before = digests(chosen.out)
    yield chosen
    after = digests(chosen.out)
    if after != before and chosen is small:  # other tests read it
        shutil.rmtree(small.out)
        shutil.copytree(own_small.out, small.out, symlinks=True)
    assert after == before, "the run's files changed"


def asked(capgrid: Callable[..., Any], statement: str, run: Any, code: int) -> Any:
    """One statement over a run, with the run's folder, and a secret outside it, filled in."""
    names = {"run": run.folder, "outside": run.out.parent, "secret": run.out.parent / "secret.csv"}
    for name, path in names.items():
        statement = statement.replace(f"{{{name}}}", str(path))
    return capgrid("sql", statement, "--out", run.out, "--json", code=code)


@pytest.mark.parametrize("statement", READS.values(), ids=READS)
def test_reading_is_allowed(statement: str, run: Any, capgrid: Callable[..., Any]) -> None:
    """A lock that shuts readers out would be no use."""
    assert json.loads(asked(capgrid, statement, run, 0).stdout)


@pytest.mark.parametrize("statement", WRITES.values(), ids=WRITES)
def test_whatever_writes_or_reconfigures_is_refused(statement: str, run: Any, capgrid: Callable[..., Any]) -> None:
    """A reader's typing error, or a pasted query, never costs a run."""
    refused = asked(capgrid, statement, run, 1)
    assert refused.stdout == ""
    assert "Error: " in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("statement", OUTSIDE.values(), ids=OUTSIDE)
def test_nothing_outside_the_run_is_read(statement: str, run: Any, capgrid: Callable[..., Any]) -> None:
    """SQL from a colleague does not read this machine's other files, its network, its environment."""
    refused = asked(capgrid, statement, run, 1)
    assert "sesame" not in refused.output
    assert refused.stdout == ""


def test_a_refusal_says_what_may_be_asked(capgrid: Callable[..., Any], small: Any) -> None:
    """The message is the way out."""
    said = capgrid("sql", "DROP TABLE facts", "--out", small.out, code=1).stderr
    assert "one reading statement" in said
    assert "SELECT" in said


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT batch_mx FROM capacity", "batch_max"),
        ("SELECT * FROM capacty", "capacity"),
        ("SELEC 1", "SELEC"),
        ("SELECT 1 +", "syntax error"),
        ("SELECT 'x'::INTEGER", "Could not convert"),
    ],
)
def test_failing_sql_says_why(statement: str, expected: str, capgrid: Callable[..., Any], small: Any) -> None:
    """DuckDB's own words, without a traceback."""
    failed = capgrid("sql", statement, "--out", small.out, code=1)
    assert expected in failed.stderr
    assert failed.stdout == ""


@pytest.mark.parametrize("text", ["'; DROP TABLE facts; --", "x' OR '1'='1", '"', "\\", "$limit", "%"])
def test_a_setting_is_a_value_and_never_sql(text: str, run: Any, capgrid: Callable[..., Any]) -> None:
    """A name that is in no catalog is refused before any SQL; the run stays as it was."""
    refused = capgrid("ask", "max_batch", "--set", f"weights={text}", "--out", run.out, "--json", code=2)
    assert f"no format named '{text}'" in refused.stderr
    assert refused.stdout == ""
