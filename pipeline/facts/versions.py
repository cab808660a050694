"""Engine versions: an engine is a row of blocks, each saying what changed from a version on.

The first block of an engine says everything; each later one has a `from_version` and states only
what is new, the rest is taken over. The newest block goes by the engine's name, the others by
`engine@from_version`; `engine@version` means the block in force at that version.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.facts.entries import Entry

OLDEST = Version("0")
VERSION = re.compile(r"v?\d+(?:\.\d+)+\S*|b\d+")
YEAR = re.compile(r"(?<!\d)20\d\d(?=\D|\d{4}(?!\d)|$)")
MARK = "@"
OWN = {"source", "source_of", "release_date"}
"""What a block never takes over."""


def version_of(text: str | None) -> Version | None:
    """A version as engines print it and as people write it; nothing where the text has none.

    >>> version_of("v0.19.0rc1"), version_of("b3456"), version_of("vLLM 0.5.2"), version_of("May 2024")
    (<Version('0.19.0rc1')>, <Version('3456')>, <Version('0.5.2')>, None)
    """
    for word in (text or "").split():
        if VERSION.fullmatch(word):
            try:
                return Version(word.removeprefix("b"))
            except InvalidVersion:
                continue
    return None


def year_of(text: str | None) -> int | None:
    """The year in a text that dates a version rather than names it.

    >>> year_of("2024 (not pinned)"), year_of("nightly-dev-20260402-d7256eb6"), year_of("v0.19.0")
    (2024, 2026, None)
    """
    found = YEAR.search(text or "")
    return int(found[0]) if found else None


def in_force(versions: Sequence[Version], asked: Version) -> int:
    """Which of some ascending versions is in force at one: the newest that is not newer; else the oldest.

    A candidate of a release counts as the release.

    >>> in_force([Version("0.6"), Version("0.11")], Version("0.10.2"))
    0
    >>> in_force([Version("0.6"), Version("0.11")], Version("0.11rc3"))
    1
    """
    return max(sum(each.release <= asked.release for each in versions) - 1, 0)


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
    stated = {name for name in entry.values if name not in OWN}
    sources = {name: before.source_of(name) for name in before.values if name not in OWN}
    own = entry.values.get("source_of")
    said = own if isinstance(own, dict) else {}
    taken = {name: value for name, value in before.values.items() if name not in stated | OWN}
    entry.values |= taken
    entry.values["source_of"] = {name: sources[name] for name in taken if sources[name]} | said
