"""Tables and the picture of benchmarks/load_judge.py: errors of the closed forms of load against simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from polars import col

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

TIMES = {
    # heading: closed form, simulated
    "TTFT mean": ("ttft_loaded_s", "seen_ttft_s_mean"),
    "TTFT p50": ("ttft_p50_s", "seen_ttft_s_p50"),
    "TTFT p95": ("ttft_p95_s", "seen_ttft_s_p95"),
    "TTFT p99": ("ttft_p99_s", "seen_ttft_s_p99"),
    "TPOT mean": ("tpot_loaded_s", "seen_tpot_s_mean"),
    "TPOT p95": ("tpot_p95_s", "seen_tpot_s_p95"),
    "TPOT p99": ("tpot_p99_s", "seen_tpot_s_p99"),
    "E2E mean": ("e2e_loaded_s", "seen_e2e_s_mean"),
    "E2E p95": ("e2e_p95_s", "seen_e2e_s_p95"),
}
RATES = {
    "closed form, as it is": "bold_per_s",
    "closed form, below the load at which places decide": "closed_per_s",
    "0.7 of the largest throughput": "share_per_s",
    "Erlang C and Kimura over places, with our own full replica": "kimura_per_s",
    "vllm-sr-sim's functions": "srsim_per_s",
}
SMALLEST_RATE = 0.02
DRAWN = 180
"""Points of each panel."""


def line(cells: Iterable[object]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def header(cells: Sequence[str]) -> Iterator[str]:
    """The first two lines of a Markdown table."""
    yield line(cells)
    yield "|" + "---|" * len(cells)


def error(closed: str, seen: str) -> pl.Expr:
    """How far off a closed form is."""
    return (col(closed) / col(seen) - 1).abs()


def told(rows: pl.DataFrame, closed: str, seen: str) -> str:
    """Median and 90th percentile of errors, in per cent."""
    wrong = rows.select(error(closed, seen).alias("e")).filter(col("e").is_finite())["e"]
    return f"{100 * wrong.median():.0f} / {100 * wrong.quantile(0.9):.0f}" if len(wrong) else ""


SCHEDULERS = {"mixed": ~col("prefills_first"), "prompts first": col("prefills_first")}


def by_burst(rows: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Rows by scheduler and burstiness, with what they are called."""
    for name, kind in SCHEDULERS.items():
        for burst in rows["burst"].unique().sort():
            yield f"{name}, CV {burst:g}", rows.filter(kind, burst=burst)


def latencies(rows: pl.DataFrame) -> Iterator[str]:
    """Errors of times where the closed forms answer, by scheduler and burstiness, then by load and limit."""
    stable = rows.filter(load_verdict="stable")
    yield from header(["cases", "n", *TIMES])
    slices = [*by_burst(stable)]
    slices += [(f"load {load:g}", stable.filter(load=load)) for load in rows["load"].unique().sort()]
    slices += [(f"limit: {limit}", stable.filter(limit=limit)) for limit in rows["limit"].unique(maintain_order=True)]
    slices += [
        ("lengths " + ("lognormal" if spread else "constant"), stable.filter(spread=spread)) for spread in (0, 1)
    ]
    for name, part in slices:
        if part.height:
            yield line([name, part.height, *(told(part, *pair) for pair in TIMES.values())])


def queueing(rows: pl.DataFrame) -> Iterator[str]:
    """Errors where places or cache decide: what is told, times of tokens, and what is not, times to the first one."""
    part = rows.filter(load_verdict="queueing", grows=False)
    yield from header(["cases", "n", *(name for name in TIMES if name[:4] != "TTFT")])
    for name, each in by_burst(part):
        if each.height:
            yield line([name, each.height, *(told(each, *pair) for n, pair in TIMES.items() if n[:4] != "TTFT")])


def verdicts(rows: pl.DataFrame) -> Iterator[str]:
    """How often each verdict falls, by load, and whether the simulated queue grows."""
    yield from header(["load", "cases", "stable", "queueing", "unstable", "simulated queue grows", "of these flagged"])
    for load in rows["load"].unique().sort():
        part = rows.filter(load=load)
        counts = [part.filter(load_verdict=each).height for each in ("stable", "queueing", "unstable")]
        grown = part.filter("grows")
        flagged = grown.filter(col("load_verdict") != "stable").height
        yield line([f"{load:g}", part.height, *counts, grown.height, f"{flagged} of {grown.height}"])


