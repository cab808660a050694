"""Files of load generators and start-up logs become rows that backtest answers; units and definitions are ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.evidence.quantities import MEASURED
from pipeline.evidence.readers.files import import_files
from tests.conftest import invoke
from tests.support import LOGS

SAMPLES = Path(__file__).parent / "samples"


def rows(name: str, **stated: Any) -> pl.DataFrame:
    """The rows of one sample."""
    return import_files([SAMPLES / name], stated)


def numbers(frame: pl.DataFrame) -> dict[str, float]:
    """The numbers of one run by quantity."""
    return dict(frame.select("quantity", "value").iter_rows())


def test_vllm_bench_gives_seconds_and_mean_lengths() -> None:
    """Milliseconds become seconds, totals become lengths of a request, and `openai` is no engine."""
    frame = rows("vllm-bench.json")
    found = numbers(frame)
    assert found["ttft_s"] == pytest.approx(0.2205)
    assert found["itl_s"] == pytest.approx(0.0125)  # TPOT, not the mean over all gaps
    assert found["itl_p99_s"] == pytest.approx(0.014)
    assert found["e2e_s"] == pytest.approx(3.408)
    assert found["output_tokens_per_s"] == pytest.approx(819.2)
    run = frame.row(0, named=True)
    assert (run["kind"], run["batch"], run["prompt_tokens"], run["output_tokens"]) == ("closed_loop", 16, 1024, 256)
    assert run["engine"] is None
    assert run["model"] == "meta-llama/Llama-3.1-8B-Instruct"


@pytest.mark.parametrize(
    ("offered", "kinds"),
    [
        ({"request_rate": 4.0, "max_concurrency": None}, {"open_loop"}),
        ({"request_rate": 4.0, "max_concurrency": 16}, {"open_loop"}),
        ({"request_rate": "inf", "max_concurrency": 16}, {"closed_loop"}),
        ({"request_rate": "inf", "max_concurrency": None}, {"offline", "burst"}),
    ],
)
def test_how_requests_came_decides_the_kind(tmp_path: Path, offered: dict[str, Any], kinds: set[str]) -> None:
    """A rate is an open loop even where clients are bounded; all at once is a throughput, and a burst of waiting."""
    said = json.loads((SAMPLES / "vllm-bench.json").read_text("utf-8")) | offered
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(said), encoding="utf-8")
    frame = import_files([path], {})
    assert set(frame["kind"]) == kinds
    if "offline" in kinds:
        assert set(frame.filter(kind="offline")["quantity"]) == {
            "requests_per_s", "output_tokens_per_s", "total_tokens_per_s"
        }  # fmt: skip
    rates = frame["requests_per_s_offered"].unique().to_list()
    assert rates == ([4.0] if kinds == {"open_loop"} else [None])


def test_results_that_were_appended_are_all_read(tmp_path: Path) -> None:
    """`--append-result` writes an object a line."""
    said = json.loads((SAMPLES / "vllm-bench.json").read_text("utf-8"))
    path = tmp_path / "bench.jsonl"
    path.write_text("\n".join(json.dumps(said | {"max_concurrency": n}) for n in (1, 2, 4)), encoding="utf-8")
    assert import_files([path], {})["batch"].unique().sort().to_list() == [1, 2, 4]


def test_every_strategy_of_guidellm_is_a_run() -> None:
    """Synchronous is one client, streams are clients, a rate is an open loop, throughput all at once."""
    frame = rows("guidellm.json")
    runs = frame.filter(quantity="itl_s").select("kind", "batch", "requests_per_s_offered", "value").rows()
    assert runs == [
        ("closed_loop", 1, None, pytest.approx(0.020)),
        ("closed_loop", 8, None, pytest.approx(0.024)),
        ("open_loop", None, 1.5, pytest.approx(0.022)),
        ("burst", None, None, pytest.approx(0.060)),
    ]
    latency = frame.filter(quantity="e2e_s")["value"]
    assert latency[0] == pytest.approx(0.1 + 255 * 0.020)  # stated in seconds, unlike the rest
    assert set(frame["model"]) == {"Qwen/Qwen3-14B"}


def test_guidellms_time_per_token_is_freed_of_the_first() -> None:
    """(30 ms x 101 - 1020 ms) / 100: as stated it would be a half too long."""
    found = numbers(rows("guidellm-tpot-only.json"))
    assert found["itl_s"] == pytest.approx(0.0201)


@pytest.mark.parametrize(("name", "clients"), [("aiperf.json", 16), ("genai-perf.json", 8)])
def test_aiperf_and_its_forerunner_state_units(name: str, clients: int) -> None:
    """Whatever unit a metric states, the row is in seconds; settings are found wherever they stand."""
    frame = rows(name)
    found = numbers(frame)
    assert found["ttft_s"] == pytest.approx(0.25)
    assert found["ttft_p99_s"] == pytest.approx(0.9)
    assert found["itl_s"] == pytest.approx(0.024)
    assert found["e2e_s"] == pytest.approx(6.4)
    assert set(frame["batch"]) == {clients}
    assert set(frame["kind"]) == {"closed_loop"}
    assert set(frame["prompt_tokens"]) == {1024.0}


def test_a_start_up_log_gives_memory() -> None:
    """The reader of `capgrid point --engine-log` reads it."""
    frame = import_files([LOGS / "vllm-0.19.log"], {"accelerator": "h100"})
    assert numbers(frame)["kv_pool_bytes"] == pytest.approx(41.52 * 2**30)
    assert set(frame["model"]) == {"Qwen/Qwen3-14B"}
    assert set(frame["accelerator"]) == {"h100"}


def test_options_go_before_the_file_and_ranks_are_devices() -> None:
    """A served name is not the model's, and no tool says how many devices there were."""
    frame = rows("vllm-bench.json", model="llama-3.1-8b", engine="sglang", tp=4, dp=2)
    assert set(frame.select("model", "engine", "tp", "device_count").rows()) == {("llama-3.1-8b", "sglang", 4, 8)}
    assert set(rows("vllm-bench.json")["device_count"]) == {None}


