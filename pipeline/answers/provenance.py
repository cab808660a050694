"""Who says each fact of a plan: the user, a default, or a catalog entry and its source."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.estimators.attention import KINDS, PROJECTIONS
from pipeline.facts.prices import OWNED
from pipeline.facts.schema.kinds import DEFAULTS, REFERENCES
from pipeline.grid.calibrated import setting
from pipeline.grid.point import LENGTHS, Point
from pipeline.grid.selection import PARALLEL

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pipeline.facts.catalog import Catalogs
    from pipeline.grid.axes import Axes

Place = tuple[str, str, str]
"""A fact's kind, entry and field."""

ASKED = "asked for"
UNASKED = "default: nothing is asked for, so that the engine's own holds"
UNPRICED = "no price in force in catalogs/prices"
MARKS = {"assumption": "assumption: "}
"""Kinds of sources that a source's words begin with."""
CATALOG = {"weights": "format", "kv": "format"}
"""Axes that are not called as the catalog that they come from."""
PAGES = "docs/"
"""What the address of a source begins with, if it is a page of the project: a reader is told."""
FROM_PRICE = {"device_usd_per_hour": "usd_per_hour", "price_cloud": "cloud", "price_date": "from_date"}
"""Columns that the cheapest price in force gives, and the field of the price."""
BASES = {
    # fields of entries, and the columns that an axis makes of them; no field: of the entry's own name
    "": "weights_bit kv_bit accelerator_bit",
    "architecture": "architecture_bit class_bit is_ampere is_old_device",
    "architectures": "engine_architecture_bits",
    "engine_lean_classes": "engine_lean_bits",
    "expert_overhead": "expert_overhead",
    "formats": "engine_weights_bits",
    "from_version": "engine_version",
    "kind": "is_static",
    "kv_bits": "kv_bytes_per_element",
    "kv_formats": "engine_kv_bits",
    "measured_accelerators": "engine_measured_bits engine_measured_architecture_bits",
    "memory_measured_accelerators": "engine_memory_measured_bits engine_memory_architecture_bits",
    "moe_layers": "shared_expert_layers",
    "table_weight_bits": "half_compute",
}
BASE_FIELDS = {column: field for field, columns in BASES.items() for column in columns.split()}


def settings_of(point: Point, typed: Collection[str] = ()) -> dict[str, str]:
    """The columns that a plan sets itself, and who did: the user, or a default where nothing was asked for.

    Args:
        point: the plan.
        typed: counts that were asked for, though they are what the default says.
    """
    counts = {each.name: each.default for each in fields(point) if each.name in (*PARALLEL, "batch")}
    usual = {name: count for name, count in counts.items() if getattr(point, name) == count and name not in typed}
    defaults = {name: f"default: {count} where nothing is asked for" for name, count in usual.items()}
    if not point.workload:
        defaults |= {name: f"default: {count} where no workload is named" for name, count in LENGTHS.items()}
        defaults["workload"] = "default where no workload is named"
    return defaults | dict.fromkeys(point.facts, ASKED)


