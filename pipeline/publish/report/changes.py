"""What changed since the run before, as the report's tables: causes first, then what they did to the answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polars import col

from pipeline.answers.diff.words import CAPACITY, COST
from pipeline.publish.report.tables import TIMES, UNKNOWN, Table, figure
from pipeline.publish.words import show_hidden

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import polars as pl

    from pipeline.answers.diff.difference import Difference
    from pipeline.publish.words import Words

MOST = 40
"""Rows of a table of changes."""
DETAIL = {"changed", "resourced"}
"""Causes that are of one field of an entry."""
LONGEST = 80


@dataclass(frozen=True)
class Changes:
    """What changed since the run before."""

    headline: str
    tables: list[Table]


def report_changes(difference: Difference | None, say: Words) -> Changes:
    """The headline, causes and effects of a difference; long tables are cut."""
    if difference is None:
        return Changes(say("changes.no_earlier"), [])
    if difference.is_empty:
        return Changes(say("changes.nothing"), [])
    effects = difference.effects
    moved = effects.filter(col("effect") == "change", col("table") != "estimates")
    lists: list[tuple[str, pl.DataFrame, Callable[[Mapping[str, Any], Words], list[str]]]] = [
        ("flipped", effects.filter(col("effect") == "flip"), flip_row),
        ("moved", effects.filter(col("effect").is_in(["added", "gone"])), moved_row),
        ("cost", farthest_changes(moved, COST), change_row),
        ("capacity", farthest_changes(moved, CAPACITY), change_row),
        ("unexplained", effects.filter(col("causes").list.len() == 0), change_row),
    ]
    tables = [causes_table(difference.causes, say), *(effects_table(*each, say) for each in lists)]
    return Changes(changes_headline(difference, say), [each for each in tables if each.rows])


def changes_headline(difference: Difference, say: Words) -> str:
    """The difference's own sentence in English; in another language its counts and its first answer."""
    if say.lang == "en":
        return show_hidden(difference.headline)
    flips = difference.effects.filter(col("effect") == "flip")
    counts = say("changes.counts", causes=figure(difference.causes.height), flips=figure(flips.height))
    moved = farthest_changes(difference.effects.filter(col("effect") == "change"), [*COST, *CAPACITY])
    first = [flip_row(each, say) for each in flips.head(1).iter_rows(named=True)]
    first += [change_row(each, say) for each in moved.head(1).iter_rows(named=True)]
    if not first:
        return counts
    _, of, what, values = first[0]
    return f"{counts}{say('changes.first', of=of, what=what, values=values)}"


def causes_table(causes: pl.DataFrame, say: Words) -> Table:
    """Causes, the weightiest first."""
    rows = [
        [
            str(each["cause"]),
            cause_words(each),
            values_words(each["old"], each["new"]),
            source_words(each),
            *(figure(each[name]) for name in ("flips", "rows")),
        ]
        for each in causes.head(MOST).iter_rows(named=True)
    ]
    head = ["#", *(say(f"changes.{key}") for key in ("cause", "values", "source", "flips", "rows"))]
    return cut(Table(say("changes.causes"), head, rows, (4, 5), causes.height), say)


def effects_table(
    title: str, effects: pl.DataFrame, row: Callable[[Mapping[str, Any], Words], list[str]], say: Words
) -> Table:
    """One list of effects."""
    rows = [row(each, say) for each in effects.head(MOST).iter_rows(named=True)]
    head = [say(f"changes.{key}") for key in ("because", "of", "what", "values")]
    return cut(Table(say(f"changes.{title}"), head, rows, (), effects.height), say)


def cut(table: Table, say: Words) -> Table:
    """The table with a word about the rows that it leaves out."""
    rest = table.count - len(table.rows)
    more = say("changes.more", count=figure(rest)) if rest > 0 else ""
    return Table(table.title, table.head, table.rows, table.numeric, table.count, more)