def test_clients_that_a_file_does_not_state_make_a_closed_loop(tmp_path: Path) -> None:
    """--concurrency says that no rate was offered."""
    said = json.loads((SAMPLES / "vllm-bench.json").read_text("utf-8")) | {"max_concurrency": None}
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(said), encoding="utf-8")
    frame = import_files([path], {"batch": 32})
    assert set(frame.select("kind", "batch").rows()) == {("closed_loop", 32)}


def test_imported_rows_are_answered_by_backtest(tmp_path: Path) -> None:
    """The whole way: a file of another tool, rows, estimates beside them."""
    out = tmp_path / "rows.csv"
    files = [SAMPLES / "vllm-bench.json", SAMPLES / "guidellm.json", LOGS / "vllm-0.19.log"]
    invoke("import", *files, "--accelerator", "h100", "--out", out)
    report = json.loads(invoke("backtest", out, "--json").stdout)
    by = {each["by"]["quantity"]: each["answered"] for each in report["slices"]}
    assert by["itl_s"] == 3  # three closed loops; the open loop and the burst have no estimate
    assert by["kv_pool_bytes"] == 1
    assert {"ttft_s", "itl_s", "e2e_s", "requests_per_s"} <= by.keys() & MEASURED.keys()


def test_rows_are_printed_where_no_file_is_asked_for() -> None:
    """Data go to stdout."""
    told = invoke("import", SAMPLES / "aiperf.json", "--accelerator", "h100", "--json")
    assert {row["quantity"] for row in json.loads(told.stdout)} >= {"ttft_s", "itl_s", "output_tokens_per_s"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"hello": 1}', "is no result of"),
        ('{"mean_ttft_ms": ', "not valid JSON"),
        ('{"mean_ttft_ms": "inf", "max_concurrency": 4}', "holds no number"),
        ('{"benchmarks": [1, null, {"metrics": {"time_to_first_token_ms": 3}}]}', "holds no number"),
        ("hello", "no start-up log"),
        ("", "no start-up log"),
    ],
)
def test_a_file_of_no_known_tool_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """The file, what is wrong, and what would be read."""
    path = tmp_path / "strange.json"
    path.write_text(text, encoding="utf-8")
    told = invoke("import", path, code=1)
    assert str(path) in told.output
    assert words in told.output


def test_a_file_that_is_not_there_and_a_strange_ending_are_told(tmp_path: Path) -> None:
    """Exit 1 where the user can fix a file, 2 where the command cannot be meant."""
    assert "cannot be read" in invoke("import", tmp_path / "none.json", code=1).output
    told = invoke("import", SAMPLES / "aiperf.json", "--out", tmp_path / "rows.txt", code=2)
    assert ".csv or .parquet" in told.output
