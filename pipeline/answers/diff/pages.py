"""A difference on a page: a text for a terminal, Markdown that fits a comment on a pull request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
from polars import col

from pipeline.answers.diff.words import (
    CAPACITY,
    COST,
    LISTS,
    MOVED,
    QUESTIONS,
    cause_numbers,
    cause_phrase,
    clean,
    effect_subject,
    effects_phrase,
    many,
    ratio_of,
    side_phrase,
    source_phrase,
    values_phrase,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


def text_page(headline: str, runs: tuple[str, str], causes: pl.DataFrame, effects: pl.DataFrame, top: int) -> str:
    """Headline, then each cause or group of causes with what it did."""
    lines = [clean(headline), f"{clean(runs[0])} -> {clean(runs[1])}"]
    for each in causes.head(top).iter_rows(named=True):
        said = "; ".join(part for part in (values_phrase(each), source_phrase(each)) if part)
        lines += ["", clean(f"{each['cause']}  {cause_phrase(each)}: {said}")]
        lines += [f"   {line}" for line in done_by(effects, [each["cause"]], top)] or ["   no effect alone"]
    lines += [f"and {causes.height - top:,} causes more"] if causes.height > top else []
    for group in shared_causes(effects).head(top)["causes"].to_list():
        lines += ["", f"{cause_numbers(group)}" + (" together" if group else "")]
        lines += [f"   {line}" for line in done_by(effects, group, top)]
    return "\n".join(lines)


def shared_causes(effects: pl.DataFrame) -> pl.DataFrame:
    """The groups of causes that something is attributed to together, and none; those with flips first."""
    several = effects.filter(col("causes").list.len() != 1)
    counts = several.group_by("causes", maintain_order=True).agg(flips=(col("effect") == "flip").sum(), rows=pl.len())
    return counts.sort("flips", "rows", descending=True, maintain_order=True)


def done_by(effects: pl.DataFrame, causes: list[int], top: int) -> Iterator[str]:
    """What one group of causes did, a line each; long lists cut."""
    of_group = effects.filter(col("causes") == pl.lit(causes, pl.List(pl.Int64)))
    for section in effect_lists(of_group.with_columns(causes=pl.lit([1]))):
        most = top if section.cells is flip_cells else max(top // 2, 1)
        for each in section.rows.head(most).iter_rows(named=True):
            _, about, what, values = (clean(cell.replace("`", "")) for cell in section.cells(each))
            yield f"{what}: {about}: {values}"
        if section.rows.height > most:
            yield f"and {section.rows.height - most:,} more: {section.title.lower()}"


# ----- Markdown


def markdown_page(headline: str, runs: tuple[str, str], causes: pl.DataFrame, effects: pl.DataFrame, top: int) -> str:
    """Headline, then causes, then effects."""
    parts = [f"**{escape_sentence(headline)}**", f"{code_span(runs[0])} -> {code_span(runs[1])}"]
    if causes.height:
        rows = [cause_cells(each) for each in causes.head(top).iter_rows(named=True)]
        parts.append(markdown_grid(("#", "cause", "old -> new", "source, file", "effects"), rows, causes.height - top))
    for section in effect_lists(effects):
        most = top if section.cells is flip_cells else max(top // 2, 1)
        rows = [section.cells(each) for each in section.rows.head(most).iter_rows(named=True)]
        if rows:
            header = ("because", section.about, "what", "old -> new")
            parts.append(f"**{section.title}**\n\n{markdown_grid(header, rows, section.rows.height - most)}")
    return "\n\n".join(parts)


@dataclass(frozen=True)
class Section:
    """A list of effects: its title, its rows, what the second column is, and how a row is told."""

    title: str
    rows: pl.DataFrame
    about: str
    cells: Callable[[Mapping[str, Any]], tuple[str, ...]]


def effect_lists(effects: pl.DataFrame) -> Iterator[Section]:
    """The lists of effects, in order."""
    flips = effects.filter(effect="flip")
    yield Section(f"{many(flips.height, 'answer')} flipped", flips, "of", flip_cells)
    yield Section("Came and went", effects.filter(col("effect").is_in(["added", "gone"])), "of", turnover_cells)
    changes = effects.filter(effect="change")
    plans = changes.filter(col("table") != "estimates")
    for title, columns in LISTS.items():
        listed = farthest_rows(plans.filter(col("question").is_in(columns)))
        yield Section(title, listed.sort(place_in(columns), maintain_order=True), "most in", change_cells)
    shown = pl.concat([flips, plans.filter(col("question").is_in([*COST, *CAPACITY]))])
    rest = changes.join(shown, on="causes", how="anti", maintain_order="left")
    yield Section("Other columns", farthest_rows(rest), "most in", change_cells)
    yield Section("Unexplained", effects.filter(col("causes").list.len() == 0), "of", change_cells)


def place_in(columns: tuple[str, ...]) -> pl.Expr:
    """The place of a column in a list: the first are what people look at first."""
    return col("question").replace_strict({name: place for place, name in enumerate(columns)}, return_dtype=pl.Int64)


def farthest_rows(changes: pl.DataFrame) -> pl.DataFrame:
    """One line for each column and its causes: how many plans, between which ratios, and where it moved most."""
    if changes.is_empty():
        return changes
    by = ["table", "question", "causes"]
    spans = (col("rows").sum(), col("ratio_min").min(), col("ratio_max").max())
    return changes.with_columns(each.over(by) for each in spans).unique(by, keep="first", maintain_order=True)


def cause_cells(cause: Mapping[str, Any]) -> tuple[str, ...]:
    """A cause as cells."""
    phrases = (cause_phrase(cause), values_phrase(cause), source_phrase(cause))
    return (str(cause["cause"]), *map(code_span, phrases), effects_phrase(cause))


def flip_cells(effect: Mapping[str, Any]) -> tuple[str, ...]:
    """A flipped answer as cells; where it is not plain, whether the old or the new one moved."""
    via = f" ({MOVED[effect['via']]})" if effect["via"] and effect["old"] and effect["new"] else ""
    what = QUESTIONS.get(effect["question"], effect["question"])
    values = f"{side_phrase(effect, 'old')} -> {side_phrase(effect, 'new')}{ratio_of(effect)}"
    return cause_numbers(effect["causes"]) + via, code_span(effect_subject(effect)), what, code_span(values)


def turnover_cells(effect: Mapping[str, Any]) -> tuple[str, ...]:
    """What came or went as cells."""
    name = effect["new"] or effect["old"]
    of = f"{effect['question']} {name}" if name else effect_subject(effect) or "plans"
    rows = f"{many(effect['rows'], 'row')} of {effect['table']}"
    return cause_numbers(effect["causes"]), code_span(of), effect["effect"], rows


def change_cells(effect: Mapping[str, Any]) -> tuple[str, ...]:
    """A changed column as cells: how many, how far, and the farthest."""
    table = "" if effect["table"] == "capacity" else f" of {effect['table']}"
    what = f"{effect['question']}{table}: {many(effect['rows'] or 0, 'row')}{span_of(effect)}"
    values = f"{side_phrase(effect, 'old')} -> {side_phrase(effect, 'new')}"
    return cause_numbers(effect["causes"]), code_span(effect_subject(effect)), what, code_span(values)


def span_of(effect: Mapping[str, Any]) -> str:
    """Between which ratios a column changed."""
    least, most = (None if effect[name] is None else f"x{effect[name]:.3g}" for name in ("ratio_min", "ratio_max"))
    return "" if least is None else f", {least}" if least == most else f", {least} to {most}"


def code_span(text: str) -> str:
    r"""A text that others wrote as a code span: nothing in it is read as Markdown, HTML, or the name of a person.

    >>> code_span("a|b`<i>"), code_span("")
    ("`a\\|b'<i>`", '-')
    """
    said = clean(text).replace("`", "'").replace("|", "\\|")
    return f"`{said}`" if said else "-"


def escape_sentence(text: str) -> str:
    """A sentence with names in it, so that none is read as Markdown, HTML, or the name of a person."""
    marks = str.maketrans(
        {each: f"\\{each}" for each in "\\`*[]|~"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;", "@": "&#64;"}
    )
    return clean(text).translate(marks).replace("-&gt;", "->")


def markdown_grid(header: tuple[str, ...], rows: list[tuple[str, ...]], more: int) -> str:
    """A Markdown table, and how many rows it leaves out."""
    lines = [header, ("---",) * len(header), *rows]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{text}\n\nand {more:,} more" if more > 0 else text
