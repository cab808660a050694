"""Each measured row as a plan of its own, evaluated by the expressions that make the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from polars import col

from pipeline.core.quantity import evaluate, in_order
from pipeline.estimators.settings import SETTINGS
from pipeline.evidence import resolve
from pipeline.evidence.quantities import MEASURED, inputs_of_measured
from pipeline.grid.axes import axes_of
from pipeline.grid.selection import PARALLEL, Grid
from pipeline.grid.tables import book_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from pipeline.facts.catalog import Catalogs

KINDS = {"model": "model", "weights": "format", "kv": "format", "accelerator": "accelerator"}
"""Columns that name a catalog's entry, and the catalog."""
DEFAULTS = {"weights": "bf16", "kv": "bf16", "engine": "vllm"}
KEPT_IN_FP8 = ["fp8", "fp8-block", "nvfp4"]
AS_KEPT = {"auto": "bf16"}
"""What an engine's own word for a format means."""
ASKED = {
    # columns of measurements, and the settings that they state
    "memory_utilization": "memory_utilization_ratio",
    "model_len_max": "model_len_max_tokens",
    "batched_tokens_max": "batched_tokens_max",
    "sequences_max": "sequences_max",
    "block_tokens": "block_tokens",
    "eager": "is_eager",
}
COUNTS = ("tp", "pp", "ep", "dp", "batch", "prompt_tokens", "output_tokens")
SPREAD = ("tp", "dp", "ep")
MEAN_SHARE = 0.6
"""Share of the outputs that a running batch holds on average, to breathe. Source: step-time study, section 1."""
OF_WHOLE_RUNS = ("e2e_s", "output_tokens_per_s", "total_tokens_per_s", "requests_per_s")
"""Quantities that depend on the length of outputs."""
KINDS_OF_RUN = ("static", "closed_loop", "offline")
NO_REASON = ""


def predict_rows(rows: pl.DataFrame, catalogs: Catalogs, as_of: date) -> pl.DataFrame:
    """The rows with `predicted`, its band `lo` to `hi`, the error `ape`, and the `reason` where there is none."""
    plans = with_ids(rows, catalogs)
    good = plans.filter(col("reason") == NO_REASON)
    told = estimate_plans(good, catalogs, as_of) if good.height else good.select("measurement_row").clear()
    empty = [pl.lit(None, pl.Float64).alias(name) for name in ("predicted", "lo", "hi") if name not in told.columns]
    whole = rows.join(plans.select("measurement_row", "reason"), on="measurement_row", how="left").join(
        told.with_columns(empty), on="measurement_row", how="left", maintain_order="left"
    )
    unknown = (col("reason") == NO_REASON) & ~col("predicted").is_finite().fill_null(False)
    return whole.with_columns(
        reason=pl.when(unknown).then(pl.lit("the catalogs lack a fact that this quantity needs")).otherwise("reason"),
        ape=pl.when(col("value") != 0)
        .then((col("predicted") / col("value") - 1).abs())
        .otherwise((col("predicted") != col("value")).cast(pl.Float64)),
    )


# ----- names


def with_ids(rows: pl.DataFrame, catalogs: Catalogs) -> pl.DataFrame:
    """The rows with names made ids, settings made columns, and a `reason` where something is not known."""
    said = (
        rows.with_columns(
            [col(name).str.strip_chars().replace("", None) for name in (*KINDS, "engine", "engine_version")]
        )
        .with_columns(col(name).is_null().name.prefix("has_no_") for name in ("prompt_tokens", "output_tokens"))
        .with_columns(
            col("kv").str.to_lowercase().replace(AS_KEPT).fill_null(default_kv()),
            col("engine").fill_null(DEFAULTS["engine"]),
            *(col(name).fill_null(1).cast(pl.Int64, strict=False) for name in COUNTS if name not in SPREAD),
            *spread_counts(),
        )
    )
    found = {name: resolve.ids(kind, said[name].drop_nulls().unique(), catalogs) for name, kind in KINDS.items()}
    engines = resolve.engines(said.select("engine", "engine_version").unique().iter_rows(), catalogs)
    blocks = pl.struct("engine", "engine_version").map_elements(
        lambda each: engines.get((each["engine"], each["engine_version"])), return_dtype=pl.String
    )
    named = said.with_columns(
        *(
            col(name).replace_strict(ids, default=None, return_dtype=pl.String).alias(f"{name}_id")
            for name, ids in found.items()
        ),
        blocks.alias("engine_id"),
    )
    return as_possible(as_published(named, catalogs), catalogs).with_columns(reason=unanswered_reason())


