"""What differs between the inputs of two runs, a cause each, and how one run would look with one of them taken over."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl
from polars import col

from pipeline.answers.diff.inputs import FACT, Inputs
from pipeline.facts.prices import OFFER, price_name, prices_in_force
from pipeline.grid.selection import PARALLEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date

    from pipeline.answers.diff.inputs import Run
    from pipeline.grid.selection import Grid

CALIBRATION = ("kernel", "architecture", "step", "band", "calibration")
"""Kinds of entry that say what formulas achieve, not what a thing is."""
DATED = {"price": "usd_per_hour", "ownership": "purchase_usd"}
"""Kinds of entry that hold from a day on, and the field that says what they cost."""
LISTS = ["models", "weights", "kv", "engines", "accelerators", "workloads", "parallel", "batches"]
CROSSED = ["model", "weights", "kv", "engine", "accelerator", "workload", "parallel", "batch"]
AXIS_OF = dict(zip(LISTS, CROSSED, strict=True))
"""The list of a grid, and the axis that it makes."""

ALL = "*"
"""Every value of an axis."""


@dataclass(frozen=True)
class Cause:
    """One thing that differs: what, from what to what, and who says so."""

    category: str
    """fact, calibration, entry, date, formula or grid."""
    what: str
    """changed, resourced (another source), added, gone, took effect, no longer in force."""
    kind: str
    """Kind of entry; `grid` or `formula`."""
    entry: str
    field: str = ""
    old: str | None = None
    new: str | None = None
    old_source: str | None = None
    new_source: str | None = None
    file: str = ""
    owner: tuple[str, str] | None = None
    """The axis and the entry that alone can change by it; none where others may."""
    gained: tuple[tuple[str, str], ...] = ()
    """Values of axes that are there by it, or gone."""
    parts: tuple[str, ...] = ()
    """Of code: the names of what changed in it."""
    is_last: bool = False
    """Whether it only counts for what nothing else explains."""


def causes_of(a: Run, b: Run) -> list[Cause]:
    """Everything that differs between what two runs were made from."""
    entries = [*entry_causes(a.inputs, b.inputs)]
    found = [*fact_causes(a.inputs, b.inputs), *entries, *date_causes(a.inputs, b.inputs)]
    return [*found, *grid_causes(a.inputs.grid, b.inputs.grid, entries), *code_causes(a, b)]


# ----- facts


def fact_causes(a: Inputs, b: Inputs) -> Iterator[Cause]:
    """Facts that both runs know and that say something else, or say it on another's word."""
    said = [*FACT, "value", "source", "file"]
    both = a.facts.select(said).join(b.facts.select(said), on=FACT, how="full", coalesce=True, suffix="_b")
    shared = a.facts.select("kind", "name").join(b.facts, on=["kind", "name"], how="semi").unique()
    differs = ~col("value").eq_missing(col("value_b")) | ~col("source").eq_missing(col("source_b"))
    changed = both.join(shared, on=["kind", "name"], how="semi").filter(differs).sort(FACT)
    prices = devices_of_prices(a, b)
    for each in changed.iter_rows(named=True):
        category = "calibration" if each["kind"] in CALIBRATION else "fact"
        what = "resourced" if each["value"] == each["value_b"] else "changed"
        entry = each["kind"], each["name"], each["field"]
        values, sources = (each["value"], each["value_b"]), (each["source"], each["source_b"])
        owner = None if each["field"] == "architecture" else owner_of(each["kind"], each["name"], prices)
        yield Cause(category, what, *entry, *values, *sources, each["file_b"] or each["file"], owner)


def devices_of_prices(a: Inputs, b: Inputs) -> dict[str, str]:
    """The device of each price."""
    said = pl.concat([a.facts, b.facts]).filter(col("kind") == "price", col("field") == "accelerator")
    return dict(said.select("name", "value").iter_rows())


def owner_of(kind: str, name: str, prices: dict[str, str]) -> tuple[str, str] | None:
    """The one entry of an axis that a catalog entry can change."""
    if kind in {"model", "accelerator", "workload"}:
        return kind, name
    return ("accelerator", prices[name]) if kind == "price" and name in prices else None


