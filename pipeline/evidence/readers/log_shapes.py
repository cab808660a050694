"""How lines of engines' start-up logs look, and what their words mean: data that logs.py reads by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from operator import add, mul, sub
from typing import TYPE_CHECKING

import polars as pl

from pipeline.evidence.measurements import columns_in

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS: dict[str, type[pl.DataType]] = {
    **columns_in(pl.String, "model engine engine_version weights kv accelerator"),
    **columns_in(pl.Float64, "device_bytes tp pp memory_utilization model_len_max batched_tokens_max"),
    **columns_in(pl.Float64, "sequences_max block_tokens"),
    "eager": pl.Boolean,
}
"""What a start was asked for; no engine writes the accelerator's name in a form of ours, so it stays unknown."""
QUANTITIES = (
    *("weight_bytes", "activation_bytes", "non_torch_bytes", "cuda_graph_bytes"),
    *("kv_pool_bytes", "kv_pool_tokens", "kv_pool_blocks", "batch_max_at_model_len", "oom"),
)
UNIT = {"vllm": 2**30, "sglang": 2**30, "llama.cpp": 2**20, "": 2**30}
"""Bytes in what an engine prints: vLLM and SGLang write GB and mean GiB; no name stands for PyTorch's own lines."""
WORDS = {
    "model": "model model_path model_tag",
    "dtype": "dtype",
    "quantization": "quantization",
    "kv_cache_dtype": "kv_cache_dtype",
    "tp": "tensor_parallel_size tp_size",
    "pp": "pipeline_parallel_size pp_size",
    "memory_utilization": "gpu_memory_utilization mem_fraction_static",
    "model_len_max": "max_seq_len max_model_len context_length context_len",
    "batched_tokens_max": "max_num_batched_tokens chunked_prefill_size",
    "sequences_max": "max_num_seqs max_running_requests",
    "block_tokens": "block_size page_size",
    "eager": "enforce_eager disable_cuda_graph",
    "kv_pool_tokens": "max_total_num_tokens",
}
"""The engines' words for settings, by ours."""
KEYS = {theirs: ours for ours, words in WORDS.items() for theirs in words.split()}
PAIR = re.compile(rf"\b({'|'.join(KEYS)})['\"]?\s*[=:]\s*(?:'([^']*)'|\"([^\"]*)\"|([^\s,)}}\]]+))")
DEVICE = r"(?:(?:CUDA|ROCm|HIP|Vulkan|SYCL|MUSA)0|Metal|MTL0)(?:_Mapped)?"
OOM = "(?P<oom>)"
RESOLVED = "LLM engine (v"
"""Where vLLM writes its settings after it has filled them in: here `quantization=None` means none."""


@dataclass(frozen=True)
class Shape:
    """How one line of a log looks; without a pattern it is a list of key=value pairs."""

    engine: str
    marker: str
    text: re.Pattern[str] | None
    adds: bool


def shape(engine: str, template: str, *, adds: bool = False) -> Shape:
    """A template becomes a shape: `marker` stands there literally, {name} is a number, the rest is a pattern.

    >>> found = shape("vllm", "`GPU KV cache size: `{kv_pool_tokens} tokens")
    >>> found.marker, found.text.search("GPU KV cache size: 78,384 tokens")["kv_pool_tokens"]
    ('GPU KV cache size: ', '78,384')
    """
    before, marker, after = template.split("`")
    if not before + after:
        return Shape(engine, marker, None, adds)
    numbers = re.sub(r"\{(\w+)\}", r"(?P<\1>-?[\\d.,]*\\d)", f"{before}`{after}")
    return Shape(engine, marker, re.compile(numbers.replace("`", re.escape(marker))), adds)


