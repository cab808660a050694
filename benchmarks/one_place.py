"""A change in one place, measured: add one of each thing in a temporary copy, run it, and count what was touched.

`python benchmarks/one_place.py` prints the table of docs/adding.md: files and lines that each addition needed, and the
command that shows that it works. Nothing of the checkout is changed. An addition that fails ends with exit code 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
COPIED = ("pipeline", "catalogs", "sql")


@dataclass(frozen=True)
class Edit:
    """Lines that are put into a file: before a line that begins with `before`, else at its end."""

    file: str
    text: str
    before: str = ""


@dataclass(frozen=True)
class Addition:
    """One new thing: what it needs, and words of the command, or Python, whose output shows it."""

    what: str
    edits: tuple[Edit, ...]
    command: tuple[str, ...] | str
    shows: str


KIND = '''

@kind("folded")
def folded(context_tokens: Expr, kv_latent_dim: Expr) -> Kept:
    """One latent vector per token, folded out by projections of its own. Source: an example."""
    return Kept(context_tokens, kv_latent_dim, pl.lit(1, pl.Int64))
'''
MATRICES = '''

@matrix(times="folded_layers", group="dense")
def fold(hidden: Expr, heads: Expr, head_dim: Expr, kv_latent_dim: Expr, tp: Expr) -> Matrix:
    """Queries and the latent vector in one product. Source: an example."""
    return Matrix(heads * head_dim // tp + kv_latent_dim, hidden)


@matrix(times="folded_layers", group="dense")
def unfold(hidden: Expr, heads: Expr, head_dim: Expr, tp: Expr) -> Matrix:
    """From the heads' outputs to the hidden vector. Source: an example."""
    return Matrix(hidden, heads * head_dim // tp)
'''
MODEL = """
[[model]]
model                     = "folded-1b"
name                      = "A model whose attention is new"
family                    = "example"
parameter_count           = 1_000_000_000
embedding_parameter_count = 65_536_000
tied_embeddings           = true
vocab                     = 32_000
context_tokens_max        = 8_192
hidden                    = 2_048
heads                     = 16
kv_heads                  = 16
head_dim                  = 128
kv_latent_dim             = 512
layer_count               = 16
layers                    = { folded = 16 }
dense_layers              = 16
ffn_width                 = 8_192
gated_ffn                 = true
source                    = "assumption"
"""
FACT = """    engine_idle_s: pl.Float64 = trait_of("SGLang", "Time between two steps.", 0.0, ge=0, lt=1)
"""
READER = '''

@quantity
def idle_ratio_of_steps(engine_idle_s: Expr, decode_step_s: Expr) -> Expr:
    """Share of a decode step for which the engine waits before the next one.

    Definition.
    """
    return engine_idle_s / decode_step_s
'''
DERIVED = '''

@quantity
def heads_per_kv_head_ratio(heads: Expr, kv_heads: Expr) -> Expr:
    """Query heads that share one KV head.

    Definition.
    """
    return heads / kv_heads
'''
DEVICE = """
[[accelerator]]
accelerator         = "example-100gb"
name                = "An example of a device"
vendor              = "nvidia"
architecture        = "hopper"
device_class        = "datacenter"
badge_memory_bytes  = 100_000_000_000
device_memory_bytes = 100_000_000_000
memory_bytes_per_s  = 4e12
bf16_flop_per_s     = 1000e12
pcie_bytes_per_s    = 64e9
node_devices        = 8
verdict             = "unconfirmed"
source              = "assumption"
"""
VERSION = """
[[engine]]
engine        = "sglang"
from_version  = "9.9.0"
version       = "9.9"
engine_step_s = 4e-4
source        = "assumption"
"""
ANSWER = """-- How many plans has each device?
SELECT accelerator, count(*) AS plans FROM capacity GROUP BY accelerator ORDER BY accelerator
"""
FACT_USED = """
import pipeline
engines = pipeline.catalogs().frames["engine"].filter(engine="sglang").select("engine", "engine_idle_s")
print(pipeline.estimate(engines.with_columns(decode_step_s=0.01), ["idle_ratio_of_steps"]))
"""
DERIVED_USED = """
import polars, pipeline
print(pipeline.estimate(polars.DataFrame({"heads": [32], "kv_heads": [8]}), ["heads_per_kv_head_ratio"]))
"""
CALL = "from pipeline.cli.main import cli; cli()"
EXPLAIN = ("explain", "--accelerator", "h100", "--json", "--model")
ADDITIONS = (
    Addition(
        "an attention kind with projections of its own",
        (
            Edit("pipeline/estimators/attention.py", KIND, before="def needed_fields"),
            Edit("pipeline/estimators/matrices.py", MATRICES, before="# ----- feed-forward"),
            Edit("catalogs/models/others.toml", MODEL),
        ),
        (*EXPLAIN, "folded-1b", "decode_folded_products_s"),
        '"name": "kv_latent_dim"',
    ),
    Addition(
        "an engine fact that one engine states, and the formula that reads it",
        (
            Edit("pipeline/facts/schema/engines.py", FACT, before="    engine_block_tokens"),
            Edit("pipeline/estimators/step/serving.py", READER),
            Edit("catalogs/engines/sglang.toml", "engine_idle_s = 2e-4\n", before="engine_step_s"),
        ),
        FACT_USED,
        "0.02",
    ),
    Addition("a column derived from an axis", (Edit("pipeline/estimators/matrices.py", DERIVED),), DERIVED_USED, "4.0"),
    Addition(
        "a version of an engine",
        (Edit("catalogs/engines/sglang.toml", VERSION),),
        (*EXPLAIN, "llama-3.1-8b", "engine_step_s", "--engine", "sglang@9.9.1"),
        "0.0004",
    ),
    Addition(
        "a device",
        (Edit("catalogs/accelerators/nvidia.toml", DEVICE),),
        ("point", "--json", "--model", "llama-3.1-8b", "--accelerator", "example-100gb"),
        '"accelerator": "example-100gb"',
    ),
    Addition(
        "an answer", (Edit("sql/answers/plans_per_device.sql", ANSWER),), ("ask",), "How many plans has each device?"
    ),
)


def apply(edit: Edit, folder: Path) -> None:
    """Put the lines of an edit into a copy."""
    path = folder / edit.file
    lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
    place = next((i for i, line in enumerate(lines) if edit.before and line.startswith(edit.before)), len(lines))
    if edit.before and place == len(lines):
        raise LookupError(f"{edit.file}: no line begins with {edit.before!r}")
    path.write_text("".join([*lines[:place], edit.text.lstrip("\n") if edit.before else edit.text, *lines[place:]]))


def works(addition: Addition, folder: Path) -> bool:
    """Whether the command of an addition, run on a changed copy, prints what it should."""
    python = (addition.command,) if isinstance(addition.command, str) else (CALL, *addition.command)
    program = [sys.executable, "-c", *python]
    there = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(program, cwd=folder, env=there, capture_output=True, text=True, check=False)  # noqa: S603
    if addition.shows not in done.stdout:
        print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
    return addition.shows in done.stdout


def tried(addition: Addition) -> bool:
    """Whether an addition works in a copy of the checkout."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for each in COPIED:
            shutil.copytree(ROOT / each, folder / each, ignore=shutil.ignore_patterns("__pycache__"))
        for edit in addition.edits:
            apply(edit, folder)
        return works(addition, folder)


def main() -> None:
    """Try every addition and print the table."""
    print("| to add | files | lines | places |\n|---|---|---|---|")
    failed = False
    for addition in ADDITIONS:
        code = [edit.file for edit in addition.edits]
        lines = sum(len(edit.text.strip().splitlines()) for edit in addition.edits)
        good = tried(addition)
        failed |= not good
        places = ", ".join(f"`{file}`" for file in code)
        print(f"| {addition.what} | {len(code)} | {lines} | {places}{'' if good else ' **fails**'} |")
    sys.exit(failed)


if __name__ == "__main__":
    main()
