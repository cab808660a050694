"""Plans as replicas under load: the straight line of their steps, and how many sequences have a place.

Everything comes from the same expressions as the tables, looked at in a few places: batches of a
ladder, the prompt and one of twice its length, and the context that sequences have while they decode.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import polars as pl
from polars import Expr, col

from pipeline.core.quantity import entered
from pipeline.grid.axes import KEYS
from pipeline.grid.load import largest_rate, run_passes
from pipeline.grid.plan import by_grain
from pipeline.grid.tables import book_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.grid.axes import Axes

LADDER = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Batches of one group at which the decode step is looked at."""
READING_BATCH = 32
"""Batch beside which a prompt's cost is looked at: some are there, and chunks are full."""
COARSE = (12, 8)
"""Looks of a first search of the rate: it says at which batch the line of the step is drawn."""


class Variation(NamedTuple):
    """How lengths and arrivals vary: coefficients of variation; 1 where nothing is known."""

    prompt_cv: float = 1.0
    output_cv: float = 1.0
    arrival_cv: float = 1.0


def batch(group_batch: Expr, dp: Expr) -> Expr:
    """Sequences of all groups.

    Definition.
    """
    return group_batch * dp


def replicas(axes: Axes, variation: Variation, more: Sequence[str] = (), at_work: Sequence[str] = ()) -> pl.DataFrame:
    """Every feasible plan and workload as a replica under load.

    KEYS, the inputs of `under_load`, `more` columns of an idle replica, and those of one `at_work`.

    Numbers are of one data-parallel group, which gets its share of arrivals. Workloads are served
    in a closed loop or not at all: static ones are left out.
    """
    probes = probe_plans(axes, variation, [*more, *at_work])
    keys = [name for name in KEYS if name not in ("prompt_tokens", "output_tokens")]
    own, long, held, kept = (probes.filter(col("look") == name) for name in LOOKS)
    alone = own.filter(col("group_batch") == 1)
    steps = held.pivot("group_batch", index=keys, values="decode_step_s", maintain_order=True)
    steps = steps.rename({str(size): f"decode_{size}_s" for size in LADDER})
    rows = alone.join(steps, on=keys, how="left", maintain_order="left")
    for name, frame, size, column in (
        ("read_s", own, READING_BATCH, "prompt_read_s"),
        ("long_read_s", long, READING_BATCH, "prompt_read_s"),
        ("mixed_slots", held, 1, "batch_max"),
        ("reserved_slots", kept, 1, "batch_max"),
    ):
        seen = frame.filter(col("group_batch") == size).select(*keys, col(column).alias(name))
        rows = rows.join(seen, on=keys, how="left", maintain_order="left")
    busy = own.filter(col("group_batch") == READING_BATCH).select(*keys, *at_work)
    rows = rows.drop(at_work).join(busy, on=keys, how="left", maintain_order="left")
    return with_line(as_replicas(rows, variation), pl.lit(float(READING_BATCH)))


LOOKS = ("own", "long", "held", "kept")
LOOKED_AT = (
    *("decode_step_s", "batch_max", "ttft_s", "sequences_max", "batched_tokens_max", "asked_batched_tokens_max"),
    *("chunk_tokens", "accepted_tokens", "cached_prompt_ratio", "engine_prefills_first", "engine_reserves_kv"),
    *("engine_first_token_steps", "ttft_slo_s", "tpot_slo_s"),
)
"""What a replica under load is made of, besides what a prompt takes to read."""


def probe_plans(axes: Axes, variation: Variation, more: Sequence[str]) -> pl.DataFrame:
    """All plans at the batches of the ladder, at four kinds of length."""
    workloads = axes["workload"].filter(~col("is_static"))
    twice = 1.0 + variation.output_cv**2
    shapes = {  # a sequence of mean age while it decodes, and one whose whole output has room
        "own": (col("prompt_tokens"), col("output_tokens")),
        "long": (2 * col("prompt_tokens"), col("output_tokens")),
        "held": (col("prompt_tokens") + (col("output_tokens") * twice / 2).cast(pl.Int64), pl.lit(1, pl.Int64)),
        "kept": (col("prompt_tokens") + (col("output_tokens") * twice).cast(pl.Int64), pl.lit(1, pl.Int64)),
    }
    probes = pl.concat(
        workloads.with_columns(prompt_tokens=prompt, output_tokens=output, look=pl.lit(name))
        for name, (prompt, output) in shapes.items()
    )
    ladder = pl.DataFrame({"group_batch": LADDER}, schema={"group_batch": pl.Int64})
    formulas = {**book_for(axes["model"]), "batch": entered(batch), "prompt_read_s": entered(prompt_read_s)}
    wanted = [*KEYS, "look", "group_batch", "prompt_read_s", *LOOKED_AT, *more]
    return by_grain({**axes, "workload": probes, "batch": ladder}, formulas, list(dict.fromkeys(wanted))).collect()


