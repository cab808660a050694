"""Replicas under load: passes until batch and step agree, quantiles, and the largest rate within an objective."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from polars import col

from pipeline.core.quantity import evaluate, in_order
from pipeline.estimators.load.book import load_book
from pipeline.estimators.load.latency import NEARLY_FULL, QUANTILES, VERDICTS, WAITS
from pipeline.estimators.load.passes import NEXT, START
from pipeline.estimators.load.special import normal_cdf
from pipeline.estimators.load.tokens import MEANS, SPREADS, request_deviates, token_deviates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


INPUTS = (
    *("step_base_s", "step_sequence_s", "prompt_token_s", "prompt_pair_s", "step_tokens", "slots", "kv_slots"),
    *("kv_growth_ratio", "prefills_first", "prompt_tokens", "prompt_cv", "output_tokens", "output_cv"),
    *("ttft_extra_s", "first_token_steps", "arrival_cv"),
)
"""What a replica under load is: see the formulas of `pipeline.estimators.load.capacity`."""
LEFT_OUT = ("ttft_extra_s", "first_token_steps")
"""Inputs that are 0 where they are left out."""
PASSES = 6
"""Passes bring the batch within 2e-4. Source: study of load, section 2."""
LOOKS = (24, 12, 10)
"""Looks at times in each round of the search for a quantile: the last leaves 0.2 % of a time, or less."""
ROUNDS = (20, 10, 6)
"""Looks at rates in each round of the search: the last leaves half a per cent."""
LEAST_LOAD, MOST_LOAD = 0.002, 0.99
TTFT, TPOT, E2E = (
    [f"{name}_loaded_s", *(f"{name}_{quantile}_s" for quantile in quantiles)]
    for name, quantiles in (("ttft", QUANTILES), ("tpot", QUANTILES), ("e2e", ("p95",)))
)
ALWAYS = ["running_batch", "utilisation_ratio", "arrivals_max_per_s", "waits_ratio"]
HOLDS_UNTIL = (
    dict.fromkeys(TTFT, "stable") | dict.fromkeys([*TPOT, *E2E], "queueing") | dict.fromkeys(ALWAYS, "unstable")
)
"""The last verdict at which the form of a column holds: beyond, it is unknown."""


def under_load(frame: pl.DataFrame) -> pl.DataFrame:
    """What requests see of replicas at the rate `arrivals_per_s`: columns of HOLDS_UNTIL, and `load_verdict`.

    Rows whose queue grows without end have no latencies; where a queue for places decides, quantiles
    of the time to first token are unknown: simulate.

    Args:
        frame: INPUTS and `arrivals_per_s`, one row for each replica. `ttft_extra_s`, what an engine
            takes to the first token besides the step, and `first_token_steps`, how many steps later it
            shows it, are 0 where they are missing.
    """
    rows = run_passes(fill_inputs(frame), [*TTFT, TPOT[0], E2E[0], *MEANS, *SPREADS, "load_verdict_code"])
    widest = pl.max_horizontal(
        col(mean) + 12.0 * col(spread).sqrt() for mean, spread in zip(MEANS, SPREADS, strict=True)
    )
    rows = rows.with_columns(widest=widest)
    rows = rows.with_columns(
        search_quantile(rows, token_deviates, share, col("step_base_s"), col("widest")).alias(f"tpot_{name}_s")
        for name, share in QUANTILES.items()
    )
    longest = col("widest") * 20.0 * (1.0 + col("later_tokens")) + 20.0 * col("admission_ttft_s")
    late = col("admission_delay_s") * (col("waits_ratio") / (1.0 - QUANTILES["p95"])).clip(1.0).log()
    whole = late + col("admission_ttft_s") + col("later_tokens") * col("next_token_s")
    held = pl.when(late > 0).then(whole).otherwise(0.0)
    rows = rows.with_columns(e2e=search_quantile(rows, request_deviates, QUANTILES["p95"], 1e-5 * longest, longest))
    rows = rows.with_columns(e2e_p95_s=pl.max_horizontal("e2e", held) + col("after_step_s"))
    return frame.with_columns(rows.select(*map(where_it_holds, HOLDS_UNTIL), load_verdict()))


def fill_inputs(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with what may be left out, in one piece: many small pieces are slow."""
    missing = [name for name in LEFT_OUT if name not in frame.columns]
    return frame.with_columns(pl.lit(0.0).alias(name) for name in missing).rechunk()


def where_it_holds(name: str) -> pl.Expr:
    """A column of HOLDS_UNTIL, unknown where its form does not hold."""
    return pl.when(col("load_verdict_code") <= VERDICTS.index(HOLDS_UNTIL[name])).then(name).alias(name)


def load_verdict() -> pl.Expr:
    """The verdict by its name."""
    verdict = col("load_verdict_code").replace_strict(dict(enumerate(VERDICTS)), return_dtype=pl.Enum(VERDICTS))
    return verdict.alias("load_verdict")


