"""Words of the report and the workbook: one TOML a language, keys in sections, `{placeholders}` in the texts."""

from __future__ import annotations

import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from pipeline.core.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping

LANGUAGES = ("en", "zh")
HIDDEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
"""Unicode categories of characters that are not seen, or that turn what stands after them around."""


@dataclass(frozen=True)
class Words:
    """The texts of one language by `section.key`."""

    lang: str
    texts: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """A text with its placeholders filled in."""
        return self.texts[key].format(**values)

    def value(self, section: str, name: str | None) -> str:
        """A value of a table in this language, as it stands where the language has no word for it."""
        return self.texts.get(f"{section}.{name}", show_hidden(name or ""))

    def section(self, name: str) -> dict[str, str]:
        """Every text of one section, placeholders left as they are."""
        return {key.removeprefix(f"{name}."): text for key, text in self.texts.items() if key.startswith(f"{name}.")}


def words_in(lang: str) -> Words:
    """The words of a language.

    Raises:
        UnknownNameError: nothing is written in it.
    """
    if lang not in LANGUAGES:
        raise UnknownNameError("language", lang, LANGUAGES)
    return Words(lang, {key: text for key, (text, _) in texts_of(lang).items()})


@cache
def texts_of(lang: str) -> dict[str, tuple[str, str]]:
    """By key, each text of a language and the English text that it was made from.

    English stands as plain texts; another language as `{ of = English, is = translation }`, so that a
    translation whose English has changed since can be found.
    """
    resource = files("pipeline.publish") / "strings" / f"{lang}.toml"
    sections = tomllib.loads(resource.read_text(encoding="utf-8"))
    return {
        f"{section}.{key}": (text, text) if isinstance(text, str) else (text["is"], text["of"])
        for section, texts in sections.items()
        for key, text in texts.items()
    }


def show_hidden(text: str) -> str:
    """A text whose hidden characters are seen: controls, zero-width ones, marks of direction.

    >>> show_hidden("llama" + chr(0x202E) + "8b")
    'llama⟨U+202E⟩8b'
    """
    return "".join(f"⟨U+{ord(each):04X}⟩" if unicodedata.category(each) in HIDDEN else each for each in text)
