"""Catalogs become axes: one frame for each thing that a plan varies, in the order they are crossed.

A plan first, from the model to the engine; then the workload, and last the batch: what an engine is set to, and what
memory it takes, depend on neither, and are made once for all workloads and batches of a plan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import polars.selectors as cs

from pipeline.estimators.attention import PROJECTIONS
from pipeline.estimators.settings import SETTINGS
from pipeline.estimators.step.rates import GROUPS
from pipeline.estimators.step.serving import EXPERT_OVERHEADS
from pipeline.facts.prices import device_prices
from pipeline.grid.calibrated import with_calibrations
from pipeline.grid.selection import PARALLEL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from pipeline.facts.catalog import Catalogs
    from pipeline.grid.selection import Grid

Axes = dict[str, pl.DataFrame]

KEYS = [
    "model",
    "weights",
    "kv",
    "engine",
    "accelerator",
    "device_count",
    "tp",
    "pp",
    "ep",
    "workload",
    "prompt_tokens",
    "output_tokens",
    "dp",
]
"""What tells two rows of `capacity` apart; `estimates` has `batch` besides."""

FOR_PEOPLE = (
    *("name", "hf_id", "aliases", "family", "release_date", "verdict", "vendor", "device_class"),
    *("badge_memory_bytes", "checkpoint_weights", "version", "from_version", "memory_setting"),
)

MEASURED = ("measured_accelerators", "memory_measured_accelerators")
"""Lists of an engine that name devices: where its times, and where its memory were measured."""
BY_SIZE = ("engine_batched_tokens", "engine_sequences", "engine_reserved_bytes")
"""Lists of an engine that give a default for each size of device: formulas take from them what they need."""


def axes_of(catalogs: Catalogs, grid: Grid, as_of: date) -> Axes:
    """The axes of a grid, in the order in which they are crossed."""
    frames = catalogs.frames
    engines = entries_of(frames["engine"], "engine", [*grid.engines, *(setup["engine"] for setup in grid.setups)])
    engines = with_calibrations(engines, "engine", frames["calibration"])
    prices = device_prices(frames, as_of, grid.market, grid.clouds).drop("price_note")
    accelerators = with_architecture(
        entries_of(frames["accelerator"], "accelerator", grid.accelerators), frames["architecture"]
    )
    accelerators = accelerators.join(only_entry(frames["step"]), how="cross", maintain_order="left_right")
    accelerators = with_calibrations(accelerators, "accelerator", frames["calibration"])
    accelerators = accelerators.join(prices, on="accelerator", how="left", maintain_order="left")
    axes = {
        "model": model_axis(entries_of(frames["model"], "model", grid.models), engines),
        "weights": weights_axis(entries_of(frames["format"], "format", grid.weights), frames["kernel"], engines),
        "kv": kv_axis(entries_of(frames["format"], "format", grid.kv), engines),
        "parallel": pl.DataFrame(list(grid.parallel), schema=dict.fromkeys(PARALLEL, pl.Int64)),
        "accelerator": accelerator_axis(accelerators, engines),
        "engine": engine_axis(engines, frames["accelerator"], frames["band"], grid),
        "workload": workload_axis(entries_of(frames["workload"], "workload", grid.workloads)),
        "batch": pl.DataFrame({"batch": grid.batches}, schema={"batch": pl.Int64}),
    }
    return {name: with_enum(axis, name) for name, axis in axes.items()}


def entries_of(frame: pl.DataFrame, key: str, ids: Sequence[str]) -> pl.DataFrame:
    """The entries of some ids, in their order."""
    wanted = pl.DataFrame({key: list(dict.fromkeys(ids))}, schema={key: pl.String})
    return wanted.join(frame, on=key, how="left", maintain_order="left")


def only_entry(entries: pl.DataFrame) -> pl.DataFrame:
    """The constants of a kind with one entry, in a row; nothing known where a run of before has none."""
    return entries.drop(entries.columns[0]).head(1) if entries.height else entries.clear(1).drop(entries.columns[0])


def with_enum(axis: pl.DataFrame, key: str) -> pl.DataFrame:
    """The axis with its ids as an Enum of its own: small in memory, and in the order of the axis."""
    return axis.with_columns(pl.col(key).cast(pl.Enum(axis[key]))) if axis.schema.get(key) == pl.String else axis


def without_people(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns that formulas may read."""
    return frame.drop(FOR_PEOPLE, strict=False)


def model_axis(models: pl.DataFrame, engines: pl.DataFrame) -> pl.DataFrame:
    """Models, with how many layers run each kind of projection."""
    projections = {
        f"{projection}_layers": pl.sum_horizontal(
            f"{kind}_layers" for kind, its in PROJECTIONS.items() if its == projection
        )
        for projection in dict.fromkeys(PROJECTIONS.values())
    }
    counts = [each.alias(name) for name, each in projections.items() if name not in models.columns]
    class_bit = bit_of("architecture", mentioned(engines, "engine_lean_classes"))
    return without_people(models.with_columns(class_bit=class_bit).drop("architecture")).with_columns(
        *counts,
        shared_expert_layers=pl.when(pl.col("shared_expert_width").is_not_null()).then("moe_layers").otherwise(0),
    )


