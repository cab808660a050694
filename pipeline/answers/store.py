"""A run's DuckDB database: views over its Parquet, small tables, macros, and a comment on everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from pipeline.core.errors import SqlError
from pipeline.core.places import bundled
from pipeline.grid.files import whole
from pipeline.grid.run import check_run

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from pipeline.facts.catalog import Catalogs

DATABASE = "capgrid.duckdb"
STORAGE = "v1.0.0"  # what the DuckDB 1.x command line can open

TABLES = {
    "estimates": "The curves: one row per plan, workload and batch. Units stand in the column names.",
    "capacity": "The answers: one row per plan and workload, with the batch that it would run at.",
    "facts": "Every catalog fact, with the source that says so.",
    "columns": "Every published column: unit, description, source of its formula, inputs.",
}
CATALOGS = {
    "models": "model", "accelerators": "accelerator", "formats": "format", "engines": "engine", "workloads": "workload",
    "prices": "price", "measurements": "measurement",
}  # fmt: skip


def quoted(text: str) -> str:
    """A text as an SQL literal.

    >>> quoted("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def named(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def build(folder: Path, catalogs: Catalogs) -> Path:
    """Write the database file of a run."""
    path = folder / DATABASE
    with whole(path) as temporary:
        connection = duckdb.connect()
        try:
            connection.sql(f"ATTACH {quoted(str(temporary))} AS run (STORAGE_VERSION {quoted(STORAGE)})")
            connection.sql("USE run")
            fill(connection, folder.resolve(), catalogs)
        finally:
            connection.close()
    return path


def fill(connection: duckdb.DuckDBPyConnection, folder: Path, catalogs: Catalogs, *, kept: bool = False) -> None:
    """Views, tables, macros and comments of a run, in the connection's current database.

    Args:
        connection: where to make them.
        folder: the run's folder, absolute.
        catalogs: shown as tables.
        kept: copy the large tables too, so that the folder may go.
    """
    files = {name: folder / f"{name}.parquet" for name in ("capacity", "facts", "columns")}
    files["estimates"] = folder / "estimates" / "*" / "*.parquet"
    for name, path in files.items():
        what = "VIEW" if name in {"estimates", "capacity"} and not kept else "TABLE"
        source = f"read_parquet({quoted(str(path))}, hive_partitioning = false)"
        connection.sql(f"CREATE {what} {name} AS FROM {source}")
        comment(connection, what, name, TABLES[name])
    for name, kind in CATALOGS.items():
        connection.register("frame", catalogs.frames[kind].to_arrow())
        connection.sql(f"CREATE TABLE {name} AS FROM frame")
        connection.unregister("frame")
        comment(connection, "TABLE", name, f"The catalog of {name}.")
    comment_columns(connection)
    for path in sql_files("views"):
        run_script(connection, path, "VIEW")
    for path in sql_files("macros"):
        run_script(connection, path, "MACRO")


def comment(connection: duckdb.DuckDBPyConnection, what: str, name: str, text: str) -> None:
    """COMMENT ON something."""
    connection.sql(f"COMMENT ON {what} {name} IS {quoted(text)}")


def comment_columns(connection: duckdb.DuckDBPyConnection) -> None:
    """COMMENT ON every column of the two published tables, from the functions that make them."""
    for table, column, unit, text in connection.sql(
        'SELECT table_name, "column", unit, description FROM columns'
    ).fetchall():
        stated = f"{text} [{unit}]" if unit else text
        comment(connection, "COLUMN", f"{table}.{named(column)}", stated)


def sql_files(folder: str) -> list[Path]:
    """The SQL files of one folder, by name."""
    return sorted((bundled("sql") / folder).glob("*.sql"))


def run_script(connection: duckdb.DuckDBPyConnection, path: Path, what: str) -> None:
    """Run a file of CREATE statements; its first comment line becomes the comment of what it makes."""
    text = path.read_text(encoding="utf-8")
    for statement in connection.extract_statements(text):
        connection.execute(statement).fetchall()
    kind = "MACRO TABLE" if what == "MACRO" and "AS TABLE" in text else what
    comment(connection, kind, path.stem, text.split("\n", 1)[0].removeprefix("--").strip())


def opened(folder: Path, catalogs: Catalogs) -> duckdb.DuckDBPyConnection:
    """A read-only connection to a run, locked: it reads the run's files and nothing else.

    A run whose folder was moved is opened from its Parquet instead of its database file.
    """
    manifest = check_run(folder)
    folder = folder.resolve()
    if manifest.get("folder") == str(folder):
        connection = duckdb.connect(str(folder / DATABASE), read_only=True)
    else:
        connection = duckdb.connect()
        fill(connection, folder, catalogs)
    connection.sql(f"SET allowed_directories = [{quoted(str(folder))}]")
    connection.sql("SET enable_external_access = false")
    connection.sql("SET lock_configuration = true")
    return connection


def query(connection: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, object] | None = None) -> pl.DataFrame:
    """The rows of one SELECT.

    Raises:
        SqlError: DuckDB refuses it, or it is not one reading statement.
    """
    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type not in {
            duckdb.StatementType.SELECT,
            duckdb.StatementType.EXPLAIN,
        }:
            message = "one reading statement, please: SELECT, FROM, WITH, DESCRIBE, SHOW or EXPLAIN"
            raise SqlError(message)
        rows: pl.DataFrame = connection.sql(sql, params=parameters or None).pl()
    except duckdb.Error as error:
        raise SqlError(str(error)) from error
    return rows
