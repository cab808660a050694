"""Engine versions: names with a version, blocks that say only what is new, and what single versions are known to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import pipeline
from pipeline.core.errors import CatalogError, UnknownNameError
from pipeline.facts.versions import version_of
from tests.support import axes, catalogs, plan, rows

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import polars as pl

    from pipeline.facts.catalog import Catalogs

A100, H100 = "a100-sxm-80gb", "h100-sxm-80gb"
BLOCK = """
[[engine]]
engine       = "vllm"
name         = "vLLM"
version      = "a test"
from_version = "{since}"
source       = "vllm-source"
{more}
"""


def one(engine: str, *wanted: str, model: str = "llama-3.1-8b", on: str = H100, **more: Any) -> dict[str, Any]:
    """Quantities of one plan under the block in force at one version."""
    of = axes([model], engines=[catalogs().resolve("engine", engine)], accelerators=[on], **more)
    frame = rows(of, *wanted)
    assert frame.height == 1
    return frame.select(wanted).row(0, named=True)


def vllm_blocks() -> pl.DataFrame:
    """All blocks of vLLM, the oldest first."""
    frame = catalogs().frames["engine"]
    return frame.filter(frame["engine"].str.contains("^vllm(@|$)"))


def settings(engine: str, on: str, **more: Any) -> tuple[int, int]:
    """Sequences at once, and tokens of a step, by default."""
    found = one(engine, "sequences_max", "batched_tokens_max", on=on, **more)
    return found["sequences_max"], found["batched_tokens_max"]


# ----- names


@pytest.mark.parametrize(
    ("said", "block"),
    [
        ("vllm@0.12.3", "vllm@0.12.0"),
        ("vllm@v0.19.1", "vllm@0.19.0"),
        ("vllm@0.19.0", "vllm@0.19.0"),
        ("VLLM@0.8.3", "vllm@0.8.0"),
        ("vllm@0.6.3.post1", "vllm@0.6.0"),
        ("vllm@0.8.5.post1", "vllm@0.8.5"),
        ("vllm@0.10.2", "vllm@0.10.2"),
        ("vllm@0.9.10", "vllm@0.9.1"),
        ("vllm@99.0", "vllm"),
        ("vllm@0.1", "vllm@0.6.0"),
        ("sglang@0.5.9", "sglang@0.5.3"),
        ("trtllm@1.2.0rc6", "tensorrt-llm"),
        ("lmdeploy@0.7.3", "lmdeploy"),
        ("hf@4.41.2", "transformers@4.40.0"),
        ("llama.cpp@b3456", "llama.cpp"),
    ],
)
def test_a_version_means_the_block_in_force(said: str, block: str) -> None:
    """The newest block that is not newer; else the oldest; any version where an engine has one block."""
    assert catalogs().resolve("engine", said) == block


def test_the_newest_block_goes_by_the_engines_name_and_by_its_version() -> None:
    """So that plans of today need no version, and those of a version stay what they were."""
    newest = vllm_blocks().filter(engine="vllm")["from_version"].item()
    assert catalogs().resolve("engine", f"vllm@{newest}") == "vllm"
    assert catalogs().resolve("engine", "vllm") == "vllm"


@pytest.mark.parametrize("said", ["vllm@", "vllm@newest", "vllm@@0.8.0", "vlm@0.8.0"])
def test_a_name_without_a_version_or_an_engine_is_refused(said: str) -> None:
    """With the nearest names."""
    with pytest.raises(UnknownNameError):
        catalogs().resolve("engine", said)


# ----- blocks


def test_every_block_says_everything_once_filled() -> None:
    """What the first block of an engine states, no later one lacks; aliases and days of release are a block's own."""
    frame = vllm_blocks().drop("aliases", "release_date")
    assert frame.filter(from_version="0.6.0").height == 1
    stated = [name for name in frame.columns if frame[name][0] is not None]
    assert sum(frame[name].null_count() for name in stated) == 0


def test_aliases_name_the_newest_block() -> None:
    """`hf` is transformers as it is now."""
    assert catalogs().resolve("engine", "hf") == "transformers"


