"""Start-up logs of real engines' shape become settings, numbers and rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.core.errors import PipelineError
from pipeline.evidence.measurements import read_measurements
from pipeline.evidence.readers.logs import COLUMNS, QUANTITIES, StartUp, as_rows, read_log
from tests.support import LOGS

GIB, MIB = 2**30, 2**20
LLAMA, W8A8 = "meta-llama/Llama-3.1-8B-Instruct", "RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w8a8"
ONE = {"tp": 1, "pp": 1, "eager": False}

EXPECTED: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "vllm-0.6.6": (
        {**ONE, "model": LLAMA, "engine": "vllm", "engine_version": "0.6.6.post1", "weights": "bf16",
         "device_bytes": 79.15 * GIB, "memory_utilization": 0.9, "model_len_max": 8192, "sequences_max": 256},
        {"weight_bytes": 14.9888 * GIB, "activation_bytes": 1.22 * GIB, "non_torch_bytes": 0.09 * GIB,
         "cuda_graph_bytes": 0.21 * GIB, "kv_pool_bytes": 54.94 * GIB, "kv_pool_blocks": 28129,
         "batch_max_at_model_len": 54.94},
    ),
    "vllm-0.8.5": (
        {**ONE, "tp": 2, "model": "/models/Qwen2.5-72B-Instruct-AWQ", "engine": "vllm",
         "engine_version": "0.8.5.post1", "weights": "int4-awq", "kv": "fp8", "memory_utilization": 0.92,
         "model_len_max": 16384, "batched_tokens_max": 8192},
        {"weight_bytes": 19.4622 * GIB, "cuda_graph_bytes": 1.38 * GIB, "kv_pool_tokens": 693376,
         "batch_max_at_model_len": 42.32},
    ),
    "vllm-0.11": (
        {**ONE, "tp": 2, "model": W8A8, "engine": "vllm", "engine_version": "0.11.0", "weights": "int8-w8a8",
         "device_bytes": 79.19 * GIB, "memory_utilization": 0.95, "model_len_max": 8192, "batched_tokens_max": 8192,
         "sequences_max": 512},
        {"weight_bytes": 4.3311 * GIB, "activation_bytes": 1.27 * GIB, "non_torch_bytes": 0.6 * GIB,
         "cuda_graph_bytes": 0.55 * GIB, "kv_pool_bytes": 69.03 * GIB, "kv_pool_tokens": 1130976,
         "batch_max_at_model_len": 138.06},
    ),
    "vllm-0.19": (
        {**ONE, "eager": True, "model": "Qwen/Qwen3-14B", "engine": "vllm", "engine_version": "0.19.1",
         "weights": "bf16", "memory_utilization": 0.9, "model_len_max": 8192},
        {"weight_bytes": 27.52 * GIB, "activation_bytes": 2.05 * GIB, "non_torch_bytes": 0.18 * GIB,
         "kv_pool_bytes": 41.52 * GIB, "kv_pool_tokens": 272096, "batch_max_at_model_len": 33.21},
    ),
    "vllm-0.27": (  # the peak that it prints holds the estimate of its graphs: 1.63 - 0.44
        {**ONE, "pp": 2, "model": LLAMA, "engine": "vllm", "engine_version": "0.27.1", "weights": "bf16",
         "device_bytes": 79.19 * GIB, "memory_utilization": 0.92, "model_len_max": 8192, "batched_tokens_max": 8192,
         "sequences_max": 128, "block_tokens": 32},
        {"weight_bytes": 7.51 * GIB, "activation_bytes": 1.19 * GIB, "cuda_graph_bytes": 0.4 * GIB,
         "kv_pool_bytes": 63.61 * GIB, "kv_pool_tokens": 1042176, "batch_max_at_model_len": 127.22},
    ),
    "vllm-oom": (
        {**ONE, "model": "Qwen/Qwen2.5-32B-Instruct", "engine": "vllm", "engine_version": "0.10.1.1",
         "weights": "bf16", "device_bytes": 44.42 * GIB, "model_len_max": 32768},
        {"oom": 1},
    ),
    "sglang-0.5.9": (
        {**ONE, "tp": 2, "model": LLAMA, "engine": "sglang", "kv": "fp8", "memory_utilization": 0.85,
         "model_len_max": 131072, "batched_tokens_max": 8192, "sequences_max": 2048, "block_tokens": 1},
        {"weight_bytes": 7.58 * GIB, "cuda_graph_bytes": 0.92 * GIB, "kv_pool_bytes": 58.54 * GIB,
         "kv_pool_tokens": 1918368},
    ),
    "llama-cpp": (
        {"model": "Meta Llama 3.1 8B Instruct", "engine": "llama.cpp", "engine_version": "b6900",
         "weights": "gguf-q4_k_m", "kv": "gguf-q8_0", "device_bytes": 24124 * MIB, "model_len_max": 4096,
         "batched_tokens_max": 512, "sequences_max": 4},
        {"weight_bytes": 4403.49 * MIB, "activation_bytes": 258.5 * MIB, "kv_pool_bytes": 1088 * MIB,
         "kv_pool_tokens": 16384},
    ),
}  # fmt: skip

CONFIG = (
    "Initializing a V1 LLM engine (v0.10.2) with config: model='m/a', dtype=torch.{dtype}, max_seq_len=4096, "
    "quantization={quantization}, enforce_eager=False, kv_cache_dtype=auto, device_config=cuda"
)

TOO_LONG_V0 = (
    "ValueError: The model's max seq len (8192) is larger than the maximum number of tokens that can be stored in "
    "KV cache (4096). Try increasing `gpu_memory_utilization`"
)
TOO_LONG_V1 = (
    "ValueError: To serve at least one request with the models's max seq len (8192), (8.00 GiB KV cache is needed, "
    "which is larger than the available KV cache memory (2.00 GiB). Try increasing"
)
RESULTS = (
    "INFO 10-01 10:00:00 worker.py:232] Memory profiling results: total_gpu_memory=79.15GiB "
    "initial_memory_usage=0.50GiB peak_torch_memory=3.00GiB memory_usage_post_profile=0.6GiB "
    "non_torch_memory=0.25GiB kv_cache_size=60.00GiB gpu_memory_utilization=0.90"
)


def started(folder: Path, *lines: str) -> StartUp:
    """What a log of these lines says."""
    path = folder / "some.log"
    path.write_text("\n".join(lines), encoding="utf-8")
    return read_log(path)


def test_every_sample_is_expected() -> None:
    """No sample lies there unread."""
    assert {path.stem for path in LOGS.glob("*.log")} == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_settings_and_numbers(name: str) -> None:
    """A log gives what it states, and nothing else."""
    start, (settings, numbers) = read_log(LOGS / f"{name}.log"), EXPECTED[name]
    assert start.engine == settings["engine"]
    assert start.settings == pytest.approx(settings)
    assert start.numbers == pytest.approx(numbers)


@pytest.mark.parametrize("name", EXPECTED)
def test_lines_stand_in_the_log(name: str) -> None:
    """Every number names its line, without colours, stamps and processes."""
    start = read_log(LOGS / f"{name}.log")
    text = re.sub(r"\x1b\[[0-9;]*m", "", (LOGS / f"{name}.log").read_text(encoding="utf-8"))
    assert start.lines.keys() == start.numbers.keys()
    for line in start.lines.values():
        assert line in text
        assert not re.search(r"pid=|INFO|DEBUG|\d\d:\d\d:\d\d|TP0", line)


@pytest.mark.parametrize("name", EXPECTED)
def test_rows_are_an_import(name: str, tmp_path: Path) -> None:
    """The rows are a file of measurements."""
    start = read_log(LOGS / f"{name}.log")
    rows = as_rows(start)
    assert rows.columns == [*COLUMNS, "quantity", "value"]
    assert rows["quantity"].to_list() == [each for each in QUANTITIES if each in start.numbers]
    rows.write_csv(tmp_path / "rows.csv")
    again = read_measurements([tmp_path / "rows.csv"])
    assert again["value"].to_list() == pytest.approx(list(start.numbers.values()))
    assert again["eager"].to_list() == rows["eager"].to_list()


def test_no_numbers_no_rows(tmp_path: Path) -> None:
    """A log that was cut off before its first number gives the columns and no row."""
    start = started(tmp_path, CONFIG.format(dtype="bfloat16", quantization=None))
    assert start.settings["model"] == "m/a"
    assert as_rows(start).is_empty()
    assert as_rows(start).schema["value"] == pl.Float64


@pytest.mark.parametrize(
    ("quantization", "weights"),
    [("None", "fp16"), ("fp8", "fp8"), ("gptq_marlin", "int4-gptq"), ("awq", "int4-awq"), ("mxfp4", "mxfp4"),
     ("modelopt_fp4", "nvfp4"), ("bitsandbytes", "nf4-bnb"), ("compressed-tensors", None), ("gguf", None)],
)  # fmt: skip
def test_formats(tmp_path: Path, quantization: str, weights: str | None) -> None:
    """The engine's word for a format is ours, or unknown."""
    start = started(tmp_path, CONFIG.format(dtype="float16", quantization=quantization))
    assert start.settings.get("weights") == weights


