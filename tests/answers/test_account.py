"""The account of a device's memory: told line by line, held against start-up logs, set up by plans and grids."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

import pipeline
from tests.conftest import invoke
from tests.support import LOGS

PLAN = ("--model", "llama-3.1-8b", "--accelerator", "h100")
GIB = 2**30


def account_of(*options: str, quantity: str = "batch_max") -> dict[str, float]:
    """The lines of an account by the quantity that they show."""
    tree = json.loads(invoke("explain", quantity, *options, "--json").stdout)
    return {line["name"]: line["value"] for line in tree["account"]}


def test_the_account_adds_up_for_an_engine_that_takes_its_share_first() -> None:
    """vLLM: share of the device, less what it charges; the rest in blocks, the blocks in sequences."""
    told = account_of(*PLAN, "--engine-version", "0.19.0")
    assert told["requested_bytes"] == int(told["device_memory_bytes"] * told["memory_utilization_ratio"])
    charged = sum(told[name] for name in ("weight_bytes", "activation_bytes", "non_torch_bytes", "charged_graph_bytes"))
    assert told["kv_pool_bytes"] == told["requested_bytes"] - charged
    assert told["kv_pool_blocks"] == told["kv_pool_bytes"] // told["block_group_bytes"]
    assert told["batch_max"] == told["kv_pool_bytes"] // told["sequence_bytes"]
    assert told["batch_max_lo"] <= told["batch_max"]


def test_the_account_adds_up_for_an_engine_that_shares_what_is_left() -> None:
    """TensorRT-LLM: a share of what weights, activations and runtime leave."""
    told = account_of(*PLAN, "--engine", "tensorrt-llm")
    charged = sum(told[name] for name in ("weight_bytes", "activation_bytes", "non_torch_bytes", "charged_graph_bytes"))
    assert told["kv_pool_bytes"] == int((told["usable_bytes"] - charged) * told["memory_utilization_ratio"])


def test_every_line_of_the_account_names_its_source() -> None:
    """The page that one sends to a colleague: no number without an origin."""
    tree = json.loads(invoke("explain", "kv_pool_bytes", *PLAN, "--json").stdout)
    assert all(line["source"] and line["words"] for line in tree["account"])
    text = invoke("explain", "batch_max", *PLAN, "--depth", "1").stdout
    assert "requested" in text
    assert "batch that is safe at 95 %" in text
    assert "account" not in json.loads(invoke("explain", "ttft_s", *PLAN, "--json").stdout)


def test_a_logged_pool_of_gpt_oss_holds_as_many_tokens_as_its_log_says() -> None:
    """5.38 GiB are 78,384 tokens: two groups of 18 layers, pages of 32 KiB. Source: serving-memory study, 5."""
    point = pipeline.point("gpt-oss-120b", "h100-sxm-80gb", weights="mxfp4", engine="vllm@0.19.0")
    assert point["kv_shown_bytes_per_token"] == 73_728
    assert point["block_group_bytes"] == 18 * 16 * 2048
    frame = pl.DataFrame(
        [{**point, "kv_pool_bytes": int(gib * GIB)} for gib in (5.375, 5.385)], infer_schema_length=None
    )
    low, high = pipeline.estimate(
        frame.drop("kv_pool_blocks", "kv_pool_tokens", "concurrency_at_model_len", strict=False), ["kv_pool_tokens"]
    )["kv_pool_tokens"]
    assert low <= 78_384 <= high


@pytest.mark.parametrize(
    ("option", "quantity", "value"),
    [
        (("--memory-utilization", "0.5"), "memory_utilization_ratio", 0.5),
        (("--batched-tokens-max", "1234"), "batched_tokens_max", 1234),
        (("--sequences-max", "77"), "sequences_max", 77),
        (("--block-tokens", "32"), "block_tokens", 32),
        (("--eager",), "cuda_graph_bytes", 0),
        (("--engine-version", "0.12.3"), "engine_version", "0.12.0"),
    ],
)
def test_a_plan_sets_the_engine_up(option: tuple[str, ...], quantity: str, value: object) -> None:
    """What is asked for stands; what is not is the engine's default."""
    row = json.loads(invoke("point", *PLAN, *option, "--json").stdout)
    assert row[quantity] == value


