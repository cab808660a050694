"""Catalog files that commands write: blocks in place of those of the same id, whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tomlkit
from tomlkit.exceptions import TOMLKitError

from pipeline.core.errors import CatalogError
from pipeline.facts.adding import restore_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Blocks = Sequence[tuple[str, tomlkit.items.Table]]


def write_blocks(path: Path, header: str, blocks: Blocks, load: Callable[[Path], object]) -> None:
    """Put blocks, each with its kind, into a catalog file, and read its folder to see that it stands.

    Raises:
        CatalogError: it is no such file, cannot be written, or its folder would not load; nothing is changed then.
    """
    try:
        before = {path: path.read_text(encoding="utf-8") if path.is_file() else None}
        text = with_blocks(path, before[path] or "", header, blocks)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise CatalogError([f"{path}: not valid TOML: {error}"]) from error
    except OSError as error:
        raise CatalogError([f"{path}: cannot be written: {error.strerror}"]) from error
    try:
        load(path.parent)
    except CatalogError:
        restore_files(before)
        raise


def with_blocks(path: Path, text: str, header: str, blocks: Blocks) -> str:
    """The text of a file with some blocks in it; those of other ids stay as they are."""
    document = tomlkit.parse(text)
    if not text:
        document.add(tomlkit.comment(header))
    for kind in dict.fromkeys(kind for kind, _ in blocks):
        known = document.get(kind, tomlkit.aot())
        if not isinstance(known, tomlkit.items.AoT):
            raise CatalogError([f"{path}: '{kind}' is not a list of [[{kind}]] blocks"])
        new = {str(block[kind]): block for each, block in blocks if each == kind}
        kept = tomlkit.aot()
        for block in [*(each for each in known if str(each.get(kind)) not in new), *new.values()]:
            kept.append(block)
        document[kind] = kept
    return tomlkit.dumps(document)
