"""Prompts read by workers of their own: units of x prefill and y decode workers, each as one replica of a fleet.

A decode worker gets prompts with their cache, so that no prompt is in the way of its steps; a prefill worker
reads one prompt after another. Both are plans of one shape. The first token comes once the prompt is read, its
cache has travelled (`kv_transfer_s`) and a decode step has taken the sequence up; a quantile of the sum is
told as the sum of both quantiles, which is late rather than early.

Source: DistServe, arXiv:2401.09670, sections 2 and 4; units of a few workers of each kind are how such
deployments are sold and scaled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from polars import col

from pipeline.core.quantity import evaluate, in_order
from pipeline.estimators.load.book import load_book
from pipeline.estimators.load.latency import QUANTILES
from pipeline.grid.load import under_load
from pipeline.grid.replicas import with_largest_rate

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_WORKERS = 4
"""Workers of one kind in a unit, at most."""
UNITS = [(x, y) for x in range(1, MOST_WORKERS + 1) for y in range(1, MOST_WORKERS + 1)]
LOADS = 90
"""Loads at which a prefill worker is looked at."""
STAGE = ["prefill_loaded_s", *(f"prefill_{name}_s" for name in QUANTILES)]
LENGTHS = ("prompt_tokens", "prompt_cv")
OWN = ("own_prompt_token_s", "own_prompt_pair_s")
"""What a prompt costs where it is read."""
NO_PROMPT = {"prompt_token_s": 1e-12, "prompt_pair_s": 0.0}
"""What a prompt costs whose cache comes with it."""


def with_units(rows: pl.DataFrame, band: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
    """Replicas as units: a row for each plan and mixture that no other of the plan beats in rate per device.

    Args:
        rows: of `pipeline.grid.replicas`, with `prompt_step_s`, `ttft_s_hi`, `ttft_s`.
        band: adds `slo_requests_per_s` and its ends to rows with `group_slo_requests_per_s`.

    Returns:
        The rows of plans that meet the objective, with `prefill_workers`, `decode_workers`, `load_groups` (groups
        that share a replica's decoding), `device_count` of the unit, and rates of the unit.
    """
    decoders = with_largest_rate(as_decoders(rows)).filter(col("group_slo_requests_per_s") > 0)
    if decoders.is_empty():
        return decoders
    joined = under_load(decoders.with_columns(arrivals_per_s="group_slo_requests_per_s"))["ttft_p95_s"]
    rated = band(decoders).with_columns(left_s=decoders["whole_ttft_slo_s"] - joined)
    slower = col("ttft_s_hi") / col("ttft_s")
    rates = {"prefill_per_s": pl.lit(1.0), "prefill_lo_per_s": slower, "prefill_hi_per_s": 1.0 / slower}
    read = rated.with_columns(prefill_rate(rated, factor).alias(name) for name, factor in rates.items())
    return of_both(read.filter(col("prefill_per_s") > 0))


def as_decoders(rows: pl.DataFrame) -> pl.DataFrame:
    """Workers that prompts reach with their cache; what a prompt alone costs stays beside, as `own_...`."""
    return rows.with_columns(
        col("prompt_token_s", "prompt_pair_s").name.prefix("own_"),
        whole_ttft_slo_s="ttft_slo_s",
        ttft_slo_s=col("ttft_slo_s") - col("prompt_step_s"),
        ttft_floor_s=col("ttft_floor_s") - col("prompt_step_s"),
        **{name: pl.lit(value) for name, value in NO_PROMPT.items()},
    )


def prefill_rate(rows: pl.DataFrame, slower: pl.Expr) -> pl.Series:
    """The most prompts per second of one prefill worker whose p95 stays within `left_s`; 0 where none does."""
    loads = pl.DataFrame({"load": [each / 100 for each in range(1, LOADS + 1)]})
    asked = rows.with_row_index("row").with_columns(slower=slower).join(loads, how="cross", maintain_order="left_right")
    rate = col("load") / col("prefill_reading_s")
    idle = stage(asked, pl.lit(1e-9), ["prefill_reading_s"])
    seen = stage(idle.drop("prefill_reading_s").with_columns(rate=idle.select(rate).to_series()), col("rate"), STAGE)
    met = seen.filter(col("prefill_p95_s") * col("slower") <= col("left_s"))
    found = met.group_by("row").agg(rate=(col("rate") / col("slower") * col("dp")).max())
    return asked.select("row").unique(maintain_order=True).join(found, on="row", how="left")["rate"].fill_null(0.0)


def stage(rows: pl.DataFrame, arrivals_per_s: pl.Expr, wanted: list[str]) -> pl.DataFrame:
    """Rows with what prompts meet at a prefill worker that gets so many."""
    own = [col(name).alias(name.removeprefix("own_")) for name in OWN]
    asked = rows.with_columns(*own, prefill_arrivals_per_s=arrivals_per_s)
    order = in_order(load_book(), wanted, set(asked.columns))
    return rows.hstack(evaluate(asked.lazy(), order).select(wanted).collect())


def of_both(rows: pl.DataFrame) -> pl.DataFrame:
    """Plans as units of both kinds of workers, without those that a smaller one beats in rate per worker."""
    units = pl.DataFrame(UNITS, schema=["prefill_workers", "decode_workers"], orient="row")
    x, y = col("prefill_workers"), col("decode_workers")
    asked = rows.with_row_index("plan").join(units, how="cross", maintain_order="left_right")
    ends = {f"slo_requests_per_s{end}": f"prefill{end}_per_s" for end in ("", "_lo", "_hi")}
    both = {name: pl.min_horizontal(x * col(read), y * col(name)) for name, read in ends.items()}
    asked = asked.with_columns(**both, workers=x + y)
    yielded = col("slo_requests_per_s") / col("workers")
    ordered = asked.sort("plan", "workers", yielded, descending=[False, False, True], maintain_order=True)
    best = yielded.cum_max().shift(1).over("plan").fill_null(0.0)
    kept = ordered.filter(yielded > best * 1.001)
    return kept.with_columns(device_count=col("device_count") * col("workers"), load_groups=col("dp") * y).drop(
        "plan", "workers"
    )


def reads_in_time(options: pl.DataFrame, arrivals_per_s: pl.Series, arrival_cv: pl.Series) -> pl.Series:
    """Whether prefill workers that get so many prompts each read 95 % of them in what the decode workers leave."""
    asked = options.with_columns(arrival_cv.alias("arrival_cv"), arrivals_per_s.alias("rate"))
    return stage(asked, col("rate"), STAGE).select(col("prefill_p95_s") <= col("left_s")).to_series()


def add_prefill(fleets: pl.DataFrame, arrivals_per_s: pl.Series, arrival_cv: pl.Series) -> pl.DataFrame:
    """Fleets whose times to first token begin at the prefill workers, each of which gets so many prompts."""
    asked = fleets.select("prompt_step_s", *OWN, *LENGTHS).with_columns(
        arrival_cv.alias("arrival_cv"), arrivals_per_s.alias("rate")
    )
    waits = stage(asked, col("rate"), STAGE).select(STAGE)
    e2e = {"prefill_loaded_s": "e2e_loaded_s", "prefill_p95_s": "e2e_p95_s"}
    later = {name.replace("prefill", "ttft"): name for name in STAGE} | {name: wait for wait, name in e2e.items()}
    return fleets.with_columns((fleets[name] + waits[wait]).alias(name) for name, wait in later.items())