@dataclass(frozen=True)
class Provenance:
    """One plan's axes, the catalogs that they come from, and what the plan sets itself."""

    axes: Axes
    catalogs: Catalogs
    settings: Mapping[str, str] = field(default_factory=dict)
    """Columns, and who set them: of `settings_of`."""
    entries: dict[tuple[str, str], dict[str, dict[str, Any]]] = field(default_factory=dict)
    """Catalog entries that were looked up, by kind and name: the provenance of each field."""

    def source(self, column: str) -> str:
        """Who says a fact."""
        axis = next((name for name, frame in self.axes.items() if column in frame.columns), "")
        if column in self.settings or axis in {"batch", "parallel", ""}:
            return self.settings.get(column, ASKED)
        if column.startswith("asked_"):
            return UNASKED if self.axes[axis][column].item() is None else ASKED
        if column in FROM_PRICE:
            return "; ".join(map(self.stated_source, self.price_places(FROM_PRICE[column]))) or UNPRICED
        source = self.entry_source(axis, str(self.axes[axis][axis].item()), column)
        return f"{self.settings[axis]}; {source}" if axis in self.settings else source

    def entry_source(self, axis: str, entry: str, column: str) -> str:
        """Who says what an entry states, leaves to a default, or leaves out; nothing where nobody does."""
        field, where = base_field(column), f"{self.entry_file(axis, entry)}: {entry}"
        if field == "":
            return f"the entry's own name; {where}"
        source = next(filter(None, map(self.field_source, self.places(axis, entry, column))), "")
        if not source and (field or self.axes[axis][column].item() is None):
            return f"not stated: {field or column} is left out; {where}"
        return f"made of {field}: {source}" if field else source

    def field_source(self, place: Place) -> str:
        """Who says one field of an entry: a source, or the default that holds where it is left out."""
        return self.stated_source(place) or self.default_source(*place)

    def entry_facts(self, kind: str, name: str) -> dict[str, dict[str, Any]]:
        """The provenance of each field of an entry."""
        if (kind, name) not in self.entries:
            facts = self.catalogs.facts.filter(kind=kind, name=name)
            self.entries[kind, name] = {fact["field"]: fact for fact in facts.iter_rows(named=True)}
        return self.entries[kind, name]

    def entry_file(self, axis: str, name: str) -> str:
        """The file of an entry."""
        facts = self.entry_facts(CATALOG.get(axis, axis), name)
        return next((str(fact["file"]) for fact in facts.values()), "catalogs")

    def fact(self, place: Place) -> dict[str, Any] | None:
        """The provenance of one field, if the entry states it."""
        kind, name, column = place
        return self.entry_facts(kind, name).get(column)

    def stated_source(self, place: Place) -> str:
        """Who says one field of an entry; nothing where the entry does not state it."""
        fact, name = self.fact(place), place[1]
        if not fact:
            return ""
        page = f" ({fact['url']})" if fact["url"].startswith(PAGES) else ""
        return f"{MARKS.get(fact['source_kind'], '')}{fact['source_title']}{page}; {fact['file']}: {name}"

    def default_source(self, kind: str, name: str, column: str) -> str:
        """What stands for a field that an entry leaves out: a value, or another field and who says that."""
        other = DEFAULTS.get(kind, {}).get(column)
        if other is None:
            return ""
        if not isinstance(other, str):
            return f"default: {other} where {column} is left out; {self.entry_file(kind, name)}: {name}"
        return f"default: {other} where {column} is left out; {self.field_source((kind, name, other))}"

    def places(self, axis: str, entry: str, column: str) -> Iterator[Place]:
        """The fields that a column of an axis may come from, those that hold first before others."""
        kind = CATALOG.get(axis, axis)
        frames = self.catalogs.frames
        if field := base_field(column):
            yield kind, entry, field
            return
        if kind in REFERENCES["calibration"]:
            yield from (("calibration", name, column) for name in setting(frames["calibration"], kind, entry, column))
        yield kind, entry, column
        row = frames[kind].row(by_predicate=pl.col(kind) == entry, named=True)
        if kind == "accelerator":
            yield "architecture", row["architecture"], column
            yield "step", "default", column
        if kind == "engine":
            yield "band", frames["band"]["band"][0], column
        if axis == "weights":
            group, _, name = column.partition("_")
            yield "kernel", row.get(f"{group}_kernel") or "bf16", name

    def price_places(self, column: str) -> Iterator[Place]:
        """The facts behind the cheapest price in force: listed, a share of one, or what owning costs at a site."""
        row = self.axes["accelerator"].row(0, named=True)
        name = row["price_name"] or ""
        if row["price_cloud"] == OWNED:
            ownership, _, site = name.partition(" at ")
            yield from (("ownership", ownership, "purchase_usd"), ("site", site, "electricity_usd_per_kwh"))
        elif name.startswith("an assumed "):
            share, _, name = name.removeprefix("an assumed ").partition(" of ")
            markets = self.catalogs.frames["market"].filter(on_demand_ratio=float(share))["market"]
            yield from (("market", market, "on_demand_ratio") for market in markets.head(1))
        if name and row["price_cloud"] != OWNED:
            yield "price", name, column


def base_field(column: str) -> str | None:
    """The field of an entry that an axis makes a column of, if it makes it; layer counts are all made of `layers`."""
    is_count = column.removesuffix("_layers") in {*KINDS, *PROJECTIONS.values()}
    return "layers" if is_count else BASE_FIELDS.get(column)
