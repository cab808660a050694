"""From hand-written TOML to validated frames, keeping where every fact came from."""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import pandera.polars as pa
import polars as pl

from pipeline.core.errors import CatalogError, nearest
from pipeline.facts.names import Names, all_names, is_id, names_of
from pipeline.facts.prices import price_name
from pipeline.facts.schema import DEFAULTS, REFERENCES, SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

PROVENANCE = {"source", "source_of"}
SOURCE_FIELDS = {"title", "url", "read_on", "kind"}
NOT_CATALOGS = {"grids"}


@dataclass(frozen=True)
class Catalogs:
    """The validated frames of a folder, one row of provenance for every fact, and the names in use."""

    frames: Mapping[str, pl.DataFrame]
    facts: pl.DataFrame
    folder: Path

    def names(self, kind: str) -> Names:
        """The names of one catalog."""
        return names_of(kind, self.frames[kind])

    def resolve(self, kind: str, name: str) -> str:
        """The id that a name means in one catalog."""
        return self.names(kind).resolve(name)


@dataclass
class Entry:
    """One block of a TOML file, with what is wrong about it."""

    kind: str
    file: str
    values: dict[str, Any]
    problems: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The entry's own name; a price has none, and is named after the offer and its first day."""
        return price_name(self.values) if self.kind == "price" else str(self.values.get(self.kind) or "?")

    @property
    def names(self) -> list[str]:
        """All names that no other entry of the catalog may have."""
        return [self.id] if self.kind == "price" else all_names(self.kind, self.values)

    def wrong(self, what: str) -> None:
        """Note a problem: file, entry, what."""
        self.problems.append(f"{self.file}: '{self.id}': {what}")


def load(folder: Path, layer_kinds: Mapping[str, Sequence[str]]) -> Catalogs:
    """Read and check every catalog file below a folder.

    Args:
        folder: holds sources.toml and the catalogs, in any files and folders but grids/.
        layer_kinds: the kinds of attention that a model's `layers` may name, with the fields each needs.

    Raises:
        CatalogError: anything that is wrong, all of it at once, a line each.
    """
    sources = read_sources(folder)
    problems: list[str] = []
    entries = [entry for path in catalog_files(folder) for entry in read_entries(path, folder, problems)]
    for entry in entries:
        check_fields(entry, layer_kinds)
        check_sources(entry, sources)
    problems += check_names(entries)
    problems += [problem for entry in entries for problem in entry.problems]
    frames = {}
    for kind in SCHEMAS:
        whole = [entry for entry in entries if entry.kind == kind and not entry.problems]
        try:
            frames[kind] = frame_of(kind, whole, layer_kinds)
        except CatalogError as error:
            problems += error.problems
    if problems:
        raise CatalogError(problems)
    return Catalogs(frames, facts_of(entries, sources), folder)


def catalog_files(folder: Path) -> list[Path]:
    """Every TOML file below the folder but the sources and the grids, in a fixed order."""
    files = [path for path in sorted(folder.rglob("*.toml")) if path.name != "sources.toml"]
    found = [path for path in files if not NOT_CATALOGS & set(path.relative_to(folder).parts)]
    if not found:
        raise CatalogError([f"{folder}: holds no catalogs; name another folder with --catalogs"])
    return found


