"""What changed between two runs, and why: causes, their effects, and a sentence that says it.

Compared are the inputs (facts, prices in force, grid, code) and the tables: `capacity` row by row and column by column,
`fleet` likewise, `estimates` as means of its curves. Nothing is looked at twice where two runs share their content key.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import polars as pl
from polars import col

from pipeline.answers.diff.causes import Cause, causes_of
from pipeline.answers.diff.effects import EFFECTS, column_changes, curve_changes, plan_turnover
from pipeline.answers.diff.flips import flips
from pipeline.answers.diff.inputs import Run, read_run
from pipeline.answers.diff.pages import markdown_page, text_page
from pipeline.answers.diff.reach import reach_of
from pipeline.answers.diff.rows import capacity_pair, fleet_pair
from pipeline.answers.diff.words import QUESTIONS, headline_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipeline.answers.diff.reach import Reach
    from pipeline.answers.diff.rows import Pair

TEXTS = [each.name for each in fields(Cause) if each.name not in {"owner", "gained", "parts", "is_last"}]
CAUSES: dict[str, Any] = {"cause": pl.Int64, **dict.fromkeys(TEXTS, pl.String), "flips": pl.Int64, "rows": pl.Int64}
"""One row for each cause, the weightiest first: its number, what it is, how many answers flipped and rows changed."""
ORDER = ("flip", "added", "gone", "change")


@dataclass(frozen=True)
class Difference:
    """Two runs held against one another."""

    old: str
    """Id of the run that was."""
    new: str
    causes: pl.DataFrame
    """CAUSES."""
    effects: pl.DataFrame
    """EFFECTS: flips first, then what came and went, then changes, the farthest first."""
    headline: str

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed at all."""
        return self.causes.is_empty() and self.effects.is_empty()

    @property
    def unexplained(self) -> int:
        """Effects that no cause explains."""
        return self.effects.filter(col("causes").list.len() == 0).height


def difference(run_a: Path, run_b: Path) -> Difference:
    """What changed from one run to another, each change attributed to what may be behind it.

    Args:
        run_a: folder of the run that was.
        run_b: folder of the run that is.

    Raises:
        pipeline.core.errors.RunError: a run is unfinished, damaged, or keeps no facts.
    """
    a, b = read_run(run_a), read_run(run_b)
    same_tables = a.manifest.get("content_key") == b.manifest.get("content_key")
    if same_tables and a.inputs.as_of == b.inputs.as_of:
        return weigh(a, b, [], pl.DataFrame(schema=EFFECTS))
    causes = causes_of(a, b)
    reach = reach_of(causes, a.inputs, b.inputs)
    found = [*([] if same_tables else plan_effects(a, b, reach)), *fleet_effects(a, b, reach)]
    return weigh(a, b, causes, sort_effects(pl.concat(found) if found else pl.DataFrame(schema=EFFECTS)))


def plan_effects(a: Run, b: Run, reach: Reach) -> list[pl.DataFrame]:
    """Effects in `capacity` and `estimates`."""
    pair = capacity_pair(a.folder, b.folder)
    grids = a.inputs.grid, b.inputs.grid
    return [*row_effects(pair, reach), *curve_changes(a.folder, b.folder, grids, reach)]


def fleet_effects(a: Run, b: Run, reach: Reach) -> list[pl.DataFrame]:
    """Effects in `fleet`; runs from before there were fleets have none."""
    if not all((run.folder / "fleet.parquet").is_file() for run in (a, b)):
        return []
    return row_effects(fleet_pair(a.folder, b.folder), reach)


def row_effects(pair: Pair, reach: Reach) -> list[pl.DataFrame]:
    """Effects in the rows of one table: answers that flipped, what came and went, what changed."""
    return [*flips(pair, reach), *plan_turnover(pair, reach), *column_changes(pair, reach)]


