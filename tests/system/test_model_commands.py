"""Bringing one's own model: from a config.json to facts, and to an entry that plans can name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pipeline.cli.main import cli
from pipeline.facts import adding

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONFIG = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 64, "intermediate_size": 192,
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 20_000,
    "max_position_embeddings": 4096, "tie_word_embeddings": True,
}  # fmt: skip
TABLE, LAYER = 20_000 * 64, 64 * 128 * 2 + 64 * 64 * 2 + 3 * 64 * 192 + 2 * 64 + 2 * 32
PARAMETERS = TABLE + 3 * LAYER + 64
PADDING, ROTARY = 32 * 64, 4096 * 32
"""Rows of the table up to a multiple of 64, and the rotary tables."""
PROMISED = [
    "parameter_count", "text_parameter_count", "tower_parameter_count", "active_parameter_count",
    "active_matmul_parameter_count", "embedding_parameter_count", "tied_embeddings", "layers", "kv_bytes_per_token",
    "sliding_layers", "window_tokens", "sliding_kv_bytes_per_token", "state_bytes_per_sequence", "kv_bytes_at_8192",
    "architecture", "warnings",
]  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config.json of a small model."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG), encoding="utf-8")
    return path


def test_facts_carry_what_the_contract_promises(config: Path, capgrid: Callable[..., Any]) -> None:
    """Counted here by hand: tables, projections, gated feed-forward, norms of layers and heads."""
    said = json.loads(capgrid("model", "facts", config, "--json", "--name", "mine").stdout)
    assert {*PROMISED} <= said.keys()
    assert said["parameter_count"] == said["text_parameter_count"] == PARAMETERS
    assert said["kv_bytes_per_token"] == 3 * 2 * 2 * 32 * 2
    assert said["kv_bytes_at_8192"] == 8192 * said["kv_bytes_per_token"]
    assert (said["model"], said["warnings"], said["tied_embeddings"]) == ("mine", [], True)


def test_an_added_model_can_be_planned_with(config: Path, own_catalogs: Path, capgrid: Callable[..., Any]) -> None:
    """Every fact of the entry has a source, and the counts say that they were counted."""
    capgrid("model", "add", config, "--name", "mine-1m", "--catalogs", own_catalogs)
    plan = ("--model", "mine-1m", "--accelerator", "l4", "--catalogs", own_catalogs)
    said = json.loads(capgrid("point", *plan, "--json").stdout)
    assert (said["parameter_count"], said["layer_count"]) == (PARAMETERS, 3)
    assert said["weight_bytes"] == 2 * (PARAMETERS + PADDING + ROTARY)
    facts = json.loads(capgrid("models", "mine-1m", "--catalogs", own_catalogs, "--json").stdout)
    assert {row["source"] for row in facts if row["field"] == "parameter_count"} == {"computed-from-config"}
    assert all(row["source"] for row in facts)


def test_a_second_model_stands_beside_the_first(config: Path, own_catalogs: Path, capgrid: Callable[..., Any]) -> None:
    """The file is appended to, never written anew."""
    for name in ("mine-a", "mine-b"):
        capgrid("model", "add", config, "--name", name, "--catalogs", own_catalogs)
    assert (own_catalogs / adding.FILE).read_text(encoding="utf-8").count("[[model]]") == 2


@pytest.mark.parametrize("name", ["llama-7b", "LLAMA-7B", "huggyllama/llama-7b", "Mine", "../mine", ""])
def test_a_name_that_clashes_or_is_none_is_refused(
    name: str, config: Path, own_catalogs: Path, capgrid: Callable[..., Any]
) -> None:
    """Nothing is changed then."""
    before = {path: path.read_bytes() for path in own_catalogs.rglob("*.toml")}
    failed = capgrid("model", "add", config, "--name", name, "--catalogs", own_catalogs, code=1)
    assert name in failed.stderr
    assert {path: path.read_bytes() for path in own_catalogs.rglob("*.toml")} == before


def test_an_entry_that_would_not_load_is_taken_back(
    config: Path, own_catalogs: Path, capgrid: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalogs are read again before the command says that the model stands."""
    monkeypatch.setattr(adding, "CONFIG", "no-such-source")
    before = {path: path.read_bytes() for path in own_catalogs.rglob("*.toml")}
    assert (
        "no-such-source" in capgrid("model", "add", config, "--name", "mine", "--catalogs", own_catalogs, code=1).stderr
    )
    assert {path: path.read_bytes() for path in own_catalogs.rglob("*.toml")} == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not valid JSON"),
        ("[]", "not a JSON object"),
        ("{}", "config"),
        ('{"model_type": "strange"}', "missing"),
        ('{"model_type": "llama", "hidden_size": -4}', "hidden_size"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_a_config_that_cannot_be_is_told(text: str, said: str, tmp_path: Path, capgrid: Callable[..., Any]) -> None:
    """The file or the key is named; no traceback."""
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8")
    assert said in capgrid("model", "facts", path, code=1).stderr


def test_a_config_is_a_file_or_a_repository(config: Path, capgrid: Callable[..., Any]) -> None:
    """Neither, and both, are usage errors; a file that is not there is told."""
    capgrid("model", "facts", code=2)
    capgrid("model", "facts", config, "--hf", "a/b", code=2)
    assert "cannot be read" in capgrid("model", "facts", config.with_name("none.json"), code=1).stderr


def test_what_was_assumed_is_said_on_stderr(config: Path) -> None:
    """An unknown class is counted by general rules, and never silently."""
    config.write_text(
        json.dumps({**CONFIG, "model_type": "brandnew", "architectures": ["BrandNewLM"]}), encoding="utf-8"
    )
    result = CliRunner().invoke(cli, ["model", "facts", str(config)])
    assert result.exit_code == 0
    assert "warning: model_type 'brandnew' is not known" in result.stderr
    assert "warning" not in result.stdout
