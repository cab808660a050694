"""Predicted beside measured: rows read, names resolved, errors scored, and the answers a point would give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import pipeline
from pipeline.evidence.backtest import backtest_data, errors_by
from pipeline.evidence.measurements import read_measurements
from pipeline.evidence.predict import predict_rows
from pipeline.evidence.resolve import ids, shape_words
from tests.conftest import AS_OF, invoke
from tests.support import SHARED

START = {
    "model": "meta-llama/Llama-3.1-8B-Instruct", "engine": "vllm", "engine_version": "v0.19.0", "weights": "bf16",
    "kv": "auto", "accelerator": "H100", "device_bytes": 85029615043, "tp": 2, "pp": 1, "memory_utilization": 0.95,
    "model_len_max": 8192, "batched_tokens_max": 4096, "sequences_max": 512, "note": "kept",
}  # fmt: skip
LIKE_THE_START = {
    "engine": "vllm@0.19.0",
    "tp": 2,
    "facts": {
        "device_memory_bytes": START["device_bytes"],
        "asked_memory_utilization_ratio": START["memory_utilization"],
        "asked_model_len_max_tokens": START["model_len_max"],
        "asked_batched_tokens_max": START["batched_tokens_max"],
        "asked_sequences_max": START["sequences_max"],
    },
}
MEMORY = {
    # measured quantity: the quantity of a point that it is held against
    "weight_bytes": "weight_bytes",
    "activation_bytes": "activation_bytes",
    "non_torch_bytes": "non_torch_bytes",
    "cuda_graph_bytes": "cuda_graph_bytes",
    "kv_pool_bytes": "kv_pool_bytes",
    "kv_pool_tokens": "kv_pool_tokens",
    "kv_pool_blocks": "kv_pool_blocks",
}


def file_of(folder: Path, rows: list[dict[str, Any]], name: str = "rows.csv") -> Path:
    """A file of measurements."""
    frame = pl.DataFrame(rows, infer_schema_length=None)
    path = folder / name
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
    return path


def told(folder: Path, *rows: dict[str, Any]) -> pl.DataFrame:
    """Rows with their predictions."""
    return predict_rows(read_measurements([file_of(folder, list(rows))]), pipeline.catalogs(), AS_OF)


def test_a_measured_row_is_answered_as_a_point_with_the_same_settings(tmp_path: Path) -> None:
    """Rows go through the formulas of every table: no second estimate for measurements."""
    point = pipeline.point("llama-3.1-8b", "h100-sxm-80gb", **LIKE_THE_START)
    rows = told(tmp_path, *({**START, "quantity": name, "value": 1e9} for name in MEMORY))
    answers = dict(rows.select("quantity", "predicted").iter_rows())
    assert answers == pytest.approx({name: point[mine] for name, mine in MEMORY.items()}, rel=1e-12)
    assert (rows["lo"] <= rows["predicted"]).all()
    assert (rows["predicted"] <= rows["hi"]).all()
    assert rows["note"].to_list() == ["kept"] * rows.height


def test_the_lower_edge_of_a_batch_is_the_safe_batch(tmp_path: Path) -> None:
    """What is printed as concurrency is safe at 95 % as batch_max_lo is."""
    row = told(tmp_path, {**START, "quantity": "batch_max_at_model_len", "value": 40}).row(0, named=True)
    point = pipeline.point("llama-3.1-8b", "h100-sxm-80gb", **LIKE_THE_START)
    safe = 1 - point["memory_error_bytes"] / point["kv_pool_bytes"]
    assert row["lo"] == pytest.approx(row["predicted"] * safe)


def test_what_a_log_does_not_state_is_the_default_of_the_engine(tmp_path: Path) -> None:
    """Only model, device, quantity and value are needed."""
    row = told(tmp_path, {"model": "llama-3.1-8b", "accelerator": "h100", "quantity": "kv_pool_bytes", "value": 6e10})
    assert row["predicted"].item() == pipeline.point("llama-3.1-8b", "h100")["kv_pool_bytes"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"model": "nobody/Wolpertinger-9000B"}, "the catalogs know no model of this name"),
        ({"accelerator": "abacus"}, "the catalogs know no accelerator of this name"),
        ({"accelerator": None}, "accelerator is not stated"),
        ({"weights": "int3"}, "the catalogs know no weights of this name"),
        ({"engine": "steam"}, "the catalogs know no engine of this name"),
        ({"quantity": "happiness"}, "no estimate of this quantity"),
    ],
)
def test_a_row_that_cannot_be_answered_says_why(tmp_path: Path, changed: dict[str, Any], reason: str) -> None:
    """Nothing is guessed, and nothing is dropped."""
    good = {**START, "quantity": "weight_bytes", "value": 1e9}
    rows = told(tmp_path, good, good | changed)
    assert rows["reason"].to_list() == ["", reason]
    assert rows["predicted"].is_null().to_list() == [False, True]


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("/models/Meta-Llama-3.1-8B-Instruct/", "llama-3.1-8b"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16", "llama-3.1-8b"),
        ("/data/hub/models--Qwen--Qwen3-8B-FP8/snapshots/0f1e2d", "qwen3-8b"),
        ("someone/DeepSeek-V3-0324-AWQ", "deepseek-v3"),
        ("openai/gpt-oss-120b", "gpt-oss-120b"),
        ("someone/Llama-3.1-8B-Medusa-Extra", None),
    ],
)
def test_names_of_variants_and_folders_mean_the_base_model(name: str, model: str | None) -> None:
    """Quantised copies and local paths are the same shape; a word that nobody knows is not ignored."""
    assert ids("model", [name], pipeline.catalogs()).get(name) == model


def test_every_catalog_name_means_its_own_model() -> None:
    """The words of a name never lead to another model than the name itself."""
    catalogs = pipeline.catalogs()
    names = catalogs.names("model").ids
    found = ids("model", names, catalogs)
    assert {name: found[name] for name in names} == dict(names)
    assert all(shape_words(name) for name in names)


def test_errors_are_scored_by_slice(tmp_path: Path) -> None:
    """Medians, means, tails, signs and coverage, over answered rows only."""
    exact = told(tmp_path, {**START, "quantity": "weight_bytes", "value": 1.0})["predicted"].item()
    values = [exact / 1.1, exact / 0.9, exact, exact / 1.2]
    rows = told(tmp_path, *({**START, "quantity": "weight_bytes", "value": value} for value in values))
    row = errors_by(rows, ["quantity"]).row(0, named=True)
    assert (row["n"], row["answered"]) == (4, 4)
    assert row["median_ape"] == pytest.approx(0.1)
    assert row["mape"] == pytest.approx(0.1)
    assert row["p90_ape"] == pytest.approx(0.17)
    assert row["median_signed"] == pytest.approx(0.05)
    assert row["coverage_80"] == pytest.approx(0.25)


def test_json_has_the_shape_that_others_rely_on(tmp_path: Path) -> None:
    """rows, answered, slices with their `by`, and what was not answered."""
    path = file_of(
        tmp_path, [{**START, "quantity": "weight_bytes", "value": 8e9, "model": m} for m in ("llama-3.1-8b", "x")]
    )
    said = json.loads(invoke("backtest", path, "--by", "source,quantity", "--json").stdout)
    assert said.keys() == {"rows", "answered", "slices", "unanswered"}
    assert (said["rows"], said["answered"]) == (2, 1)
    assert said["slices"][0].keys() == {
        "by", "n", "answered", "median_ape", "mape", "p90_ape", "median_signed", "coverage_80",
    }  # fmt: skip
    assert said["slices"][0]["by"] == {"source": None, "quantity": "weight_bytes"}
    assert said["unanswered"] == [{"reason": "the catalogs know no model of this name", "n": 1}]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_predictions_are_the_rows_with_five_columns_more(tmp_path: Path, name: str) -> None:
    """Every row comes back, in order, its own columns untouched."""
    path = file_of(tmp_path, [{**START, "quantity": "weight_bytes", "value": 8e9}])
    invoke("backtest", path, "--predictions", tmp_path / name)
    out = pl.read_parquet(tmp_path / name) if name.endswith("parquet") else pl.read_csv(tmp_path / name)
    assert {*START, "quantity", "value", "predicted", "lo", "hi", "ape", "reason"} <= set(out.columns)
    assert out["note"].to_list() == ["kept"]


def test_several_files_of_any_kind_are_read_as_one(tmp_path: Path) -> None:
    """CSV and Parquet, with columns of their own."""
    rows = [{**START, "quantity": "weight_bytes", "value": 8e9}]
    paths = [file_of(tmp_path, rows, "a.parquet"), file_of(tmp_path, [rows[0] | {"mine": "x"}], "b.csv")]
    read = read_measurements(paths)
    assert read.height == 2
    assert read["mine"].to_list() == [None, "x"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model,value\nx,1\n", "has no column 'quantity'"),
        ("model,quantity,value\nx,weight_bytes,a lot\n", "row 1: value = 'a lot' is not a number"),
        ("", "cannot be read"),
    ],
)
def test_a_file_that_is_no_measurements_is_refused_in_words(tmp_path: Path, text: str, said: str) -> None:
    """File, row, what."""
    path = tmp_path / "bad.csv"
    path.write_text(text)
    assert said in invoke("backtest", path, code=1).stderr


def test_a_column_that_is_not_there_cannot_slice(tmp_path: Path) -> None:
    """The nearest names are told."""
    path = file_of(tmp_path, [{**START, "quantity": "weight_bytes", "value": 8e9}])
    assert "Did you mean quantity" in invoke("backtest", path, "--by", "quantities", code=2).stderr
    assert ".csv or .parquet" in invoke("backtest", path, "--predictions", tmp_path / "x.xls", code=2).stderr


# ----- where the project's measurements lie beside it

MEASUREMENTS = SHARED / "measurements"
AIMS = {
    # quantity: median, 90th percentile of the error that start-up logs must stay within
    "weight_bytes": (0.001, 0.005),
    "activation_bytes": (0.01, 0.05),
    "kv_pool_tokens": (0.005, 0.02),
    "batch_max_at_model_len": (0.005, 0.02),
}


@pytest.mark.skipif(not MEASUREMENTS.is_dir(), reason="no measurements beside the project")
def test_start_up_logs_are_reproduced() -> None:
    """Every start is answered, within the aims, and no safe batch is above the logged one."""
    rows = predict_rows(read_measurements([MEASUREMENTS / "memory_open.csv"]), pipeline.catalogs(), AS_OF)
    slices = {each["by"]["quantity"]: each for each in backtest_data(rows, ["quantity"])["slices"]}
    for quantity, (median, tail) in AIMS.items():
        assert slices[quantity]["answered"] == slices[quantity]["n"]
        assert slices[quantity]["median_ape"] <= median
        assert slices[quantity]["p90_ape"] <= tail
    batches = rows.filter(pl.col("quantity") == "batch_max_at_model_len")
    assert (batches["lo"].floor() <= batches["value"]).mean() >= 0.95  # type: ignore[operator]


@pytest.mark.skipif(not MEASUREMENTS.is_dir(), reason="no measurements beside the project")
def test_peaks_and_failures_of_other_engines_are_reproduced() -> None:
    """Peaks of transformers by format; llama.cpp's and gpt-fast's starts that ran out of memory, and that did not."""
    rows = read_measurements([MEASUREMENTS / "speed_open.csv"])
    catalogs = pipeline.catalogs()
    peaks = predict_rows(rows.filter(source="qwen2.5-speed", quantity="memory_bytes"), catalogs, AS_OF)
    errors = dict(peaks.group_by("weights").agg(pl.col("ape").median()).iter_rows())
    assert all(error <= (0.01 if weights == "bf16" else 0.03) for weights, error in errors.items())
    starts = rows.filter(pl.col("source").is_in(["xiongjie-llamacpp", "gpt-fast-readme"])).with_columns(
        engine=pl.lit("llama.cpp"), value=(pl.col("quantity") == "oom").cast(pl.Float64), quantity=pl.lit("oom")
    )
    answered = predict_rows(starts, catalogs, AS_OF).filter(pl.col("reason") == "")
    assert answered.height >= 400
    assert (answered["predicted"] == answered["value"]).mean() >= 0.99  # type: ignore[operator]