def sort_effects(effects: pl.DataFrame) -> pl.DataFrame:
    """Effects as people want them: flips, what came and went, changes; the farthest first."""
    rank = col("effect").replace_strict({name: place for place, name in enumerate(ORDER)}, return_dtype=pl.Int64)
    far = pl.max_horizontal(*(col(name).log().abs() for name in ("ratio", "ratio_min", "ratio_max"))).fill_null(0.0)
    asked = col("question").replace_strict({name: place for place, name in enumerate(QUESTIONS)}, default=0)
    ties = ["table", "question", "model", "accelerator", "workload"]
    order = [rank, asked, -far, -col("rows"), *ties]
    return effects.sort(order, nulls_last=True, maintain_order=True)


def weigh(a: Run, b: Run, causes: Sequence[Cause], effects: pl.DataFrame) -> Difference:
    """Causes by weight, their numbers in the effects, and the headline."""
    weights = cause_weights(effects)
    rows = [cause_as_row(place, cause, weights) for place, cause in enumerate(causes)]
    frame = pl.DataFrame([row for row in rows if row], schema={"place": pl.Int64, **CAUSES})
    weight = [col("flips").cast(pl.Float64), col("rows").cast(pl.Float64)]
    frame = frame.sort([-weight[0], -weight[1], "place"]).with_columns(cause=pl.int_range(1, pl.len() + 1))
    numbers = dict(frame.select("place", "cause").iter_rows())
    lists = effects["causes"].unique(maintain_order=True) if effects.height else effects["causes"]
    named = {tuple(each): sorted(numbers[place] for place in each) for each in lists.to_list()}
    renamed = pl.Series("causes", [named[tuple(each)] for each in effects["causes"].to_list()], pl.List(pl.Int64))
    found = Difference(a.id, b.id, frame.select(list(CAUSES)), effects.with_columns(renamed), "")
    return replace(found, headline=headline_of(found.causes, found.effects))


def cause_weights(effects: pl.DataFrame) -> dict[int, tuple[int, int]]:
    """How many answers flipped, and rows came, went or changed, by each cause."""
    by = (
        effects.explode("causes", empty_as_null=False)
        .group_by("causes")
        .agg(flips=(col("effect") == "flip").sum(), rows=col("rows").filter(col("effect") != "flip").sum())
    )
    return {place: (flips, rows) for place, flips, rows in by.select("causes", "flips", "rows").iter_rows()}


def cause_as_row(place: int, cause: Cause, weights: dict[int, tuple[int, int]]) -> dict[str, Any] | None:
    """A cause as a row; none of code that is only unknown, where it explains nothing."""
    if cause.is_last and place not in weights and cause.old == cause.new:
        return None
    flipped, rows = weights.get(place, (0, 0))
    return {"place": place, **{name: getattr(cause, name) for name in TEXTS}, "flips": flipped, "rows": rows}


def difference_markdown(difference: Difference, top: int = 10) -> str:
    """The difference as Markdown that fits a comment on a pull request: headline, causes, effects; long lists are cut.

    Args:
        difference: what changed.
        top: rows of a list, at most.
    """
    runs = difference.old, difference.new
    return markdown_page(difference.headline, runs, difference.causes, difference.effects, top)


def difference_data(difference: Difference, top: int | None = None) -> dict[str, Any]:
    """The difference as plain values, for JSON; with `top`, so many effects of each kind and question at most."""
    effects = difference.effects
    if top is not None:
        effects = effects.filter(pl.int_range(pl.len()).over("table", "effect", "question") < top)
    return {
        "headline": difference.headline,
        "runs": {"old": difference.old, "new": difference.new},
        "causes": difference.causes.to_dicts(),
        "effects": effects.to_dicts(),
        "effects_all": difference.effects.height,
        "unexplained": difference.unexplained,
    }


def difference_text(difference: Difference, top: int = 10) -> str:
    """The difference for a terminal: the headline, each cause with its effects under it."""
    return text_page(difference.headline, (difference.old, difference.new), difference.causes, difference.effects, top)
