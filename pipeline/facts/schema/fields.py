"""How fields of catalog entries are declared: a description, bounds, and what holds where an entry leaves one out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import pandera.polars as pa
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping

Texts: TypeAlias = Annotated[pl.List, pl.String()]
Counts: TypeAlias = Annotated[pl.List, pl.Int64()]
Numbers: TypeAlias = Annotated[pl.List, pl.Float64()]


@dataclass(frozen=True)
class Default:
    """What holds of an entry that leaves a field out."""

    value: str | float
    """The value; as a text the name of another field, whose value it is."""
    why: str = ""
    """Who says so. A default with a reason is a fact of the entry, with the schema as its source."""


def fact(description: str, **bounds: Any) -> Any:
    """A field that every entry states."""
    return pa.Field(description=description, **bounds)


def option(description: str, default: str | float | None = None, why: str = "", **bounds: Any) -> Any:
    """A field that an entry may leave out: where it does not apply, or where a default holds.

    Args:
        description: what the field means.
        default: what holds where it is left out: a value, or as a text the name of another field.
        why: who says the default.
        bounds: what pandera checks.
    """
    metadata = None if default is None else {"default": Default(default, why)}
    return pa.Field(description=description, nullable=True, metadata=metadata, **bounds)


def field_defaults(schema: type[pa.DataFrameModel]) -> Mapping[str, Default]:
    """The fields of a catalog that have a default."""
    stated = ((name, getattr(each, "metadata", None)) for name, each in vars(schema).items())
    return {name: metadata["default"] for name, metadata in stated if isinstance(metadata, dict)}
