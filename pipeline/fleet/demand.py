"""From traffic to the numbers that size a fleet: mean, busiest hour, the rate to plan for, the hours of a week.

A row of traffic has TRAFFIC's columns. It comes from the catalogs (`of_catalogs`), from a rate given by hand
(`by_hand`) or from a trace (`of_trace`).
"""

from __future__ import annotations

from math import exp, isfinite, log, sqrt
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import polars as pl
from polars import Expr, col

from pipeline.core.errors import CatalogError, UsageError
from pipeline.fleet.trace import lag_margin_ratio, read_trace, seen_per_s, span_s, statistics_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.facts.catalog import Catalogs

HOUR_S, DAY_S = 3600.0, 86_400.0
HOURS, DAYS = 24, 7
EVEN_DAY, EVEN_WEEK = [1.0] * HOURS, [1.0] * DAYS
SHARE = 0.95
"""Share of requests that see the planned rate or less. Source: study of load, section 5."""
WINDOW_S = 5.0
"""Windows in which they see it: longer ones came out short in replays. Source: study of load, section 5."""
LAG_S = 600.0
"""From the decision to start a replica until it serves, where a trace is asked for its lag margin."""
PEAK_FACTOR_RATIO = 1.6
"""Where only a mean is known: between 1.1-1.7 (conversation) and 8-10 (one service's code completion).
Source: study of load, section 5; the choice is an assumption, and `plan_note` says so."""
LENGTH_CV = 1.0
"""Spread of lengths where none is stated. Source: assumption; the traces have 0.7-3."""
MOST_MONTHS = 240

TEXT, WHOLE, REAL, REALS = pl.String(), pl.Int64(), pl.Float64(), pl.List(pl.Float64())
TRAFFIC: Mapping[str, pl.DataType] = (
    {"traffic": TEXT, "workload": TEXT, "requests_per_s": REAL, "arrival_cv": REAL, "prompt_tokens": WHOLE}
    | {"prompt_cv": REAL, "output_tokens": WHOLE, "output_cv": REAL, "ttft_slo_s": REAL, "tpot_slo_s": REAL}
    | {"hour_ratio": REALS, "day_ratio": REALS, "growth_per_month_ratio": REAL, "window_factor_ratio": REAL}
    | {"window_of": TEXT, "lag_margin_ratio": REAL, "window_note": TEXT}
)
"""`window_factor_ratio` is the rate to plan for over the mean of `window_of`: an "hour", or the whole "trace"."""


# ----- where traffic comes from


def of_catalogs(catalogs: Catalogs, names: Sequence[str], share: float = SHARE) -> pl.DataFrame:
    """Entries of the traffic catalog, with the lengths and objectives of their workloads.

    What an entry leaves out comes from its trace, where it names one: the peak factor always does.

    Args:
        catalogs: facts.
        names: ids or aliases.
        share: share of the requests that the planned rate is enough for.

    Raises:
        UnknownNameError: no such entry.
        CatalogError: a trace that is not there.
    """
    check_share(share)
    frame, workloads = catalogs.frames["traffic"], catalogs.frames["workload"]
    lengths = workloads.select("workload", "prompt_tokens", "output_tokens", "ttft_slo_s", "tpot_slo_s")
    ids = [catalogs.resolve("traffic", name) for name in dict.fromkeys(names)]
    rows = frame.join(lengths, on="workload", how="left", maintain_order="left").rows_by_key("traffic", named=True)
    return pl.concat([of_entry(catalogs, {"traffic": each, **rows[each][0]}, share) for each in dict.fromkeys(ids)])


def of_entry(catalogs: Catalogs, row: dict[str, Any], share: float) -> pl.DataFrame:
    """One entry, with its trace's numbers where it has one."""
    if row["trace"] is None:
        factor = at_share(row["peak_factor_ratio"], share)
        note = f"busiest hour x {factor:.3g}: the catalog's p{100 * share:.4g} of 5-s windows within an hour"
        return traffic_row(row | {"window_factor_ratio": factor, "window_of": "hour", "window_note": note})
    of_file = of_trace(read_trace(trace_path(catalogs, row["traffic"], row["trace"])), row["traffic"], share)
    stated = {name: value for name, value in row.items() if value is not None}
    return traffic_row(of_file.row(0, named=True) | stated)


def trace_path(catalogs: Catalogs, traffic: str, name: str) -> Path:
    """Where a trace that an entry names stands."""
    places = [place / "traffic" / name for place in (catalogs.beside, catalogs.folder) if place]
    if found := next((place for place in places if place.is_file()), None):
        return found
    raise CatalogError([f"traffic '{traffic}': trace = '{name}': no such file at {places[0]}"])


