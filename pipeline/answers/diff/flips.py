"""Answers that flipped: what was best, or enough, in one run and is something else in the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
from polars import col

from pipeline.answers.diff.effects import PLAN, as_effects, ratio
from pipeline.answers.diff.reach import EXISTS
from pipeline.answers.diff.rows import SAME_RATIO

if TYPE_CHECKING:
    from pipeline.answers.diff.reach import Reach
    from pipeline.answers.diff.rows import Pair

TIES = ["device_count", "accelerator", "weights", "kv", "engine", "parallel"]
"""What decides between equally good plans: names from A to Z, so that the order of catalogs decides nothing."""


@dataclass(frozen=True)
class Question:
    """A question that is asked of a table once for each group: the plan with the least of something answers."""

    name: str
    by: tuple[str, ...]
    holds: str | None
    """A count that must be above 0; none where every row may answer."""
    least: str
    answer: pl.Expr
    depends_on: str


def cheapest(name: str, answer: pl.Expr) -> Question:
    """The plan within the objectives that costs least per token, by what of it is the answer."""
    return Question(name, ("model", "workload"), "batch_slo", "usd_per_mtok_output", answer, "usd_per_mtok_output")


def fewest_devices(name: str, count: str) -> Question:
    """On how few devices of a kind a count of sequences is above 0."""
    by = ("model", "accelerator", "workload")
    return Question(name, by, count, "device_count", col("device_count").cast(pl.String), count)


OF_PLANS = (
    cheapest("cheapest_device", col("accelerator")),
    cheapest("cheapest_plan", pl.format("{} x {} {}", "device_count", "accelerator", PLAN)),
    fewest_devices("devices_to_fit", "batch_max"),
    fewest_devices("devices_to_meet_objective", "batch_slo"),
)
REPLICAS = pl.format("{} replicas of {} x {} {}", "replicas", "device_count", "accelerator", PLAN)
OF_FLEETS = (Question("cheapest_fleet", ("demand",), None, "usd_per_hour", REPLICAS, "usd_per_hour"),)


def flips(pair: Pair, reach: Reach) -> list[pl.DataFrame]:
    """The answers of a table that are not the same any more, of groups that both runs have."""
    questions = OF_FLEETS if pair.table == "fleet" else OF_PLANS
    needed = list(
        dict.fromkeys(name for q in questions for name in (q.holds, q.least) if name and name not in pair.old)
    )
    needed += ["replicas"] if pair.table == "fleet" else []
    old, new = (
        names.hstack([pair.values(name, is_new=is_new) for name in needed])
        for names, is_new in ((pair.old, False), (pair.new, True))
    )
    found: list[pl.DataFrame] = []
    for question in questions:
        flipped = question_flips(question, pair, old, new, reach)
        if question.name == "cheapest_plan" and found:  # another device is another plan: told once
            flipped = flipped.join(found[0], on=["model", "workload"], how="anti", nulls_equal=True)
        found.append(flipped)
    return [each for each in found if each.height]


def winners(question: Question, rows: pl.DataFrame) -> pl.DataFrame:
    """The best row of each group, with its answer."""
    able = rows.filter(col(question.least).is_not_null())
    able = able if question.holds is None else able.filter(col(question.holds) > 0)
    least = able.filter(col(question.least) == col(question.least).min().over(question.by))
    best = least.sort(TIES).unique(question.by, keep="first", maintain_order=True)
    return best.with_columns(answer=question.answer)


def question_flips(q: Question, pair: Pair, old: pl.DataFrame, new: pl.DataFrame, reach: Reach) -> pl.DataFrame:
    """One question asked of both runs, where the answers differ."""
    by = list(q.by)
    asked = [rows.select(col(by).cast(pl.String)).unique() for rows in (old, new)]
    shared = asked[0].join(asked[1], on=by)
    first, last = (winners_beside(q, pair, winners(q, one), other, reach) for one, other in ((old, new), (new, old)))
    both = first.join(last, on=by, how="full", coalesce=True, suffix="_b").join(shared, on=by, how="semi")
    values = with_movers(both.filter(col("answer").ne_missing(col("answer_b")))).with_columns(
        old_value=col(q.least).cast(pl.Float64), new_value=col(f"{q.least}_b").cast(pl.Float64)
    )
    values = values.with_columns(ratio=ratio(), causes=reach.named(values["words"]))
    if q.by == ("demand",):
        values = values.with_columns(model=pl.coalesce("model", "model_b"), workload="demand")
    if "accelerator" not in by:
        values = values.drop("accelerator", strict=False)
    return as_effects(values, pair.table, "flip", q.name)


def with_movers(flipped: pl.DataFrame) -> pl.DataFrame:
    """Flipped answers with the causes of what moved, and `via`: whether the old or the new one did."""
    words = pl.concat_str(
        pl.when(is_behind).then(col(name)).otherwise(pl.lit(""))
        for is_behind, name in (("moved", "words"), ("moved_b", "words_b"))
    )
    via = pl.concat_list(
        pl.when(col(moved).fill_null(False)).then(pl.lit([word])).otherwise(pl.lit([], pl.List(pl.String)))
        for moved, word in (("moved", "old"), ("moved_b", "new"))
    )
    told = flipped.with_columns(old="answer", new="answer_b", words=words, via=via.list.join(" and "), rows=pl.lit(1))
    return told.with_columns(plan=pl.coalesce("plan_b", "plan"))


def winners_beside(q: Question, pair: Pair, best: pl.DataFrame, other: pl.DataFrame, reach: Reach) -> pl.DataFrame:
    """The winners of one run: whether they moved in the other, and what may be behind it."""
    holds = pl.lit(True) if q.holds is None else col(q.holds) > 0
    there = other.select(*pair.keys, other_value=q.least, other_holds=holds, is_there=pl.lit(True))
    seen = best.join(there, on=pair.keys, how="left", maintain_order="left")
    same = (col("other_value") - col(q.least)).abs() <= SAME_RATIO * col(q.least).abs()
    stayed = (same & col("other_holds")).fill_null(False)
    came = pl.when(col("is_there").is_null()).then(reach.behind(pair.table, EXISTS)).otherwise(pl.lit(""))
    words = pl.concat_str(reach.behind(pair.table, q.depends_on), came)
    kept = [*dict.fromkeys(["model", "accelerator", *q.by]), q.least, "answer", "plan", "moved", "words"]
    whole = seen.with_columns(plan=pl.format("{} {}", PLAN, "parallel"), moved=~stayed, words=words)
    return whole.select(kept).with_columns(pl.selectors.enum().cast(pl.String))