def feasible(rates: pl.DataFrame) -> pl.DataFrame:
    """Cases in which some rate meets the objective."""
    return rates.filter(col("seen_per_s") > SMALLEST_RATE * col("arrivals_max_per_s"))


def largest(rates: pl.DataFrame) -> Iterator[str]:
    """Errors of the largest rate within the objective, by burstiness, for every way to answer."""
    bursts = rates["burst"].unique().sort().to_list()
    kinds = [rates, rates.filter(limit="none")]
    yield from header(["way", *(f"CV {burst:g}{which}" for which in ("", ", no limit") for burst in bursts)])
    for name, column in {**RATES, "simulation, other requests": "seen_again_per_s"}.items():
        if rates[column].is_finite().any():
            parts = [kind.filter(burst=burst) for kind in kinds for burst in bursts]
            yield line([name, *(told(part, column, "seen_per_s") for part in parts)])


def largest_by_kind(rates: pl.DataFrame) -> Iterator[str]:
    """The closed form's largest rate by scheduler, limit, and share of the largest throughput; and what is safe."""
    column = "bold_per_s"
    yield from header(
        ["cases", "n", "as it is", "too high by more than 5 %", "x 0.9 holds", "x 0.85 holds", "x 0.8 holds"]
    )
    ratio = col(column) / col("arrivals_max_per_s")
    slices = [(name, rates.filter(kind)) for name, kind in SCHEDULERS.items()]
    slices += [(f"limit: {limit}", rates.filter(limit=limit)) for limit in rates["limit"].unique(maintain_order=True)]
    slices += [(f"CV {burst:g}", rates.filter(burst=burst)) for burst in rates["burst"].unique().sort()]
    edges = [(0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0)]
    slices += [(f"{a:g} to {b:g} of the largest throughput", rates.filter(ratio.is_between(a, b))) for a, b in edges]
    for name, part in slices:
        if part.height:
            over = part.select(col(column) / col("seen_per_s")).to_series()
            holds = [f"{100 * (over * safe <= 1.0).mean():.0f} %" for safe in (0.9, 0.85, 0.8)]
            high = f"{100 * (over > 1.05).mean():.0f} %"  # noqa: PLR2004
            yield line([name, part.height, told(part, column, "seen_per_s"), high, *holds])


def picture(rows: pl.DataFrame, rates: pl.DataFrame, path: Path) -> None:
    """Closed form against simulation: p95 of both times, and the largest rate."""
    import altair as alt  # noqa: PLC0415 (an extra)

    stable = rows.filter(load_verdict="stable")
    panels = []
    chosen = [
        ("TTFT p95 [s]", stable, *TIMES["TTFT p95"]),
        ("TPOT p95 [s]", stable, *TIMES["TPOT p95"]),
        ("largest rate [1/s]", rates, "bold_per_s", "seen_per_s"),
    ]
    for title, frame, closed, seen in chosen:
        points = frame.select(
            simulated=col(seen), closed=col(closed), bursts=pl.format("CV {}", col("burst").cast(int))
        ).filter(col("simulated") > 0, col("closed") > 0)
        points = points.sample(min(DRAWN, points.height), seed=1).with_columns(pl.col(pl.Float64).round_sig_figs(3))
        span = pl.concat([points["simulated"], points["closed"]])
        ends = [span.min(), span.max()]
        scale = alt.Scale(type="log", domain=ends, nice=False)
        axis = alt.Axis(grid=False, labelOverlap="greedy", labelSeparation=8)
        dots = alt.Chart(points).mark_point(size=14, opacity=0.6).encode(
            x=alt.X("simulated", scale=scale, axis=axis, title=f"simulated {title}"),
            y=alt.Y("closed", scale=scale, axis=axis, title=f"closed form {title}"),
            color=alt.Color("bursts", title="arrivals"),
        )  # fmt: skip
        even = alt.Chart(pl.DataFrame({"simulated": ends, "closed": ends})).mark_line(color="grey", strokeWidth=1)
        panels.append((even.encode(x="simulated", y="closed") + dots).properties(width=250, height=250))
    alt.hconcat(*panels).save(str(path))
