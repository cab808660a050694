"""What tests of the command line share: how to call it, a finished run, the contract's names."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from filelock import FileLock

import pipeline
from pipeline.cli.main import cli
from pipeline.core.places import bundled
from tests.once import remember

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pipeline.facts.catalog import Catalogs

KEYS = [
    "model", "weights", "kv", "engine", "accelerator", "device_count", "tp", "pp", "ep", "workload",
    "prompt_tokens", "output_tokens",
]  # fmt: skip
BOTH = [
    "parameter_count", "active_parameter_count", "weight_bytes", "kv_bytes_per_token", "kv_bytes_per_sequence",
    "activation_bytes", "overhead_bytes", "device_memory_bytes", "vram_bytes", "fits", "limited_by", "ttft_s",
    "tpot_s", "e2e_s", "output_tokens_per_s", "requests_per_s", "usd_per_hour", "usd_per_mtok_output",
    "usd_per_mtok_input", "power_w", "energy_j_per_token", "simple_vram_bytes", "simple_ttft_s", "simple_tpot_s",
    "simple_batch_max", "vram_bytes_lo", "vram_bytes_hi", "ttft_s_lo", "ttft_s_hi", "tpot_s_lo", "tpot_s_hi",
    "output_tokens_per_s_lo", "output_tokens_per_s_hi", "confidence",
]  # fmt: skip
CAPACITY = ["batch_max", "batch_max_lo", "context_max_tokens", "batch_slo"]
AS_OF = date(2026, 11, 22)

TINY = """
[grid]
models       = ["llama-3.1-8b", "gemma-3-4b", "mixtral-8x7b"]
weights      = ["bf16"]
kv           = ["bf16"]
engines      = ["vllm"]
accelerators = ["h100-sxm-80gb", "l4"]
parallel     = [{ tp = 1 }, { tp = 2 }]
workloads    = ["chat"]
batches      = [1, 16, 256]
"""


@dataclass(frozen=True)
class Finished:
    """A complete run: the folder of runs, and the run's own."""

    out: Path
    folder: Path


def invoke(*args: object, code: int = 0) -> Result:
    """Call capgrid as typed; a traceback, or another exit code than the expected one, fails the test."""
    result = CliRunner().invoke(cli, [str(each) for each in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise AssertionError(f"a traceback instead of a message: {result.exception!r}") from result.exception
    assert result.exit_code == code, f"exit code {result.exit_code}, not {code}: {result.output[-2000:]}"
    return result


@pytest.fixture(scope="session", autouse=True)
def bundled_catalogs() -> Iterator[Catalogs]:
    """The bundled catalogs, read once for all calls of a session: frames do not change. Copies are read once too."""
    read = pipeline.catalogs
    once = cache(read)
    with pytest.MonkeyPatch.context() as patch:
        remember(patch)
        patch.setattr(pipeline, "catalogs", lambda folder=None: read(folder) if folder else once())
        yield once()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """A folder by its name, filled by whichever worker asks first and read by all; nobody changes it."""
    base = tmp_path_factory.getbasetemp()
    top = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder(name: str, fill: Callable[[Path], object]) -> Path:
        made, filled = top / name, top / f"{name}.filled"
        with FileLock(top / f"{name}.lock"):
            if not filled.exists():
                shutil.rmtree(made, ignore_errors=True)
                made.mkdir()
                fill(made)
                filled.touch()
        return made

    return folder


@pytest.fixture(scope="session")
def capgrid() -> Callable[..., Result]:
    """The command line, in this process."""
    return invoke


@pytest.fixture(scope="session")
def contract() -> dict[str, list[str]]:
    """Names that the contract fixes: the keys of both tables, and the columns that each has at least."""
    return {"keys": KEYS, "estimates": [*KEYS, "batch", *BOTH], "capacity": [*KEYS, *BOTH, *CAPACITY]}


@pytest.fixture(scope="session")
def small(shared: Callable[[str, Callable[[Path], object]], Path]) -> Finished:
    """A run of the bundled grid `small`, made by the command line; tests read it and never change it."""

    def fill(folder: Path) -> None:
        invoke("run", "--grid", "small", "--out", folder / "outputs", "--workers", 1, "--as-of", AS_OF)

    out = shared("small", fill) / "outputs"
    return Finished(out, (out / "latest").resolve())


@pytest.fixture
def own_small(small: Finished, tmp_path: Path) -> Finished:
    """A copy of that run, which a test may spoil."""
    out = tmp_path / "outputs"
    shutil.copytree(small.out, out, symlinks=True)
    return Finished(out, (out / "latest").resolve())


@pytest.fixture
def own_catalogs(tmp_path: Path) -> Path:
    """A copy of the bundled catalogs, which a test may spoil."""
    return shutil.copytree(bundled("catalogs"), tmp_path / "catalogs")


@pytest.fixture(scope="session")
def tiny_text() -> str:
    """A grid of three models, two devices and three batches."""
    return TINY


@pytest.fixture
def tiny(tmp_path: Path, tiny_text: str) -> Path:
    """The same as a file."""
    path = tmp_path / "tiny.toml"
    path.write_text(tiny_text, encoding="utf-8")
    return path