def read_toml(path: Path, shown: str) -> dict[str, Any]:
    """The tables of a TOML file; broken TOML is told with file and line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CatalogError([f"{shown}: not valid TOML: {error}"]) from error
    except OSError as error:
        raise CatalogError([f"{shown}: cannot be read: {error.strerror}"]) from error


def read_sources(folder: Path) -> dict[str, dict[str, Any]]:
    """Where facts come from, by id."""
    path = folder / "sources.toml"
    if not path.is_file():
        raise CatalogError([f"{path}: missing; every fact names a source that stands there"])
    sources = read_toml(path, "sources.toml")
    problems = [
        f"sources.toml: '{name}': field '{each}' is {'missing' if each in SOURCE_FIELDS else 'unknown'}"
        for name, source in sources.items()
        for each in sorted(SOURCE_FIELDS ^ (source.keys() if isinstance(source, dict) else set()))
    ]
    if problems:
        raise CatalogError(problems)
    return sources


def read_entries(path: Path, folder: Path, problems: list[str]) -> Iterator[Entry]:
    """The entries of one file; a block of an unknown kind is a problem."""
    shown = str(path.relative_to(folder.parent) if folder.parent in path.parents else path)
    for kind, blocks in read_toml(path, shown).items():
        if kind not in SCHEMAS or not isinstance(blocks, list) or not all(isinstance(b, dict) for b in blocks):
            known = " ".join(f"[[{each}]]" for each in SCHEMAS)
            problems.append(f"{shown}: '{kind}' is not a catalog. {nearest(kind, SCHEMAS)} Blocks are: {known}")
            continue
        yield from (Entry(kind, shown, block) for block in blocks)


# ----- what one entry says


def check_fields(entry: Entry, layer_kinds: Mapping[str, Sequence[str]]) -> None:
    """Unknown, missing and mistyped fields; layers and what they need."""
    columns = columns_of(entry.kind)
    known = {*columns, *PROVENANCE, *({"layers"} if entry.kind == "model" else ())}
    for name in entry.values.keys() - known:
        entry.wrong(f"no field named '{name}'. {nearest(name, known)}".rstrip())
    for name, (dtype, required) in columns.items():
        if name in entry.values:
            check_type(entry, name, dtype)
        elif required:
            entry.wrong(f"field '{name}' is missing")
    if entry.kind in entry.values and isinstance(entry.values[entry.kind], str) and not is_id(entry.id):
        entry.wrong("an id is lower case letters, digits, dots, dashes and underscores, 100 at most")
    if entry.kind == "model":
        check_layers(entry, layer_kinds)


def check_layers(entry: Entry, layer_kinds: Mapping[str, Sequence[str]]) -> None:
    """A model says how many layers of which kind it has, and gives the fields that each kind needs."""
    layers = entry.values.get("layers")
    if not isinstance(layers, dict) or not layers or not all(type(n) is int and n > 0 for n in layers.values()):
        entry.wrong("field 'layers' is missing, or not a table of kinds and counts such as { full = 32 }")
        return
    given = {**entry.values, **DEFAULTS["model"]}
    for kind in layers:
        if kind not in layer_kinds:
            entry.wrong(f"no attention named '{kind}'. {nearest(kind, layer_kinds)} Known: {', '.join(layer_kinds)}")
        for name in layer_kinds.get(kind, ()):
            if name not in given:
                entry.wrong(f"layers of kind '{kind}' need field '{name}'")
    needs = [
        ("dense_layers", ["ffn_width"]),
        ("moe_layers", ["experts", "experts_per_token", "expert_width", "expert_parameter_count"]),
    ]
    for count, fields in needs:
        if entry.values.get(count):
            for name in fields:
                if name not in entry.values:
                    entry.wrong(f"'{count}' = {entry.values[count]} needs field '{name}'")


WORDS = {
    pl.Int64: "a whole number",
    pl.Float64: "a number",
    pl.String: "text",
    pl.Boolean: "true or false",
    pl.Date: "a date",
    pl.List: "a list of texts",
}


def check_type(entry: Entry, name: str, dtype: pl.DataType) -> None:
    """Refuse a value of another type; write whole floats as integers where a count is asked for."""
    value = entry.values[name]
    if dtype == pl.Int64 and isinstance(value, float) and value.is_integer():
        value = entry.values[name] = int(value)
    fitting = {
        pl.Int64: type(value) is int,
        pl.Float64: type(value) in {int, float},
        pl.String: isinstance(value, str),
        pl.Boolean: isinstance(value, bool),
        pl.Date: type(value) is date,
        pl.List: isinstance(value, list) and all(isinstance(each, str) for each in value),
    }[dtype.base_type()]
    if not fitting:
        entry.wrong(f"{name} = {str(value)[:80]!r} is not {WORDS[dtype.base_type()]}")
    elif type(value) is int and abs(value) >= 2**63:
        entry.wrong(f"{name} = {str(value)[:40]}... is larger than any number here")
    elif isinstance(value, str) and (not value.isprintable() or len(value) > 500):  # noqa: PLR2004
        entry.wrong(f"{name} holds control characters, or is longer than 500")


def check_sources(entry: Entry, sources: Mapping[str, object]) -> None:
    """Every fact names a source that stands in sources.toml."""
    own = entry.values.get("source")
    special = entry.values.get("source_of", {})
    if not isinstance(special, dict):
        entry.wrong("source_of is not a table of fields and sources")
        special = entry.values["source_of"] = {}
    for name in special.keys() - entry.values.keys():
        entry.wrong(f"source_of names '{name}', which the entry does not state. {nearest(name, entry.values)}".rstrip())
    unsourced = [name for name in entry.values.keys() - PROVENANCE - special.keys() if own is None]
    if unsourced:
        entry.wrong(f'no source for {", ".join(sorted(unsourced))}; add source = "..." with an id of sources.toml')
    for source in {str(own), *map(str, special.values())} - sources.keys() - {"None"}:
        entry.wrong(f"no source named '{source}' in sources.toml. {nearest(source, sources)}".rstrip())


def check_names(entries: Sequence[Entry]) -> list[str]:
    """Ids and aliases are unique within their catalog, and references name entries."""
    named = [(e, name.casefold()) for e in entries for name in e.names]
    counts = Counter((e.kind, name) for e, name in named)
    clashes = [
        f"{e.file}: '{e.id}': the name '{name}' is taken by another {e.kind}, or stands twice"
        for e, name in named
        if counts[e.kind, name] > 1
    ]
    ids = {kind: {e.id for e in entries if e.kind == kind} for kind in SCHEMAS}
    return clashes + [
        f"{e.file}: '{e.id}': {name} names no {kind} '{value}'. {nearest(value, ids[kind])}".rstrip()
        for e in entries
        for name, kind in REFERENCES.get(e.kind, {}).items()
        for value in as_list(e.values.get(name))
        if value not in ids[kind]
    ]


def as_list(value: object) -> list[str]:
    """A value, or the values of a list, as texts; nothing for nothing."""
    if value is None:
        return []
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


# ----- frames


def columns_of(kind: str) -> dict[str, tuple[pl.DataType, bool]]:
    """The fields of a catalog: type, and whether every entry states it."""
    columns = SCHEMAS[kind].to_schema().columns
    return {name: (column.dtype.type, not column.nullable) for name, column in columns.items()}


def frame_of(kind: str, entries: Sequence[Entry], layer_kinds: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """The validated frame of one catalog, left-out fields filled by their defaults."""
    schema = {name: dtype for name, (dtype, _) in columns_of(kind).items()}
    rows = [{name: e.values.get(name) for name in schema} for e in entries]
    frame = validated(kind, pl.DataFrame(rows, schema=schema), entries)
    frame = frame.with_columns(
        pl.col(name).fill_null(pl.col(other) if isinstance(other, str) else pl.lit(other))
        for name, other in DEFAULTS.get(kind, {}).items()
    )
    if kind != "model":
        return frame
    counts = {f"{each}_layers": [e.values["layers"].get(each, 0) for e in entries] for each in layer_kinds}
    return frame.with_columns(pl.Series(name, count, dtype=pl.Int64) for name, count in counts.items())


def validated(kind: str, frame: pl.DataFrame, entries: Sequence[Entry]) -> pl.DataFrame:
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
    words = {
        "greater_than": f"above {bound} (is it in base units?)",
        "greater_than_or_equal_to": f"at least {bound} (is it in base units?)",
        "less_than": f"below {bound} (is it in base units?)",
        "less_than_or_equal_to": f"at most {bound} (is it in base units?)",
        "isin": f"one of {bound}",
    }
    return words.get(name, check)


# ----- provenance


FACTS = {"kind": pl.String, "name": pl.String, "field": pl.String, "value": pl.String, "source": pl.String,
         "source_kind": pl.String, "source_title": pl.String, "url": pl.String, "read_on": pl.Date,
         "file": pl.String}  # fmt: skip


def facts_of(entries: Sequence[Entry], sources: Mapping[str, Mapping[str, Any]]) -> pl.DataFrame:
    """One row for every fact of every entry: what it says, and who says so."""
    rows = [row for entry in entries for row in facts_of_entry(entry, sources)]
    return pl.DataFrame(rows, schema=FACTS)


def facts_of_entry(entry: Entry, sources: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The facts of one entry."""
    special = entry.values.get("source_of", {})
    for name, value in entry.values.items():
        if name in PROVENANCE or name == entry.kind:
            continue
        source = special.get(name, entry.values.get("source"))
        said = sources[source]
        yield {
            "kind": entry.kind, "name": entry.id, "field": name, "value": shown(value), "source": source,
            "source_kind": said["kind"], "source_title": said["title"], "url": said["url"],
            "read_on": said["read_on"], "file": entry.file,
        }  # fmt: skip


def shown(value: object) -> str:
    """A fact as text.

    >>> shown({"full": 8, "sliding": 40}), shown(["a", "b"]), shown(True)
    ('full = 8, sliding = 40', 'a, b', 'true')
    """
    if isinstance(value, dict):
        return ", ".join(f"{name} = {each}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
