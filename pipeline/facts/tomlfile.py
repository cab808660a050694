"""A TOML file that others wrote: read within bounds, so that a bomb ends in a message and not in hours or gigabytes."""

from __future__ import annotations

import stat
import tomllib
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import CatalogError

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 10**6
"""Of a file: fourteen times the largest that comes with capgrid."""
MOST_DOTS = 500
"""On a line: a reader of dotted keys takes the square of their length."""
DEEPEST = 32
"""Tables and lists within each other."""
MOST_BITS = 1024
"""Of an integer; what has more digits than Python writes out could not even be told."""


def read_toml(path: Path, shown: str) -> dict[str, Any]:
    """The tables of a TOML file.

    Args:
        path: the file.
        shown: its name in messages.

    Raises:
        CatalogError: not TOML, with file and line; not a file; too large, too deep, or with numbers that nobody needs.
    """
    text = read_text(path, shown, MOST_BYTES)
    if any(line.count(".") > MOST_DOTS for line in text.splitlines()):
        raise CatalogError([f"{shown}: not valid TOML: a line of more than {MOST_DOTS} dots; break it"])
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise CatalogError([f"{shown}: not valid TOML: {error}"]) from error
    if wrong := size_problem(tables):
        raise CatalogError([f"{shown}: not valid TOML: {wrong}"])
    return tables


def read_text(path: Path, shown: str, most_bytes: int) -> str:
    """The text of a file that is no larger than any of its kind.

    Raises:
        CatalogError: it cannot be read, is no plain file (a pipe would never end), is larger, or is not UTF-8.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise CatalogError([f"{shown}: cannot be read: not a file"])
        if about.st_size > most_bytes:
            raise CatalogError([f"{shown}: cannot be read: {about.st_size:,} bytes, {most_bytes:,} at most"])
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CatalogError([f"{shown}: not valid {path.suffix[1:].upper() or 'text'}: {error}"]) from error
    except (OSError, ValueError) as error:
        raise CatalogError([f"{shown}: cannot be read: {getattr(error, 'strerror', None) or error}"]) from error


def size_problem(value: Any) -> str:
    """What is wrong about the size of a value, or of what it holds; nothing where all is well.

    >>> size_problem({"a": [1, "x"]}), size_problem([2**2000])
    ('', 'an integer of more than 1024 bits')
    """
    level, depth = [value], 0
    while level:
        if any(type(each) is int and each.bit_length() > MOST_BITS for each in level):
            return f"an integer of more than {MOST_BITS} bits"
        if depth > DEEPEST:
            return f"tables or lists nested deeper than {DEEPEST}"
        inner = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level, depth = [each for one in inner for each in one], depth + 1
    return ""