def with_block(folder: Path, since: str, more: str = "", file: str = "vllm-more.toml") -> Path:
    """Catalogs with one block more."""
    path = folder / "engines" / file
    said = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(said + BLOCK.format(since=since, more=more), encoding="utf-8")
    return folder


def test_a_new_version_is_one_block(own_catalogs: Path) -> None:
    """It takes the engine's name over; the block before goes by its version."""
    before = catalogs().frames["engine"].filter(engine="vllm").row(0, named=True)
    found = pipeline.catalogs(with_block(own_catalogs, "9.0.0", "engine_memory_utilization_ratio = 0.95"))
    frame = found.frames["engine"]
    newest = frame.filter(engine="vllm").row(0, named=True)
    changed = {"version": "a test", "from_version": "9.0.0", "engine_memory_utilization_ratio": 0.95}
    changed |= {"release_date": None}
    assert newest == before | changed
    since = f"vllm@{before['from_version']}"
    assert found.resolve("engine", since) == since
    assert frame.filter(engine=since).row(0, named=True) == before | {"engine": since}
    assert found.resolve("engine", "vllm@9.1") == "vllm"


def facts_of(found: Catalogs, engine: str) -> dict[str, dict[str, Any]]:
    """What some catalogs say of one block, a fact each."""
    return {fact["field"]: fact for fact in found.facts.filter(kind="engine", name=engine).to_dicts()}


def test_a_later_block_takes_over_what_it_does_not_state_with_its_source(own_catalogs: Path) -> None:
    """What it states has its own source; the rest is that of the blocks before, who said it included."""
    stated = 'engine_sequences = [1, 2, 3, 4]\nsource_of = { engine_sequences = "assumption" }'
    found = pipeline.catalogs(with_block(own_catalogs, "9.0.0", stated))
    since = catalogs().frames["engine"].filter(engine="vllm")["from_version"].item()
    before, later = facts_of(found, f"vllm@{since}"), facts_of(found, "vllm")
    assert later.keys() == before.keys() - {"release_date"}
    changed = {name for name in later if later[name]["value"] != before[name]["value"]}
    assert changed == {"version", "from_version", "engine_sequences"}
    assert {later[name]["source"] for name in ("version", "from_version", "name")} == {"vllm-source"}
    assert later["engine_sequences"]["source"] == "assumption"
    taken = later.keys() - changed - {"name"}
    assert {name: later[name]["source"] for name in taken} == {name: before[name]["source"] for name in taken}
    assert len({later[name]["source"] for name in taken}) > 1


def test_a_version_in_between_is_one_block_anywhere(own_catalogs: Path) -> None:
    """The order of files and blocks does not matter; later blocks take over from it what they do not state."""
    found = pipeline.catalogs(with_block(own_catalogs, "0.12.5", "engine_step_s = 0.001"))
    steps = dict(found.frames["engine"].select("engine", "engine_step_s").iter_rows())
    assert found.resolve("engine", "vllm@0.13") == "vllm@0.12.5"
    assert found.resolve("engine", "vllm@0.12.4") == "vllm@0.12.0"
    assert (steps["vllm@0.12.0"], steps["vllm@0.12.5"], steps["vllm@0.15.0"]) == (0.0005, 0.001, 0.001)


def refused(folder: Path) -> list[str]:
    """What is wrong with some catalogs."""
    with pytest.raises(CatalogError) as error:
        pipeline.catalogs(folder)
    return error.value.problems


def saying(problems: Iterable[str], *words: str) -> bool:
    """Whether one problem says all of these."""
    return any(all(word in problem for word in words) for problem in problems)


def test_a_from_version_that_is_no_version_is_refused(own_catalogs: Path) -> None:
    """With the file and the text."""
    problems = refused(with_block(own_catalogs, "next spring"))
    assert saying(problems, "vllm-more.toml", "from_version = 'next spring' is not a version")


@pytest.mark.parametrize("since", ["0.9.1", "0.6.0"])
def test_two_blocks_of_one_version_are_refused(own_catalogs: Path, since: str) -> None:
    """Which of the two holds would be chance."""
    assert saying(refused(with_block(own_catalogs, since)), f"vllm@{since}")


def test_two_newest_blocks_are_refused(own_catalogs: Path) -> None:
    """One of the two has the engine's name, yet both have its version."""
    with_block(own_catalogs, "9.0.0")
    assert saying(refused(with_block(own_catalogs, "9.0.0")), "vllm@9.0.0")


