"""Traces of requests: read from files of several makers, checked, and told in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from polars import col

from pipeline.core.errors import PipelineError, nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

ARRIVALS: Mapping[str, float | None] = {
    "arrival_s": 1.0,
    "arrival_ms": 1e-3,
    "arrived_at": 1.0,
    "timestamp_s": 1.0,
    "timestamp_ms": 1e-3,
} | dict.fromkeys(("timestamp", "arrival_time", "time"))
"""Names of the column that says when a request came, with the seconds of its unit where the name tells it."""
PROMPTS: Mapping[str, float | None] = {
    "prompt_tokens": None,
    "contexttokens": None,
    "input_length": 1e-3,
    "input_tokens": None,
} | {"num_prefill_tokens": 1.0, "request tokens": 1.0}
"""Names of the prompt's length, with the unit in which the maker of that format states `timestamp`."""
OUTPUTS = ("output_tokens", "generatedtokens", "output_length", "num_decode_tokens", "response tokens")
CALENDARS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M")
LONGEST_S = 1e9
"""Some thirty years: times further apart are wrong."""
LONGEST_TOKENS = 10**8
WIDTHS_S = (1.0, 5.0, 10.0, 30.0, 60.0)
"""Windows in which a rate is looked at. Source: study of load, section 5."""
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


# ----- reading


def read_trace(path: Path) -> pl.DataFrame:
    """The requests of a CSV, Parquet or JSON-lines file, in the order in which they came.

    Columns may be named as in the traces of Azure, Mooncake, BurstGPT and Vidur. Lines of a CSV that
    begin with # are comments. Other columns are left out.

    Returns:
        `arrival_s` from the first arrival, `prompt_tokens`, `output_tokens`.

    Raises:
        PipelineError: a file that cannot be read, a column that is missing, ambiguous or no number, a
            length below one token, fewer than two arrivals; with the file and the row.
    """
    rows = read_trace_file(path)
    names = {name.strip().casefold(): name for name in reversed(rows.columns)}
    known = {"arrival_s": ARRIVALS, "prompt_tokens": PROMPTS, "output_tokens": OUTPUTS}
    arrival, prompt, output = (find_column(path, names, of, wanted) for wanted, of in known.items())
    columns = {
        "arrival_s": arrivals(path, rows[names[arrival]], ARRIVALS[arrival] or PROMPTS[prompt]),
        "prompt_tokens": token_counts(path, rows[names[prompt]]),
        "output_tokens": token_counts(path, rows[names[output]]),
    }
    trace = pl.DataFrame(columns).sort("arrival_s", maintain_order=True)
    return check_trace(path, trace.with_columns(col("arrival_s") - col("arrival_s").first()))


def read_trace_file(path: Path) -> pl.DataFrame:
    """One file, every column of a CSV as text."""
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        if path.suffix in {".jsonl", ".ndjson"}:
            return pl.read_ndjson(path)
        return pl.read_csv(path, infer_schema=False, comment_prefix="#")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise PipelineError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error


def find_column(path: Path, names: Mapping[str, str], known: Collection[str], wanted: str) -> str:
    """The first known name of a column that a file has."""
    for name in known:
        if name in names:
            return name
    other = f"It may also be called {', '.join(name for name in known if name != wanted)}."
    raise PipelineError(
        f"{path}: has no column '{wanted}'. {nearest(wanted, names.values())} {other}".replace("  ", " ")
    )


def arrivals(path: Path, said: pl.Series, unit_s: float | None) -> pl.Series:
    """Seconds, from numbers in a unit that is known, or from dates with times."""
    if isinstance(said.dtype, pl.Datetime | pl.Date):
        return seconds_of(path, said, said)
    numbers = as_numbers(path, said)
    if numbers.head(1).is_null().any():
        return seconds_of(path, said, calendar(said.cast(pl.String)))
    if unit_s is None:
        raise PipelineError(
            f"{path}: {said.name} holds numbers: seconds or milliseconds? Name it arrival_s or arrival_ms"
        )
    refuse_rows(path, said, numbers.is_null() | ~numbers.is_finite(), "is not a time")
    return numbers * unit_s


