"""Questions: each file of sql/answers is one, its first line says it, its parameters say what may be set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.answers.store import query, sql_files
from pipeline.core.errors import UnknownNameError, UsageError
from pipeline.core.units import in_base_units, unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import duckdb
    import polars as pl

PARAMETER = re.compile(r"^-- \$(\w+): (.*?)(?: \(default: (.*)\))?$", re.MULTILINE)
GRID = re.compile(r"^-- grid: (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Parameter:
    """What may be set in a question: its meaning, and the value that it has otherwise."""

    meaning: str
    default: str | None


@dataclass(frozen=True)
class Answer:
    """One file of sql/answers."""

    name: str
    question: str
    parameters: Mapping[str, Parameter]
    grid: str | None
    """The bundled grid that the question is about, where it is not about any run."""
    sql: str


def all_answers() -> dict[str, Answer]:
    """Every question by name."""
    return {path.stem: read_answer(path) for path in sql_files("answers")}


def read_answer(path: Path) -> Answer:
    """One SQL file as a question."""
    sql = path.read_text(encoding="utf-8")
    given = {name: Parameter(meaning, default or None) for name, meaning, default in PARAMETER.findall(sql)}
    grid = GRID.search(sql)
    question = sql.split("\n", 1)[0].removeprefix("--").strip()
    return Answer(path.stem, question, given, grid[1] if grid else None, sql)


def find(name: str) -> Answer:
    """The question of a name.

    Raises:
        UnknownNameError: there is none.
    """
    known = all_answers()
    if name not in known:
        raise UnknownNameError("question", name, known, hint="`capgrid ask` lists them.")
    return known[name]


def answer_rows(connection: duckdb.DuckDBPyConnection, answer: Answer, settings: Mapping[str, str]) -> pl.DataFrame:
    """The rows that answer a question.

    Raises:
        UnknownNameError: a setting that the question does not have.
        UsageError: a setting of the wrong kind.
    """
    for name in settings.keys() - answer.parameters.keys():
        hint = f"It has: {', '.join(answer.parameters) or 'none'}."
        raise UnknownNameError(f"setting of {answer.name}", name, answer.parameters, hint=hint)
    defaults = {name: each.default for name, each in answer.parameters.items()}
    values = {name: value_of(name, settings.get(name, default), default) for name, default in defaults.items()}
    return query(connection, answer.sql, values)


def value_of(name: str, text: str | None, default: str | None) -> object:
    """A setting as a number where its default is one or its name ends in a unit, else as text.

    >>> value_of("limit", "5", "20"), value_of("model", None, None), value_of("tpot_s", "50ms", None)
    (5, None, 0.05)

    Raises:
        UsageError: a text where a number belongs.
    """
    unit = unit_of(name)
    if text is None or not (unit or (default and is_number(default))):
        return text
    value = in_base_units(text, unit)
    if isinstance(value, str):
        raise UsageError(f"{name} = {text!r} is not a number")
    return value


def is_number(text: str) -> bool:
    """Whether a text reads as a finite number.

    >>> is_number("1e3"), is_number("-2"), is_number("ten"), is_number("nan")
    (True, True, False, False)
    """
    return re.fullmatch(r"-?\d+(\.\d*)?([eE][+-]?\d+)?", text) is not None