def test_an_unknown_field_in_a_later_block_is_refused_once(own_catalogs: Path) -> None:
    """There, and with the nearest field; not in every block that takes it over."""
    problems = refused(with_block(own_catalogs, "9.0.0", "engine_bloc_tokens = 16"))
    assert saying(problems, "vllm-more.toml", "engine_bloc_tokens", "engine_block_tokens")
    assert len(problems) == 1


# ----- what versions are known to do


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ("vllm@0.8.0", (1024, 2048)),
        ("vllm@0.8.4", (256, 2048)),
        ("vllm@0.8.5", (1024, 8192)),
        ("vllm@0.9.0", (256, 2048)),
        ("vllm@0.11.0", (256, 2048)),
        ("vllm", (256, 2048)),
    ],
)
def test_an_a100_takes_other_defaults_in_other_versions(engine: str, expected: tuple[int, int]) -> None:
    """Named a small device, then measured at 80 GB, then named again. Source: vLLM engine/arg_utils.py."""
    assert settings(engine, A100) == expected


@pytest.mark.parametrize("engine", ["vllm@0.8.0", "vllm@0.9.0", "vllm@0.19.0", "vllm"])
def test_an_h100_takes_the_defaults_of_large_devices(engine: str) -> None:
    """Source: vLLM engine/arg_utils.py."""
    assert settings(engine, H100) == (1024, 8192)


def test_v0_runs_256_sequences_and_splits_only_long_prompts() -> None:
    """Source: vLLM config.py, SchedulerConfig, 0.6.0 to 0.7.3."""
    for engine, step in (("vllm@0.6.0", 512), ("vllm@0.6.5", 2048)):
        assert settings(engine, H100) == (256, step)
        assert settings(engine, H100, model="llama-2-7b") == (256, 4096)
        assert settings(engine, H100, model="gpt2") == (256, 2048)


def test_turing_splits_prompts_from_0_10_2_on() -> None:
    """Until then the old runner serves it. Source: vLLM engine/arg_utils.py, the choice of V1."""
    for model, whole in (("llama-2-7b", 4096), ("gpt2", 2048)):
        assert settings("vllm@0.9.2", "t4", model=model, weights=["fp16"]) == (256, whole)
        assert settings("vllm@0.10.2", "t4", model=model, weights=["fp16"]) == (256, 2048)
    asked = [{"engine": "vllm@0.9.1", "name": "short", "model_len_max_tokens": 8192}]
    of = axes(["llama-3.1-8b"], weights=["fp16"], engines=[], accelerators=["t4"], setups=asked)
    assert rows(of, "batched_tokens_max")["batched_tokens_max"].item() == 8192


def test_the_share_of_the_device_rises_with_0_20() -> None:
    """0.9 before, 0.92 after. Source: vLLM config, gpu_memory_utilization."""
    for block in vllm_blocks().to_dicts():
        since = version_of(block["from_version"])
        assert since is not None
        expected = 0.9 if since < version_of("0.20") else 0.92
        assert block["engine_memory_utilization_ratio"] == expected, block["engine"]


def logit_bytes(engine: str, model: str) -> float:
    """Bytes that a sampling step takes for each sequence and vocabulary entry."""
    names = ("sampler_bytes", "sequences_max", "batched_tokens_max", "padded_vocab", "hidden", "element_bytes")
    found = one(engine, *names, model=model)
    states = (found["batched_tokens_max"] + 2 * found["sequences_max"]) * found["hidden"] * found["element_bytes"]
    return (found["sampler_bytes"] - states) / (found["sequences_max"] * found["padded_vocab"])


@pytest.mark.parametrize("model", ["llama-3.1-8b", "mixtral-8x7b", "qwen3-8b"])
def test_the_sampler_sorts_until_0_16(model: str) -> None:
    """38 bytes a logit while it sorts, then 14 and scratch. Source: vLLM v1/sample; serving-memory study."""
    for engine in ("vllm@0.6.0", "vllm@0.11.0", "vllm@0.16.0"):
        assert logit_bytes(engine, model) == pytest.approx(38, abs=0.01)
    for engine in ("vllm@0.17.0", "vllm@0.21.0"):
        assert logit_bytes(engine, model) == pytest.approx(14.5, abs=0.1)