def weights_axis(formats: pl.DataFrame, kernels: pl.DataFrame, engines: pl.DataFrame) -> pl.DataFrame:
    """Number formats of weights, with the constants of the kernels that they run."""
    for group in GROUPS:
        constants = kernels.rename(
            {"kernel": f"{group}_kernel"} | {c: f"{group}_{c}" for c in kernels.columns if c != "kernel"}
        )
        if group == "half":
            formats = formats.join(
                constants.filter(pl.col("half_kernel") == "bf16").with_columns(half_compute=pl.lit("half")),
                how="cross",
                maintain_order="left_right",
            )
        else:
            formats = formats.join(constants, on=f"{group}_kernel", how="left", maintain_order="left")
    axis = (
        without_people(formats).drop("kv_bits", *(f"{group}_kernel" for group in GROUPS)).rename({"format": "weights"})
    )
    codes = {name: place for place, name in enumerate(EXPERT_OVERHEADS)}
    return axis.with_columns(
        bit_of("weights", mentioned(engines, "formats")).alias("weights_bit"),
        expert_overhead=bit_of("expert_overhead", codes),
    )


def kv_axis(formats: pl.DataFrame, engines: pl.DataFrame) -> pl.DataFrame:
    """Number formats of the KV cache."""
    axis = formats.select(kv="format", kv_bytes_per_element=pl.col("kv_bits") / 8.0)
    return axis.with_columns(bit_of("kv", mentioned(engines, "kv_formats")).alias("kv_bit"))


def with_architecture(accelerators: pl.DataFrame, architectures: pl.DataFrame) -> pl.DataFrame:
    """Devices with what is known of their architecture."""
    return accelerators.join(architectures.drop("name"), on="architecture", how="left", maintain_order="left")


def accelerator_axis(accelerators: pl.DataFrame, engines: pl.DataFrame) -> pl.DataFrame:
    """Devices, with the bits that engines' lists name them by."""
    axis = accelerators.with_columns(
        bit_of("accelerator", mentioned(engines, *MEASURED)).alias("accelerator_bit"),
        bit_of("architecture", mentioned(engines, "architectures")).alias("architecture_bit"),
        is_ampere=pl.col("architecture") == "ampere",
        is_old_device=pl.col("architecture").is_in(["volta", "turing"]),
    )
    return without_people(axis.drop("architecture"))


def workload_axis(workloads: pl.DataFrame) -> pl.DataFrame:
    """Workloads, their kind as a truth."""
    return without_people(workloads.with_columns(is_static=pl.col("kind") == "static").drop("kind"))


def engine_axis(engines: pl.DataFrame, accelerators: pl.DataFrame, bands: pl.DataFrame, grid: Grid) -> pl.DataFrame:
    """Engines as they are set up, with their lists as sets of bits, and the widths of bands."""
    architecture_of = dict(accelerators.select("accelerator", "architecture").iter_rows())
    engines = engines.with_columns(
        pl.col(field).list.eval(pl.element().replace_strict(architecture_of)).alias(f"{field}_architectures")
        for field in MEASURED
    )
    devices, architectures = mentioned(engines, *MEASURED), mentioned(engines, "architectures")
    bits = {
        "engine_weights_bits": bits_of("formats", mentioned(engines, "formats")),
        "engine_kv_bits": bits_of("kv_formats", mentioned(engines, "kv_formats")),
        "engine_architecture_bits": bits_of("architectures", architectures),
        "engine_measured_bits": bits_of("measured_accelerators", devices),
        "engine_measured_architecture_bits": bits_of("measured_accelerators_architectures", architectures),
        "engine_memory_measured_bits": bits_of("memory_measured_accelerators", devices),
        "engine_memory_architecture_bits": bits_of("memory_measured_accelerators_architectures", architectures),
        "engine_lean_bits": bits_of("engine_lean_classes", mentioned(engines, "engine_lean_classes")),
    }
    names = cs.list() - cs.by_name(BY_SIZE)
    axis = engines.with_columns(engine_version="from_version", **bits).drop(names)
    axis = without_people(with_setups(axis, grid))
    return axis.join(only_entry(bands), how="cross", maintain_order="left_right")


def with_setups(engines: pl.DataFrame, grid: Grid) -> pl.DataFrame:
    """Engines as they come, and as a grid sets them up: an engine of another name with some settings."""
    rows = [{"engine": name} for name in dict.fromkeys(grid.engines)] + [dict(setup) for setup in grid.setups]
    said = pl.DataFrame(rows, schema={"engine": pl.String, "name": pl.String, **SETTINGS})
    asked = said.rename({name: f"asked_{name}" for name in SETTINGS} | {"name": "setup"})
    whole = asked.join(engines, on="engine", how="left", maintain_order="left")
    return whole.with_columns(engine=pl.coalesce("setup", "engine")).drop("setup")


# ----- sets as bits: membership costs one AND a row, where a list would cost a search


def mentioned(engines: pl.DataFrame, *fields: str) -> dict[str, int]:
    """The names in some lists of all engines, each with a bit of its own."""
    lists = pl.concat([engines[field].alias("") for field in fields])
    names = lists.explode(empty_as_null=False).drop_nulls().unique().sort()
    return {name: 1 << place for place, name in enumerate(names)}


def bit_of(column: str, bits: Mapping[str, int]) -> pl.Expr:
    """The bit of a name; 0 where no engine mentions it."""
    return pl.col(column).cast(pl.String).replace_strict(bits, default=0, return_dtype=pl.Int64)


def bits_of(column: str, bits: Mapping[str, int]) -> pl.Expr:
    """The bits of a list of names."""
    return (
        pl.col(column)
        .list.eval(pl.element().replace_strict(bits, default=0, return_dtype=pl.Int64))
        .list.sum()
        .fill_null(0)
    )
