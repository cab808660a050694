"""What moved between two runs: columns, plans that came and went, curves; each with what may be behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from polars import col

from pipeline.answers.diff.causes import ALL
from pipeline.answers.diff.reach import AXES, EXISTS
from pipeline.answers.diff.rows import differs
from pipeline.answers.store import pattern

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipeline.answers.diff.reach import Reach
    from pipeline.answers.diff.rows import Pair
    from pipeline.grid.selection import Grid

EFFECTS: dict[str, Any] = {
    **dict.fromkeys(["table", "effect", "question", "model", "accelerator", "workload"], pl.String),
    **dict.fromkeys(["plan", "old", "new"], pl.String),
    **dict.fromkeys(["old_value", "new_value", "ratio", "ratio_min", "ratio_max"], pl.Float64),
    "rows": pl.Int64,
    "via": pl.String,
    "causes": pl.List(pl.Int64),
}
"""One row for each effect. Of a column that changed in many plans of a model on a device: how many (`rows`), within
which ratios, and the plan in which it changed most."""

PLAN = pl.format("{}/{} {}", "weights", "kv", "engine")
"""How a device is used, short: number formats of weights and KV cache, engine."""


def column_changes(pair: Pair, reach: Reach) -> list[pl.DataFrame]:
    """Every column of a table that changed in rows that both runs have."""
    found = []
    for column in pair.columns:
        cells = pair.changed(column)
        if cells.height:
            found.append(sum_up(cells, pair.table, column, reach))
    return found


def sum_up(cells: pl.DataFrame, table: str, column: str, reach: Reach) -> pl.DataFrame:
    """Changed cells of one column by model, device and causes: how many, how far, and the farthest."""
    by = ["model", "accelerator", "words", *(["demand"] if "demand" in cells.columns else [])]
    shown = ["workload", "weights", "kv", "engine", "parallel", "old_value", "new_value", "ratio"]
    most = col("far").fill_null(0).arg_max()
    groups = (
        with_distance(cells)
        .with_columns(words=reach.behind(table, column))
        .group_by(by, maintain_order=True)
        .agg(col(shown).get(most), rows=pl.len(), ratio_min=col("ratio").min(), ratio_max=col("ratio").max())
    )
    texts = [col(f"{side}_value").cast(pl.String).alias(side) for side in ("old", "new")]
    effects = groups.with_columns(
        *texts, plan=pl.format("{} {}", PLAN, "parallel"), causes=reach.named(groups["words"])
    )
    if not cells.schema["old_value"].is_numeric():
        effects = effects.drop("old_value", "new_value")
    if "demand" in by:
        effects = effects.with_columns(workload="demand")
    return as_effects(effects, table, "change", column)


def with_distance(cells: pl.DataFrame) -> pl.DataFrame:
    """Changed cells with `ratio` and `far`: of numbers; of names none, and not far."""
    dtype = cells.schema["old_value"]
    if not dtype.is_numeric():
        return cells.with_columns(ratio=pl.lit(None, pl.Float64), far=pl.lit(0.0))
    cells = cells.with_columns(col("old_value", "new_value").cast(pl.Float64))
    return cells.with_columns(ratio=ratio(), far=far(dtype.is_integer()))


def ratio() -> pl.Expr:
    """New over old; unknown where either is."""
    return pl.when((col("old_value") > 0) & (col("new_value") > 0)).then(col("new_value") / col("old_value"))


def far(is_count: bool) -> pl.Expr:  # noqa: FBT001
    """How far a number moved, to rank by; counts as if there were one more, so that from none to some is far too."""
    more = 1.0 if is_count else 0.0
    moved = ((col("new_value") + more).log() - (col("old_value") + more).log()).abs()
    return pl.when(moved.is_finite()).then(moved).otherwise(0.0)


def as_effects(frame: pl.DataFrame, table: str, effect: str, question: str | None = None) -> pl.DataFrame:
    """Rows as effects: every column there, in order."""
    fixed = {"table": pl.lit(table), "effect": pl.lit(effect), **({"question": pl.lit(question)} if question else {})}
    whole = frame.with_columns(**fixed)
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in EFFECTS.items() if name not in whole.columns]
    return whole.with_columns(missing).select(col(name).cast(dtype) for name, dtype in EFFECTS.items())


# ----- plans that only one run has


def plan_turnover(pair: Pair, reach: Reach) -> list[pl.DataFrame]:
    """Plans that came, and plans that are gone, by the value that only one run knows."""
    found = []
    for is_new, effect in ((True, "added"), (False, "gone")):
        rows = pair.alone(is_new=is_new)
        if rows.height:
            found.append(as_effects(group_turnover(rows, pair, reach, is_new=is_new), pair.table, effect))
    return found


def group_turnover(rows: pl.DataFrame, pair: Pair, reach: Reach, *, is_new: bool) -> pl.DataFrame:
    """Rows of one run by what the other does not know: a model, a device, a demand ...; else by what may run."""
    other = pair.old if is_new else pair.new
    axes = [*(["demand"] if "demand" in rows.columns else []), *AXES]
    unknown = [~col(axis).cast(pl.String).is_in(other[axis].cast(pl.String).unique().implode()) for axis in axes]
    question = pl.coalesce(pl.when(new).then(pl.lit(axis)) for axis, new in zip(axes, unknown, strict=True))
    value = pl.coalesce(pl.when(new).then(col(axis).cast(pl.String)) for axis, new in zip(axes, unknown, strict=True))
    asked = reach.tables(pair.table, EXISTS).get("demand", {}).get(ALL, "")
    is_demand = question == "demand"
    words = reach.behind(pair.table, EXISTS) + pl.when(is_demand).then(pl.lit(asked)).otherwise(pl.lit(""))
    named = rows.with_columns(question=question.fill_null("plan"), value=value, words=words)
    counts = named.group_by("question", "value", "words", maintain_order=True).agg(
        only_value("model"), only_value("accelerator"), only_value("workload"), rows=pl.len().cast(pl.Int64)
    )
    told = {"new" if is_new else "old": col("value")}
    return counts.with_columns(**told, causes=reach.named(counts["words"]))


def only_value(name: str) -> pl.Expr:
    """The one value that a group has of a name."""
    return pl.when(col(name).n_unique() == 1).then(col(name).cast(pl.String).first())


# ----- curves

MEANS = ("vram_bytes", "ttft_s", "tpot_s", "output_tokens_per_s", "usd_per_mtok_output", "energy_j_per_token")
"""What is compared of curves: the mean of each over the batches, for each kind of plan."""


def curve_changes(a: Path, b: Path, grids: tuple[Grid, Grid], reach: Reach) -> list[pl.DataFrame]:
    """The curves of two runs by model, formats, engine, device and workload, over what both grids have."""
    batches = sorted({*grids[0].batches} & {*grids[1].batches})
    parallel = [plan for plan in grids[0].parallel if plan in grids[1].parallel]
    if not batches or not parallel:
        return []
    old, new = (curve_means(folder, batches, pl.DataFrame(parallel)) for folder in (a, b))
    by = [*AXES[:6], "curves"]
    pairs = old.join(new, on=by, suffix="_b", maintain_order="left")
    found = []
    for column in MEANS:
        told = pairs.select(*AXES[:6], old_value=column, new_value=f"{column}_b", parallel=pl.lit("all plans"))
        cells = told.filter(differs(pl.Float64()))
        if cells.height:
            found.append(sum_up(cells, "estimates", column, reach))
    return found


def curve_means(folder: Path, batches: Sequence[int], parallel: pl.DataFrame) -> pl.DataFrame:
    """The means of a run's curves, streamed over its files."""
    files = folder / "estimates" / "*" / "*.parquet"
    rows = pl.scan_parquet(pattern(folder, files), hive_partitioning=False).filter(col("batch").is_in(list(batches)))
    rows = rows.join(parallel.lazy(), on=parallel.columns, how="semi")
    counted = rows.group_by(AXES[:6]).agg(col(MEANS).cast(pl.Float64).mean(), curves=pl.len())
    found = counted.collect(engine="streaming").with_columns(col(AXES[:6]).cast(pl.String))
    return found.sort(AXES[:6])  # streamed groups come in any order, and of equally far plans the first is told