def farthest_changes(changes: pl.DataFrame, questions: Sequence[str]) -> pl.DataFrame:
    """Of each column and its causes the change that went farthest; how many rows, within which ratios, of all."""
    by = ["question", "causes"]
    spans = (col("rows").sum(), col("ratio_min").min(), col("ratio_max").max())
    wanted = changes.filter(col("question").is_in(list(questions)))
    return wanted.with_columns(each.over(by) for each in spans).unique(by, keep="first", maintain_order=True)


def cause_words(cause: Mapping[str, Any]) -> str:
    """What a cause is: kind, entry, and the field or what became of it."""
    last = cause["field"] if cause["what"] in DETAIL else cause["what"]
    text = " ".join(each for each in (cause["kind"], cause["entry"], last) if each)
    return show_hidden(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")


def source_words(cause: Mapping[str, Any]) -> str:
    """Who says so, and the file."""
    old, new = cause["old_source"], cause["new_source"]
    source = f"{old} → {new}" if old and new and old != new else new or old
    return show_hidden("; ".join(each for each in (source, cause["file"]) if each)) or UNKNOWN


def values_words(old: str | None, new: str | None) -> str:
    """From what to what.

    >>> values_words("3350000000000.0", "3e12"), values_words("a", "b")
    ('3.35e+12 → 3e+12', 'a → b')
    """
    return value_words(old) if old and old == new else f"{value_words(old)} → {value_words(new)}"


def value_words(text: str | None) -> str:
    """A value as text: a number short, anything long cut."""
    if not text:
        return UNKNOWN
    try:
        value = float(text)
    except ValueError:
        return show_hidden(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")
    return f"{value:.4g}" if abs(value) >= TOO_LONG else figure(int(value) if value.is_integer() else value, 4)


TOO_LONG = 1e9
"""From here on a number is written with its power of ten."""


def subject(effect: Mapping[str, Any]) -> str:
    """What an effect is about."""
    return show_hidden(", ".join(effect[name] for name in ("model", "accelerator", "workload") if effect[name]))


def flip_row(effect: Mapping[str, Any], say: Words) -> list[str]:
    """An answer that flipped."""
    ratio = effect["ratio"]
    cost = effect["question"].startswith("cheapest") and ratio is not None
    tail = f" ({figure(effect['old_value'])} → {figure(effect['new_value'])} USD, {TIMES}{ratio:.3g})" if cost else ""
    what = say.value("question", effect["question"])
    return [because(effect, say), subject(effect), what, values_words(effect["old"], effect["new"]) + tail]


def moved_row(effect: Mapping[str, Any], say: Words) -> list[str]:
    """Plans that came or went."""
    name = effect["new"] or effect["old"]
    of = show_hidden(f"{effect['question']} {name}") if name else subject(effect)
    what = say.value("question", effect["effect"])
    return [because(effect, say), of, what, f"{figure(effect['rows'])} {effect['table']}"]


def change_row(effect: Mapping[str, Any], say: Words) -> list[str]:
    """A column that changed: in how many rows, how far, and where it moved most."""
    low, high = effect["ratio_min"], effect["ratio_max"]
    span = "" if low is None else f" · {TIMES}{low:.3g} … {TIMES}{high:.3g}"
    what = f"{say.value('question', effect['question'])} ({figure(effect['rows'])}{span})"
    old, new = (effect[f"{side}_value"] for side in ("old", "new"))
    known = old is not None and new is not None
    values = f"{figure(old, 4)} → {figure(new, 4)}" if known else values_words(effect["old"], effect["new"])
    return [because(effect, say), subject(effect), what, values]


def because(effect: Mapping[str, Any], say: Words) -> str:
    """The numbers of the causes behind an effect."""
    numbers = [str(each) for each in effect["causes"]]
    more = ["…"] if len(numbers) > MOST_CAUSES else []
    return " + ".join([*numbers[:MOST_CAUSES], *more]) or say("changes.unexplained")


MOST_CAUSES = 5
