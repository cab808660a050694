"""The data of the report's page: columns of small numbers, as many models as the page has room for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl
from polars import col

from pipeline.publish.report.plans import CASE, DIGITS, best_plans, fronts, largest_batches, plan_curves
from pipeline.publish.words import show_hidden

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pipeline.publish.report.numbers import Overview

MAPPED = 40
"""Models of the heat map."""
DETAILED = 16
"""Models with curves, costs and memory, at most."""
MOST_ACCELERATORS, MOST_WORKLOADS, MOST_WEIGHTS = 20, 8, 8
NOT_RUN = -1
NAMES = ("engine", "kv", "confidence", "limited_by")
"""Columns of few names, which stand as numbers of a list."""
MEMORY = ("weights_gb", "kv_gb", "activations_gb", "overhead_gb", "free_gb")
NUMBERS = ("meets", "batch", "batch_max", "ttft_ms", "tpot_ms", "tokens_per_s", "usd", "usd_lo", "usd_hi", *MEMORY)
CURVES = ("curve_tpot_ms", "curve_tokens", "curve_in_time")


class PageData:
    """The slice of a run that the page can show."""

    def __init__(self, run: Path, said: Overview) -> None:
        """Read the slice."""
        self.said = said
        self.accelerators = said.accelerators.head(MOST_ACCELERATORS)
        self.workloads = said.workloads.head(MOST_WORKLOADS)
        self.weights = said.weights[:MOST_WEIGHTS]
        names = said.models["model"].to_list()
        kept = (
            col("workload").is_in(self.workloads["workload"].to_list())
            & col("weights").is_in(self.weights)
            & col("accelerator").is_in(self.accelerators["accelerator"].to_list())
        )
        self.batches = sorted(said.manifest["grid"]["batches"])
        self.mapped = said.models.head(MAPPED).sort("parameter_count", "model")
        self.heat = largest_batches(run, self.mapped["model"].to_list()).filter(kept)
        self.devices = sorted(self.heat["device_count"].unique().to_list())
        self.detailed = names[:DETAILED]
        plans = best_plans(run, self.detailed).filter(kept)
        self.plans = plan_curves(run, plans) if plans.height else plans
        self.fronts = fronts(run, self.detailed).filter(kept)

    def as_json(self, most_bytes: int) -> str:
        """The data as JSON text of at most so many bytes, with as many detailed models as that allows."""
        for count in range(len(self.detailed), 0, -1):
            text = script_json(self.of(self.detailed[:count]))
            if len(text) <= most_bytes or count == 1:
                return text
        return script_json(self.of([]))

    def of(self, models: Sequence[str]) -> dict[str, Any]:
        """The data with the details of some models."""
        listed = {name: sorted(self.plans[name].unique().to_list()) for name in NAMES}
        axes = {
            "model": list(models),
            "workload": self.workloads["workload"].to_list(),
            "weights": self.weights,
            "accelerator": self.accelerators["accelerator"].to_list(),
            **{name: sorted({*listed[name], *self.fronts[name].unique().to_list()}) for name in ("engine", "kv")},
            **{name: listed[name] for name in ("confidence", "limited_by")},
        }
        return {
            "axes": {name: [show_hidden(each) for each in names] for name, names in axes.items()},
            "workloads": {
                name: self.workloads[name].cast(pl.Float64).round_sig_figs(DIGITS).to_list()
                for name in ("prompt_tokens", "output_tokens", "ttft_slo_s", "tpot_slo_s")
            },
            "batches": self.batches,
            "memory_gb": self.accelerators["memory_gb"].to_list(),
            "map": {
                "model": [show_hidden(each) for each in self.mapped["model"]],
                "parameters": self.mapped["parameter_count"].to_list(),
                "devices": self.devices,
                "batch_max": self.grid(axes),
            },
            "plans": columns(
                self.plans.filter(col("model").is_in(list(models))).with_columns(col("meets").cast(pl.Int8)),
                axes,
                (*NUMBERS, *CURVES),
            ),
            "fronts": columns(
                self.fronts.filter(col("model").is_in(list(models))), axes, ("batch", "usd", "e2e_s", "tpot_ms")
            ),
        }

    def grid(self, axes: dict[str, list[str]]) -> list[list[int]]:
        """By model: `batch_max` of workload x weights x accelerator x devices, -1 where no plan can run."""
        order = [pl.DataFrame({name: axes[name]}) for name in ("workload", "weights", "accelerator")]
        every = self.mapped.select("model").with_row_index("at")
        for axis in (*order, pl.DataFrame({"device_count": self.devices}, schema={"device_count": pl.Int64})):
            every = every.join(axis, how="cross", maintain_order="left_right")
        joined = every.join(self.heat, on=[*CASE, "device_count"], how="left", maintain_order="left")
        lists = joined.group_by("at", maintain_order=True).agg(col("batch_max").fill_null(NOT_RUN))
        return lists["batch_max"].to_list()


def columns(rows: pl.DataFrame, axes: dict[str, list[str]], numbers: Iterable[str]) -> dict[str, list[Any]]:
    """Rows as columns: names as their place in the axes, numbers with the digits that are shown."""
    told = rows.with_columns(tpot_ms=col("tpot_s") * 1e3) if "tpot_s" in rows.columns else rows
    places = [
        col(name).replace_strict({each: at for at, each in enumerate(of)}, default=None, return_dtype=pl.Int64)
        for name, of in axes.items()
        if name in told.columns
    ]
    wanted = [name for name in numbers if name in told.columns]
    figures = [col(name).round_sig_figs(DIGITS) if told.schema[name] == pl.Float64 else col(name) for name in wanted]
    rounded = told.select(*places, "device_count", "pp", "ep", "dp", *figures)
    return {name: drop_fractions(rounded[name].to_list()) for name in rounded.columns}


def drop_fractions(values: list[Any]) -> list[Any]:
    """Numbers without a fraction as whole numbers, lists too: fewer bytes, the same values.

    >>> drop_fractions([1.0, 2.5, None, [3.0, 4.5], True])
    [1, 2.5, None, [3, 4.5], True]
    """
    return [
        drop_fractions(each)
        if isinstance(each, list)
        else int(each)
        if isinstance(each, float) and each.is_integer()
        else each
        for each in values
    ]


def script_json(value: Any) -> str:
    r"""A value as JSON that cannot end the script element that it stands in.

    >>> print(script_json({"name": "</script>"}))
    {"name":"\u003c/script\u003e"}
    """
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
