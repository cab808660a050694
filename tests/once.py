"""What a session makes once for the same input: a TOML file's tables, a frame's checks, a folder's catalogs, a book.

Tests copy the bundled catalogs, change a line, and read them: 54 files and 15 frames, of which one is new. What is
remembered is the outcome for an equal input, never an error: what a test spoils is read and checked like anything new.
"""

from __future__ import annotations

import pickle
import tomllib
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.core.quantity import QUANTITIES, Expr, Quantity
from pipeline.estimators.attention import KINDS
from pipeline.facts import catalog
from pipeline.grid import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import polars as pl

    from pipeline.core.quantity import Book
    from pipeline.facts.catalog import Catalogs
    from pipeline.facts.entries import Entry

RECENT = 8
"""Frames of a kind, and folders, to hold a new one against."""


def parsed(loads: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Parse every text once; each caller gets tables of its own, which it may change."""
    known: dict[str, bytes] = {}

    def remembered(text: str, /, **how: Any) -> dict[str, Any]:
        if how:
            return loads(text, **how)
        if text not in known:
            known[text] = pickle.dumps(loads(text))
        return pickle.loads(known[text])  # noqa: S301

    return remembered


def checked(validated: Callable[..., pl.DataFrame]) -> Callable[..., pl.DataFrame]:
    """Check no frame against its schema that equals one that was right."""
    known: dict[object, list[tuple[pl.DataFrame, pl.DataFrame]]] = {}

    def remembered(kind: str, frame: pl.DataFrame, entries: Sequence[Entry]) -> pl.DataFrame:
        before = known.setdefault((kind, catalog.SCHEMAS[kind]), [])
        for given, right in before:
            if given.schema == frame.schema and given.equals(frame):
                return right
        right = validated(kind, frame, entries)
        before.insert(0, (frame, right))
        del before[RECENT:]
        return right

    return remembered


def read(load: Callable[..., Catalogs]) -> Callable[..., Catalogs]:
    """Read no folder again whose files say what those of another said."""
    known: dict[object, Catalogs] = {}

    def remembered(folder: Path, layer_kinds: Mapping[str, Sequence[str]], beside: Path | None = None) -> Catalogs:
        places = [folder, beside] if beside else [folder]
        paths = [(place, path) for place in places for path in sorted(place.rglob("*.toml"))]
        if not all(path.is_file() for _, path in paths):  # a pipe has no end
            return load(folder, layer_kinds, beside)
        try:
            files = tuple((place.name, str(path.relative_to(place)), path.read_bytes()) for place, path in paths)
        except OSError:
            return load(folder, layer_kinds, beside)
        key = (files, len(places), tuple((kind, *fields) for kind, fields in layer_kinds.items()))
        if key not in known:
            known[key] = load(folder, layer_kinds, beside)
            for oldest in list(known)[:-RECENT]:
                del known[oldest]
        return replace(known[key], folder=folder, beside=beside)

    return remembered


def built(book: Callable[[Callable[[str], bool]], Book]) -> Callable[[Callable[[str], bool]], Book]:
    """Build one book for all models that have the same kinds of layers, as long as the same formulas are entered."""
    counts: set[str] = set()
    known: dict[object, Book] = {}

    def remembered(used: Callable[[str], bool]) -> Book:
        def asked(count: str) -> bool:
            counts.add(count)
            return used(count)

        def key() -> object:
            return tuple(KINDS), len(QUANTITIES), tuple(filter(used, sorted(counts)))

        if key() not in known:
            made = book(asked)
            known[key()] = made
        return known[key()]

    return remembered


FORMULA = Quantity.expr
"""How a quantity builds its expression."""


def expression(of: Quantity) -> Expr:
    """Build each quantity's expression once."""
    if "remembered" not in of.__dict__:
        of.__dict__["remembered"] = FORMULA.__get__(of)
    made: Expr = of.__dict__["remembered"]
    return made


@contextmanager
def formulas_anew() -> Iterator[pytest.MonkeyPatch]:
    """Build every expression again, since something that formulas call is another meanwhile: patched with this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Quantity, "expr", FORMULA)
        yield patch


def remember(patch: pytest.MonkeyPatch) -> None:
    """Let this process remember, until the patch is undone."""
    patch.setattr(tomllib, "loads", parsed(tomllib.loads))
    patch.setattr(catalog, "checked_frame", checked(catalog.checked_frame))
    patch.setattr(catalog, "load", read(catalog.load))
    patch.setattr(tables, "book", built(tables.book))
    patch.setattr(Quantity, "expr", property(expression))
