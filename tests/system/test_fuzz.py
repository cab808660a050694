"""Catalogs, grids, configs and arguments that chance has spoilt: a message or an answer, and never half a run.

As many as CAPGRID_FUZZ says, in all; some hundreds where it says nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.places import bundled
from tests.system.hostile import asked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Finished

IN_ALL = int(os.environ.get("CAPGRID_FUZZ", "300"))


def so_many(share: float) -> Any:
    """A share of all examples; none is kept for a next time, and none fails for its time."""
    return settings(
        max_examples=max(int(IN_ALL * share), 1), deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )


# ----- what chance does to a text

VALUES = [
    "0", "-1", "1", "2", "3", "7", "4096", "1.5", "-0.0", "1e999", "-inf", "nan", "0x" + "f" * 40, "9" * 30,
    "9" * 5000, "0x" + "f" * 5000, "9223372036854775807", "9223372036854775808", "-9223372036854775808", '""', '"x"',
    '" "', '"../x"', '"=1+1"', '"<b>"', '"\\u202e"', '"\\u0000"', '"' + "x" * 600 + '"', "[]", "[[]]", "[{}]", "[1]",
    '["x"]', '[1, "x"]', "[nan]", "[0.5, 1]", '["*"]', '["!*"]', '["family:llama"]', '["vllm@0.1"]', '["vllm@x"]',
    '["llama-*", "!llama-7b"]', "{}", "{ a = 1 }", "{ full = 1 }", "{ full = 0 }", "{ full = 1, sliding = 31 }",
    "{ linear = 32 }", "[{ tp = 2 }]", "[{ tp = 0x10 }, { dp = 2 }]",
    '[{ engine = "vllm", name = "x", is_eager = true }]', '[{ engine = "vllm" }]',
    '[{ model = "llama-7b", requests_per_s = 1 }]', '[{ model = "llama-7b", requests_per_s = 1e8, arrival_cv = 20 }]',
    "true", "false", "2026-11-22", "0001-01-01", "9999-12-31", "2026-11-22T00:00:00Z", "07:32:00", "1e-300", "1e300",
    '"bf16"', '"vllm"', '"llama-7b"', '"h100-sxm-80gb"', '"spot"', "", "=", "'", '"', "#", "\x00", "\ufeff", "\ud7ff",
    "é",
]  # fmt: skip
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["value", "value", "value", "drop", "twice", "move", "cut", "insert", "key"]),
        st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(VALUES),
    ), min_size=1, max_size=5,
)  # fmt: skip


def spoilt(text: str, edits: list[tuple[str, int, int, str]]) -> str:
    """A text of lines after some edits."""
    lines = text.split("\n")
    for what, at, other, value in edits:
        place, second = at % len(lines), other % len(lines)
        name, equals, _ = lines[place].partition("=")
        if what == "value" and equals:
            lines[place] = f"{name}= {value}"
        elif what == "key" and equals:
            lines[place] = f"{lines[second].partition('=')[0] or value}{lines[place][len(name) :]}"
        elif what == "drop" and len(lines) > 1:
            del lines[place]
        elif what == "twice":
            lines.insert(second, lines[place])
        elif what == "move":
            lines[place], lines[second] = lines[second], lines[place]
        elif what == "cut":
            lines[place] = lines[place][: other % (len(lines[place]) + 1)]
        else:
            cut = other % (len(lines[place]) + 1)
            lines[place] = lines[place][:cut] + value + lines[place][cut:]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to spoil things in."""
    return tmp_path_factory.mktemp("fuzz")


# ----- catalogs

KEPT = {
    "models/llama.toml": {"llama-7b"},
    "accelerators/nvidia-datacenter.toml": {"h100-sxm-80gb"},
    "workloads/workloads.toml": {"chat"},
}
"""Files of the small catalogs, and the entries that stay in them."""
WHOLE = ("sources.toml", "formats.toml", "efficiencies", "sites.toml")


@cache
def small_catalogs() -> dict[str, str]:
    """Catalogs of one model, one device, one engine and one workload, by file: they are read fast."""
    home = bundled("catalogs")
    files = {}
    for name, ids in KEPT.items():
        tables = tomlkit.parse((home / name).read_text(encoding="utf-8"))
        for kind, blocks in list(tables.items()):
            tables[kind] = [block for block in blocks if block.get(kind) in ids]
        files[name] = tomlkit.dumps(tables)
    engine = tomlkit.parse((home / "engines" / "vllm.toml").read_text(encoding="utf-8"))
    engine["engine"] = [block for block in engine["engine"] if "from_version" not in block][:1]
    for block in engine["engine"]:
        for field in [each for each in block if "accelerators" in each]:
            del block[field]
    files["engines/vllm.toml"] = tomlkit.dumps({"engine": engine["engine"]})
    files["prices/lambda.toml"] = PRICE
    return files


