"""The three functions for notebooks: estimate, catalogs, point."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import pipeline
from pipeline.core.errors import CatalogError, MissingInputError, PipelineError, UnknownNameError
from pipeline.grid.schema import TABLES

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.facts.catalog import Catalogs

AS_OF = date(2026, 11, 22)
MEMORY = {
    "kv_pool_bytes": [60_000_000_000, 20_000_000_000, 10],
    "sequence_bytes": [400_000_000, 400_000_000, 11],
    "dp": [1, 2, 1],
}


# ----- estimate


def test_estimate_puts_quantities_beside_a_users_columns() -> None:
    """Rows stay, in their order, with columns that capgrid does not know."""
    frame = pl.DataFrame({"case": ["a", "b", "c"], **MEMORY})
    made = pipeline.estimate(frame, ["batch_max"])
    assert made.columns == [*frame.columns, "batch_max"]
    assert made["batch_max"].to_list() == [150, 100, 0]
    assert_frame_equal(made.select(frame.columns), frame)


def test_estimate_names_every_input_that_is_missing() -> None:
    """One error for all of them, each with the quantity that asks for it."""
    with pytest.raises(MissingInputError) as missing:
        pipeline.estimate(pl.DataFrame({"batch": [1]}), ["batch_max", "fits"])
    lines = str(missing.value).splitlines()
    assert len(lines) > 5
    assert all(line.startswith("no column named '") and line.endswith(" needs") for line in lines)
    assert len({line.split("'")[1] for line in lines}) == len(lines)
    assert not any("named 'batch'" in line for line in lines)


def test_the_inputs_that_it_names_are_enough() -> None:
    """Whoever adds what the error named gets an answer, not the next error."""
    row = pipeline.point("llama-3.1-8b", "h100")
    counts = {name: row[name] for name in ("full_layers", "gqa_layers", "dense_layers")}
    with pytest.raises(MissingInputError) as missing:
        pipeline.estimate(pl.DataFrame([counts]), ["vram_bytes"])
    names = [line.split("'")[1] for line in str(missing.value).splitlines()]
    frame = pl.DataFrame([counts | {name: row[name] for name in names}])
    assert pipeline.estimate(frame, ["vram_bytes"])["vram_bytes"].to_list() == [row["vram_bytes"]]


def test_a_quantity_that_is_given_replaces_its_formula() -> None:
    """A measured sequence_bytes beats the computed one: the answer follows the measurement."""
    row = pipeline.point("llama-3.1-8b", "h100")
    given = pl.DataFrame([{name: value for name, value in row.items() if value is not None}]).drop("batch_max")
    assert pipeline.estimate(given, ["batch_max"])["batch_max"].to_list() == [row["batch_max"]]
    doubled = given.with_columns(sequence_bytes=pl.col("sequence_bytes") * 2)
    assert pipeline.estimate(doubled, ["batch_max"])["batch_max"].to_list() == [row["batch_max"] // 2]
    measured = given.with_columns(batch_max=7)
    assert pipeline.estimate(measured, ["batch_max"])["batch_max"].to_list() == [7]


def test_estimate_of_no_rows_is_no_rows_with_the_column() -> None:
    """An empty selection is not an error."""
    frame = pl.DataFrame(MEMORY).clear()
    made = pipeline.estimate(frame, ["batch_max"])
    assert made.height == 0
    assert made.schema["batch_max"] == pl.Int64


def test_estimate_of_an_unknown_quantity_says_the_nearest() -> None:
    """A misspelt name is a name."""
    with pytest.raises(UnknownNameError, match=r"batch_mx.*batch_max"):
        pipeline.estimate(pl.DataFrame(MEMORY), ["batch_mx"])


# ----- catalogs


def test_catalogs_hold_frames_facts_and_names(bundled_catalogs: Catalogs) -> None:
    """What the docstring promises."""
    frames = bundled_catalogs.frames
    assert {"model", "accelerator", "engine", "workload", "format", "price"} <= frames.keys()
    assert all(frame.height for kind, frame in frames.items() if kind != "calibration"), "which are the user's own"
    assert bundled_catalogs.resolve("accelerator", "H100") == "h100-sxm-80gb"
    stated = bundled_catalogs.facts.filter(kind="model")["name"].unique()
    assert set(stated) == set(frames["model"]["model"])


def test_catalogs_of_another_folder_are_read_from_there(own_catalogs: Path) -> None:
    """A team's own catalogs, with one more model."""
    path = own_catalogs / "models" / "llama.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"llama-7b"', '"llama-7b-ours"', 1), encoding="utf-8")
    ours = pipeline.catalogs(own_catalogs)
    assert ours.resolve("model", "LLAMA-7B-ours") == "llama-7b-ours"
    assert ours.folder == own_catalogs