def by_hand(
    requests_per_s: float,
    prompt_tokens: int,
    output_tokens: int,
    *,
    peak_factor_ratio: float | None = None,
    share: float = SHARE,
    **stated: float | str,
) -> pl.DataFrame:
    """Traffic of which a mean rate is known, the same at all hours.

    Args:
        requests_per_s: mean rate.
        prompt_tokens: mean prompt length.
        output_tokens: mean output length.
        peak_factor_ratio: p95 of requests in 5-s windows over the mean; PEAK_FACTOR_RATIO where it is not
            known, and 1 where the rate is a peak already.
        share: share of the requests that the planned rate is enough for.
        stated: other columns of TRAFFIC, a name of its own in `traffic` among them.

    Raises:
        UsageError: a rate or factor that no traffic has.
    """
    check_rate(requests_per_s)
    check_share(share)
    assumed = "assumed: a mean says nothing of its peaks (chat 1.6, code of one service 10)"
    peak, why = (PEAK_FACTOR_RATIO, assumed) if peak_factor_ratio is None else (peak_factor_ratio, "as given")
    factor = at_share(peak, share)
    given_by_hand = {"traffic": "by hand", "requests_per_s": requests_per_s}
    lengths = {"prompt_tokens": prompt_tokens, "output_tokens": output_tokens}
    window = {"window_factor_ratio": factor, "window_of": "hour", "window_note": f"mean x {factor:.3g}, {why}"}
    return traffic_row({**given_by_hand, **lengths, **window, **stated})


def of_trace(trace: pl.DataFrame, name: str, share: float = SHARE) -> pl.DataFrame:
    """Traffic as a trace shows it: rates, spread, windows; hours and days where it is that long.

    Hours count from the trace's first request. A mean rate given in its place (`at_rate`) keeps the
    shape: every request is copied, and bursts grow with the rate.

    Args:
        trace: as `read_trace` gives it.
        name: what to call it.
        share: share of the requests that the planned rate is enough for.
    """
    check_share(share)
    numbers = statistics_of(trace).row(0, named=True)
    mean = numbers.pop("requests_per_s_mean")
    factor = max(seen_per_s(trace, WINDOW_S, share) / mean, 1.0)
    note = f"mean x {factor:.3g}: p{100 * share:.4g} of requests in 5-s windows of the trace"
    window = {"window_factor_ratio": factor, "window_of": "trace", "window_note": note}
    rates = {"traffic": name, "requests_per_s": mean, "lag_margin_ratio": lag_margin_ratio(trace, LAG_S)}
    return traffic_row({**numbers, **rhythm(trace), **rates, **window})


