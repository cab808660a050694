"""Choices between parts of a whole, as expressions over columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polars import Expr


def first_largest(parts: Sequence[Expr]) -> Expr:
    """The place of the largest of some parts; of equal ones the first.

    >>> pl.select(first_largest([pl.lit(1.0), pl.lit(3.0), pl.lit(3.0)])).item()
    1
    """
    largest = pl.max_horizontal(parts)
    return pl.coalesce(pl.when(part >= largest).then(place) for place, part in enumerate(parts)).cast(pl.UInt8)