def as_published(rows: pl.DataFrame, catalogs: Catalogs) -> pl.DataFrame:
    """Rows with the checkpoint's own format where they state none, or say fp8 of a checkpoint that scales by blocks."""
    published = catalogs.frames["model"].select(model_id="model", published="checkpoint_weights")
    loosely = (col("weights_id") == "fp8") & (col("published") == "fp8-block")
    own = pl.when(col("weights").is_null() | loosely).then("published")
    joined = rows.join(published, on="model_id", how="left", maintain_order="left")
    chosen = pl.coalesce(own, "weights_id", pl.when(col("weights").is_null()).then(pl.lit(DEFAULTS["weights"])))
    return joined.with_columns(weights_id=chosen).drop("published")


def as_possible(rows: pl.DataFrame, catalogs: Catalogs) -> pl.DataFrame:
    """Rows whose tensor parallelism does not divide the heads as what they must be: data-parallel attention.

    Racks of 72 devices are labelled so (tp 36, 128 heads): every device attends for its own sequences,
    and holds a share of the experts.
    """
    heads = catalogs.frames["model"].select("heads", "moe_layers", model_id="model")
    wide = (col("dp") == 1) & (col("heads") % col("tp") > 0) & (col("moe_layers") > 0)
    ranks = {"dp": col("tp"), "ep": col("tp"), "tp": pl.lit(1, pl.Int64)}
    meant = {name: pl.when(wide).then(count).otherwise(name) for name, count in ranks.items()}
    told = rows.join(heads, on="model_id", how="left", maintain_order="left")
    return told.with_columns(**meant).drop("heads", "moe_layers")


def spread_counts() -> list[pl.Expr]:
    """How rows say that a replica is spread, as plans say it.

    Where attention runs data-parallel, a source's tp counts all ranks; a plan's tp those of one group.
    """
    groups = pl.coalesce("dp", "attention_dp").clip(1).fill_null(1)
    ranks = pl.coalesce("tp", col("device_count") / groups).fill_null(1)
    inside = (groups > 1) & (ranks % groups == 0) & (ranks == col("device_count"))
    counts = {
        "tp": pl.when(inside).then(ranks / groups).otherwise(ranks),
        "dp": groups,
        "ep": pl.coalesce("ep", "moe_ep").clip(1).fill_null(1),
    }
    return [count.cast(pl.Int64, strict=False).alias(name) for name, count in counts.items()]


def default_kv() -> pl.Expr:
    """The KV format of a run that does not state it: fp8 where the checkpoint's own arithmetic is in 8 or 4 bits.

    Source: step-time study, section 1: dense runs of quantised checkpoints are closer so, by a fifth.
    """
    is_run = col("kind").is_not_null()
    return pl.when(is_run & col("weights").is_in(KEPT_IN_FP8)).then(pl.lit("fp8")).otherwise(pl.lit(DEFAULTS["kv"]))


def unanswered_reason() -> pl.Expr:
    """Why a row cannot be answered; empty where it can."""
    missing = {f"{name} is not stated": col(name).is_null() for name in ("model", "accelerator")}
    unknown = {f"the catalogs know no {name} of this name": col(f"{name}_id").is_null() for name in (*KINDS, "engine")}
    known = col("kind").fill_null("static").is_in(KINDS_OF_RUN)
    no_kind = {f"no estimate of runs of this kind: those of kind {', '.join(KINDS_OF_RUN)} have one": ~known}
    no_form = {"no estimate of this quantity": ~col("quantity").is_in(list(MEASURED))}
    whole = col("quantity").is_in(OF_WHOLE_RUNS)
    no_length = {f"{name} is not stated": whole & col(f"has_no_{name}") for name in ("prompt_tokens", "output_tokens")}
    every = no_kind | no_form | missing | no_length | unknown
    return pl.coalesce(*(pl.when(holds).then(pl.lit(words)) for words, holds in every.items()), pl.lit(NO_REASON))


# ----- plans


