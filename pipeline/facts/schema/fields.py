"""How fields of catalog entries are declared: a description, bounds, and whether every entry states them."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import pandera.polars as pa
import polars as pl

Texts: TypeAlias = Annotated[pl.List, pl.String()]
Counts: TypeAlias = Annotated[pl.List, pl.Int64()]
Numbers: TypeAlias = Annotated[pl.List, pl.Float64()]


def fact(description: str, **bounds: Any) -> Any:
    """A field that every entry states."""
    return pa.Field(description=description, **bounds)


def option(description: str, **bounds: Any) -> Any:
    """A field that an entry may leave out where it does not apply."""
    return pa.Field(description=description, nullable=True, **bounds)
