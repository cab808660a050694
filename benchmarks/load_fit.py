"""Fits again what the study of load fitted or counted, with standard errors: writes into docs/studies/load.md.

`python benchmarks/load_fit.py` takes a minute. Two things:

* the share of a cache that is lost where admitted sequences outgrow it: simulated replicas in overload, memory short;
* peak factors of the traces of catalogs/traffic: the rate that 95 % of requests see or less in 5-s windows, over the
  mean.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from load_cases import LINES, SHAPES, SPREADS, Case, row_of
from load_judge import ROOT, write
from load_tables import header, line
from pipeline.evidence.simulation.requests import simulate
from scipy.optimize import least_squares

from pipeline.evidence.simulation.arrivals import drawn
from pipeline.fleet.trace import read_trace, seen_per_s, statistics_of
from pipeline.grid.load import under_load

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = ROOT / "docs" / "studies" / "load.md"
PLACES = (16, 32, 64)
REQUESTS, SEED, OVERLOAD = 4_000, 11, 1.5
EARLY, LATE = 0.2, 0.7
"""Share of all requests after which, and until which, what is finished is counted."""
TAKEN = 0.25
"""What `sequences_top` takes."""
WINDOW_S, MINUTE_S, SHARE, RESAMPLES = 5.0, 60.0, 0.95, 200
IN_MINUTE = pl.col("arrival_s") % MINUTE_S


def growing() -> Iterator[tuple[Case, int]]:
    """Replicas whose cache is short and grows while sequences run: mixed steps, Poisson arrivals."""
    for (text, shape, spread), places in product(product(LINES, SHAPES, SPREADS), PLACES):
        yield Case(text, shape, spread, "cache", prefills_first=False, burst=1.0, seed=SEED), places


def in_overload() -> pl.DataFrame:
    """Each of them with what it finishes in a second when more arrives than it can take."""
    rows = []
    for case, places in growing():
        requests = drawn(case.traffic, REQUESTS, case.seed)
        whole = replace(case.replica, kv_tokens=case.replica.kv_tokens * places // 32)
        row = row_of(whole, case.traffic)
        rate = OVERLOAD * finished(pl.DataFrame([row]), 0.0)[0]
        arrivals = (requests["arrival_s"] / rate).to_list()
        times = simulate(whole, arrivals, requests["prompt_tokens"], requests["output_tokens"])
        ends = (times["arrival_s"] + times["e2e_s"]).sort()
        first, last = int(EARLY * REQUESTS), int(LATE * REQUESTS)
        rows.append(row | {"shape": case.shape, "seen_per_s": (last - first) / (ends[last] - ends[first])})
    return pl.DataFrame(rows)


def finished(rows: pl.DataFrame, loss: float) -> np.ndarray:
    """Requests a second that the closed form lets them finish, with a loss of so much times the root of the growth."""
    short = pl.col("kv_slots") * (1.0 - loss * pl.col("kv_growth_ratio").sqrt())
    held = rows.with_columns(short.alias("kv_slots"), kv_growth_ratio=pl.lit(0.0), arrivals_per_s=pl.lit(1e-6))
    return under_load(held)["arrivals_max_per_s"].to_numpy()


def fitted(rows: pl.DataFrame) -> tuple[float, float]:
    """The loss at which both agree best, in the logarithm, and its standard error."""
    seen = np.log(rows["seen_per_s"].to_numpy())
    found = least_squares(lambda loss: np.log(finished(rows, float(loss[0]))) - seen, [TAKEN])
    noise = np.sum(found.fun**2) / (len(seen) - 1)
    return float(found.x[0]), float(np.sqrt(noise / np.sum(found.jac**2)))


def error(rows: pl.DataFrame, loss: float) -> str:
    """Median and largest error of the largest throughput, in per cent."""
    off = abs(finished(rows, loss) / rows["seen_per_s"].to_numpy() - 1)
    return f"{100 * np.median(off):.1f} / {100 * off.max():.1f}"


def losses() -> Iterator[str]:
    """The loss to preemption: fitted to all cases, and with one shape of requests left out in turn."""
    rows = in_overload()
    value, spread = fitted(rows)
    yield from header(["fitted to", "cases", "loss", "standard error", "error % with it", f"with {TAKEN}", "without"])
    cells = [f"{value:.3f}", f"{spread:.3f}", error(rows, value), error(rows, TAKEN), error(rows, 0.0)]
    yield line(["all", rows.height, *cells])
    for shape in SHAPES:
        rest, out = rows.filter(pl.col("shape") != shape), rows.filter(shape=shape)
        value, spread = fitted(rest)
        errors = [error(out, each) for each in (value, TAKEN, 0.0)]
        yield line([f"all but {shape}; errors on {shape}", rest.height, f"{value:.3f}", f"{spread:.3f}", *errors])
    yield from (
        "",
        f"Made on {datetime.now(tz=UTC).date()} by `python benchmarks/load_fit.py`; errors: median / largest.",
    )


def peaks() -> Iterator[str]:
    """Peak factors of our traces, with standard errors from minutes drawn again."""
    random = np.random.default_rng(SEED)
    yield from header(["trace", "requests", "requests/s", "CV of gaps", "peak factor", "standard error"])
    for name in ("azure-code-2023", "azure-conv-2023"):
        trace = read_trace(ROOT / "catalogs" / "traffic" / f"{name}.csv")
        numbers = statistics_of(trace).row(0, named=True)
        minutes = trace.with_columns(minute=(pl.col("arrival_s") // MINUTE_S).cast(pl.Int64)).partition_by("minute")
        factors = []
        for _ in range(RESAMPLES):
            order = random.integers(len(minutes), size=len(minutes))
            moved = (minutes[each].with_columns(IN_MINUTE + MINUTE_S * place) for place, each in enumerate(order))
            again = pl.concat(moved).sort("arrival_s")
            factors.append(seen_per_s(again, WINDOW_S, SHARE) * MINUTE_S * len(minutes) / again.height)
        factor = seen_per_s(trace, WINDOW_S, SHARE) / numbers["requests_per_s_mean"]
        values = (numbers["requests_per_s_mean"], numbers["arrival_cv"], factor, np.std(factors))
        yield line([name, f"{numbers['requests']:,}", *(f"{value:.2f}" for value in values)])
    yield from ("", f"Made on {datetime.now(tz=UTC).date()} by `python benchmarks/load_fit.py`.")


def main() -> None:
    """Write both."""
    for name, lines in {"losses": losses(), "peaks": peaks()}.items():
        write(name, "\n".join(lines), PAGE, "benchmarks/load_fit.py")


if __name__ == "__main__":
    main()
