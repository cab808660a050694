"""Makes catalogs/traffic/azure-*.csv: requests of our own with the statistics of published traces.

`python benchmarks/load_traces.py` reads ../shared/traces: requests per minute, histograms and percentiles of lengths
of the Azure LLM inference traces of 2023 (Microsoft, AzurePublicDataset, CC-BY 4.0). No row of those traces is read.
Within a minute, gaps are gamma; their spread is set so that counts of a second vary as published.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from polars import col

ROOT = Path(__file__).parent.parent
TRACES = ROOT.parent / "shared" / "traces"
OUT = ROOT / "catalogs" / "traffic"
MADE = {"azure-code-2023": ("azure2023_code", 58), "azure-conv-2023": ("azure2023_conv", 24)}
"""Files, the traces whose statistics they have, and how many minutes of them."""
MINUTE_S = 60.0
PERCENTILES = {"p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}


def table(name: str, trace: str) -> pl.DataFrame:
    """Rows of a trace in one of the files of statistics."""
    return pl.read_csv(TRACES / name).filter(trace=trace)


def law(trace: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Lengths and the shares of requests that do not exceed them: edges of the histogram, and percentiles."""
    counts = table("trace_token_hist.csv", trace).filter(kind=kind).sort("lo")
    summary = table("trace_summary.csv", trace).row(0, named=True)
    prefix = "in" if kind == "input" else "out"
    most = summary[f"{prefix}_max"]
    edges = dict(zip(counts["hi"], counts["count"].cum_sum() / counts["count"].sum(), strict=True))
    known = {float(edge): share for edge, share in edges.items() if edge < most}
    known |= {summary[f"{prefix}_{name}"]: share for name, share in PERCENTILES.items()}
    places = np.array([1.0, *sorted(known)])
    shares = np.array([0.0, *(known[each] for each in sorted(known))])
    return np.log(places), np.maximum.accumulate(shares)


def lengths(trace: str, kind: str, count: int, random: np.random.Generator) -> np.ndarray:
    """Lengths drawn from that law, straight between its points on a logarithmic scale."""
    places, shares = law(trace, kind)
    return np.rint(np.exp(np.interp(random.random(count), shares, places))).astype(int)


def arrivals(counts: list[int], cv: float, random: np.random.Generator) -> np.ndarray:
    """Times of arrival [s]: so many in each minute, with gamma gaps that are stretched to fill it."""
    shape = 1.0 / (cv * cv)
    times = []
    for minute, count in enumerate(counts):
        gaps = random.gamma(shape, 1.0 / shape, count + 1)
        times.append(MINUTE_S * (minute + gaps.cumsum()[:-1] / gaps.sum()))
    return np.concatenate(times)


def fano(times: np.ndarray, width_s: float = 1.0) -> float:
    """Variance over mean of the counts in windows."""
    counts = np.bincount((times / width_s).astype(int))
    return float(counts.var() / counts.mean())


def spread(counts: list[int], wanted: float) -> float:
    """The coefficient of variation of gaps at which counts of a second vary as wanted."""
    low, high = 0.2, 8.0
    for _ in range(14):
        middle = (low + high) / 2
        seen = np.mean([fano(arrivals(counts, middle, np.random.default_rng(seed))) for seed in range(5)])
        low, high = (middle, high) if seen < wanted else (low, middle)
    return (low + high) / 2


def made(trace: str, minutes: int) -> pl.DataFrame:
    """A trace of our own."""
    random = np.random.default_rng(2023)
    counts = table("trace_arrivals_per_minute.csv", trace).sort("minute")["arrivals"].to_list()
    cv = spread(counts, table("trace_summary.csv", trace)["fano_1s"].item())
    times = arrivals(counts[:minutes], cv, random)
    print(f"{trace}: gaps within a minute of CV {cv:.2f}, Fano of a second {fano(times):.1f}")
    return pl.DataFrame(
        {
            "arrival_s": times,
            "prompt_tokens": lengths(trace, "input", len(times), random),
            "output_tokens": lengths(trace, "output", len(times), random),
        }
    ).with_columns(col("arrival_s").round(3))


def main() -> None:
    """Write the files, and say how near they come."""
    for name, (trace, minutes) in MADE.items():
        frame = made(trace, minutes)
        frame.write_csv(OUT / f"{name}.csv")
        summary = table("trace_summary.csv", trace).row(0, named=True)
        for column, prefix in (("prompt_tokens", "in"), ("output_tokens", "out")):
            own = [frame[column].mean(), *(frame[column].quantile(q, "linear") for q in (0.5, 0.9, 0.99))]
            theirs = [summary[f"{prefix}_{each}"] for each in ("mean", "p50", "p90", "p99")]
            print(name, frame.height, column, [round(each) for each in own], "published", [round(e) for e in theirs])
        gaps = frame["arrival_s"].diff().drop_nulls()
        print(name, "CV of gaps", round(gaps.std() / gaps.mean(), 2), "published", summary["cv_interarrival"])


if __name__ == "__main__":
    main()