def as_numbers(path: Path, said: pl.Series) -> pl.Series:
    """A column of numbers or of texts as numbers; nothing where a text is none."""
    if not (said.dtype.is_numeric() or said.dtype == pl.String):
        raise PipelineError(f"{path}: column '{said.name}' holds {said.dtype}, not numbers")
    text = said.str.strip_chars() if said.dtype == pl.String else said
    return text.cast(pl.Float64, strict=False)


def calendar(said: pl.Series) -> pl.Series:
    """Dates with times as ISO 8601 writes them, with or without an offset, which is then reckoned in."""
    text = said.str.strip_chars().str.replace("T", " ", literal=True).str.replace(r"(?i)z$", "+00:00")
    read = (pl.lit(text).str.to_datetime(shape, time_unit="us", strict=False) for shape in CALENDARS)
    return pl.select(pl.coalesce(each.dt.replace_time_zone(None) for each in read)).to_series()


def seconds_of(path: Path, said: pl.Series, moments: pl.Series) -> pl.Series:
    """Seconds since 1970 of moments, if every one of them is known."""
    refuse_rows(path, said, moments.is_null(), "is neither a number nor a date with a time")
    return moments.dt.epoch("us") / 1e6


def token_counts(path: Path, said: pl.Series) -> pl.Series:
    """Whole numbers of tokens, one or more; a request that failed has no place in a trace."""
    numbers = as_numbers(path, said)
    broken = numbers.is_null() | (numbers != numbers.floor()) | ~numbers.is_finite()
    refuse_rows(path, said, broken, "is not a whole number")
    outside = (numbers < 1) | (numbers > LONGEST_TOKENS)
    refuse_rows(path, said, outside, f"is not between 1 and {LONGEST_TOKENS:,}; leave failed requests out")
    return numbers.cast(pl.Int64)


def refuse_rows(path: Path, said: pl.Series, wrong: pl.Series, why: str) -> None:
    """Raise where something is wrong, with the first row of it."""
    if wrong.any():
        place = wrong.arg_true()[0]
        raise PipelineError(f"{path}: row {place + 1}: {said.name} = {str(said[place])[:80]!r} {why}")


def check_trace(path: Path, trace: pl.DataFrame) -> pl.DataFrame:
    """The trace, if a rate can be read from it."""
    span = float(trace["arrival_s"].max() or 0.0)  # type: ignore[arg-type]
    if trace.height < 2 or span <= 0:  # noqa: PLR2004
        raise PipelineError(f"{path}: a trace has two requests or more, not all at the same moment")
    if span > LONGEST_S:
        raise PipelineError(f"{path}: arrivals are {span:.3g} s apart; is the unit right?")
    return trace


# ----- numbers of a trace


def span_s(trace: pl.DataFrame) -> float:
    """From the first arrival to the last."""
    return float(trace["arrival_s"][-1] - trace["arrival_s"][0])


def statistics_of(trace: pl.DataFrame) -> pl.DataFrame:
    """What sizes a fleet of a trace, in one row.

    `tied_ratio` is the share of requests that came at the same moment as the one before: above a few
    percent the clock of the trace is coarse, and `arrival_cv` an artefact of it.

    Args:
        trace: `arrival_s`, `prompt_tokens`, `output_tokens`, in order of arrival.
    """
    gap = col("arrival_s").diff().drop_nulls()
    return trace.select(
        requests=pl.len(),
        span_s=col("arrival_s").last() - col("arrival_s").first(),
        requests_per_s_mean=(pl.len() - 1) / (col("arrival_s").last() - col("arrival_s").first()),
        arrival_cv=gap.std(ddof=0) / gap.mean(),
        tied_ratio=(gap == 0).mean(),
        prompt_tokens=col("prompt_tokens").mean().round().cast(pl.Int64),
        prompt_cv=col("prompt_tokens").std(ddof=0) / col("prompt_tokens").mean(),
        output_tokens=col("output_tokens").mean().round().cast(pl.Int64),
        output_cv=col("output_tokens").std(ddof=0) / col("output_tokens").mean(),
        length_correlation_ratio=pl.corr("prompt_tokens", "output_tokens").fill_nan(0.0),
    )