def rhythm(trace: pl.DataFrame) -> dict[str, list[float]]:
    """Hours of a trace of a day or more, days of a trace of a week or more; whole ones only."""
    start = col("arrival_s") - col("arrival_s").first()
    shapes: dict[str, list[float]] = {}
    for name, parts, part_s in (("hour_ratio", HOURS, HOUR_S), ("day_ratio", DAYS, DAY_S)):
        whole = span_s(trace) // (parts * part_s) * parts * part_s
        if whole:
            held = trace.filter(start < whole).group_by((start // part_s).cast(pl.Int64) % parts).len()
            found = dict(held.iter_rows())
            shapes[name] = [float(found.get(each, 0)) for each in range(parts)]
    return shapes


def traffic_row(said: Mapping[str, Any]) -> pl.DataFrame:
    """One row with TRAFFIC's columns; what is not said is even, does not grow, and spreads as usual."""
    spreads = {"arrival_cv": 1.0, "prompt_cv": LENGTH_CV, "output_cv": LENGTH_CV}
    usual = {**spreads, "hour_ratio": EVEN_DAY, "day_ratio": EVEN_WEEK, "growth_per_month_ratio": 0.0}
    row = {name: usual.get(name) if said.get(name) is None else said[name] for name in TRAFFIC}
    return pl.DataFrame([row], schema=dict(TRAFFIC))


def scale_to_rate(traffic: pl.DataFrame, requests_per_s: float) -> pl.DataFrame:
    """The same traffic at another mean rate; its rhythm and its bursts stay as they are."""
    check_rate(requests_per_s)
    return traffic.with_columns(requests_per_s=pl.lit(requests_per_s, pl.Float64))


def at_share(factor_ratio: float, share: float) -> float:
    """A peak factor stated for 95 % of the requests, for another share of them.

    Rates of windows are taken as lognormal with mean 1: s of the logarithm follows from the factor f as
    sqrt(z^2 + 2 ln f) - z with z = 1.645, and a request sees exp(s^2 / 2 + z(share) s) or less.

    >>> at_share(1.62, 0.95), round(at_share(1.62, 0.99), 2), at_share(1.0, 0.99)
    (1.62, 1.95, 1.0)
    """
    if not (isfinite(factor_ratio) and factor_ratio >= 1):
        raise UsageError(f"peak factor = {factor_ratio}: a number of 1 or more")
    if share == SHARE:
        return factor_ratio
    z = NormalDist().inv_cdf(SHARE)
    spread = sqrt(z * z + 2 * log(factor_ratio)) - z
    return max(exp(spread * spread / 2 + NormalDist().inv_cdf(share) * spread), 1.0)


def check_rate(requests_per_s: float) -> None:
    """A rate is above 0, and not beyond what a world sends."""
    if not 0 < requests_per_s <= 1e7:  # noqa: PLR2004
        raise UsageError(f"requests per second = {requests_per_s}: above 0, and at most 10^7")


def check_share(share: float) -> None:
    """A share of requests is at least half of them, and not all."""
    if not 0.5 <= share < 1:  # noqa: PLR2004
        raise UsageError(f"share of requests = {share}: from 0.5 to below 1; 0.95 is usual")


# ----- what it asks for


def demands(traffic: pl.DataFrame, months: float = 0.0, hours_share: float = 1.0) -> pl.DataFrame:
    """The rates that size a fleet, a row for each row of traffic.

    The planned rate is to be held against the largest rate of a replica under **Poisson** arrivals:
    bursts are in the windows already, and must not be counted twice.

    Args:
        traffic: rows with TRAFFIC's columns.
        months: months from now, of compounding growth.
        hours_share: share of a week's requests whose hour is planned for; 1 is the busiest hour. Where the
            windows are a trace's own, all of its hours are in them.

    Returns:
        `traffic`, `workload`, lengths, spreads and objectives as given; `requests_per_s_mean`;
        `requests_per_s_peak`, the busiest hour; `requests_per_s_plan`; `growth_months`; `plan_note`, how
        the plan was reached.

    Raises:
        UsageError: months or a share outside their range.
    """
    if not 0 < hours_share <= 1:
        raise UsageError(f"share of hours = {hours_share}: above 0, and at most 1")
    grown = (1 + col("growth_per_month_ratio")) ** check_months(months)
    busiest = busy_hours(traffic, hours_share)
    mean = col("requests_per_s") * grown
    base = pl.when(col("window_of") == "trace").then(mean).otherwise(mean * busiest["planned"])
    return traffic.with_columns(
        requests_per_s_mean=mean,
        requests_per_s_peak=mean * busiest["peak"],
        requests_per_s_plan=base * col("window_factor_ratio"),
        growth_months=pl.lit(months, pl.Float64),
        plan_note=plan_note(months, hours_share),
    ).drop("requests_per_s", "hour_ratio", "day_ratio", "growth_per_month_ratio", "window_of", "window_note")


def plan_note(months: float, hours_share: float) -> Expr:
    """How a plan was reached, in words."""
    covered = f"; hours with {100 * hours_share:.4g} % of a week's requests" if hours_share < 1 else ""
    in_hours = pl.when(col("window_of") == "hour").then(pl.lit(covered)).otherwise(pl.lit(""))
    growth = pl.format(f"; {months:.4g} months of growth at {{}} %", (100 * col("growth_per_month_ratio")).round(2))
    grows = pl.when((col("growth_per_month_ratio") != 0) & (months > 0)).then(growth).otherwise(pl.lit(""))
    return pl.concat_str("window_note", in_hours, grows)


def check_months(months: float) -> float:
    """Months of growth, if a plan may look that far."""
    if not 0 <= months <= MOST_MONTHS:
        raise UsageError(f"months of growth = {months}: from 0 to {MOST_MONTHS}")
    return months


def busy_hours(traffic: pl.DataFrame, hours_share: float) -> pl.DataFrame:
    """The busiest hour over the mean, and the hour up to which a share of a week's requests comes."""
    hours = hours_of(traffic).sort("row", "ratio", maintain_order=True)
    hours = hours.with_columns(share=(col("ratio").cum_sum() / col("ratio").sum()).over("row"))
    covered = col("ratio").filter(col("share") >= hours_share * (1 - 1e-12)).min()
    return hours.group_by("row").agg(peak=col("ratio").max(), planned=covered).sort("row")


def hours_of(traffic: pl.DataFrame) -> pl.DataFrame:
    """168 rows for each row of traffic: `row`, `day` (0 is Monday), `hour`, and the rate over the mean's."""
    shape = {f"{part}_of": col(f"{part}_ratio") / col(f"{part}_ratio").list.mean() for part in ("day", "hour")}
    days = traffic.select(**shape).with_row_index("row").with_columns(day=pl.int_ranges(col("day_of").list.len()))
    hours = days.explode("day_of", "day").with_columns(hour=pl.int_ranges(col("hour_of").list.len()))
    hours = hours.explode("hour_of", "hour")
    return hours.select("row", "day", "hour", ratio=col("day_of") * col("hour_of"))


def week(traffic: pl.DataFrame, months: float = 0.0) -> pl.DataFrame:
    """The 168 hours of a week: `traffic`, `day` (0 is Monday), `hour`, `requests_per_s`.

    Args:
        traffic: rows with TRAFFIC's columns.
        months: months from now, of compounding growth.
    """
    grown = col("requests_per_s") * (1 + col("growth_per_month_ratio")) ** check_months(months)
    rates = traffic.select("traffic", mean=grown).with_row_index("row")
    hours = hours_of(traffic).join(rates, on="row", maintain_order="left")
    return hours.select("traffic", "day", "hour", requests_per_s=col("mean") * col("ratio"))