@pytest.mark.parametrize(
    "prefix", ["(VllmWorker rank=1 pid=7) ", "(VllmWorkerProcess pid=7) ", "(Worker_DP1_TP0 pid=7) "]
)
def test_rank_zero_is_heard_first(tmp_path: Path, prefix: str) -> None:
    """Another rank counts only where rank 0 is silent."""
    lines = [
        f"\x1b[1;36m{prefix}\x1b[0;0mINFO 05-05 14:02:11 [a.py:1] Model loading took 2.0000 GiB and 1.0 seconds",
        f"{prefix}INFO 05-05 14:02:12 [a.py:2] Available KV cache memory: 3.00 GiB",
        "vllm-1  | INFO 05-05 14:02:13 [a.py:1] Model loading took 1.0000 GiB and 1.0 seconds",
    ]
    start = started(tmp_path, *lines)
    assert start.numbers == {"weight_bytes": GIB, "kv_pool_bytes": 3 * GIB}
    assert start.lines["weight_bytes"] == "Model loading took 1.0000 GiB and 1.0 seconds"


def test_the_first_start_counts(tmp_path: Path) -> None:
    """A second start in the same file is another start."""
    config = CONFIG.format(dtype="bfloat16", quantization=None)
    start = started(tmp_path, config, "torch.OutOfMemoryError: CUDA out of memory.", config, "# GPU blocks: 10, #")
    assert start.numbers == {"oom": 1}


