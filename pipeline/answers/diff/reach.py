"""How far a cause reaches: which entries of which axes change by it alone, and which columns are made of them.

Nothing here is a list of what depends on what. An axis is made once as it was and once with one cause taken over;
what differs is what the cause can change. From there the books of formulas lead to columns, as `capgrid explain` walks
them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from polars import col

from pipeline.answers.diff.causes import taken_over
from pipeline.answers.explain import SOLVED_FROM
from pipeline.core.money import DEFAULT_SITE
from pipeline.estimators.feasible import RULES
from pipeline.estimators.money.fleet import BOOK as BILLED
from pipeline.facts.catalog import Catalogs
from pipeline.facts.owned import host_power, site_of
from pipeline.facts.prices import interruption_ratio
from pipeline.fleet.options import AT_WORK, CARRIED
from pipeline.grid.axes import KEYS, axes_of
from pipeline.grid.columns import formulas
from pipeline.grid.replicas import LOOKED_AT
from pipeline.grid.schema import FLEET
from pipeline.grid.selection import KIND_OF
from pipeline.run.code import readers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pipeline.answers.diff.causes import Cause
    from pipeline.answers.diff.inputs import Inputs
    from pipeline.core.quantity import Formula, Quantity
    from pipeline.grid.axes import Axes

AXES = ("model", "weights", "kv", "engine", "accelerator", "workload", "parallel")
"""What a row is named by, as texts."""
EXISTS = "runs"
"""The column that a plan has by being there at all: it is made of the rules of what can be combined."""

SOLVED = {
    # what no formula makes: solved, or sized by code
    **SOLVED_FROM,
    "batch": ("slo_load_ratio", "batch_max", "sequences_max", "dp"),
    EXISTS: tuple(RULES),
}
SIZED = ("joining_prompt_s", "engine_flop_ratio", "interruption_ratio", *LOOKED_AT, *CARRIED, *AT_WORK)
"""What a replica under load is made of, and so everything that is sized from it."""


@cache
def closure(table: str, column: str) -> frozenset[str]:
    """Every quantity and fact that a published column is made of, itself among them.

    >>> "memory_bytes_per_s" in closure("capacity", "tpot_s"), "memory_bytes_per_s" in closure("capacity", "batch_max")
    (True, False)
    """
    if table == "fleet":
        return of_fleets(column)
    book, seen = formulas(), set[str]()
    left = [column]
    while left:
        name = left.pop()
        is_solved = name in SOLVED and not (name == "batch" and table == "estimates")
        if name not in seen:
            seen.add(name)
            left += SOLVED[name] if is_solved else book[name].inputs if name in book else ()
    return frozenset(seen)


@cache
def of_fleets(column: str) -> frozenset[str]:
    """The same of a fleet's column: the bill is made by formulas, and what it is made of is sized from replicas."""
    if column == EXISTS:
        return closure("capacity", EXISTS) | of_fleets("slo_requests_per_s")
    seen, left = set[str](), [column]
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += SOLVED_OF_FLEETS.get(name, BILLED[name].inputs if name in BILLED else ())
    if any(name in FLEET and name not in BILLED and name not in PRICED for name in seen):
        seen = seen.union(*(closure("estimates", each) for each in SIZED))
    return frozenset(seen)


PRICED = ("device_usd_per_hour", "price_cloud", "price_date", "price_note", *KEYS)
"""What fleets take from a price, or are named by."""
SOLVED_OF_FLEETS = {"power_w": ("energy_kwh_per_month", "pue_ratio")}


# ----- axes, and what one cause changes of them


