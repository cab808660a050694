"""One experiment from beginning to end: build the model, sweep, and state what the rows are about."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import PipelineError, UsageError
from pipeline.core.units import in_base_units
from pipeline.evidence.measure.machine import memory_limited
from pipeline.evidence.measure.model import build_experiment, version, wake
from pipeline.evidence.measure.rows import tidy_rows
from pipeline.evidence.measure.sweep import OutOfMemory, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import polars as pl

    from pipeline.evidence.measure.machine import Machine
    from pipeline.evidence.measure.shapes import Shape
    from pipeline.evidence.measure.sweep import Plan

FREE_RATIO = 0.8
"""Share of a machine's free memory that a model may use where nobody says."""
MEMINFO = Path("/proc/meminfo")


def run_experiment(
    here: Machine, plan: Plan, shape: Shape, name: str, asked: Mapping[str, Any], tell: Callable[[str], None]
) -> tuple[pl.DataFrame, str]:
    """The rows of a whole sweep, and why it ended.

    Args:
        here: the device.
        plan: batches, prompts, repeats, time.
        shape: the model's id and config.
        name: the device's id.
        asked: `weights`, `memory` (a processor's) and `clock`.
        tell: takes lines of progress.

    Raises:
        PipelineError: the weights alone do not fit, or transformers cannot build the model.
    """
    model, config = shape
    limit = memory_limit(here, asked["memory"])
    tell(f"building {model} in {asked['weights']} on {here.name}")
    wake(here, asked["weights"])
    with memory_limited(limit if here.is_cpu else None):
        try:
            runner = build_experiment(here, config, asked["weights"])
        except OutOfMemory as error:
            raise PipelineError(f"{model}: its weights alone do not fit in {limit / 1e9:.4g} GB") from error
        found = sweep(runner, plan, tell)
    what = {"model": model, "accelerator": name} | dict.fromkeys(("weights", "kv"), asked["weights"])
    how = {"engine": "transformers", "engine_version": version(), "note": note(here, asked["clock"])}
    return tidy_rows(found.points, {**what, **how, "device_bytes": limit}), found.ended


def note(here: Machine, clock: str) -> str:
    """What else was so: the library, threads and clock."""
    threads = f", threads {here.torch.get_num_threads()}" if here.is_cpu else ""
    return f"random weights; torch {here.torch.__version__}{threads}, {clock} time"


def memory_limit(here: Machine, asked: str | None) -> int:
    """Bytes that the experiment may take: a GPU's own memory; of a processor as asked, or a share of what is free.

    Raises:
        UsageError: no size, or a limit for a GPU.
    """
    if asked is None:
        return int(free_bytes(here) * FREE_RATIO) if here.is_cpu else here.total_bytes
    size = in_base_units(asked, "B")
    if not here.is_cpu:
        raise UsageError("--memory is for --device cpu: a GPU has the memory that it has")
    if isinstance(size, str) or size <= 0:
        raise UsageError(f"--memory {asked}: is no size such as 4GB")
    return int(size)


def free_bytes(here: Machine) -> int:
    """Memory that the system can still give; where it does not say, all that it has."""
    text = MEMINFO.read_text(encoding="ascii") if MEMINFO.exists() else ""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", text, flags=re.MULTILINE)
    return int(found[1]) * 1024 if found else here.total_bytes
