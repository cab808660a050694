"""How lines of engines' start-up logs look, and what their words mean: logs.py reads by log_shapes.toml."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from operator import add, mul, sub
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from pipeline.evidence.measurements import columns_in

if TYPE_CHECKING:
    from collections.abc import Callable

TABLES = tomllib.loads((Path(__file__).parent / "log_shapes.toml").read_text(encoding="utf-8"))
"""Lines and words of engines; the file says of each list what it is."""
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
KEYS = {theirs: ours for ours, words in TABLES["words"].items() for theirs in words}
"""Our names of settings, by the engines' words."""
PAIR = re.compile(rf"\b({'|'.join(KEYS)})['\"]?\s*[=:]\s*(?:'([^']*)'|\"([^\"]*)\"|([^\s,)}}\]]+))")
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


SHAPES = [
    shape(engine, template.replace("<device>", TABLES["device"]), adds=kind == "sums")
    for engine, kinds in TABLES["lines"].items()
    for kind, templates in kinds.items()
    for template in templates
]
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
FORMATS: list[tuple[str, str, str]] = TABLES["formats"]
FLOATS = {word: ours for ours, words in TABLES["floats"].items() for word in words}
TEXTS = {"engine_version", "model", "dtype", "quantization", "kv_cache_dtype", "build", "file_type"}
UNSAID = {"None", "auto", "-1"}
IMPLIED: tuple[tuple[str, str, Callable[[float, float], float], str], ...] = (
    ("weight_bytes", "free_before_bytes", sub, "free_after_bytes"),
    ("activation_bytes", "torch_peak_bytes", sub, "weight_bytes"),
    ("kv_pool_bytes", "k_bytes", add, "v_bytes"),
    ("kv_pool_tokens", "kv_cells", mul, "kv_streams"),
)
