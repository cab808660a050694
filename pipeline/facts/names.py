"""Names and aliases: what a person types becomes an id."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.core.errors import UnknownNameError
from pipeline.facts.versions import MARK, in_force, version_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import polars as pl

ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
"""An id is a file name that cannot leave its folder, and reads the same everywhere."""

LISTING = {"format": "formats", "traffic": "traffic", "quantity": "explain --help"}


def is_id(text: str) -> bool:
    """Whether a text can be an id.

    >>> is_id("llama-3.1-8b"), is_id("../etc"), is_id("<b>")
    (True, False, False)
    """
    return ID.fullmatch(text) is not None


def spell_id(name: str) -> str:
    """A name as ids are spelt: dashes for spaces and underscores, without the vendor in front.

    >>> spell_id("nvidia rtx 4090"), spell_id("amd_instinct mi300x")
    ('rtx-4090', 'instinct-mi300x')
    """
    return re.sub("[ _]+", "-", name).removeprefix("nvidia-").removeprefix("amd-").removeprefix("intel-")


@dataclass(frozen=True)
class Names:
    """The names of one catalog, case-insensitively, each with its id."""

    kind: str
    ids: Mapping[str, str]

    def resolve(self, name: str) -> str:
        """The id that a name, alias or Hugging Face id means.

        Raises:
            UnknownNameError: no entry has that name; says the three nearest.
        """
        spelt = name.casefold()
        found = self.ids.get(spelt) or self.ids.get(spell_id(spelt)) or self.at_version(spelt)
        if found is None:
            hint = f"`capgrid {LISTING.get(self.kind, self.kind + 's')}` lists them."
            raise UnknownNameError(self.kind, name, self.ids, hint=hint)
        return found

    def at_version(self, name: str) -> str | None:
        """The block in force at `engine@version`; nothing where there is no such engine, or no such version."""
        text, _, asked = name.partition(MARK)
        engine, version = self.ids.get(text), version_of(asked)
        blocks = [
            (version_of(each.partition(MARK)[2]), i)
            for each, i in self.ids.items()
            if each.startswith(f"{engine}{MARK}")
        ]
        known = sorted((since, i) for since, i in blocks if since is not None)
        if version is None or not known:
            return engine if version is not None else None
        return known[in_force([since for since, _ in known], version)][1]


def catalog_names(kind: str, frame: pl.DataFrame) -> Names:
    """Every name in a catalog frame."""
    return Names(
        kind, {name.casefold(): row[kind] for row in frame.iter_rows(named=True) for name in all_names(kind, row)}
    )


def all_names(kind: str, row: Mapping[str, object]) -> list[str]:
    """The id of an entry, its Hugging Face id and its aliases, each once."""
    aliases = row.get("aliases")
    versioned = f"{row.get(kind)}{MARK}{row['from_version']}" if row.get("from_version") else None
    names: Iterable[object] = [
        row.get(kind),
        row.get("hf_id"),
        None if versioned is None or MARK in str(row.get(kind)) else versioned,
        *(aliases if isinstance(aliases, list) else []),
    ]
    return list(dict.fromkeys(str(name) for name in names if name))