def axes_with(inputs: Inputs) -> Axes:
    """The axes of everything that the catalogs hold, and what fleets read besides."""
    frames = inputs.frames
    ids: dict[str, Any] = {name: tuple(frames[kind][kind]) for name, kind in KIND_OF.items()}
    parallel = ({"tp": 1, "pp": 1, "ep": 1, "dp": 1},)
    whole = replace(inputs.grid, parallel=parallel, batches=(1,), **ids)
    axes = axes_of(Catalogs(frames, inputs.facts, Path()), whole, inputs.as_of)
    told = {name: axis.with_columns(col(name).cast(pl.String)) for name, axis in axes.items() if name in AXES[:6]}
    host = host_power(frames, inputs.as_of)
    told["accelerator"] = told["accelerator"].join(host, on="accelerator", how="left", maintain_order="left")
    return told | {"": everywhere(inputs)}


def everywhere(inputs: Inputs) -> pl.DataFrame:
    """What all fleets read alike: where devices stand, and what the market takes back."""
    frames = inputs.frames
    known = DEFAULT_SITE in frames["site"]["site"]
    site = site_of(frames, DEFAULT_SITE).drop("site") if known else pl.DataFrame({"pue_ratio": [None]})
    kept = interruption_ratio(frames, inputs.grid.market)
    return site.head(1).with_columns(pl.lit("").alias(""), interruption_ratio=pl.lit(kept))


def changes(before: Axes, after: Axes) -> set[tuple[str, str, str]]:
    """Axis, entry and column of everything that differs; entries that only one has are not looked at."""
    found = set()
    for axis, frame in before.items():
        other = after[axis]
        shared = [name for name in frame.columns if name in other.columns and name != axis]
        pairs = frame.join(other, on=axis, suffix="_b", maintain_order="left")
        differs = pairs.select(axis, *(col(name).ne_missing(col(f"{name}_b")).alias(name) for name in shared))
        for name in shared:
            found |= {(axis, str(entry), name) for entry in differs.filter(col(name))[axis]}
    return found


Reached = dict[int, set[tuple[str, str, str]]]


def reached(causes: Sequence[Cause], a: Inputs, b: Inputs) -> Reached:
    """What each cause changes of the axes, from either run on: the cause alone done to one, or undone in the other."""
    found: Reached = defaultdict(set)
    patches = [place for place, cause in enumerate(causes) if is_patch(cause)]
    for base, other in ((a, b), (b, a)) if patches else ():
        plain = axes_with(base)
        for together in rounds(causes, patches):
            by_cause(together, causes, base, other, plain, found)
    return found


def is_patch(cause: Cause) -> bool:
    """Whether a cause can change rows that both runs have: facts can, and how a grid prices and sets up."""
    if cause.category == "grid":
        return cause.entry in {"market", "clouds", "setups"}
    is_row = cause.category == "entry" and cause.kind in {*AXES, "format"} - {"engine"}
    return cause.category != "formula" and cause.kind not in {"measurement", "traffic"} and not is_row


def rounds(causes: Sequence[Cause], patches: Iterable[int]) -> list[list[int]]:
    """Causes that may be taken over together, since each changes an entry of its own."""
    shared: list[dict[tuple[str, str], int]] = []
    alone: list[list[int]] = []
    for place in patches:
        owner = causes[place].owner
        if owner is None:
            alone.append([place])
        elif room := next((each for each in shared if owner not in each), None):
            room[owner] = place
        else:
            shared.append({owner: place})
    return [*(list(each.values()) for each in shared), *alone]


def by_cause(
    together: list[int], causes: Sequence[Cause], base: Inputs, other: Inputs, plain: Axes, found: Reached
) -> None:
    """Take over some causes at once, and give each what changed of its own entry."""
    inputs = base
    for place in together:
        inputs = taken_over(causes[place], inputs, other)
    owners = {causes[place].owner: place for place in together}
    left: set[tuple[str, str, str]] = set()
    try:
        axes = axes_with(inputs)
    except pl.exceptions.PolarsError:  # it names what only the other run knows: seen from there
        axes = plain
        left = {("", "", "")} if len(together) > 1 else left
    for change in changes(plain, axes):
        if len(together) == 1:
            found[together[0]].add(change)
        elif change[:2] in owners:
            found[owners[change[:2]]].add(change)
        else:
            left.add(change)
    for place in together if left else ():  # a fact with a wider reach than its entry
        by_cause([place], causes, base, other, plain, found)


