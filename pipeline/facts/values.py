"""Values of facts: which types they may have, and how they are told."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl

WORDS: dict[Any, str] = {
    pl.Int64: "a whole number",
    pl.Float64: "a number",
    pl.String: "text",
    pl.Boolean: "true or false",
    pl.Date: "a date",
    pl.List: "a list of texts",
}


TYPES: dict[Any, set[type]] = {
    pl.Int64: {int},
    pl.Float64: {int, float},
    pl.String: {str},
    pl.Boolean: {bool},
    pl.Date: {date},
}


def dtype_words(dtype: pl.DataType) -> str:
    """What a value of this type is called.

    >>> dtype_words(pl.List(pl.Int64())), dtype_words(pl.List(pl.Float64())), dtype_words(pl.Float64())
    ('a list of whole numbers', 'a list of numbers', 'a number')
    """
    numbers = {pl.Int64: "a list of whole numbers", pl.Float64: "a list of numbers"}
    inner = dtype.inner if isinstance(dtype, pl.List) else None
    return next((words for kind, words in numbers.items() if inner == kind), WORDS[dtype.base_type()])


def as_dtype(value: Any, dtype: pl.DataType) -> Any:
    """A whole float as an integer where a count is asked for, whole numbers as floats in a list of numbers.

    >>> as_dtype(7e9, pl.Int64()), as_dtype(0.5, pl.Int64()), as_dtype([1, 2.5], pl.List(pl.Float64()))
    (7000000000, 0.5, [1.0, 2.5])
    """
    if isinstance(value, list) and isinstance(dtype, pl.List) and dtype.inner == pl.Float64:
        return [float(each) if type(each) is int and abs(each) < 2**63 else each for each in value]
    return int(value) if dtype == pl.Int64 and isinstance(value, float) and value.is_integer() else value


def fits_dtype(value: Any, dtype: pl.DataType) -> bool:
    """Whether a value can stand in a column of this type.

    >>> fits_dtype(True, pl.Int64()), fits_dtype(2**63, pl.Int64()), fits_dtype(["a", 1], pl.List(pl.String()))
    (False, False, False)
    """
    kind = dtype.base_type()
    if isinstance(dtype, pl.List):
        return isinstance(value, list) and all(fits_dtype(each, dtype.inner) for each in value)  # type: ignore[arg-type]
    return type(value) in TYPES[kind] and not (type(value) is int and abs(value) >= 2**63)


def value_text(value: object) -> str:
    """A fact as text.

    >>> value_text({"full": 8, "sliding": 40}), value_text(["a", "b"]), value_text(True)
    ('full = 8, sliding = 40', 'a, b', 'true')
    """
    if isinstance(value, dict):
        return ", ".join(f"{name} = {each}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