def estimate_plans(plans: pl.DataFrame, catalogs: Catalogs, as_of: date) -> pl.DataFrame:
    """What the estimators say to each plan: measurement_row, predicted, lo, hi."""
    frame = with_running_batch(join_facts(plans, catalogs, as_of))
    order = in_order(book_for(frame), inputs_of_measured(plans["quantity"].unique()), set(frame.columns))
    made = evaluate(frame.lazy(), order)
    chosen = {
        name: pl.coalesce(
            pl.when(col("quantity") == each).then(getattr(of, name))
            for each, of in MEASURED.items()
            if each in set(plans["quantity"])
        )
        for name in ("predicted", "lo", "hi")
    }
    return made.select("measurement_row", **chosen).collect()


def join_facts(plans: pl.DataFrame, catalogs: Catalogs, as_of: date) -> pl.DataFrame:
    """Every plan with the facts of its model, formats, device and engine: the axes joined, not crossed."""
    ids = {name: tuple(plans[f"{name}_id"].unique(maintain_order=True)) for name in (*KINDS, "engine")}
    model, weights, kv, accelerator, engine = ids.values()
    one = (dict.fromkeys(PARALLEL, 1),)
    grid = Grid("measurements", model, weights, kv, engine, accelerator, ("chat",), parallel=one, batches=(1,))
    axes = axes_of(catalogs, grid, as_of)
    frame = plan_columns(plans, list(ids))
    for name in ids:
        facts = axes[name].with_columns(col(name).cast(pl.String)).drop(pl.selectors.starts_with("asked_"))
        frame = frame.join(facts, on=name, how="left", maintain_order="left")
    objectives = axes["workload"].drop("workload", "prompt_tokens", "output_tokens", "is_static")
    return as_run(frame).join(objectives, how="cross", maintain_order="left_right")


def with_running_batch(frame: pl.DataFrame) -> pl.DataFrame:
    """Plans with the batch that runs: as many clients as have a place; without a stated number, as many as fit.

    Sequences are at different places of their output, so that the mean length decides. A plan that
    ran although our account leaves it no place is taken to have had one.
    """
    middle = frame.lazy().with_columns(
        context_tokens=(col("prompt_tokens") + MEAN_SHARE * col("output_tokens")).cast(int)
    )
    order = in_order(book_for(frame), ["batch_max", "sequences_max"], {*frame.columns, "context_tokens"})
    top = pl.when(col("batch_max") > 0).then(pl.min_horizontal("batch_max", col("sequences_max") * col("dp")))
    capped = evaluate(middle, order).select("measurement_row", top=top).collect()
    asked = pl.coalesce("clients", "top", 1)
    return (
        frame.join(capped, on="measurement_row", how="left", maintain_order="left")
        .with_columns(clients=asked, batch=pl.when("is_capped").then(pl.min_horizontal(asked, "top")).otherwise(asked))
        .drop("top", "is_capped")
    )


def plan_columns(plans: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """What the rows say of each plan, under the names that formulas read."""
    asked = (col(name).cast(SETTINGS[of], strict=False).alias(f"asked_{of}") for name, of in ASKED.items())
    return plans.select(
        *("measurement_row", "quantity", "value", *COUNTS),
        *asked,
        stated_bytes=col("device_bytes").cast(pl.Int64),
        device_count=pl.coalesce("device_count", col("tp") * col("pp") * col("dp")).cast(pl.Int64),
        clients=pl.when(col("kind").fill_null("static") != "offline").then(col("batch") * each_group()),
        is_capped=col("kind").is_in(["closed_loop", "offline"]),
        is_static=col("kind").fill_null("closed_loop") == "static",
        **{name: f"{name}_id" for name in names},
    )


def each_group() -> pl.Expr:
    """Groups that a stated batch is meant for each: vLLM counts the clients of one data-parallel group.

    Source: step-time study, section 0: such rows repeat the times of one group at the same number.
    """
    return pl.when(col("engine_id").str.starts_with("vllm")).then("dp").otherwise(1)


def as_run(frame: pl.DataFrame) -> pl.DataFrame:
    """Plans with the memory that their driver showed, and layers spread over devices by engines that do so unasked."""
    spread = col("engine_spreads_layers") & (col("device_count") > col("tp") * col("pp"))
    return frame.with_columns(
        device_memory_bytes=pl.coalesce("stated_bytes", "device_memory_bytes"),
        pp=pl.when(spread).then(col("device_count") // col("tp")).otherwise("pp"),
    )
