"""A difference in words: the headline, and what a cause or an effect is called."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import polars as pl
from polars import col

from pipeline.core.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NOTHING = "nothing changed"
QUESTIONS = {
    "cheapest_fleet": "cheapest fleet",
    "cheapest_device": "cheapest device",
    "devices_to_fit": "devices to fit",
    "devices_to_meet_objective": "devices to meet the objective",
    "cheapest_plan": "cheapest plan",
}
"""Questions whose answers may flip, in words, the weightiest first."""
MOVED = {"old": "the old one moved", "new": "the new one moved", "old and new": "both moved"}
NONE = {"devices_to_fit": "does not fit", "cheapest_device": "none", "cheapest_plan": "none"}
"""What there is where no plan answers."""
COST = ("usd_per_mtok_output", "usd_per_hour", "usd_per_mtok_input", "usd_per_month")
CAPACITY: tuple[str, ...] = ("batch_max", "batch_slo", "output_tokens_per_s", "tpot_s", "ttft_s", "context_max_tokens")
CAPACITY += ("slo_requests_per_s", "replicas")
LISTS = {"Largest changes in cost": COST, "Largest changes in capacity and speed": CAPACITY}
"""Columns whose largest changes are told; every other is in the table of effects."""
FIRST = ("usd_per_mtok_output", "usd_per_hour", "batch_max", "batch_slo", "output_tokens_per_s")
"""Columns that the headline looks at before others."""


def headline_of(causes: pl.DataFrame, effects: pl.DataFrame) -> str:
    """One sentence: how many things changed, how many answers flipped, and the largest of it."""
    if causes.is_empty() and effects.is_empty():
        return NOTHING
    flips = effects.filter(effect="flip")
    parts = [", ".join(count_causes(causes)) or "no cause found"]
    parts.append(f"{many(flips.height, 'answer')} flipped" if flips.height else "no answer flipped")
    text = "; ".join(parts)
    if flips.height:
        return f"{text}, the largest: {effect_sentence(flips.row(0, named=True))}"
    moved = main_changes(effects).sort(~col("question").is_in(FIRST), maintain_order=True)
    if moved.height:
        return f"{text}, the largest change: {effect_sentence(moved.row(0, named=True))}"
    return text if effects.height else f"{text}; no number of the tables changed"


def count_causes(causes: pl.DataFrame) -> Iterator[str]:
    """Causes by what they are: "2 facts changed", "1 model added"."""
    counts: Counter[tuple[str, str]] = Counter()
    for each in causes.select("category", "what", "kind").iter_rows(named=True):
        counts[cause_noun(each)] += 1
    for (noun, verb), count in counts.most_common():
        yield f"{many(count, noun)} {verb}"


def cause_noun(cause: Mapping[str, Any]) -> tuple[str, str]:
    """The noun and the verb of a cause."""
    category, verb = cause["category"], cause["what"]
    if category == "grid":
        return "list of the grid", verb
    if category == "formula":
        return "file of formulas", verb
    if category in {"date", "entry"} or (category == "calibration" and verb in {"added", "gone"}):
        return cause["kind"], verb
    noun = "constant of calibration" if category == "calibration" else "fact"
    return (noun, "resourced") if verb == "resourced" else (noun, "changed")


def many(count: int, noun: str) -> str:
    """A count and its noun.

    >>> many(1, "fact"), many(1200, "entry"), many(2, "file of formulas")
    ('1 fact', '1,200 entries', '2 files of formulas')
    """
    head, of, rest = noun.partition(" of ")
    plural = head if count == 1 else f"{head[:-1]}ies" if head.endswith("y") else f"{head}s"
    return f"{count:,} {plural}{of}{rest}"


def main_changes(effects: pl.DataFrame) -> pl.DataFrame:
    """Changes of the columns that are told, costs and capacity, the farthest first."""
    return effects.filter(
        col("effect") == "change", col("question").is_in([*COST, *CAPACITY]), col("table") != "estimates"
    )


def effect_sentence(effect: Mapping[str, Any]) -> str:
    """One effect in a line."""
    where = effect_subject(effect)
    what = QUESTIONS.get(effect["question"], effect["question"])
    old, new = side_phrase(effect, "old"), side_phrase(effect, "new")
    return clean(f"{where}: {what} {old} -> {new}{ratio_of(effect)}")


def effect_subject(effect: Mapping[str, Any]) -> str:
    """What an effect is about."""
    said = [effect[name] for name in ("model", "accelerator", "workload") if effect[name]]
    is_repeated = len(said) > 1 and said[-1].startswith(f"{said[0]} ")  # a demand begins with its model
    return ", ".join(said[1:] if is_repeated else said)


def side_phrase(effect: Mapping[str, Any], side: str) -> str:
    """One side of an effect: a name as it is, a number short."""
    if effect["effect"] == "flip":
        return str(effect[side] or NONE.get(effect["question"], "none"))
    number = effect[f"{side}_value"]
    return short_number(number) if number is not None else str(effect[side] or "-")


def ratio_of(effect: Mapping[str, Any]) -> str:
    """How many times as much, of what is paid or done; nothing where it is not known."""
    value = effect["ratio"]
    if value is None or effect["question"].startswith("devices_to"):
        return ""
    unit = "USD/h" if effect["table"] == "fleet" else "USD/10^6 token"
    words = f" ({short_number(effect['old_value'])} -> {short_number(effect['new_value'])} {unit}, x{value:.3g})"
    return words if effect["effect"] == "flip" else f" (x{value:.3g})"


def short_number(number: float) -> str:
    """A number in four digits.

    >>> short_number(829032.0), short_number(0.123456), short_number(3.35e12)
    ('829,032', '0.1235', '3.35e+12')
    """
    if abs(number) >= 1e9:  # noqa: PLR2004
        return f"{number:.4g}"
    return f"{number:,.0f}" if abs(number) >= 1000 or number == int(number) else f"{number:.4g}"  # noqa: PLR2004


def clean(text: str) -> str:
    """A text on one line, without characters that cannot be seen: they could turn or hide what stands beside them."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