def test_catalogs_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    """An empty folder is not an empty catalog."""
    with pytest.raises(CatalogError, match=r"sources\.toml"):
        pipeline.catalogs(tmp_path)


# ----- point


def capacity(small: Any) -> pl.DataFrame:
    """The answers of the small run, names as text."""
    table = pl.read_parquet(small.folder / "capacity.parquet")
    return table.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))


def same(name: str, got: Any, kept: Any) -> bool:
    """Whether a stored value is this one: Float32, edges of bands with 10 bits, all else exactly."""
    column = TABLES["capacity"][name]
    if got is None or kept is None or not isinstance(kept, float):
        return bool(got == kept)
    return bool(got == pytest.approx(kept, rel=1.2e-3 if column.is_edge else 2.4e-7))


@pytest.mark.parametrize("place", [0.0, 0.11, 0.23, 0.35, 0.47, 0.59, 0.71, 0.83, 0.999])
def test_a_point_is_the_row_of_the_run(place: float, small: Any) -> None:
    """One way of computing: all columns of `capacity`, for plans from all over the grid."""
    table = capacity(small)
    row = table.row(int(place * table.height), named=True)
    names = ("model", "accelerator", "weights", "kv", "engine", "workload", "tp", "pp", "ep", "dp", "batch")
    got = pipeline.point(**{name: row[name] for name in names}, as_of=AS_OF)
    assert [(name, got[name], row[name]) for name in row if not same(name, got[name], row[name])] == []


@pytest.mark.parametrize("batch", [1, 64, 256])
def test_a_point_is_the_row_of_the_curve(batch: int, small: Any) -> None:
    """The same for `estimates`, at batches of the grid."""
    path = small.folder / "estimates" / "model=gemma-3-4b" / "part-0.parquet"
    table = pl.read_parquet(path, hive_partitioning=False).with_columns(pl.col(pl.Enum, pl.Categorical).cast(pl.String))
    row = table.filter(batch=batch).row(17, named=True)
    names = ("model", "accelerator", "weights", "kv", "engine", "workload", "tp", "pp", "ep", "dp", "batch")
    got = pipeline.point(**{name: row[name] for name in names}, as_of=AS_OF)
    assert [(name, got[name], row[name]) for name in row if not same(name, got[name], row[name])] == []


def test_point_takes_facts_of_the_users_own() -> None:
    """Any fact may be given in place of the catalog's."""
    row = pipeline.point("llama-3.1-8b", "h100", facts={"prompt_tokens": 2048, "device_memory_bytes": 40_000_000_000})
    assert (row["prompt_tokens"], row["device_memory_bytes"]) == (2048, 40_000_000_000)
    assert 0 < row["batch_max"] < pipeline.point("llama-3.1-8b", "h100", facts={"prompt_tokens": 2048})["batch_max"]


def test_point_raises_what_a_caller_can_catch() -> None:
    """Names and plans that cannot be are PipelineErrors with the words of the command line."""
    with pytest.raises(UnknownNameError, match=r"no accelerator named 'h10'\. Did you mean"):
        pipeline.point("llama-3.1-8b", "h10")
    with pytest.raises(UnknownNameError, match="no fact named 'hbm'"):
        pipeline.point("llama-3.1-8b", "h100", facts={"hbm": 1})
    with pytest.raises(PipelineError, match="no unit for the number format"):
        pipeline.point("llama-3.1-8b", "a100-sxm-80gb", weights="fp8")