def run_passes(frame: pl.DataFrame, wanted: Sequence[str]) -> pl.DataFrame:
    """The frame after all passes, with what was wanted."""
    book = load_book()
    basics = ["served_per_s", "step_cap_s", "prompts_in_step", "prompt_work_square", "gini_complement", "arrival_scv"]
    once = in_order(book, basics, set(frame.columns))
    rows = evaluate(frame.lazy(), once).with_columns(pl.lit(value).alias(name) for name, value in START.items())
    known = {*frame.columns, *(q.name for q in once), *START}
    a_pass = in_order(book, list(NEXT.values()), known)
    made = {q.name for q in a_pass}
    for _ in range(PASSES - 1):
        rows = evaluate(rows, a_pass).with_columns(col(after).alias(name) for name, after in NEXT.items()).drop(made)
    rows = evaluate(rows, a_pass)
    return evaluate(rows, in_order(book, list(wanted), known | made)).collect()


def search_quantile(
    rows: pl.DataFrame, deviates: Callable[[pl.Expr], list[pl.Expr]], share: float, low: pl.Expr, high: pl.Expr
) -> pl.Series:
    """The time within which a share of requests are, between two times, by closer and closer looks at all rows."""
    state = rows.with_row_index("row").with_columns(low=low, high=high)
    for looks in LOOKS:
        tries = lay_out(state, looks, "time")
        reached = share_of(tries, deviates(col("time"))) >= share
        ends = (
            tries.select("row", "time", reached=reached)
            .group_by("row", maintain_order=True)
            .agg(last=col("time").filter(~col("reached")).max(), first=col("time").filter("reached").min())
        )
        state = state.with_columns(low=pl.coalesce(ends["last"], "low"), high=pl.coalesce(ends["first"], "high"))
    return state.select((col("low") * col("high")).sqrt()).to_series()


def lay_out(state: pl.DataFrame, looks: int, name: str) -> pl.DataFrame:
    """Rows several times, with a column from `low` to `high` in equal ratios."""
    places = pl.DataFrame({"place": [each / looks for each in range(looks + 1)]})
    return state.join(places, how="cross", maintain_order="left_right").with_columns(
        (col("low") * (col("high") / col("low")).pow(col("place"))).alias(name)
    )


def share_of(rows: pl.DataFrame, deviates: list[pl.Expr]) -> pl.Series:
    """The share of all requests, from the normal deviates of its equal parts."""
    return rows.select(deviates).select(normal_cdf(pl.all()).name.keep()).mean_horizontal()


def largest_rate(frame: pl.DataFrame, *, cautious: bool = True, rounds: Sequence[int] = ROUNDS) -> pl.Series:
    """The most arrivals per second at which the p95 of TTFT and TPOT meet `ttft_slo_s` and `tpot_slo_s`.

    Args:
        frame: INPUTS and both objectives, one row for each replica.
        cautious: stay where the forms hold: below the load from which a queue for places decides.
        rounds: looks at rates in each round of the search.

    Returns:
        `slo_requests_per_s`, 0 where even an idle replica is too slow.
    """
    known = [name for name in INPUTS if name in frame.columns]
    replicas = fill_inputs(frame.select(*known, "ttft_slo_s", "tpot_slo_s"))
    most = evaluate(replicas, in_order(load_book(), ["arrivals_max_per_s"], set(replicas.columns)))
    state = most.with_row_index("row").with_columns(low=pl.lit(LEAST_LOAD), high=pl.lit(MOST_LOAD), found=pl.lit(0.0))
    for looks in rounds:
        tries = lay_out(state, looks, "load")
        tries = tries.with_columns(arrivals_per_s=col("load") * col("arrivals_max_per_s"))
        seen = tries.select("row", "load").with_columns(meets=meets_objectives(tries, cautious=cautious))
        state = narrow_brackets(state, seen)
    return state.select((col("found") * col("arrivals_max_per_s")).alias("slo_requests_per_s")).to_series()


def meets_objectives(tries: pl.DataFrame, *, cautious: bool) -> pl.Series:
    """Whether both objectives are met at these rates."""
    rows = run_passes(
        tries.drop("arrivals_max_per_s", strict=False),
        ["ttft_p95_s", "waits_ratio", "utilisation_ratio", *MEANS, *SPREADS],
    )
    within = share_of(rows, token_deviates(col("tpot_slo_s"))) >= QUANTILES["p95"]
    holds = (col("waits_ratio") < WAITS) & (col("utilisation_ratio") < NEARLY_FULL) if cautious else pl.lit(True)
    return rows.select((col("ttft_p95_s") <= col("ttft_slo_s")) & within & holds).to_series()


def narrow_brackets(state: pl.DataFrame, seen: pl.DataFrame) -> pl.DataFrame:
    """The brackets between the last load that meets everything and the first that does not."""
    failed = pl.col("load").filter(~col("meets")).min()
    met = (
        seen.with_columns(first_failed=failed.over("row"))
        .group_by("row", maintain_order=True)
        .agg(
            last=col("load").filter(col("meets") & (col("load") < col("first_failed").fill_null(2.0))).max(),
            first=col("first_failed").first(),
        )
    )
    joined = state.join(met, on="row", how="left", maintain_order="left")
    return joined.with_columns(
        found=pl.coalesce("last", "found"), low=pl.coalesce("last", "low"), high=pl.coalesce("first", "high")
    ).drop("last", "first")
