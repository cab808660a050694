"""Files of other tools as tidy rows: one measured number each, as backtest and calibrate read them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.core.errors import PipelineError
from pipeline.evidence.measurements import columns_in
from pipeline.evidence.readers.load_generators import READERS, Found
from pipeline.evidence.readers.logs import read_log

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

COLUMNS: dict[str, type[pl.DataType]] = {
    **columns_in(pl.String, "source file kind engine engine_version model weights kv accelerator"),
    "device_bytes": pl.Float64,
    **columns_in(pl.Int64, "device_count tp pp dp ep"),
    **columns_in(pl.Float64, "memory_utilization model_len_max batched_tokens_max sequences_max block_tokens"),
    "eager": pl.Boolean,
    "batch": pl.Int64,
    **columns_in(pl.Float64, "requests_per_s_offered prompt_tokens output_tokens"),
    "quantity": pl.String,
    "value": pl.Float64,
}
RATES = ("requests_per_s", "output_tokens_per_s", "total_tokens_per_s")
LARGEST_BYTES = 2**30
"""A file beyond this is no summary; GuideLLM's hold every request."""
TOOLS = "vllm bench serve, GuideLLM, AIPerf or GenAI-Perf (JSON), and start-up logs of vLLM, SGLang or llama.cpp"


def import_files(files: Sequence[Path], stated: Mapping[str, Any]) -> pl.DataFrame:
    """The rows of some files, one below the other.

    Args:
        files: what is to be read, each by what it holds.
        stated: columns that the user states; they go before what a file says.

    Raises:
        PipelineError: a file cannot be read, is of no known tool, or holds no number.
    """
    rows = [{**row, "file": path.name, **stated} for path in files for row in rows_of(path)]
    frame = pl.DataFrame(rows, schema=COLUMNS, strict=False)
    ranks = pl.col("tp").fill_null(1) * pl.col("pp").fill_null(1) * pl.col("dp").fill_null(1)
    said = pl.any_horizontal(pl.col("tp", "pp", "dp").is_not_null())
    clients = pl.col("batch").is_not_null() & pl.col("kind").is_in(["offline", "burst"])
    return frame.with_columns(
        device_count=pl.coalesce("device_count", pl.when(said).then(ranks)),
        kind=pl.when(clients).then(pl.lit("closed_loop")).otherwise("kind"),
    )


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of one file, by what it holds.

    Raises:
        PipelineError: it cannot be read, is of no known tool, or holds no number.
    """
    objects = objects_of(path)
    if objects is None:
        start = read_log(path)
        same = {"source": f"{start.engine} log", **start.settings}
        rows = [{**same, "quantity": name, "value": value} for name, value in start.numbers.items()]
    else:
        rows = [row for said in objects for row in rows_of_object(path, said)]
    if not rows:
        raise PipelineError(f"{path}: holds no number that could be compared")
    return rows


def objects_of(path: Path) -> list[dict[str, Any]] | None:
    """The JSON objects of a file, one or one a line; nothing where it is no JSON.

    Raises:
        PipelineError: it cannot be read, or begins as JSON and is broken.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise PipelineError(f"{path}: is larger than {LARGEST_BYTES // 2**20} MiB: no summary of a benchmark")
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise PipelineError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not text.startswith(("{", "[{")):
        return None
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        try:
            said = [json.loads(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError) as error:
            raise PipelineError(f"{path}: not valid JSON: {error}") from error
    return [each for each in (said if isinstance(said, list) else [said]) if isinstance(each, dict)]


def rows_of_object(path: Path, said: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of one result of a load generator.

    Raises:
        PipelineError: no known tool writes such a result.
    """
    for name, is_its, read in READERS:
        if is_its(said):
            for found in read(said):
                yield from (row_of(name, found, quantity, value) for quantity, value in found.numbers.items())
            return
    raise PipelineError(f"{path}: is no result of {TOOLS}")


def row_of(tool: str, found: Found, quantity: str, value: float) -> dict[str, Any]:
    """One number of a run."""
    clients = None if found.clients is None else round(found.clients)
    what = {"source": tool, "kind": arrival_kind(found, quantity), "engine": found.engine, "model": found.model}
    offered = {"batch": clients, "requests_per_s_offered": found.requests_per_s}
    lengths = {"prompt_tokens": found.prompt_tokens, "output_tokens": found.output_tokens}
    return {**what, **offered, **lengths, "quantity": quantity, "value": value}


def arrival_kind(found: Found, quantity: str) -> str:
    """How requests came: at a rate, as earlier ones were answered, or all at once.

    All at once tells the largest throughput; what a request waited then is of a burst.
    """
    if found.requests_per_s is not None:
        return "open_loop"
    if found.clients is not None:
        return "closed_loop"
    return "offline" if quantity in RATES else "burst"