def prompt_read_s(joining_prompt_s: Expr, engine_flop_ratio: Expr) -> Expr:
    """What one more prompt adds to a decoding batch, as the engine runs it.

    Definition.
    """
    return joining_prompt_s / engine_flop_ratio


def as_replicas(rows: pl.DataFrame, variation: Variation) -> pl.DataFrame:
    """Looks as the inputs of `under_load`, all but the line of the step.

    A prompt of s tokens takes d s + e s^2 / 2: two lengths give both. A step that verifies drafts
    yields several tokens: outputs are shorter by as much, and objectives looser.
    """
    s = 1.0 * col("prompt_tokens")
    pair = ((col("long_read_s") - 2.0 * col("read_s")) / (s * s)).clip(0.0)
    twice = 1.0 + variation.output_cv**2
    later = (1.0 * col("output_tokens") * twice / 2.0) / (s + col("output_tokens") * twice / 2.0)
    own_chunk = pl.when(col("batched_tokens_max") > 0).then("batched_tokens_max").otherwise("chunk_tokens")
    return rows.with_columns(
        prompt_pair_s=pair,
        prompt_token_s=(col("read_s") - 0.5 * pair * s * s).clip(1e-12) / s,
        step_tokens=1.0 * pl.coalesce("asked_batched_tokens_max", own_chunk),
        slots=1.0 * col("sequences_max"),
        kv_slots=pl.when("engine_reserves_kv").then("reserved_slots").otherwise("mixed_slots") / col("dp"),
        kv_growth_ratio=pl.when("engine_reserves_kv").then(0.0).otherwise(later),
        prefills_first="engine_prefills_first",
        shown_output_tokens="output_tokens",
        output_tokens=1.0 + (col("output_tokens") - 1) / col("accepted_tokens"),
        tpot_slo_s=col("tpot_slo_s") * col("accepted_tokens"),
        ttft_floor_s="ttft_s",
        first_token_steps=col("engine_first_token_steps"),
        **{f"{name}_cv": pl.lit(value) for name, value in zip(("prompt", "output", "arrival"), variation, strict=True)},
    )


def with_line(rows: pl.DataFrame, at: Expr) -> pl.DataFrame:
    """Replicas with the straight line of their steps through a batch of one and the batch that is given.

    What an idle replica takes to the first token besides its step stays what our estimate says.
    """
    batch_at = at.clip(2.0, float(LADDER[-1]))
    step = pl.lit(None, pl.Float64)
    for low, high in itertools.pairwise(LADDER):
        share = (batch_at - low) / (high - low)
        here = col(f"decode_{low}_s") * (1.0 - share) + col(f"decode_{high}_s") * share
        step = pl.when(batch_at >= low).then(here).otherwise(step)
    drawn = rows.with_columns(step_sequence_s=((step - col("decode_1_s")) / (batch_at - 1.0)).clip(1e-12))
    work = col("prompt_token_s") * col("prompt_tokens") + 0.5 * col("prompt_pair_s") * col("prompt_tokens") ** 2
    based = drawn.with_columns(step_base_s=(col("decode_1_s") - col("step_sequence_s")).clip(1e-12))
    spread = 1.0 + col("prompt_cv") ** 2
    mean = work + 0.5 * col("prompt_pair_s") * col("prompt_tokens") ** 2 * (spread - 1.0)
    late = col("first_token_steps") * col("step_base_s")
    return based.with_columns(ttft_extra_s=col("ttft_floor_s") - col("step_base_s") - mean - late)


def with_largest_rate(rows: pl.DataFrame) -> pl.DataFrame:
    """Replicas with `group_slo_requests_per_s`, their lines drawn through the batch that they run at that rate."""
    rates = rows.with_columns(arrivals_per_s=largest_rate(rows, rounds=COARSE)).with_columns(
        col("arrivals_per_s").clip(1e-9)
    )
    running = run_passes(rates, ["running_batch"])["running_batch"]
    rows = with_line(rows.with_columns(drawn_at=running), col("drawn_at")).drop("drawn_at")
    return rows.with_columns(group_slo_requests_per_s=largest_rate(rows))