def window_counts(trace: pl.DataFrame, width_s: float) -> pl.Series:
    """Requests of every window that has any, fewest first; windows begin at the first arrival."""
    window = ((col("arrival_s") - col("arrival_s").first()) / width_s).floor().cast(pl.Int64)
    return trace.group_by(window).len()["len"].sort().cast(pl.Int64)


def seen_per_s(trace: pl.DataFrame, width_s: float, share: float) -> float:
    """The rate that a share of the requests see or less, in windows of a width.

    The busier a window, the more requests are in it: this is a percentile of requests, not of time.
    Source: study of load, section 5 (the rule that was short in none of 16 replays).
    """
    each = window_counts(trace, width_s)
    rank = each.cum_sum().search_sorted(share * trace.height * (1 - 1e-12))
    return float(each[min(int(rank), len(each) - 1)]) / min(width_s, span_s(trace))


def windows(trace: pl.DataFrame, widths_s: Sequence[float] = WIDTHS_S, share: float = 0.95) -> pl.DataFrame:
    """Rates in windows, a row for each width; the row of 60 s holds the percentiles of minutes.

    Returns:
        `window_s`; percentiles of windows, empty ones included (`requests_per_s_p50`, `_p95`, `_p99`,
        `_max`); `requests_per_s_seen`, which the share of requests see or less; `peak_factor_ratio`,
        the same over the mean rate.
    """
    return pl.DataFrame([*rates(trace, widths_s, share)])


def rates(trace: pl.DataFrame, widths_s: Sequence[float], share: float) -> Iterator[dict[str, float]]:
    """A row of `windows` for each width."""
    mean = (trace.height - 1) / span_s(trace)
    for width in widths_s:
        each, seen = window_counts(trace, width), seen_per_s(trace, width, share)
        total = int(span_s(trace) // width) + 1
        ranks = {name: window_percentile(each, total, part) / width for name, part in PERCENTILES.items()}
        of_time = {f"requests_per_s_{name}": rate for name, rate in ranks.items()}
        yield {"window_s": float(width), **of_time, "requests_per_s_seen": seen, "peak_factor_ratio": seen / mean}


def window_percentile(each: pl.Series, total: int, part: float) -> int:
    """A percentile of windows by nearest rank, of which those that are not listed are empty."""
    place = max(-int(-part * total // 1), 1) - (total - len(each)) - 1
    return int(each[min(place, len(each) - 1)]) if place >= 0 else 0


def lag_margin_ratio(trace: pl.DataFrame, lag_s: float, width_s: float = 60.0, share: float = 0.95) -> float | None:
    """What a fleet that follows the load must add, when a replica takes `lag_s` to come up.

    The p95, over windows, of the largest rate within the lag over the present rate. A window without
    requests counts as one request, so that bursts out of nothing give very large numbers. A trace that
    is shorter than two lags does not tell: nothing.

    Source: study of load, section 5.
    """
    if span_s(trace) < 2 * max(lag_s, width_s):
        return None
    window = (col("arrival_s") / width_s).floor().cast(pl.Int64).alias("window")
    every = pl.DataFrame({"window": pl.int_range(int(span_s(trace) // width_s), dtype=pl.Int64, eager=True)})
    held = trace.with_columns(col("arrival_s") - col("arrival_s").first()).group_by(window).len()
    load = every.join(held, on="window", how="left", maintain_order="left")["len"].fill_null(0).cast(pl.Int64)
    ahead = max(round(lag_s / width_s), 1)
    most = load.reverse().rolling_max(ahead, min_samples=1).reverse().shift(-1)
    ratio = (most / load.clip(1)).drop_nulls().clip(1.0)
    return float(ratio.quantile(share, "nearest") or 1.0)
