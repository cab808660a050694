"""Versions of engines: read from what engines print and people write, and which of several is in force."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Sequence

OLDEST = Version("0")
VERSION = re.compile(r"v?\d+(?:\.\d+)+\S*|b\d+")
YEAR = re.compile(r"(?<!\d)20\d\d(?=\D|\d{4}(?!\d)|$)")
MARK = "@"


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
