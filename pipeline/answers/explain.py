"""The tree of one number: its formula, what that is made of, down to facts and their sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import UnknownNameError
from pipeline.core.units import unit_of
from pipeline.grid.point import flat_row, formulas_of
from pipeline.grid.schema import DESCRIBED

if TYPE_CHECKING:
    from pipeline.answers.provenance import Provenance


@dataclass(frozen=True)
class Node:
    """One number of a tree, and the numbers that it is made of."""

    name: str
    value: Any
    unit: str
    summary: str
    source: str
    inputs: tuple[Node, ...] = ()
    repeated: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The tree as plain values, for JSON."""
        own = {name: getattr(self, name) for name in ("name", "value", "unit", "summary", "source")}
        return (
            own
            | ({"repeated": True} if self.repeated else {})
            | ({"inputs": [each.as_dict() for each in self.inputs]} if self.inputs else {})
        )


def explained(name: str, provenance: Provenance) -> Node:
    """The tree of one quantity at one point.

    Args:
        name: the quantity.
        provenance: the axes of the point, and who says its facts.

    Raises:
        UnknownNameError: no such quantity.
    """
    values, formulas = flat_row(provenance.axes), formulas_of(provenance.axes)
    if name not in values:
        raise UnknownNameError("quantity", name, values, hint="`capgrid point` shows all of them.")
    seen: set[str] = set()

    def node(column: str) -> Node:
        value, unit = values.get(column), unit_of(column)
        q = formulas.get(column)
        if column in SOLVED_FROM:
            source = "solved exactly for the batch: grid/invert.py; the inputs are shown at the batch asked for"
            return Node(column, value, unit, DESCRIBED[column], source, tuple(map(node, SOLVED_FROM[column])))
        if q is None or column in provenance.settings:
            return Node(column, value, unit, "", provenance.source(column))
        if column in seen:
            return Node(column, value, unit, q.summary, q.source, repeated=True)
        seen.add(column)
        return Node(column, value, unit, q.summary, q.source, tuple(map(node, q.inputs)))

    return (
        node(name)
        if name in formulas or name in SOLVED_FROM
        else Node(name, values[name], unit_of(name), DESCRIBED.get(name, ""), provenance.source(name))
    )


SOLVED_FROM = {
    "batch_slo": ("slo_load_ratio", "batch_max", "sequences_max"),
    "batch_max_output_tokens_per_s": ("output_tokens_per_s", "batch_max", "sequences_max"),
    "batch_max_usd_per_mtok_output": ("usd_per_mtok_output", "batch_max", "sequences_max"),
}
"""Numbers that no formula makes but that are solved for the batch, and what they are solved from."""
