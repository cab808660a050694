"""One block of a TOML file, and everything that can be wrong about what it says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.core.errors import CatalogError, nearest
from pipeline.facts.names import all_names, is_id
from pipeline.facts.prices import price_name
from pipeline.facts.schema.kinds import DEFAULTS, REFERENCES, SCHEMAS
from pipeline.facts.tomlfile import read_toml
from pipeline.facts.values import WORDS, as_dtype, dtype_words, fits_dtype
from pipeline.facts.versions import MARK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

PROVENANCE = {"source", "source_of"}
SOURCE_FIELDS = {"title": pl.String(), "url": pl.String(), "read_on": pl.Date(), "kind": pl.String()}
NOT_CATALOGS = {"grids", "mixes"}
LONGEST = 500
"""Characters of a text."""


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

    def source_of(self, field: str) -> str | None:
        """The source of one field: its own, or the entry's."""
        special = self.values.get("source_of")
        own = special.get(field) if isinstance(special, dict) else None
        return own or self.values.get("source")

    def wrong(self, what: str) -> None:
        """Note a problem: file, entry, what."""
        self.problems.append(f"{self.file}: '{self.id}': {what}")


def catalog_files(folder: Path) -> list[Path]:
    """Every TOML file below the folder but the sources, the grids and the mixes, in a fixed order."""
    files = [path for path in sorted(folder.rglob("*.toml")) if path.name != "sources.toml"]
    found = [path for path in files if not NOT_CATALOGS & set(path.relative_to(folder).parts)]
    if not found:
        raise CatalogError([f"{folder}: holds no catalogs; name another folder with --catalogs"])
    return found


def read_sources(folder: Path) -> dict[str, dict[str, Any]]:
    """Where facts come from, by id."""
    path = folder / "sources.toml"
    if not path.is_file():
        raise CatalogError([f"{path}: missing; every fact names a source that stands there"])
    sources = read_toml(path, "sources.toml")
    problems = [problem for name, source in sources.items() for problem in wrong_source(name, source)]
    if problems:
        raise CatalogError(problems)
    return sources


def wrong_source(name: str, source: object) -> Iterator[str]:
    """What is wrong about one source."""
    said = source if isinstance(source, dict) else {}
    for each in sorted(SOURCE_FIELDS.keys() ^ said.keys()):
        yield f"sources.toml: '{name}': field '{each}' is {'missing' if each in SOURCE_FIELDS else 'unknown'}"
    for each, dtype in SOURCE_FIELDS.items():
        if each in said and not fits_dtype(said[each], dtype):
            yield f"sources.toml: '{name}': {each} = {str(said[each])[:80]!r} is not {WORDS[dtype.base_type()]}"


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
    if entry.kind in entry.values and isinstance(entry.values[entry.kind], str) and not is_id(entry.id.split(MARK)[0]):
        entry.wrong("an id is lower case letters, digits, dots, dashes and underscores, 100 at most")
    if entry.kind == "model":
        check_layers(entry, layer_kinds)


def check_layers(entry: Entry, layer_kinds: Mapping[str, Sequence[str]]) -> None:
    """A model says how many layers of which kind it has, and gives the fields that each kind needs."""
    layers = entry.values.get("layers")
    if not isinstance(layers, dict) or not layers or not all(type(n) is int and n > 0 for n in layers.values()):
        entry.wrong("field 'layers' is missing, or not a table of kinds and counts such as { full = 32 }")
        return
    check_layer_counts(entry, sum(layers.values()))
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


def check_layer_counts(entry: Entry, attention: int) -> None:
    """Every block has attention and feed-forward, or (Nemotron-H) one of the two."""
    counts = {name: entry.values.get(name, 0) for name in ("layer_count", "dense_layers", "moe_layers")}
    if not all(type(count) is int for count in counts.values()):
        return
    blocks, forward = counts["layer_count"], counts["dense_layers"] + counts["moe_layers"]
    if {attention, forward} != {blocks} and attention + forward != blocks:
        entry.wrong(
            f"layers of attention ({attention}) and of feed-forward ({forward}) do not add up to {blocks} layers"
        )


def check_type(entry: Entry, name: str, dtype: pl.DataType) -> None:
    """Refuse a value of another type; write whole floats as integers where a count is asked for."""
    value = entry.values[name] = as_dtype(entry.values[name], dtype)
    if type(value) is int and abs(value) >= 2**63:
        entry.wrong(f"{name} = {str(value)[:40]}... is larger than any number here")
    elif not fits_dtype(value, dtype):
        entry.wrong(f"{name} = {str(value)[:80]!r} is not {dtype_words(dtype)}")
    elif any(isinstance(text, str) and not (text.isprintable() and len(text) <= LONGEST) for text in as_values(value)):
        entry.wrong(f"{name} holds control characters, or is longer than {LONGEST}")


def as_values(value: Any) -> list[Any]:
    """A value, or what a list holds."""
    return value if isinstance(value, list) else [value]


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


def columns_of(kind: str) -> dict[str, tuple[pl.DataType, bool]]:
    """The fields of a catalog: type, and whether every entry states it."""
    columns = SCHEMAS[kind].to_schema().columns
    return {name: (column.dtype.type, not column.nullable) for name, column in columns.items()}
