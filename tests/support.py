"""What several test files share: the bundled catalogs, small grids of them, and rows by column name."""

from __future__ import annotations

from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any

import polars as pl

import pipeline
from pipeline.grid.axes import KEYS, axes_of
from pipeline.grid.plan import by_grain
from pipeline.grid.selection import Grid
from pipeline.grid.tables import book_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.facts.catalog import Catalogs
    from pipeline.grid.axes import Axes

AS_OF = date(2026, 11, 22)


def plan(tp: int = 1, pp: int = 1, ep: int = 1) -> dict[str, int]:
    """One parallel plan, as a grid states it."""
    return {"tp": tp, "pp": pp, "ep": ep}


@cache
def catalogs() -> Catalogs:
    """The catalogs that come with capgrid, read once."""
    return pipeline.catalogs()


def every(kind: str) -> list[str]:
    """Every id of one catalog."""
    return catalogs().frames[kind][kind].to_list()


def axes(models: Iterable[str], **others: Sequence[Any]) -> Axes:
    """The axes of a small grid: one of everything, unless said otherwise."""
    usual: dict[str, Sequence[Any]] = {
        "weights": ["bf16"],
        "kv": ["bf16"],
        "engines": ["vllm"],
        "accelerators": ["h100-sxm-80gb"],
        "workloads": ["chat"],
        "parallel": [plan()],
        "batches": [1],
    }
    chosen: dict[str, Any] = {name: tuple(each) for name, each in (usual | others).items()}
    return axes_of(catalogs(), Grid("test", models=tuple(models), **chosen), AS_OF)


def rows(of: Axes, *wanted: str) -> pl.DataFrame:
    """The feasible rows of some axes with the wanted columns beside the keys, made by the way of a run."""
    return by_grain(of, book_for(of["model"]), [*KEYS, "batch", *wanted]).collect()


def texts(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with names as text: the Enums of two grids differ though their names agree."""
    return frame.with_columns(pl.col(pl.Enum).cast(pl.String))


@cache
def models() -> pl.DataFrame:
    """The facts of every model as formulas read them."""
    return texts(axes(every("model"))["model"])


def facts(model: str, **plans: Any) -> pl.DataFrame:
    """The facts of one model, and of a plan beside them: a row for each value of the lists among these."""
    usual = {"tp": 1, "pp": 1, "ep": 1, "kv_bytes_per_element": 2.0, "block_tokens": 16, "prompt_tokens": 1024}
    usual |= {"output_tokens": 0, "expert_width_multiple": 1, "engine_reads_whole_batch": False}
    lists = {name: each if isinstance(each, list) else [each] for name, each in (usual | plans).items()}
    most = max(map(len, lists.values()))
    beside = pl.DataFrame({name: each * most if len(each) == 1 else each for name, each in lists.items()})
    return models().filter(model=model).join(beside, how="cross", maintain_order="left_right")
