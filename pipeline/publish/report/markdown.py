"""The report as Markdown: for a terminal, a chat, a pull request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from polars import col

from pipeline.publish.report import tables
from pipeline.publish.report.plans import CASE
from pipeline.publish.report.tables import Table, figure, seconds, usd
from pipeline.publish.words import show_hidden

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from pipeline.publish.report.changes import Changes
    from pipeline.publish.report.data import PageData
    from pipeline.publish.words import Words

MOST_MODELS = 15
MOST_CHANGES = 12


def report_markdown(data: PageData, changes: Changes, errors: pl.DataFrame, say: Words) -> str:
    """The report's text."""
    said = data.said
    market = say.value("value", said.manifest["grid"].get("market"))
    parts = [
        f"# {say('page.heading')}",
        escape(say("page.subtitle", as_of=said.as_of, market=market, run=show_hidden(said.manifest["run"]))),
        *changes_parts(changes, say),
        heading(say("headline.heading")),
        "\n".join(f"* **{each.number}** {escape(each.words)} ({escape(each.of)})" for each in tables.tiles(said, say)),
    ]
    if fleets := tables.fleets_table(said, say):
        parts += [heading(fleets.title), escape(say("fleets.note")), table_lines(fleets)]
    parts += [*workload_parts(data, say), heading(say("accuracy.heading")), escape(tables.accuracy_note(errors, say))]
    if errors.height:
        parts.append(table_lines(tables.accuracy_table(errors, say)))
    parts += [heading(say("ages.heading")), escape(tables.assumed_words(said, say))]
    parts += [table_lines(tables.prices_table(said, say)), table_lines(tables.facts_table(said, say))]
    parts += ["---", escape(say("page.estimates_note"))]
    return "\n\n".join(parts) + "\n"


def heading(text: str) -> str:
    """A heading of the second level."""
    return f"## {escape(text)}"


def changes_parts(changes: Changes, say: Words) -> Iterator[str]:
    """What changed, long tables cut."""
    yield heading(say("changes.heading"))
    yield escape(changes.headline)
    for table in changes.tables:
        yield f"### {escape(table.title)}"
        rest = table.count - MOST_CHANGES
        yield table_lines(Table(table.title, table.head, table.rows[:MOST_CHANGES], table.numeric))
        if rest > 0:
            yield escape(say("changes.more", count=figure(rest)))


def workload_parts(data: PageData, say: Words) -> Iterator[str]:
    """Of the first workload: what fits, and what it costs; the page has the others."""
    if data.workloads.is_empty():
        return
    workload = data.workloads.row(0, named=True)
    name = show_hidden(workload["workload"])
    yield heading(f"{say('map.heading')} ({name})")
    yield escape(
        say(
            "controls.workload_is",
            prompt=figure(workload["prompt_tokens"]),
            output=figure(workload["output_tokens"]),
            ttft=seconds(workload["ttft_slo_s"]),
            tpot=seconds(workload["tpot_slo_s"]),
        )
    )
    yield escape(say("map.caption"))
    yield table_lines(heat_map(data, workload["workload"], say))
    yield heading(f"{say('charts.cost')} ({name})")
    yield escape(f"{say('controls.best')} {say('charts.cost_note')}")
    yield table_lines(costs(data, workload["workload"], say))


def heat_map(data: PageData, workload: str, say: Words) -> Table:
    """The largest batch of the first models on each accelerator, on as few devices as hold a sequence."""
    names = data.said.models["model"].head(MOST_MODELS).to_list()
    heat = data.heat.filter(col("workload") == workload, col("model").is_in(names))
    by_devices = heat.group_by("model", "accelerator", "device_count").agg(col("batch_max").max()).sort("device_count")
    fewest = by_devices.filter(col("batch_max") > 0).unique(["model", "accelerator"], keep="first", maintain_order=True)
    cells = {(row[0], row[1]): say("map.no_fit") for row in by_devices.iter_rows()}
    for model, accelerator, devices, batch in fewest.iter_rows():
        cells[model, accelerator] = figure(batch) + (f" {tables.TIMES}{devices}" if devices > 1 else "")
    accelerators = data.accelerators["accelerator"].to_list()
    rows = [
        [show_hidden(model), *(cells.get((model, each), say("map.absent")) for each in accelerators)]
        for model in data.mapped["model"]
        if model in names
    ]
    head = [say("map.models"), *map(show_hidden, accelerators)]
    return Table(say("map.heading"), head, rows, tuple(range(1, len(head))))


def costs(data: PageData, workload: str, say: Words) -> Table:
    """The cheapest plan within the objectives of each detailed model."""
    plans = data.plans.filter(col("workload") == workload, "meets", col("usd").is_not_null())
    best = plans.sort("usd", "device_count", *CASE).unique("model", keep="first", maintain_order=True)
    rows = [
        [
            *(show_hidden(row[name]) for name in ("model", "accelerator")),
            *(tables.plan(row), usd(row["usd"]), usd(row["usd_lo"]) + tables.BETWEEN + usd(row["usd_hi"])),
            *(figure(row[name]) for name in ("ttft_ms", "tpot_ms", "batch")),
            say.value("value", row["confidence"]),
        ]
        for row in best.iter_rows(named=True)
    ]
    keys = ("usd", "interval", "ttft_ms", "tpot_ms", "batch", "confidence")
    head = [say("table.model"), say("table.accelerator"), say("fleets.plan"), *(say(f"table.{key}") for key in keys)]
    return Table(say("charts.cost"), head, rows, (3, 5, 6, 7))


def table_lines(table: Table) -> str:
    """A table of GitHub's Markdown."""
    rule = ["---:" if at in table.numeric else "---" for at, _ in enumerate(table.head)]
    head, *body = [[escape(each, in_table=True) for each in row] for row in (table.head, *table.rows)]
    rows = [head, rule, *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def escape(text: str, *, in_table: bool = False) -> str:
    r"""A text that Markdown shows as it is: no markup, no HTML, no end of a cell, no name that is called.

    >>> escape("a|b <img> *x* my_model -> @me", in_table=True)
    'a\\|b &lt;img> \\*x\\* my_model -> &#64;me'
    >>> escape("# |x|")
    '\\# |x|'
    """
    plain = text.replace("&", "&amp;").replace("<", "&lt;")
    plain = re.sub(r"(?<![A-Za-z0-9])@", "&#64;", plain)  # engine@version calls nobody
    own = r"\|" if in_table else r"^[#>+-]"
    marked = re.sub(rf"[\\*\[\]~`]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|{own}", r"\\\g<0>", plain)
    return re.sub(r"\s+", " ", marked)
