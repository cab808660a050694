"""Engine versions: an engine is a row of blocks, each saying what changed from a version on.

The first block of an engine says what is its own; each later one has a `from_version` and states only what is new, the
rest is taken over. What no block states has the default of the schema. The newest block goes by the engine's name, the
others by `engine@from_version`; `engine@version` means the block in force at that version.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from pipeline.facts.versions import MARK, OLDEST, version_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.version import Version

    from pipeline.facts.entries import Entry

OWN = {"source", "source_of", "release_date"}
"""What a block never takes over."""


def with_versions(entries: Iterable[Entry]) -> None:
    """Fill each block of an engine from the one before it, and name all but the newest by their version."""
    blocks: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.kind == "engine":
            blocks.setdefault(entry.id, []).append(entry)
    for versions in blocks.values():
        versions.sort(key=from_version)
        for before, entry in pairwise(versions):
            take_over(before, entry)
        for entry in versions[:-1]:
            name_by_version(entry)


def from_version(entry: Entry) -> Version:
    """The version from which a block holds."""
    said = entry.values.get("from_version")
    found = version_of(said) if isinstance(said, str) else OLDEST
    if found is None:
        entry.wrong(f"from_version = {said!r} is not a version such as 0.11.0")
    return found or OLDEST


def name_by_version(entry: Entry) -> None:
    """Name a block that is not the newest by its version; other names belong to the newest."""
    entry.values["engine"] = f"{entry.id}{MARK}{from_version(entry)}"
    entry.values.pop("aliases", None)
    special = entry.values.get("source_of")
    if isinstance(special, dict):
        special.pop("aliases", None)


def take_over(before: Entry, entry: Entry) -> None:
    """Give a block what it does not state, from the block before it; sources stay with their facts."""
    taken = {name: value for name, value in before.values.items() if name not in entry.values.keys() | OWN}
    sources = {name: source for name in taken if (source := before.source_of(name))}
    own = entry.values.get("source_of")
    entry.values |= {**taken, "source_of": sources | (own if isinstance(own, dict) else {})}
