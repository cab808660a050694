"""The tree of one number: its formula, what that is made of, down to facts and their sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.core.errors import UnknownNameError
from pipeline.core.units import unit_of
from pipeline.estimators.attention import KINDS, PROJECTIONS
from pipeline.facts.schema.kinds import REFERENCES
from pipeline.grid.calibrated import setting
from pipeline.grid.point import formulas_of, point_row
from pipeline.grid.schema import DESCRIBED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.facts.catalog import Catalogs
    from pipeline.grid.axes import Axes

OWNER = {
    "weights": "format",
    "kv": "format",
    "workload": "workload",
    "model": "model",
    "accelerator": "accelerator",
    "engine": "engine",
}
"""Axis, and the catalog that its columns come from."""


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
        own = {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "summary": self.summary,
            "source": self.source,
        }
        return (
            own
            | ({"repeated": True} if self.repeated else {})
            | ({"inputs": [each.as_dict() for each in self.inputs]} if self.inputs else {})
        )


def explained(name: str, axes: Axes, catalogs: Catalogs, asked: Mapping[str, Any]) -> Node:
    """The tree of one quantity at one point.

    Args:
        name: the quantity.
        axes: the axes of the point.
        catalogs: where facts come from.
        asked: what the user set, by column.

    Raises:
        UnknownNameError: no such quantity.
    """
    values = point_row(axes)
    formulas = formulas_of(axes)
    if name not in values:
        raise UnknownNameError("quantity", name, values, hint="`capgrid point` shows all of them.")
    seen: set[str] = set()

    def node(column: str) -> Node:
        value, unit = values.get(column), unit_of(column)
        q = formulas.get(column)
        if column in SOLVED_FROM:
            source = "solved exactly for the batch: grid/invert.py; the inputs are shown at the batch asked for"
            return Node(column, value, unit, DESCRIBED[column], source, tuple(map(node, SOLVED_FROM[column])))
        if q is None or column in asked:
            return Node(column, value, unit, "", fact_source(column, axes, catalogs, asked))
        if column in seen:
            return Node(column, value, unit, q.summary, q.source, repeated=True)
        seen.add(column)
        return Node(column, value, unit, q.summary, q.source, tuple(map(node, q.inputs)))

    return (
        node(name)
        if name in formulas or name in SOLVED_FROM
        else Node(name, values[name], unit_of(name), DESCRIBED.get(name, ""), fact_source(name, axes, catalogs, asked))
    )


SOLVED_FROM = {
    "batch_slo": ("slo_load_ratio", "batch_max", "sequences_max"),
    "batch_max_output_tokens_per_s": ("output_tokens_per_s", "batch_max", "sequences_max"),
    "batch_max_usd_per_mtok_output": ("usd_per_mtok_output", "batch_max", "sequences_max"),
}
"""Numbers that no formula makes but that are solved for the batch, and what they are solved from."""


def fact_source(column: str, axes: Axes, catalogs: Catalogs, asked: Mapping[str, Any]) -> str:
    """Who says a fact: the user, or a catalog entry and its source."""
    axis = next((name for name, frame in axes.items() if column in frame.columns), "")
    if column in asked or axis in {"batch", "parallel", ""}:
        return "asked for"
    entry = str(axes[axis][axis].item())
    if column in FROM_PRICE:
        axis, entry, column = "price", str(axes[axis]["price_name"].item() or ""), FROM_PRICE[column]
    for kind, name, field in places(axis, entry, column, catalogs):
        found = catalogs.facts.filter(kind=kind, name=name, field=field)
        if found.height:
            fact = found.row(0, named=True)
            mark = "assumption: " if fact["source_kind"] == "assumption" else ""
            return f"{mark}{fact['source_title']}; {fact['file']}: {name}"
    if axis == "price" and not entry:
        return "no price in force in catalogs/prices"
    return f"derived from the {OWNER.get(axis, axis)} {entry}"


def places(axis: str, entry: str, column: str, catalogs: Catalogs) -> list[tuple[str, str, str]]:
    """Catalog entries that a column of an axis may come from: kind, name, field."""
    kind = OWNER.get(axis, axis)
    found = [(kind, entry, column), *((kind, entry, field) for field in left_out(column))]
    if kind == "price":
        return found
    if kind in REFERENCES["calibration"]:
        said = setting(catalogs.frames["calibration"], kind, entry, column)
        found = [*(("calibration", name, column) for name in said), *found]
    row = catalogs.frames[kind].row(by_predicate=pl.col(kind) == entry, named=True)
    if kind == "accelerator":
        found += [("architecture", row["architecture"], column), ("step", "default", column)]
    if kind == "format":
        found += [
            ("kernel", row[f"{group}_kernel"] or "", column.removeprefix(f"{group}_")) for group in ("dense", "expert")
        ]
        found += [("kernel", "bf16", column.removeprefix("half_")), ("format", entry, "kv_bits")]
    if kind == "engine":
        found.append(("band", "default", column))
    return found


def left_out(column: str) -> tuple[str, ...]:
    """The fields of an entry that a derived column comes from: layer counts all come from `layers`."""
    is_count = column.removesuffix("_layers") in {*KINDS, *PROJECTIONS.values()}
    return ("layers",) if is_count else LEFT_OUT.get(column, ())


FROM_PRICE = {"device_usd_per_hour": "usd_per_hour", "price_cloud": "cloud", "price_date": "from_date"}
"""Columns that the cheapest price in force gives, and the field of the price."""

LEFT_OUT = {
    # columns that an axis derives, and the fields that they are derived from
    "value_head_dim": ("head_dim",), "sliding_kv_heads": ("kv_heads",), "sliding_head_dim": ("head_dim",),
    "ffn_inputs": ("gated_ffn",), "shared_expert_layers": ("moe_layers",), "is_static": ("kind",),
    "is_ampere": ("architecture",),
    "weights_bit": ("name",), "kv_bit": ("kv_bits",),
    "engine_weights_bits": ("formats",), "engine_kv_bits": ("kv_formats",),
    "engine_architecture_bits": ("architectures",), "architecture_bit": ("architecture",),
    "engine_measured_bits": ("measured_accelerators",), "engine_measured_architecture_bits": ("measured_accelerators",),
    "accelerator_bit": ("name",),
}  # fmt: skip
