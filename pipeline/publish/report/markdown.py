"""The report as Markdown: for a terminal, a chat, a pull request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from polars import col

from pipeline.publish.report import tables
from pipeline.publish.report.plans import CASE
from pipeline.publish.report.tables import Table, number, seconds, usd
from pipeline.publish.words import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from pipeline.publish.report.changes import Changes
    from pipeline.publish.report.data import PageData
    from pipeline.publish.words import Words

MOST_MODELS = 15
MOST_CHANGES = 12


def markdown(data: PageData, changes: Changes, errors: pl.DataFrame, say: Words) -> str:
    """The report's text."""
    said = data.said
    market = say.value("value", said.manifest["grid"].get("market"))
    parts = [
        f"# {say('page.heading')}",
        escaped(say("page.subtitle", as_of=said.as_of, market=market, run=visible(said.manifest["run"]))),
        *changed(changes, say),
        heading(say("headline.heading")),
        "\n".join(
            f"* **{each.number}** {escaped(each.words)} ({escaped(each.of)})" for each in tables.tiles(said, say)
        ),
    ]
    if fleets := tables.fleets_table(said, say):
        parts += [heading(fleets.title), escaped(say("fleets.note")), lines(fleets)]
    parts += [*by_workload(data, say), heading(say("accuracy.heading")), escaped(tables.accuracy_note(errors, say))]
    if errors.height:
        parts.append(lines(tables.accuracy_table(errors, say)))
    parts += [heading(say("ages.heading")), escaped(tables.assumed(said, say))]
    parts += [lines(tables.prices_table(said, say)), lines(tables.facts_table(said, say))]
    parts += ["---", escaped(say("page.estimates_note"))]
    return "\n\n".join(parts) + "\n"


def heading(text: str) -> str:
    """A heading of the second level."""
    return f"## {escaped(text)}"


def changed(changes: Changes, say: Words) -> Iterator[str]:
    """What changed, long tables cut."""
    yield heading(say("changes.heading"))
    yield escaped(changes.headline)
    for table in changes.tables:
        yield f"### {escaped(table.title)}"
        rest = table.count - MOST_CHANGES
        yield lines(Table(table.title, table.head, table.rows[:MOST_CHANGES], table.numeric))
        if rest > 0:
            yield escaped(say("changes.more", count=number(rest)))


def by_workload(data: PageData, say: Words) -> Iterator[str]:
    """Of the first workload: what fits, and what it costs; the page has the others."""
    if data.workloads.is_empty():
        return
    workload = data.workloads.row(0, named=True)
    name = visible(workload["workload"])
    yield heading(f"{say('map.heading')} ({name})")
    yield escaped(
        say(
            "controls.workload_is",
            prompt=number(workload["prompt_tokens"]),
            output=number(workload["output_tokens"]),
            ttft=seconds(workload["ttft_slo_s"]),
            tpot=seconds(workload["tpot_slo_s"]),
        )
    )
    yield escaped(say("map.caption"))
    yield lines(heat_map(data, workload["workload"], say))
    yield heading(f"{say('charts.cost')} ({name})")
    yield escaped(f"{say('controls.best')} {say('charts.cost_note')}")
    yield lines(costs(data, workload["workload"], say))


def heat_map(data: PageData, workload: str, say: Words) -> Table:
    """The largest batch of the first models on each accelerator, on as few devices as hold a sequence."""
    names = data.said.models["model"].head(MOST_MODELS).to_list()
    heat = data.heat.filter(col("workload") == workload, col("model").is_in(names))
    by_devices = heat.group_by("model", "accelerator", "device_count").agg(col("batch_max").max()).sort("device_count")
    fewest = by_devices.filter(col("batch_max") > 0).unique(["model", "accelerator"], keep="first", maintain_order=True)
    cells = {(row[0], row[1]): say("map.no_fit") for row in by_devices.iter_rows()}
    for model, accelerator, devices, batch in fewest.iter_rows():
        cells[model, accelerator] = number(batch) + (f" {tables.TIMES}{devices}" if devices > 1 else "")
    accelerators = data.accelerators["accelerator"].to_list()
    models = [model for model in data.mapped["model"] if model in names]
    rows = [
        [visible(model), *(cells.get((model, each), say("map.absent")) for each in accelerators)] for model in models
    ]
    head = [say("map.models"), *map(visible, accelerators)]
    return Table(say("map.heading"), head, rows, tuple(range(1, len(head))))


def costs(data: PageData, workload: str, say: Words) -> Table:
    """The cheapest plan within the objectives of each detailed model."""
    plans = data.plans.filter(col("workload") == workload, "meets", col("usd").is_not_null())
    best = plans.sort("usd", "device_count", *CASE).unique("model", keep="first", maintain_order=True)
    rows = [
        [
            visible(row["model"]), visible(row["accelerator"]), tables.plan(row), usd(row["usd"]),
            usd(row["usd_lo"]) + tables.BETWEEN + usd(row["usd_hi"]), number(row["ttft_ms"]), number(row["tpot_ms"]),
            number(row["batch"]), say.value("value", row["confidence"]),
        ]
        for row in best.iter_rows(named=True)
    ]  # fmt: skip
    keys = ("table.model", "table.accelerator", "fleets.plan", "table.usd", "table.interval", "table.ttft_ms",
            "table.tpot_ms", "table.batch", "table.confidence")  # fmt: skip
    return Table(say("charts.cost"), [say(key) for key in keys], rows, (3, 5, 6, 7))


def lines(table: Table) -> str:
    """A table of GitHub's Markdown."""
    rule = ["---:" if at in table.numeric else "---" for at, _ in enumerate(table.head)]
    head, *body = [[escaped(each, in_table=True) for each in row] for row in (table.head, *table.rows)]
    rows = [head, rule, *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def escaped(text: str, *, in_table: bool = False) -> str:
    r"""A text that Markdown shows as it is: no markup, no HTML, no end of a cell, no name that is called.

    >>> escaped("a|b <img> *x* my_model -> @me", in_table=True)
    'a\\|b &lt;img> \\*x\\* my_model -> &#64;me'
    >>> escaped("# |x|")
    '\\# |x|'
    """
    plain = text.replace("&", "&amp;").replace("<", "&lt;")
    plain = re.sub(r"(?<![A-Za-z0-9])@", "&#64;", plain)  # engine@version calls nobody
    own = r"\|" if in_table else r"^[#>+-]"
    marked = re.sub(rf"[\\*\[\]~`]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|{own}", r"\\\g<0>", plain)
    return re.sub(r"\s+", " ", marked)