PRICE = """
[[price]]
accelerator = "h100-sxm-80gb"
cloud = "lambda"
instance = "x"
devices = 1
market = "on-demand"
usd_per_hour = 2.0
from_date = 2026-11-01
source = "assumption"
"""


@pytest.fixture(scope="module")
def place(work: Path) -> Path:
    """The small catalogs as files."""
    folder = work / "catalogs"
    for name in WHOLE:
        source = bundled("catalogs") / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, _ready(folder / name))
    for name, text in small_catalogs().items():
        _ready(folder / name).write_text(text, encoding="utf-8")
    assert asked("models", "--catalogs", folder).exit_code == 0, asked("models", "--catalogs", folder).stderr
    return folder


def _ready(path: Path) -> Path:
    """A path whose folder is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@so_many(0.12)
@given(st.sampled_from([*KEPT, "engines/vllm.toml", "prices/lambda.toml", "sources.toml", "formats.toml"]), EDITS)
def test_spoilt_catalogs(place: Path, name: str, edits: list[tuple[str, int, int, str]]) -> None:
    """Read, or told; and where they can be read, a plan of them is computed, or told."""
    path = place / name
    before = path.read_text(encoding="utf-8")
    path.write_text(spoilt(before, edits), encoding="utf-8", errors="replace")
    try:
        if asked("models", "--catalogs", place, "--json").exit_code == 0:
            plan = ("--model", "llama-7b", "--gpu", "h100-sxm-80gb", "--catalogs", place)
            asked("point", *plan, "--json")
            asked("prices", "--catalogs", place, "--format", "md")
    finally:
        path.write_text(before, encoding="utf-8")


# ----- grids

GRID = """[grid]
models = ["llama-7b"]
weights = ["bf16"]
kv = ["bf16"]
engines = ["vllm"]
accelerators = ["h100-sxm-80gb"]
parallel = [{ tp = 1 }]
workloads = ["chat"]
batches = [1, 16]
market = "on-demand"
clouds = ["lambda"]
fleets = [{ model = "llama-7b", requests_per_s = 5, workload = "chat" }]"""


@so_many(0.3)
@given(EDITS)
def test_spoilt_grids(work: Path, edits: list[tuple[str, int, int, str]]) -> None:
    """Counted, or told."""
    grid = work / "fuzz.toml"
    grid.write_text(spoilt(GRID, edits), encoding="utf-8", errors="replace")
    asked("run", "--grid", grid, "--out", work / "none", "--rows-only")
    assert not (work / "none").exists()


@so_many(0.02)
@given(EDITS)
def test_runs_of_spoilt_grids(work: Path, edits: list[tuple[str, int, int, str]]) -> None:
    """A run is published whole, or not at all."""
    grid = work / "fuzz.toml"
    grid.write_text(spoilt(GRID, edits), encoding="utf-8", errors="replace")
    rows = asked("run", "--grid", grid, "--out", work / "none", "--rows-only")
    if rows.exit_code == 0 and json.loads(rows.stdout)["estimates"] > 10**6:
        return  # legal, and long
    with tempfile.TemporaryDirectory(dir=work) as folder:
        out = Path(folder) / "outputs"
        code = asked("run", "--grid", grid, "--out", out, "--workers", 1).exit_code
        assert (out / "latest").is_symlink() == (code == 0)
        assert bool(list(out.glob("*/manifest.json"))) == (code == 0)
        if code == 0:
            assert asked("check", "--out", out).exit_code == 0


# ----- configs

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1000, "head_dim": 16,
    "max_position_embeddings": 2048, "tie_word_embeddings": False, "sliding_window": 512, "num_local_experts": 4,
    "num_experts_per_tok": 2, "rope_scaling": {"type": "linear", "factor": 2.0},
    "layer_types": ["full_attention"] * 2,
    "quantization_config": {"quant_method": "fp8"}, "text_config": {}, "vision_config": {"hidden_size": 8},
}  # fmt: skip
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20)
    | st.sampled_from([0, -1, 1, 10**12, "full_attention", "llama", "bfloat16", "\u202e", "\ud800", "<b>", "=1"])
)  # fmt: skip
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner), max_leaves=6
)


@so_many(0.33)
@given(
    st.dictionaries(st.sampled_from(list(CONFIG)), JSON, max_size=5),
    st.sets(st.sampled_from(list(CONFIG)), max_size=12),
)
def test_spoilt_configs(work: Path, instead: dict[str, Any], without: set[str]) -> None:
    """Facts, or a message that says which key."""
    path = work / "config.json"
    told = {key: value for key, value in (CONFIG | instead).items() if key not in without}
    path.write_text(json.dumps(told), encoding="utf-8")
    asked("model", "facts", path, "--json")


@so_many(0.05)
@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="replace")), st.integers(0, 900)
)
def test_bytes_for_a_config(work: Path, data: bytes, at: int) -> None:
    """Rubbish, and rubbish in the midst of sense."""
    path = work / "config.json"
    sense = json.dumps(CONFIG).encode()
    path.write_bytes(sense[:at] + data + sense[at:] if at else data)
    asked("model", "facts", path)


# ----- arguments

WORDS = [
    "llama-7b", "llama-3.1-8b", "deepseek-v3", "gpt-oss-20b", "h100", "l4", "mi300x", "vllm", "sglang", "llama.cpp",
    "vllm@0.9", "bf16", "fp8", "int4", "chat", "rag-long", "", " ", "x", "\x00", "\u202e", "../x", "/", "-", "--",
    "-1", "0", "1", "2", "8", "512", "9" * 25, "1e999", "nan", "1.5", "80GB", "80XB", "50ms", "-5s", "1e-9",
    "2026-11-22", "0001-01-01", "9999-12-31", "2026-02-30", "a=b", "limit=3", "limit=-1", "limit=x",
    "limit=" + "9" * 30, "memory_bytes_per_s=nan", "heads=0", "prompt_tokens=1e5", "json", "csv", "md", "table",
    "SELECT 1", "SELECT 1/0", "FROM capacity LIMIT 1", "SELECT '\u202e'", "SELECT 1e308 * 10", "';--",
    "SELECT NULL AS x", "SELECT [1, NULL] AS x", "SELECT INTERVAL 1 MONTH", "SELECT 'x'::BLOB",
    "SELECT 170141183460469231731687303715884105727", "max_batch", "pareto", "cheapest_for_slo", "devices_needed",
    "ttft_s", "batch_max", "usd_per_mtok_output", "spot", "owned", "black",
]  # fmt: skip
OPTIONS = {
    "point": ["--model", "--gpu", "--engine", "--weights", "--kv", "--workload", "--tp", "--pp", "--ep", "--batch",
    "--memory",
              "--prompt-tokens", "--output-tokens", "--set", "--as-of", "--tpot-slo", "--market", "--format"],
    "explain": ["--model", "--gpu", "--depth", "--set", "--batch", "--tp", "--format"],
    "models": ["--format"], "accelerators": ["--format"], "engines": ["--format"], "workloads": ["--format"],
    "prices": ["--market", "--as-of", "--format", "--site"],
    "ask": ["--model", "--gpu", "--engine", "--set", "--format", "--run", "--weights"],
    "sql": ["--format", "--run"], "diff": ["--top", "--format"], "check": ["--run"],
}  # fmt: skip
READS = {"ask", "sql", "diff", "check"}
PLAN = ["--model", "llama-7b", "--gpu", "h100"]
GOOD = {"point": PLAN, "explain": ["ttft_s", *PLAN], "ask": ["max_batch"], "sql": ["FROM capacity LIMIT 2"]}


@st.composite
def arguments(draw: st.DrawFn) -> list[str]:
    """A command with options and values that need not suit it."""
    command = draw(st.sampled_from([*OPTIONS, "point", "ask", "sql"]))
    words = list(GOOD.get(command, [])) if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 4))):
        value = draw(st.sampled_from(WORDS) | st.text(max_size=8))
        words += [draw(st.sampled_from(OPTIONS[command])), value] if draw(st.integers(0, 4)) else [value]
    return [command, *words]


@so_many(0.18)
@given(arguments())
def test_arguments_by_chance(small: Finished, words: list[str]) -> None:
    """Answered, or told; `nan` and infinities never in JSON."""
    said = asked(*words, *(["--out", small.out] if words[0] in READS else []))
    if said.exit_code == 0 and said.stdout.startswith(("[", "{")) and "json" in words:
        json.loads(said.stdout, parse_constant=pytest.fail)


@pytest.fixture(autouse=True)
def digits() -> Iterator[None]:
    """The interpreter's own limit stays what it is."""
    before = sys.get_int_max_str_digits()
    yield
    assert sys.get_int_max_str_digits() == before