def test_the_lean_runner_serves_llama_from_0_23_and_mixtral_never() -> None:
    """Source: vLLM config/vllm.py, use_v2_model_runner."""
    lean = {
        (engine, model): one(engine, "samples_lean", model=model)["samples_lean"]
        for engine in ("vllm@0.21.0", "vllm@0.22.0", "vllm@0.23.0", "vllm")
        for model in ("llama-3.1-8b", "qwen3-8b", "mixtral-8x7b")
    }
    assert {key for key, is_lean in lean.items() if is_lean} == {
        ("vllm@0.22.0", "qwen3-8b"),
        *((engine, model) for engine in ("vllm@0.23.0", "vllm") for model in ("llama-3.1-8b", "qwen3-8b")),
    }
    assert logit_bytes("vllm@0.23.0", "llama-3.1-8b") < 8
    assert logit_bytes("vllm@0.23.0", "mixtral-8x7b") == pytest.approx(14.5, abs=0.1)


def test_sliding_layers_keep_their_window_from_0_9_1_on() -> None:
    """Before, they keep every token. Source: vLLM v1/core/kv_cache_utils.py, unify_hybrid_kv_cache_specs."""
    names = ("kv_bytes_per_token", "window_bytes_per_token", "kv_bytes_per_sequence", "kv_ideal_bytes_per_sequence")
    plans = {"model": "gemma-3-27b", "workloads": ["rag-long"]}
    whole, bounded = one("vllm@0.9.0", *names, **plans), one("vllm@0.9.1", *names, **plans)
    assert whole["kv_bytes_per_token"] == whole["window_bytes_per_token"]
    assert bounded["kv_bytes_per_token"] < 0.25 * whole["kv_bytes_per_token"]
    assert bounded["kv_bytes_per_sequence"] < whole["kv_bytes_per_sequence"]
    assert bounded["kv_ideal_bytes_per_sequence"] < whole["kv_ideal_bytes_per_sequence"]


def test_the_devices_context_counts_in_0_8_and_not_in_0_9_1() -> None:
    """Source: vLLM v1/worker/gpu_worker.py; before, 0.6.4 alone counted it."""
    names = ("non_torch_bytes", "engine_context_bytes")
    counted = {v: one(f"vllm@{v}", *names) for v in ("0.6.3", "0.6.4", "0.6.5", "0.8.0", "0.9.0", "0.9.1", "0.10.2")}
    context = counted["0.8.0"]["engine_context_bytes"]
    runtime = {version: found["non_torch_bytes"] for version, found in counted.items()}
    assert runtime["0.8.0"] - runtime["0.9.1"] == context
    assert {version for version in runtime if runtime[version] > runtime["0.9.1"]} == {"0.6.4", "0.8.0", "0.9.0"}


@pytest.mark.parametrize(
    ("on", "shares"),
    [
        (H100, (0.835, 0.834, 0.824, 0.818)),
        (A100, (0.836, 0.834, 0.825, 0.819)),
        ("h200-sxm-141gb", (0.907, 0.906, 0.900, 0.897)),
        ("b200-sxm-180gb", (0.857, 0.856, 0.855, 0.852)),
    ],
)
def test_sglang_reserves_and_takes_the_rest(on: str, shares: tuple[float, ...]) -> None:
    """Source: SGLang 0.5.3 to 0.5.9, server_args.py, evaluated for 1, 2, 4 and 8 ranks."""
    for tp, share in zip((1, 2, 4, 8), shares, strict=True):
        found = one("sglang@0.5.9", "memory_utilization_ratio", on=on, parallel=[plan(tp=tp)])
        assert found["memory_utilization_ratio"] == pytest.approx(share, abs=0.01), tp


def test_sglang_reserves_for_pieces_of_prompts_from_0_5_10_on() -> None:
    """0.830 on an H100. Source: SGLang server_args.py, piecewise graphs by default."""
    found = one("sglang", "memory_utilization_ratio")
    assert found["memory_utilization_ratio"] == pytest.approx(0.830, abs=0.01)