AXES_OF: dict[str, tuple[str, ...]] = {each: (each,) for each in ("model", "accelerator", "engine", "workload")}
AXES_OF["format"] = ("weights", "kv")
"""The axes that entries of a kind stand on."""


def entry_causes(a: Inputs, b: Inputs) -> Iterator[Cause]:
    """Entries that only one of the runs knows."""
    for what, here, there in (("gone", a, b), ("added", b, a)):
        alone = here.facts.join(there.facts, on=["kind", "name"], how="anti")
        prices = devices_of_prices(a, b)
        for key, facts in alone.group_by("kind", "name", maintain_order=True):
            (kind, name), first = map(str, key), facts.row(0, named=True)
            category = "calibration" if kind in CALIBRATION else "entry"
            told = cost_words(kind, name, a, b) if kind in DATED else (None, None)
            source = {"old_source" if what == "gone" else "new_source": first["source"], "file": first["file"]}
            owner = owner_of(kind, name, prices) if kind == "price" else None
            gained = tuple((axis, name) for axis in AXES_OF.get(kind, ()))
            yield Cause(category, what, kind, name, DATED.get(kind, ""), *told, **source, owner=owner, gained=gained)


# ----- what holds from a day on


def date_causes(a: Inputs, b: Inputs) -> Iterator[Cause]:
    """Entries that both runs know, and that were in force on one day and not on the other."""
    if a.as_of == b.as_of:
        return
    first, last = sorted([a.as_of, b.as_of])
    later, prices = b if b.as_of > a.as_of else a, devices_of_prices(a, b)
    for kind, field in DATED.items():
        names = [set(each.facts.filter(kind=kind)["name"]) for each in (a, b)]
        shared = col("name").is_in(names[0] & names[1])
        dated = later.facts.filter(shared, col("kind") == kind, col("field") == "from_date")
        new = dated.with_columns(day=col("value").str.to_date("%Y-%m-%d")).filter(col("day").is_between(first, last))
        for each in new.filter(col("day") > first).sort("day", "name").iter_rows(named=True):
            what = "took effect" if later is b else "no longer in force"
            source = {"old_source": each["source"], "new_source": each["source"], "file": each["file"]}
            told, owner = cost_words(kind, each["name"], a, b), owner_of(kind, each["name"], prices)
            yield Cause("date", what, kind, each["name"], field, *told, **source, owner=owner)


def cost_words(kind: str, name: str, a: Inputs, b: Inputs) -> tuple[str | None, str | None]:
    """What the offer of an entry cost in either run."""
    if kind != "price":
        field = DATED[kind]
        found = [each.facts.filter(kind=kind, name=name, field=field)["value"].to_list() for each in (a, b)]
        return found[0][0] if found[0] and not found[1] else None, found[1][0] if found[1] else None
    frame = pl.concat([a.frames["price"], b.frames["price"]])
    own = next((row for row in frame.iter_rows(named=True) if price_name(row) == name), None)
    if own is None:
        return None, None
    offer = pl.all_horizontal(col(field).eq_missing(pl.lit(own[field])) for field in OFFER)
    return offer_cost(a, offer), offer_cost(b, offer)


def offer_cost(inputs: Inputs, offer: pl.Expr) -> str | None:
    """What an offer costs on the day of a run, as text."""
    found = prices_in_force(inputs.frames["price"], inputs.as_of).filter(offer)["usd_per_hour"].to_list()
    return str(found[0]) if found else None


# ----- the grid


