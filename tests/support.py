"""What several test files share: the bundled catalogs, small grids of them, and rows by column name."""

from __future__ import annotations

from datetime import date
from functools import cache
from pathlib import Path
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
ROOT = Path(__file__).parent.parent
"""The project's folder."""
SHARED = ROOT.parent / "shared"
"""Measurements and configs beside the project, where there are any."""
LOGS = ROOT / "tests" / "evidence" / "logs"
"""Start-up logs of the shape that engines print."""


def plan(tp: int = 1, pp: int = 1, ep: int = 1, dp: int = 1) -> dict[str, int]:
    """One parallel plan, as a grid states it."""
    return {"tp": tp, "pp": pp, "ep": ep, "dp": dp}


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
def models(engine: str = "vllm") -> pl.DataFrame:
    """The facts of every model as formulas read them, where that engine is in the plan."""
    return texts(axes(every("model"), engines=[engine])["model"])


@cache
def beside(engine: str, accelerator: str) -> pl.DataFrame:
    """What formulas read beside the model: 16-bit formats, one rank, a device and an engine as they come."""
    of = axes(["llama-7b"], engines=[engine], accelerators=[accelerator])
    parts = ("weights", "kv", "parallel", "accelerator", "engine")
    return pl.concat([texts(of[name]) for name in parts], how="horizontal")


@cache
def served(model: str, engine: str, accelerator: str) -> pl.DataFrame:
    """One model, and what formulas read beside it."""
    return models(engine).filter(model=model).join(beside(engine, accelerator), how="cross")


def facts(model: str, engine: str = "vllm", accelerator: str = "h100-sxm-80gb", /, **plans: Any) -> pl.DataFrame:
    """The facts of one model, and of a plan beside them: a row for each value of the lists among these."""
    usual = {"prompt_tokens": 1024, "output_tokens": 0} | plans
    lists = {name: each if isinstance(each, list) else [each] for name, each in usual.items()}
    most = max(map(len, lists.values()))
    said = pl.DataFrame({name: each * most if len(each) == 1 else each for name, each in lists.items()})
    whole = served(model, engine, accelerator)
    return whole.drop(said.columns, strict=False).join(said, how="cross", maintain_order="left_right")