# ----- causes


def cause_phrase(cause: Mapping[str, Any]) -> str:
    """What a cause is: the entry, and what of it."""
    named = f"{cause['kind']} {cause['entry']}" if cause["kind"] not in {"formula", "grid"} else cause["entry"]
    if cause["kind"] == "grid":
        return f"grid: {named}"
    if cause["kind"] == "formula":
        return f"formulas: {named}" + (f" ({cause['field']})" if cause["field"] else "")
    detail = f" {cause['field']}" if cause["field"] and cause["what"] in {"changed", "resourced"} else ""
    verb = "" if cause["what"] in {"changed", "resourced"} else f" {cause['what']}"
    return f"{named}{detail}{verb}"


def values_phrase(cause: Mapping[str, Any]) -> str:
    """From what to what; of a list of the grid, what it lost and gained."""
    old, new = (shorten(cause[side]) for side in ("old", "new"))
    if cause["kind"] == "grid":
        signs = [f"{sign} {said}" for sign, said in (("-", old), ("+", new)) if said]
        return "; ".join(signs)
    if cause["what"] == "resourced":
        return old
    if not old and not new:
        return ""
    if cause["kind"] == "formula":
        return f"version {old} -> {new}" if old != new else ""
    unit = unit_of(cause["field"])
    return f"{old or '-'} -> {new or '-'}{f' {unit}' if unit not in {'', '1'} else ''}"


def shorten(text: str | None, most: int = 60) -> str:
    """A value, cut where it is long."""
    if not text:
        return ""
    try:
        return short_number(float(text))
    except ValueError:
        return text if len(text) <= most else f"{text[: most - 3]}..."


def source_phrase(cause: Mapping[str, Any]) -> str:
    """Who says so: the source, from the old to the new where it is another, and the file."""
    old, new = cause["old_source"], cause["new_source"]
    source = new or old or "" if old == new or not (old and new) else f"{old} -> {new}"
    return "; ".join(each for each in (source, cause["file"]) if each)


def effects_phrase(cause: Mapping[str, Any]) -> str:
    """How much a cause did."""
    parts = [
        f"{many(cause['flips'], 'flip')}" if cause["flips"] else "",
        many(cause["rows"], "value") if cause["rows"] else "",
    ]
    return ", ".join(each for each in parts if each) or "none"


def cause_numbers(causes: list[int]) -> str:
    """The numbers of the causes behind an effect: "1", "1 + 3" for together.

    >>> cause_numbers([1, 3]), cause_numbers([])
    ('1 + 3', 'unexplained')
    """
    if len(causes) > 5:  # noqa: PLR2004
        return f"{' + '.join(map(str, causes[:4]))} + {len(causes) - 4} more"
    return " + ".join(map(str, causes)) or "unexplained"