def test_a_version_that_is_none_is_refused_with_the_nearest() -> None:
    """As any unknown name."""
    assert "Did you mean vllm" in invoke("point", *PLAN, "--engine-version", "newest", code=2).stderr


SETUP = """
[grid]
models       = ["llama-3.1-8b"]
weights      = ["bf16"]
kv           = ["bf16"]
engines      = [{engines}]
accelerators = ["h100-sxm-80gb"]
parallel     = [{{ tp = 1 }}]
workloads    = ["chat"]
batches      = [1]
"""
TIGHT = '{ engine = "vllm", name = "vllm-tight", memory_utilization_ratio = 0.5, sequences_max = 16 }'


def grid(folder: Path, engines: str) -> Path:
    """A grid file with these engines."""
    path = folder / "setups.toml"
    path.write_text(SETUP.format(engines=engines))
    return path


def test_a_grid_sets_engines_up_under_names_of_their_own(tmp_path: Path) -> None:
    """A setup is a row of its own in the tables, beside the engine as it comes."""
    invoke("run", "--grid", grid(tmp_path, f'"vllm", {TIGHT}'), "--out", tmp_path / "out")
    sql = "SELECT engine, memory_utilization_ratio AS share, sequences_max, kv_pool_bytes FROM capacity"
    rows = {row["engine"]: row for row in json.loads(invoke("sql", sql, "--out", tmp_path / "out", "--json").stdout)}
    assert rows.keys() == {"vllm", "vllm-tight"}
    assert (rows["vllm-tight"]["share"], rows["vllm-tight"]["sequences_max"]) == (0.5, 16)
    assert rows["vllm-tight"]["kv_pool_bytes"] < rows["vllm"]["kv_pool_bytes"]


def test_a_setup_alone_is_enough(tmp_path: Path) -> None:
    """A grid need not have an engine as it comes."""
    said = invoke("run", "--grid", grid(tmp_path, TIGHT), "--out", tmp_path / "out").stdout
    assert "capacity   1 rows" in said


@pytest.mark.parametrize(
    ("setup", "said"),
    [
        ('{ engine = "vllm" }', "'name' is missing"),
        ('{ engine = "vllm", name = "sglang" }', "'name' is missing, taken"),
        ('{ engine = "vlm", name = "x" }', "Did you mean vllm"),
        ('{ engine = "vllm", name = "x", memory_utilisation = 0.9 }', "Did you mean memory_utilization_ratio"),
        ('{ engine = "vllm", name = "x", memory_utilization_ratio = 90 }', "memory_utilization_ratio = 90"),
        ('{ engine = "vllm", name = "x", sequences_max = "many" }', "sequences_max = 'many'"),
    ],
)
def test_a_wrong_setup_is_refused_in_words(tmp_path: Path, setup: str, said: str) -> None:
    """Which setup, what, and the nearest right name."""
    assert said in invoke("run", "--grid", grid(tmp_path, f'"vllm", {setup}'), "--out", tmp_path / "out", code=1).stderr


def test_a_start_up_log_is_compared_line_by_line() -> None:
    """What the log states is taken from it, what is typed goes before it."""
    plan = ("--model", "qwen3-8b", "--gpu", "h100", "--engine-log", LOGS / "vllm-0.27.log")
    rows = {row["quantity"]: row for row in json.loads(invoke("point", *plan, "--json").stdout)}
    assert {"weight_bytes", "kv_pool_bytes", "kv_pool_tokens"} <= rows.keys()
    row = rows["weight_bytes"]
    assert row["difference_ratio"] == pytest.approx(row["estimated"] / row["logged"] - 1)
    assert "Model loading took" in row["line"]
    eager = json.loads(invoke("point", *plan, "--eager", "--json").stdout)
    assert {each["quantity"]: each["estimated"] for each in eager}["cuda_graph_bytes"] == 0


def test_a_file_that_is_no_log_is_refused_in_words(tmp_path: Path) -> None:
    """The engines whose logs are read are named."""
    path = tmp_path / "notes.txt"
    path.write_text("nothing happened\n")
    assert "no start-up log of vllm" in invoke("point", *PLAN, "--engine-log", path, code=1).stderr
