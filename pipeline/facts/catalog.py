"""From hand-written TOML to validated frames, keeping where every fact came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandera.polars as pa
import polars as pl

from pipeline.core.errors import CatalogError
from pipeline.facts.entries import (
    PROVENANCE,
    Entry,
    catalog_files,
    check_fields,
    check_names,
    check_sources,
    columns_of,
    read_entries,
    read_sources,
)
from pipeline.facts.inherited import with_versions
from pipeline.facts.names import Names, catalog_names
from pipeline.facts.schema.fields import field_defaults
from pipeline.facts.schema.kinds import DEFAULTS, SCHEMAS
from pipeline.facts.values import value_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


MOST_PROBLEMS = 1000


@dataclass(frozen=True)
class Catalogs:
    """The validated frames of a folder, one row of provenance for every fact, and the names in use."""

    frames: Mapping[str, pl.DataFrame]
    facts: pl.DataFrame
    folder: Path
    beside: Path | None = None
    """A folder whose files were read too."""

    @property
    def home(self) -> Path:
        """The folder that additions go to."""
        return self.beside or self.folder

    def names(self, kind: str) -> Names:
        """The names of one catalog."""
        return catalog_names(kind, self.frames[kind])

    def resolve(self, kind: str, name: str) -> str:
        """The id that a name means in one catalog."""
        return self.names(kind).resolve(name)


def load(folder: Path, layer_kinds: Mapping[str, Sequence[str]], beside: Path | None = None) -> Catalogs:
    """Read and check every catalog file below a folder.

    Args:
        folder: holds sources.toml and the catalogs, in any files and folders but grids/ and mixes/.
        layer_kinds: the kinds of attention that a model's `layers` may name, with the fields each needs.
        beside: a folder without sources.toml, whose files are read too.

    Raises:
        CatalogError: anything that is wrong, all of it at once, a line each.
    """
    sources = read_sources(folder)
    problems: list[str] = []
    entries = [
        entry
        for place in (folder, *([beside] if beside else []))
        for path in catalog_files(place)
        for entry in read_entries(path, place, problems)
    ]
    with_versions(entries)
    wrong = 0
    for entry in entries:
        check_fields(entry, layer_kinds)
        check_sources(entry, sources)
        wrong += len(entry.problems)
        if wrong > MOST_PROBLEMS:  # a nearest name for each of a million takes a day
            raise CatalogError([*(problem for each in entries for problem in each.problems), "and there is more"])
    problems += check_names(entries)
    problems += [problem for entry in entries for problem in entry.problems]
    frames = {}
    for kind in SCHEMAS:
        whole = [entry for entry in entries if entry.kind == kind and not entry.problems]
        try:
            frames[kind] = catalog_frame(kind, whole, layer_kinds)
        except CatalogError as error:
            problems += error.problems
    if problems:
        note = [f"{beside}: has no sources.toml, so that it is read beside {folder}"] if beside else []
        raise CatalogError([*problems, *note])
    return Catalogs(frames, provenance_of(entries, sources), folder, beside)


# ----- frames


def catalog_frame(kind: str, entries: Sequence[Entry], layer_kinds: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """The validated frame of one catalog, left-out fields filled by their defaults."""
    schema = {name: dtype for name, (dtype, _) in columns_of(kind).items()}
    rows = [{name: e.values.get(name) for name in schema} for e in entries]
    frame = with_defaults(kind, checked_frame(kind, pl.DataFrame(rows, schema=schema), entries))
    if kind != "model":
        return frame
    counts = {f"{each}_layers": [e.values["layers"].get(each, 0) for e in entries] for each in layer_kinds}
    return frame.with_columns(pl.Series(name, count, dtype=pl.Int64) for name, count in counts.items())


def with_defaults(kind: str, frame: pl.DataFrame) -> pl.DataFrame:
    """What entries leave out filled in, each field in turn: a default may be a field that has a default itself."""
    for name, other in DEFAULTS[kind].items():
        frame = frame.with_columns(pl.col(name).fill_null(pl.col(other) if isinstance(other, str) else pl.lit(other)))
    return frame


def checked_frame(kind: str, frame: pl.DataFrame, entries: Sequence[Entry]) -> pl.DataFrame:
    """The frame if every bound and law of its schema holds; else every failure, in plain words."""
    try:
        return SCHEMAS[kind].validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        raise CatalogError(plain_words(error.failure_cases, frame, entries)) from error


def plain_words(failures: pl.DataFrame, frame: pl.DataFrame, entries: Sequence[Entry]) -> Iterator[str]:
    """One line per failed check: file, entry, what."""
    for case in failures.iter_rows(named=True):
        index, check = case["index"], str(case["check"])
        place = f"{entries[index].file}: '{entries[index].id}': " if index is not None else ""
        if case["schema_context"] == "Column" and case["column"] in frame.columns:
            yield f"{place}{case['column']} = {case['failure_case']}: must be {rule_words(check)}"
        else:
            yield f"{place}{check.replace('_', ' ')} does not hold"


def rule_words(check: str) -> str:
    """A Pandera check's name in words.

    >>> rule_words("greater_than(1000000000)")
    'above 1000000000 (is it in base units?)'
    """
    name, _, bound = check.rstrip(")").partition("(")
    words = {"greater_than": "above", "greater_than_or_equal_to": "at least", "less_than": "below"}
    words |= {"less_than_or_equal_to": "at most"}
    if name == "isin":
        return f"one of {bound}"
    return f"{words[name]} {bound} (is it in base units?)" if name in words else check


def out_of_bounds(field: str, value: object) -> str:
    """What a catalog would say to a value of one field; empty where it may stand there.

    >>> out_of_bounds("device_memory_bytes", 80)
    'must be above 1000000000 (is it in base units?)'
    """
    for kind in SCHEMAS:
        if field in columns_of(kind):
            schema = pa.DataFrameSchema({field: SCHEMAS[kind].to_schema().columns[field]})
            try:
                schema.validate(pl.DataFrame({field: [value]}, schema={field: columns_of(kind)[field][0]}))
            except pa.errors.SchemaError as error:
                return f"must be {rule_words(str(error.check.error))}" if error.check else str(error)
    return ""


# ----- provenance


FACTS = {
    **dict.fromkeys(["kind", "name", "field", "value", "source", "source_kind", "source_title", "url"], pl.String),
    "read_on": pl.Date,
    "file": pl.String,
}
ABOUT = ["kind", "title", "url", "read_on"]
"""What a fact takes over from its source."""
DEFAULT = "default"
"""The source of a fact that its entry leaves to the schema, and the kind of that source."""
ASSUMED = ["assumption", DEFAULT]
"""Kinds of sources of facts that nobody measured or read of the entry itself."""


def provenance_of(entries: Sequence[Entry], sources: Mapping[str, Mapping[str, Any]]) -> pl.DataFrame:
    """One row for every fact of every entry, stated or left to a default: what it says, and who says so."""
    rows = [row for entry in entries for row in (*stated_facts(entry, sources), *default_facts(entry))]
    return pl.DataFrame(rows, schema=FACTS, orient="row")


def stated_facts(entry: Entry, sources: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """The facts that an entry states."""
    for name in (each for each in entry.values if each not in {*PROVENANCE, entry.kind}):
        source = str(entry.source_of(name))
        about = [sources[source][each] for each in ABOUT]
        yield entry.kind, entry.id, name, value_text(entry.values[name]), source, *about, entry.file


def default_facts(entry: Entry) -> Iterator[tuple[Any, ...]]:
    """The facts that an entry leaves to defaults of which the schema says why; their file is the schema."""
    schema = SCHEMAS[entry.kind]
    file = f"{schema.__module__.replace('.', '/')}.py"
    for name, default in field_defaults(schema).items():
        if default.why and name not in entry.values:
            about = (DEFAULT, DEFAULT, f"default of the schema: {default.why}", "", None)
            yield entry.kind, entry.id, name, value_text(default.value), *about, file
