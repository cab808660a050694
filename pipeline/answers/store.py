"""A run's DuckDB database: views over its Parquet, small tables, macros, and a comment on everything."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import duckdb
from duckdb import StatementType
from polars.exceptions import PolarsError

from pipeline.core.errors import RunError, SqlError
from pipeline.core.files import whole
from pipeline.core.places import bundled
from pipeline.grid.columns import meaning
from pipeline.run.damage import blame
from pipeline.run.finished import check_run

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from pipeline.facts.catalog import Catalogs

DATABASE = "capgrid.duckdb"
STORAGE = "v1.0.0"  # what the DuckDB 1.x command line can open

TABLES = {
    "estimates": "The curves: one row per plan, workload and batch. Units stand in the column names.",
    "capacity": "The answers: one row per plan and workload, with the batch that it would run at.",
    "fleet": "Fleets: one row per option for each demand of the grid, cheapest first.",
    "facts": "Every catalog fact, with the source that says so.",
    "columns": "Every published column: unit, description, source of its formula, inputs.",
}
KINDS = ("model", "accelerator", "format", "engine", "workload", "price", "measurement")
"""Catalogs that are shown as tables, each named after its entries."""


def literal(text: str) -> str:
    """A text as an SQL literal.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def build(folder: Path, catalogs: Catalogs) -> Path:
    """Write the database file of a run."""
    path = folder / DATABASE
    with whole(path) as temporary, duckdb.connect() as connection:
        connection.sql(f"ATTACH {literal(str(temporary))} AS run (STORAGE_VERSION {literal(STORAGE)})")
        connection.sql("USE run")
        fill(connection, folder.resolve(), catalogs)
        connection.sql("CHECKPOINT run")  # closing would not say that the disk is full
    return path


def fill(connection: duckdb.DuckDBPyConnection, folder: Path, catalogs: Catalogs, *, kept: bool = False) -> None:
    """Views, tables, macros and comments of a run, in the connection's current database.

    Args:
        connection: where to make them.
        folder: the run's folder, absolute.
        catalogs: shown as tables.
        kept: copy the large tables too, so that the folder may go.
    """
    kept = kept or re.search(r"[*?\[]", str(folder)) is not None  # a view of such a folder could not be locked to it
    files = {name: folder / f"{name}.parquet" for name in ("capacity", "fleet", "facts", "columns")}
    files["estimates"] = folder / "estimates" / "*" / "*.parquet"
    for name, path in files.items():
        what = "VIEW" if name in {"estimates", "capacity"} and not kept else "TABLE"
        source = f"read_parquet({literal(pattern(folder, path))}, {BY_FOLDER if is_by_folder(path) else AS_FILES})"
        connection.sql(f"CREATE {what} {name} AS FROM {source}")
        comment(connection, what, name, TABLES[name])
    for kind in KINDS:
        connection.register("frame", catalogs.frames[kind].to_arrow())
        connection.sql(f"CREATE TABLE {kind}s AS FROM frame")
        connection.unregister("frame")
        comment(connection, "TABLE", f"{kind}s", f"The catalog of {kind}s.")
    for path in sql_files("views"):
        run_script(connection, path, "VIEW")
    comment_columns(connection)
    for path in sql_files("macros"):
        run_script(connection, path, "MACRO")


AS_FILES = "hive_partitioning = false"
BY_FOLDER = "hive_partitioning = true, hive_types = {'model': VARCHAR}"


def is_by_folder(path: Path) -> bool:
    """Whether folders say which model files are of, and nothing else, so that others' files need not be opened."""
    return "*" in path.parts and "=" not in str(path)


def pattern(folder: Path, path: Path) -> str:
    """A path below a folder as DuckDB reads it: stars are patterns below the folder, and nowhere else.

    >>> from pathlib import Path
    >>> pattern(Path("/a[1]"), Path("/a[1]/*/x.parquet"))
    '/a[[]1]/*/x.parquet'
    """
    plain = re.sub(r"([*?\[])", r"[\1]", str(folder))
    return plain + str(path).removeprefix(str(folder))


def comment(connection: duckdb.DuckDBPyConnection, what: str, name: str, text: str) -> None:
    """COMMENT ON something."""
    connection.execute(f"COMMENT ON {what} {name} IS {literal(text)}")


