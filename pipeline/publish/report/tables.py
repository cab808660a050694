"""The report's tables as texts, the same for the page and for Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polars import col

from pipeline.publish.report.numbers import OLD_DAYS
from pipeline.publish.words import show_hidden

if TYPE_CHECKING:
    import polars as pl

    from pipeline.publish.report.numbers import Overview
    from pipeline.publish.words import Words

DASH = chr(0x2013)
UNKNOWN, BETWEEN, TIMES = DASH, f" {DASH} ", chr(0xD7)
"""Signs of numbers: unknown, an interval, a multiple."""


@dataclass(frozen=True)
class Table:
    """Rows of texts under a head; `numeric` columns stand to the right."""

    title: str
    head: list[str]
    rows: list[list[str]]
    numeric: tuple[int, ...] = ()
    count: int = 0
    more: str = ""


@dataclass(frozen=True)
class Tile:
    """One number of the headline, and what it is."""

    number: str
    words: str
    of: str


def figure(value: Any, digits: int = 3) -> str:
    """A number for people: thousands parted, so many digits that count, none lost before the point.

    >>> figure(1234567), figure(0.05461), figure(1234.5), figure(12.0), figure(0.3), figure(None) == UNKNOWN
    ('1,234,567', '0.0546', '1,234', '12', '0.3', True)
    """
    if value is None:
        return UNKNOWN
    if isinstance(value, int) or abs(value) >= 10**digits:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def usd(value: float | None) -> str:
    """An amount of US dollars.

    >>> usd(0.5461), usd(40177.5), usd(2.5)
    ('$0.546', '$40,178', '$2.50')
    """
    if value is None:
        return UNKNOWN
    return f"${value:,.0f}" if value >= 100 else f"${value:.2f}" if value >= 1 else f"${value:.3g}"  # noqa: PLR2004


def percent(value: float | None, *, signed: bool = False) -> str:
    """A share in per cent.

    >>> percent(0.853), percent(-0.0183, signed=True), percent(0.0004), percent(1.0)
    ('85 %', '-1.8 %', '0.04 %', '100 %')
    """
    if value is None:
        return UNKNOWN
    shown = 100 * value
    digits = 0 if abs(shown) >= 10 or shown == round(shown) else 1 if abs(shown) >= 1 else 2  # noqa: PLR2004
    return f"{shown:{'+' if signed else ''}.{digits}f} %"


def seconds(value: float | None) -> str:
    """A time, in milliseconds below a second.

    >>> seconds(0.05), seconds(1.0), seconds(12.34)
    ('50 ms', '1 s', '12.3 s')
    """
    if value is None:
        return UNKNOWN
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"


def tiles(said: Overview, say: Words) -> list[Tile]:
    """The headline numbers."""
    counts, plans = said.counts, said.manifest["plans"]
    dropped = sum(plans["dropped"].values())
    estimates, held_ratio = said.manifest["rows"]["estimates"], counts["pairs_held"] / max(counts["pairs"], 1)
    pairs = {name: figure(counts[of]) for name, of in (("held", "pairs_held"), ("pairs", "pairs"))}
    return [
        tile(say, "estimates", figure(estimates), plans=figure(plans["kept"]), dropped=figure(dropped)),
        tile(say, "models", figure(said.models.height), accelerators=said.accelerators.height),
        tile(say, "pairs", percent(held_ratio), **pairs),
        tile(say, "slo", percent(counts["slo_ratio"])),
        *money_tiles(said, say),
    ]


def tile(say: Words, key: str, number: str, **of: object) -> Tile:
    """A number with the words of its key."""
    return Tile(number, say(f"headline.{key}"), say(f"headline.{key}_of", **of))


def money_tiles(said: Overview, say: Words) -> list[Tile]:
    """What the demands cost, and how old the oldest price is; neither where there is none."""
    made = []
    priced = said.fleets.filter(col("usd_per_month").is_not_null()) if said.fleets.height else said.fleets
    if priced.height:
        total = usd(float(priced["usd_per_month"].sum()))
        made.append(tile(say, "fleets", total, count=priced.height))
    dated = said.accelerators.filter(col("age_days").is_not_null()).sort("age_days", "accelerator")
    if dated.height:
        oldest = dated.row(-1, named=True)
        of = {"accelerator": show_hidden(oldest["accelerator"]), "date": oldest["price_date"]}
        made.append(tile(say, "price_age", figure(oldest["age_days"]), **of))
    return made


def assumed_words(said: Overview, say: Words) -> str:
    """How much rests on assumptions."""
    counts = {"assumed": int(said.facts["assumed"].sum()), "facts": int(said.facts["facts"].sum())}
    share = percent(counts["assumed"] / max(counts["facts"], 1))
    return say("ages.note", share=share, **{name: figure(count) for name, count in counts.items()})


def fleets_table(said: Overview, say: Words) -> Table | None:
    """The cheapest fleet of each demand."""
    keys = ("demand", "objective", "accelerator", "plan", "replicas", "devices", "per_month", "per_mtok", "utilisation")
    rows = [
        [
            show_hidden(f"{row['model']}, {row['workload']}, {figure(row['demand_requests_per_s'])}/s"),
            f"{seconds(row['ttft_slo_s'])} / {seconds(row['tpot_slo_s'])}",
            *(show_hidden(row["accelerator"]), plan(row)),
            *(figure(row[name]) for name in ("replicas", "devices")),
            *(usd(row[name]) for name in ("usd_per_month", "usd_per_mtok_output")),
            percent(row["utilisation_ratio"]),
        ]
        for row in said.fleets.iter_rows(named=True)
    ]
    head = [say(f"fleets.{key}") for key in keys]
    return Table(say("fleets.heading"), head, rows, (4, 5, 6, 7, 8)) if rows else None


def plan(row: dict[str, Any]) -> str:
    """How a replica runs: devices, formats, engine."""
    split = [f"{name} {row[name]}" for name in ("pp", "ep", "dp") if row[name] > 1]
    return show_hidden(
        ", ".join([f"{TIMES}{row['device_count']}", row["weights"], f"KV {row['kv']}", row["engine"], *split])
    )


def accuracy_table(errors: pl.DataFrame, say: Words) -> Table:
    """Predicted against measured."""
    rows = [
        [
            say.value("quantity", row["quantity"]) if row["quantity"] else say("accuracy.all"),
            show_hidden(row["engine"] or ""),
            figure(row["n"]),
            *(percent(row[name]) for name in ("median_ape", "p90_ape")),
            percent(row["median_signed"], signed=True),
            percent(row["coverage_80"]),
        ]
        for row in errors.iter_rows(named=True)
    ]
    keys = ("quantity", "engine", "rows", "median", "p90", "signed", "band")
    return Table(say("accuracy.heading"), [say(f"accuracy.{key}") for key in keys], rows, (2, 3, 4, 5, 6))


def accuracy_note(errors: pl.DataFrame, say: Words) -> str:
    """What the accuracy table is made of."""
    if errors.is_empty():
        return say("accuracy.none")
    whole = errors.row(-1, named=True)
    return say("accuracy.note", rows=figure(whole["n"]), answered=figure(whole["answered"]))


def prices_table(said: Overview, say: Words) -> Table:
    """Prices in use and their ages."""
    keys = ("accelerator", "per_hour", "cloud", "date", "age")
    rows = [
        [
            show_hidden(row["accelerator"]),
            usd(row["usd_per_hour"]),
            show_hidden(row["price_cloud"] or say("ages.no_price")),
            str(row["price_date"] or UNKNOWN),
            figure(row["age_days"]) + (f" ({say('ages.old')})" if (row["age_days"] or 0) >= OLD_DAYS else ""),
        ]
        for row in said.accelerators.iter_rows(named=True)
    ]
    return Table(say("ages.prices"), [say(f"ages.{key}") for key in keys], rows, (1, 4))


def facts_table(said: Overview, say: Words) -> Table:
    """Facts by catalog and their ages."""
    rows = [
        [
            say.value("kind", row["kind"]),
            *(figure(row[name]) for name in ("entries", "facts", "assumed")),
            dates(row["read_first"], row["read_last"]),
            figure(row["age_days"]),
        ]
        for row in said.facts.iter_rows(named=True)
    ]
    keys = ("kind", "entries", "count", "assumed", "read", "age")
    return Table(say("ages.facts"), [say(f"ages.{key}") for key in keys], rows, (1, 2, 3, 5))


def dates(first: object, last: object) -> str:
    """A span of days, one where it is one.

    >>> dates("2026-01-01", "2026-01-01"), dates("2026-01-01", "2026-02-01")
    ('2026-01-01', '2026-01-01 … 2026-02-01')
    """
    if first is None:
        return UNKNOWN
    return str(first) if first == last else f"{first} … {last}"