def grid_causes(a: Grid, b: Grid, entries: Iterable[Cause]) -> Iterator[Cause]:
    """What two grids cross otherwise; values that came or went with their catalog entry are its doing."""
    by_entry = {each for cause in entries for each in cause.gained}
    for field, axis in AXIS_OF.items():
        words = ([word_of(each) for each in getattr(grid, field)] for grid in (a, b))
        lost, more = apart(*([each for each in own if (axis, each) not in by_entry] for own in words))
        yield from list_cause(field, lost, more, [(axis, each) for each in [*lost, *more]])
    for field, axis in (("setups", "engine"), ("fleets", "demand")):
        lost, more = apart(*([json.dumps(each, sort_keys=True) for each in getattr(grid, field)] for grid in (a, b)))
        names = {json.loads(each).get("name") for each in lost} ^ {json.loads(each).get("name") for each in more}
        yield from list_cause(field, lost, more, [(axis, each or ALL) for each in sorted(names, key=str) or [ALL]])
    yield from list_cause("market", *apart([a.market], [b.market]))
    if sorted(a.clouds) != sorted(b.clouds):
        yield from list_cause("clouds", list(a.clouds) or ["all"], list(b.clouds) or ["all"])


def apart(old: Sequence[str], new: Sequence[str]) -> tuple[list[str], list[str]]:
    """What only the first of two lists has, and what only the second.

    >>> apart(["a", "b"], ["b", "c"])
    (['a'], ['c'])
    """
    return [each for each in old if each not in new], [each for each in new if each not in old]


def list_cause(
    field: str, lost: Sequence[str], more: Sequence[str], gained: Iterable[tuple[str, str]] = ()
) -> Iterator[Cause]:
    """One list of a grid that changed; nothing where it did not."""
    if lost or more:
        old, new = (", ".join(each) or None for each in (lost, more))
        yield Cause("grid", "changed", "grid", field, field, old, new, gained=tuple(gained))


def word_of(value: Any) -> str:
    """A value of a grid as a word: a parallel plan by its counts.

    >>> word_of({"tp": 2, "pp": 1, "ep": 1, "dp": 1}), word_of(64)
    ('tp=2 pp=1 ep=1 dp=1', '64')
    """
    return " ".join(f"{each}={value.get(each, 1)}" for each in PARALLEL) if isinstance(value, dict) else str(value)


# ----- the code


def code_causes(a: Run, b: Run) -> Iterator[Cause]:
    """Files of formulas that changed; where a run keeps no fingerprints, that it may be so."""
    if a.manifest.get("content_key") == b.manifest.get("content_key"):
        return
    old_version, new_version = (str(run.manifest.get("capgrid_version", "")) for run in (a, b))
    if a.code is None or b.code is None:
        yield Cause("formula", "changed", "formula", "unknown", "", old_version, new_version, is_last=True)
        return
    for file in sorted(a.code.keys() | b.code.keys()):
        old, new = a.code.get(file, {}), b.code.get(file, {})
        parts = tuple(name for name in {**old, **new} if old.get(name) != new.get(name))
        if parts:
            what = "added" if not old else "gone" if not new else "changed"
            named = ", ".join(each for each in parts if each) or "statements"
            yield Cause("formula", what, "formula", f"pipeline/{file}", named, old_version, new_version, parts=parts)


# ----- one cause taken over


def inputs_with(cause: Cause, base: Inputs, other: Inputs) -> Inputs:
    """The inputs of one run, with one thing as in the other."""
    if cause.category == "grid":
        return replace(base, grid=replace(base.grid, **{cause.entry: getattr(other.grid, cause.entry)}))
    own, others = (each.facts.filter(col("kind") == cause.kind) for each in (base, other))
    about = col("name") == cause.entry
    if cause.category == "date":
        return base.with_facts(cause.kind, date_entry(own, about, base.as_of, other.as_of))
    if cause.what in {"changed", "resourced"}:
        about &= col("field") == cause.field
    return base.with_facts(cause.kind, pl.concat([own.filter(~about), others.filter(about)]))


def date_entry(facts: pl.DataFrame, about: pl.Expr, today: date, day: date) -> pl.DataFrame:
    """Facts of today as if one entry were in force already, where it is so on the other day, or not yet."""
    if day < today:
        return facts.filter(~about)
    moved = pl.when(about & (col("field") == "from_date")).then(pl.lit(str(today))).otherwise(col("value"))
    return facts.with_columns(value=moved)