SHAPES = (  # of two lines that say the same, the upper is the more exact
    shape("vllm", rf"`{RESOLVED}`(?P<engine_version>[^)]+)\) with config"),
    shape("vllm", f"`{RESOLVED}`"),
    shape("vllm", "`non-default args: `"),
    shape("vllm", "`args: Namespace(`"),
    shape("vllm", r"`vLLM API server version `(?P<engine_version>\S+)"),
    shape("vllm", r"`vLLM server version `(?P<engine_version>\S+), serving model (?P<model>\S+)"),
    shape("vllm", r"█`  version `(?P<engine_version>\S+)"),
    shape("vllm", r"█`  model   `(?P<model>\S+)"),
    shape("vllm", "`Chunked prefill is enabled with max_num_batched_tokens=`{batched_tokens_max}"),
    shape("vllm", "`Using max model len `{model_len_max}"),
    shape("vllm", "`kv cache block size to `{block_tokens} "),
    shape("vllm", "`Setting attention block size to `{block_tokens} tokens"),
    shape("vllm", r"`total_gpu_memory (`{device_bytes}GiB\) x gpu_memory_utilization \({memory_utilization}\)"),
    shape("vllm", r"`Free memory on device`[^(]*\([\d.]+/{device_bytes} GiB\)"),
    shape("vllm", "(?i:desired) `GPU memory utilization `(?:is )?.{memory_utilization}, "),
    shape("vllm", r"`Requested memory: `{memory_utilization} \(util\)"),
    shape("vllm", "`The current --gpu-memory-utilization=`{memory_utilization} is"),
    shape("vllm", "`Loading model weights took `{weight_bytes} Gi?B"),
    shape("vllm", "`Model loading took `{weight_bytes} Gi?B"),
    shape("vllm", "`model weights take `{weight_bytes}GiB; non_torch_memory takes {non_torch_bytes}GiB; PyTorch "
                  "activation peak memory takes {activation_bytes}GiB; .* KV Cache is {kv_pool_bytes}GiB"),
    shape("vllm", "`Memory profiling results: total_gpu_memory=`{device_bytes}GiB .*peak_torch_memory="
                  "{torch_peak_bytes}GiB .*non_torch_memory={non_torch_bytes}GiB kv_cache_size={kv_pool_bytes}GiB "
                  "gpu_memory_utilization={memory_utilization}"),
    shape("vllm", "`torch peak memory increase: `{activation_bytes}GiB"),
    shape("vllm", "`non-torch forward increase memory: `{non_torch_bytes}GiB"),
    shape("vllm", "`GiB for weight, `{activation_bytes} GiB for peak activation, {non_torch_bytes} GiB for non-torch"),
    shape("vllm", r"`(weights + non-torch), `{peak_bytes} GiB for peak activation"),
    shape("vllm", "`Available KV cache memory: `{kv_pool_bytes} GiB"),
    shape("vllm", r"reserved {kv_pool_bytes} ?`GiB memory for KV Cache as specified`"),
    shape("vllm", "`GPU KV cache size: `{kv_pool_tokens} tokens"),
    shape("vllm", "`# GPU blocks: `{kv_pool_blocks}"),
    shape("vllm", "`Maximum concurrency for `{model_len_max} tokens per request: {batch_max_at_model_len}x"),
    shape("vllm", r"`Graph capturing finished in `\d+ secs, took {cuda_graph_bytes} Gi?B"),
    shape("vllm", r"`CUDA graph pool memory: `{cuda_graph_bytes} GiB \(actual\)"),
    shape("vllm", "`Estimated CUDA graph memory: `{graph_estimate_bytes} GiB"),
    shape("vllm", "`CUDA graph memory profiling is enabled`(?P<graph_estimate_counts>)"),
    shape("vllm", f"`No available memory for the cache blocks`{OOM}"),
    shape("vllm", f"`Failed to load model - not enough GPU memory`{OOM}"),
    shape("vllm", rf"The model's max seq len \({{model_len_max}}\) is larger than the maximum "
                  rf"`number of tokens that can be stored in KV cache (`{{kv_pool_tokens}}\){OOM}"),
    shape("vllm", rf"`To serve at least one request with the model`s?'s max seq len \({{model_len_max}}\).*"
                  rf"available KV cache memory \({{kv_pool_bytes}} Gi?B\){OOM}"),
    shape("sglang", "`max_total_num_tokens=`"),
    shape("sglang", "`server_args=`"),
    shape("sglang", "`Load weight begin.` avail mem={free_before_bytes} GB"),
    shape("sglang", "`Load weight end.`.*avail mem={free_after_bytes} GB"),
    shape("sglang", "`Load weight end.`.*mem usage={weight_bytes} GB"),
    shape("sglang", r"`Load weight end.`.*\bquant=(?P<quantization>\w+)"),
    shape("sglang", "`KV Cache is allocated.`.*#tokens: {kv_pool_tokens}, "),
    shape("sglang", "`KV Cache is allocated.`.*, K size: {k_bytes} GB, V size: {v_bytes} GB", adds=True),
    shape("sglang", "`KV Cache is allocated.`.*, KV size: {kv_pool_bytes} GB", adds=True),
    shape("sglang", "`Capture `(?!.*draft).*(?i:graph) end.*mem usage={cuda_graph_bytes} GB", adds=True),
    shape("sglang", f"`Not enough memory. Please try to increase --mem-fraction-static`{OOM}"),
    shape("llama.cpp", r"`build: `(?P<build>\d+) \([0-9a-f]+\) with"),
    shape("llama.cpp", r"`general.name`.* = (?P<model>\S.*)"),
    shape("llama.cpp", r"`: loaded meta data with `.* tensors from (?P<model>\S.*) \(version GGUF"),
    shape("llama.cpp", r"`file type `\s*= (?P<file_type>.+)"),
    shape("llama.cpp", r"`model ftype `\s*= (?P<file_type>.+)"),
    shape("llama.cpp", "`n_ctx_seq `.*= *{model_len_max}"),
    shape("llama.cpp", "`n_ctx_per_seq `.*= *{model_len_max}"),
    shape("llama.cpp", "`: n_ctx `.*= *{model_len_max}"),
    shape("llama.cpp", "`: n_seq_max `.*= *{sequences_max}"),
    shape("llama.cpp", "`: n_ubatch `.*= *{batched_tokens_max}"),
    shape("llama.cpp", "Device 0: .*`, VRAM: `{device_bytes} MiB"),
    shape("llama.cpp", rf"{DEVICE} `model buffer size =` *{{weight_bytes}} MiB"),
    shape("llama.cpp", rf"{DEVICE} `KV buffer size =` *{{kv_pool_bytes}} MiB", adds=True),
    shape("llama.cpp", r"`KV self size  =` *{kv_pool_bytes} MiB, K \((?P<kv_cache_dtype>\w+)\)"),
    shape("llama.cpp", r"`size = `.*\( *{kv_cells} cells,.* \d+/{kv_streams} seqs\), K \((?P<kv_cache_dtype>\w+)\)"),
    shape("llama.cpp", r"`size = ` *{kv_pool_bytes} MiB \( *{kv_pool_tokens} cells,.* K \((?P<kv_cache_dtype>\w+)\)"),
    shape("llama.cpp", "`kv_size = `{kv_pool_tokens}, "),
    shape("llama.cpp", rf"{DEVICE} `compute buffer size =` *{{activation_bytes}} MiB"),
    shape("llama.cpp", f"`Malloc failed: out of memory`{OOM}"),
    shape("", f"(?:CUDA|HIP) `out of memory`{OOM}"),
    shape("", f"`OutOfMemoryError`{OOM}"),
    shape("", "has a `total capac`i?ty of {device_bytes} GiB"),
)  # fmt: skip
ENDS = ("Application startup complete", "The server is fired up and ready")
"""After one of these the server serves: the start is over, and it did not fail."""
COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
PREFIX = re.compile(
    r"(?:\S+\s+\|\s|\d{4}-\d\d-\d\d[T ]\S+\s+(?:std(?:out|err) [FP] )?|\([^()]*pid=[^()]*\)\s*|"
    r"(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d [\d:.]+ \[?\S+:\d+\]\s|\[\d{4}-\d\d-\d\d[^\]]*\]\s|"
    r"\d[\d.]{4,} [IWED] )*"
)
"""What a terminal, a container, a process or a logger sets before a message."""
OTHER_RANK = re.compile(r"VllmWorkerProcess|RayWorker|(?:rank=|EngineCore_|_(?:DP|PP|TP)|\s(?:DP|PP|TP))0*[1-9]")
FORMATS = (
    ("(?:fbgemm_|ptpc_|w8a8_)?fp8|modelopt", "", "fp8"),
    ("modelopt_fp4|nvfp4|petit_nvfp4", "", "nvfp4"),
    ("(?:gpt_oss_)?mxfp4", "", "mxfp4"),
    (r"awq\w*", "", "int4-awq"),
    (r"gptq\w*", "int8|8-?bit", "int8-gptq"),
    (r"gptq\w*", "", "int4-gptq"),
    ("bitsandbytes", "", "nf4-bnb"),
    ("w8a8_int8", "", "int8-w8a8"),
    ("compressed.tensors", "nvfp4", "nvfp4"),
    ("compressed.tensors", "fp8", "fp8"),
    ("compressed.tensors", "w8a8", "int8-w8a8"),
    ("compressed.tensors", "w8a16", "int8-weight-only"),
    ("compressed.tensors", "w4a16", "int4"),
)
"""The engine's word, what the model's name must say as well, and our format."""
FLOATS = {
    **dict.fromkeys(("bfloat16", "bf16"), "bf16"),
    **dict.fromkeys(("half", "float16", "f16"), "fp16"),
    **dict.fromkeys(("float", "float32", "f32"), "fp32"),
    "q8_0": "gguf-q8_0",
}


TEXTS = {"engine_version", "model", "dtype", "quantization", "kv_cache_dtype", "build", "file_type"}
UNSAID = {"None", "auto", "-1"}
IMPLIED: tuple[tuple[str, str, Callable[[float, float], float], str], ...] = (
    ("weight_bytes", "free_before_bytes", sub, "free_after_bytes"),
    ("activation_bytes", "torch_peak_bytes", sub, "weight_bytes"),
    ("kv_pool_bytes", "k_bytes", add, "v_bytes"),
    ("kv_pool_tokens", "kv_cells", mul, "kv_streams"),
)