def comment_columns(connection: duckdb.DuckDBPyConnection) -> None:
    """COMMENT ON every column: from the functions and schemas that make them."""
    told = connection.sql('SELECT "column", unit, description FROM columns').fetchall()
    meanings = {name: f"{text} [{unit}]" if unit else text for name, unit, text in told}
    known = connection.sql("SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal").fetchall()
    for table, name in known:
        text = meanings.get(name) or OF_PROVENANCE.get(name) or meaning(name)
        comment(
            connection, "COLUMN", f"{table}.{identifier(name)}", text or f"Of each entry: {name.replace('_', ' ')}."
        )


OF_PROVENANCE = {
    "kind": "Catalog of the entry.", "name": "Entry, or its name for people.", "field": "Field of the entry.",
    "value": "What the field says.", "source": "Source of the fact or formula.", "source_kind": "Kind of evidence.",
    "source_title": "Title of the source.", "url": "Where the source stands.", "read_on": "Day on which it was read.",
    "file": "Catalog file.", "column": "Published column.", "table_name": "Table of the column.", "type": "Type.",
    "unit": "Unit, as the name ends in it.", "description": "Meaning.", "inputs": "Columns that it is made of.",
}  # fmt: skip


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


def open_run(folder: Path, catalogs: Catalogs) -> duckdb.DuckDBPyConnection:
    """A read-only connection to a run, locked: it reads the run's files and nothing else.

    A run whose folder was moved, or whose database an earlier version made with other macros, is opened from its
    Parquet instead of its database file.
    """
    manifest = check_run(folder)
    folder = folder.resolve()
    connection = open_database(folder) if manifest.get("folder") == str(folder) else duckdb.connect()
    if not has_macros(connection):
        connection = duckdb.connect()
        with blame(folder):
            fill(connection, folder, catalogs)
    connection.sql(f"SET allowed_directories = [{literal(str(folder))}]")
    connection.sql("SET enable_external_access = false")
    connection.sql("SET lock_configuration = true")
    return connection


def has_macros(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether a database has the macros that answers are written with."""
    known = connection.sql("SELECT function_name FROM duckdb_functions() WHERE NOT internal").fetchall()
    return {path.stem for path in sql_files("macros")} <= {name for (name,) in known}


def open_database(folder: Path) -> duckdb.DuckDBPyConnection:
    """The database file of a run, to read only.

    Raises:
        RunError: it is damaged.
    """
    try:
        return duckdb.connect(str(folder / DATABASE), read_only=True)
    except duckdb.Error as error:
        raise RunError(f"{folder / DATABASE}: damaged; `capgrid run` makes it again") from error


def query(connection: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, object] | None = None) -> pl.DataFrame:
    """The rows of one reading statement.

    Raises:
        SqlError: DuckDB refuses it, or it is not one reading statement.
    """
    try:
        check_reads(connection, sql)
        rows = connection.sql(sql, params=parameters or None)
        kinds = zip(rows.columns, map(str, rows.types), strict=True)
        casts = [f"{identifier(name)}::VARCHAR AS {identifier(name)}" for name, kind in kinds if kind == "INTERVAL"]
        # Polars has no intervals of months, days and microseconds
        frame: pl.DataFrame = (rows.project(f"* REPLACE ({', '.join(casts)})") if casts else rows).pl()
    except MISTAKES as error:
        raise SqlError(str(error)) from error
    except (duckdb.Error, PolarsError) as error:
        message = f"{error}\nIf that is not about the query: `capgrid check` says whether the run is damaged"
        raise SqlError(message) from error
    return frame


MISTAKES = (
    duckdb.ParserException, duckdb.SyntaxException, duckdb.BinderException, duckdb.CatalogException,
    duckdb.PermissionException, duckdb.ConversionException, duckdb.OutOfRangeException,
)  # fmt: skip
"""What is wrong about a query, and not about what it reads."""


def check_reads(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse anything but one SELECT, DESCRIBE, SHOW, or EXPLAIN of one: EXPLAIN ANALYZE runs what it explains."""
    explained = re.sub(r"^\s*explain\s+(analyze\s+)?", "", sql, count=1, flags=re.IGNORECASE)
    for text in (sql, explained):
        statements = connection.extract_statements(text)
        kinds = {StatementType.SELECT, StatementType.EXPLAIN} if text != explained else {StatementType.SELECT}
        if len(statements) != 1 or statements[0].type not in kinds:
            raise SqlError("one reading statement, please: SELECT, FROM, WITH, DESCRIBE, SHOW or EXPLAIN")
