"""Values of the workbook in its language: what the pipeline says of a plan or a price in English."""

from __future__ import annotations

from string import Formatter
from typing import TYPE_CHECKING

import polars as pl

from pipeline.publish.words import words_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.publish.words import Words

SAID = {
    # column: section whose texts are its values
    "plan": "workbook_plans",
    "holds_at_bad_end": "workbook_values",
    "confidence": "value",
    "limited_by": "value",
    "price_note": "workbook_price_notes",
}


def translate(frame: pl.DataFrame, say: Words) -> pl.DataFrame:
    """A frame whose columns of words are in a language; values that the language has no word for stay."""
    return frame.with_columns(translate_column(pl.col(name), say, SAID[name]) for name in SAID if name in frame.columns)


def translate_column(values: pl.Expr, say: Words, section: str) -> pl.Expr:
    """English texts in another language, found by the English text, whatever stands in its placeholders."""
    if say.lang == "en":
        return values
    values = values.cast(pl.String)
    for pattern, text in pairs(section, say):
        values = values.str.replace(pattern, text)
    return values


def pairs(section: str, say: Words) -> Iterator[tuple[str, str]]:
    """Regular expressions of a section's English texts, and what replaces them.

    >>> next(pairs("workbook_plans", words_in("en")))
    ('^(?P<weights>.+?) weights, (?P<kv>.+?) KV, (?P<rest>.+?)$', '${weights} weights, ${kv} KV, ${rest}')
    """
    own = say.section(section)
    for key, english in words_in("en").section(section).items():
        parts = list(Formatter().parse(english))
        pattern = "".join(pl.escape_regex(text) + (f"(?P<{name}>.+?)" if name else "") for text, name, _, _ in parts)
        names = {name: f"${{{name}}}" for _, name, _, _ in parts if name}
        yield f"^{pattern}$", own[key].format(**names)
