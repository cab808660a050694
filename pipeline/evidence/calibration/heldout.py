"""Errors on rows that a fit has not seen: whole configurations, models or devices are left out in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

import polars as pl

from pipeline.evidence.calibration.least_squares import Problem, solve_constants

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIGURATION = ("model", "weights", "accelerator", "tp", "pp", "prompt_tokens", "output_tokens")
LEVELS = {"configurations": CONFIGURATION, "models": ("model",), "accelerators": ("accelerator",)}
"""What is left out together, and the columns that tell it."""
LEAST_GROUPS, MOST_FOLDS = 3, 10


@dataclass(frozen=True)
class HeldOut:
    """Errors on rows left out, with the constants as they were and as the other rows set them."""

    left_out: str
    groups: int
    n: int
    median_before: float
    median_after: float
    p90_before: float
    p90_after: float


def cross_validate(whole: Problem, warnings: list[str], name: str) -> list[HeldOut]:
    """Errors at every level that has enough groups, the finest first; rows of one configuration one by one."""
    keys = {level: group_key(whole.frame, columns) for level, columns in LEVELS.items()}
    enough = {level: key for level, key in keys.items() if key.n_unique() >= LEAST_GROUPS}
    if "configurations" not in enough:
        warnings.append(
            f"{name}: fewer than {LEAST_GROUPS} configurations: errors are those of other rows of the same ones"
        )
        enough = {"rows": group_key(whole.frame, ("measurement_row",))} | enough
    held = [held_out_errors(whole, level, key) for level, key in enough.items()]
    warnings += [
        f"{name}: with whole {each.left_out} left out, the median error grows from {each.median_before:.1%} to "
        f"{each.median_after:.1%}: do not use these constants for other {each.left_out}"
        for each in held[1:]
        if each.median_after > each.median_before
    ]
    return held


def group_key(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """What each row is left out with, as a text."""
    return frame.select(pl.concat_str(columns, separator="|")).to_series()


def fold_of(key: pl.Series) -> pl.Series:
    """The fold of each row: one for each group, or ten that groups are dealt into by a hash of their name."""
    groups = key.unique().sort()
    folds = (
        range(groups.len()) if groups.len() <= MOST_FOLDS else [crc32(each.encode()) % MOST_FOLDS for each in groups]
    )
    return key.replace_strict(dict(zip(groups, folds, strict=True)), return_dtype=pl.Int64)


def held_out_errors(whole: Problem, level: str, key: pl.Series) -> HeldOut:
    """Errors on every row by constants of the other folds."""
    folds = fold_of(key)
    after = pl.concat(fold_errors(whole, folds == fold) for fold in folds.unique().sort())
    before = pl.Series(whole.errors(whole.before))
    ends = (float(each.quantile(share, "linear") or 0.0) for share in (0.5, 0.9) for each in (before, after))
    return HeldOut(level, key.n_unique(), len(folds), *ends)


def fold_errors(whole: Problem, test: pl.Series) -> pl.Series:
    """Errors on some rows by constants of all others."""
    return pl.Series(whole.part(test).errors(solve_constants(whole.part(~test)).values))