# ----- from what changed to whom it may concern


@dataclass(frozen=True)
class Reach:
    """Which causes may be behind a changed column of a row."""

    causes: Sequence[Cause]
    changed: Mapping[int, set[tuple[str, str, str]]]
    formulas: Mapping[int, frozenset[str]] = field(default_factory=dict)
    """Of causes in the code: the quantities that they make."""
    last: Sequence[int] = ()
    """Causes that count only where nothing else does."""

    def tables(self, table: str, column: str) -> dict[str, dict[str, str]]:
        """For each axis, the causes behind a column by entry, as text: places, each behind a space."""
        made_of = closure(table, column)
        found: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        for place, cause in enumerate(self.causes):
            is_apart = table == "fleet" and cause.category == "grid" and cause.entry != "fleets"
            for axis, entry in () if is_apart else cause.gained:  # fleets choose from all that catalogs hold
                found[axis][entry].add(place)
            for axis, entry, name in self.changed.get(place, ()):
                if name in made_of:
                    found[axis][entry].add(place)
        found[""][""] |= {place for place, names in self.formulas.items() if names & made_of}
        return {
            axis: {entry: "".join(f" {each}" for each in sorted(places)) for entry, places in entries.items()}
            for axis, entries in found.items()
        }

    def behind(self, table: str, column: str) -> pl.Expr:
        """The causes behind a column as an expression of a row's names: places as text, one maybe twice."""
        by_axis = self.tables(table, column)
        known = [
            col(axis).cast(pl.String).replace_strict(entries, default="", return_dtype=pl.String)
            for axis, entries in by_axis.items()
            if axis in AXES
        ]
        return pl.concat_str(*known, pl.lit(by_axis.get("", {}).get("", "")))

    def named(self, words: pl.Series) -> pl.Series:
        """Texts of places as sorted lists, each place once; where there is none, what counts last."""
        texts = words.unique().to_list()
        lists = [sorted({int(each) for each in (text or "").split()}) or sorted(self.last) for text in texts]
        table = pl.DataFrame(
            {"words": texts, "causes": lists}, schema={"words": pl.String, "causes": pl.List(pl.Int64)}
        )
        return words.to_frame("words").join(table, on="words", how="left", maintain_order="left")["causes"]


def reach_of(causes: Sequence[Cause], a: Inputs, b: Inputs) -> Reach:
    """How far each of some causes reaches."""
    made = {place: quantities(cause) for place, cause in enumerate(causes) if cause.category == "formula"}
    direct = {place: names for place, names in made.items() if names}
    return Reach(causes, reached(causes, a, b), direct, [place for place, names in made.items() if not names])


def quantities(cause: Cause) -> frozenset[str]:
    """The quantities that run through a changed file of formulas; none where only what is around formulas changed.

    A formula that changed is one quantity; a constant, or a function that formulas call, may be in every quantity of
    the files that read it.
    """
    file = cause.entry.removeprefix("pipeline/")
    own = {**formulas(), **formulas("fleet"), **BILLED}
    formulas_here = {each.__name__ for q in own.values() for each in q.functions if file_of(each) == file}
    if not file.startswith("estimators/"):
        return frozenset()
    if not formulas_here.issuperset(cause.parts):
        return made_in(own, readers(file))
    return frozenset(
        name
        for name, q in own.items()
        if any(file_of(each) == file and each.__name__ in cause.parts for each in q.functions)
    )


def made_in(own: Mapping[str, Quantity], files: frozenset[str]) -> frozenset[str]:
    """The quantities whose formulas stand in some files."""
    return frozenset(name for name, q in own.items() if any(file_of(each) in files for each in q.functions))


def file_of(formula: Formula) -> str:
    """The file of a formula, below the package."""
    return f"{formula.__module__.removeprefix('pipeline.').replace('.', '/')}.py"