@pytest.mark.parametrize(
    ("line", "numbers"),
    [
        ("ValueError: No available memory for the cache blocks. Try increasing", {"oom": 1}),
        (TOO_LONG_V0, {"oom": 1, "kv_pool_tokens": 4096}),
        (TOO_LONG_V1, {"oom": 1, "kv_pool_bytes": 2 * GIB}),
        ("Initial free memory 78.6 GiB, reserved 20.0 GiB memory for KV Cache as specified by kv_cache_memory_bytes",
         {"kv_pool_bytes": 20 * GIB}),
        (RESULTS, {"non_torch_bytes": 0.25 * GIB, "kv_pool_bytes": 60 * GIB, "activation_bytes": 2 * GIB}),
        ("Actual usage is 1.0 GiB for weight, 2.5 GiB for peak activation, 0.5 GiB for non-torch memory, and 0.4 GiB",
         {"activation_bytes": 2.5 * GIB, "non_torch_bytes": 0.5 * GIB}),
    ],
)  # fmt: skip
def test_other_lines_of_vllm(tmp_path: Path, line: str, numbers: dict[str, float]) -> None:
    """Refusals and the rarer accounts are read as well."""
    start = started(tmp_path, "Loading model weights took 1.0000 GB", line)
    assert start.numbers == pytest.approx({"weight_bytes": GIB, **numbers})


def test_other_lines_of_sglang(tmp_path: Path) -> None:
    """Old releases state no usage of the weights; new ones print a dictionary, name the format and count two pools."""
    start = started(
        tmp_path,
        "[2026-09-01 10:00:00] server_args={'model_path': 'a/b', 'tp_size': 4, 'chunked_prefill_size': -1}",
        "[2026-09-01 10:00:01 TP0] Load weight begin. avail mem=78.00 GB",
        "[2026-09-01 10:00:02 TP0] Load weight end. type=A, dtype=torch.half, quant=fp8, fmt=e4m3, avail mem=70.00 GB",
        "[2026-09-01 10:00:03 TP0] KV Cache is allocated. dtype: torch.bfloat16, #tokens: 100, KV size: 1.00 GB",
        "[2026-09-01 10:00:03 TP0] KV Cache is allocated. dtype: torch.bfloat16, #tokens: 400, KV size: 2.00 GB",
        "[2026-09-01 10:00:04 TP0] Capture target decode CUDA graph end. bs=[1], elapsed=1 s, mem usage=0.50 GB, avail",
        "[2026-09-01 10:00:04 TP0] Capture draft decode CUDA graph end. bs=[1], elapsed=1 s, mem usage=0.25 GB, avail",
        "[2026-09-01 10:00:05 TP0] max_total_num_tokens=400, chunked_prefill_size=-1, context_len=8192",
    )
    assert start.settings == {
        "engine": "sglang", "model": "a/b", "tp": 4, "model_len_max": 8192, "weights": "fp8",
    }  # fmt: skip
    assert start.numbers == {
        "weight_bytes": 8 * GIB, "cuda_graph_bytes": GIB / 2, "kv_pool_bytes": 3 * GIB, "kv_pool_tokens": 400,
    }  # fmt: skip


def test_other_lines_of_llama_cpp(tmp_path: Path) -> None:
    """An older build names its lines differently."""
    start = started(
        tmp_path,
        "llm_load_print_meta: model ftype      = Q8_0",
        "llm_load_tensors:      CUDA0 model buffer size =  8000.00 MiB",
        "llama_new_context_with_model: n_ctx      = 8192",
        "llama_kv_cache_init: kv_size = 8192, offload = 1, type_k = 'f16', type_v = 'f16', n_layer = 32",
        "llama_new_context_with_model: KV self size  = 1024.00 MiB, K (f16):  512.00 MiB, V (f16):  512.00 MiB",
    )
    assert start.settings == {"engine": "llama.cpp", "weights": "gguf-q8_0", "kv": "fp16", "model_len_max": 8192}
    assert start.numbers == {"weight_bytes": 8000 * MIB, "kv_pool_bytes": 1024 * MIB, "kv_pool_tokens": 8192}


@pytest.mark.parametrize("text", ["", "hello\nworld\n", "RuntimeError: CUDA out of memory.\n", "\x00\xff" * 100])
def test_what_is_no_log_is_refused(tmp_path: Path, text: str) -> None:
    """The message names the file and whose logs are read."""
    path = tmp_path / "notes.txt"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(PipelineError, match=r"notes\.txt: .*vllm, sglang or llama\.cpp"):
        read_log(path)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A missing file and a folder are said plainly."""
    for path in (tmp_path / "missing.log", tmp_path):
        with pytest.raises(PipelineError, match="cannot be read"):
            read_log(path)
