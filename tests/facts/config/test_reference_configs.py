"""Facts of real config.json files against counts of the built models, where that reference lies beside the project."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest

from pipeline.facts.config.counted import config_facts
from tests.support import SHARED

REFERENCE = SHARED / "models"
pytestmark = pytest.mark.skipif(not (REFERENCE / "oracle.csv").is_file(), reason="no reference beside the project")

SHARES = {
    # fact: the reference's columns that it equals (the first less the second), and the share of configs that must agree
    "text_parameter_count": ("total_params", "vision_params", 0.98),
    "parameter_count": ("total_params", None, 0.93),
    "active_matmul_parameter_count": ("active_matmul_params", None, 0.97),
    "kv_bytes_at_8192": ("kv_bytes_at_8192_bf16", None, 0.97),
    "state_bytes_per_sequence": ("state_bytes_per_sequence", None, 0.97),
}


def rows() -> list[tuple[dict[str, str], dict[str, Any]]]:
    """Reference rows that could be established, each with our facts of the same config."""
    files = {row["hf_id"]: REFERENCE / row["file"] for row in table("INDEX.csv")}
    told = [
        row for row in table("oracle.csv") if row["status"] == "ok" and files.get(row["hf_id"], REFERENCE).is_file()
    ]
    return [(row, config_facts(json.loads(files[row["hf_id"]].read_text(encoding="utf-8")))) for row in told]


def table(name: str) -> list[dict[str, str]]:
    """One table of the reference."""
    with (REFERENCE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("fact", SHARES)
def test_facts_equal_the_built_models(fact: str) -> None:
    """To the unit; what differs is named in the message."""
    column, less, share = SHARES[fact]
    read = [(row, facts) for row, facts in rows() if row[column]]
    expected = [int(float(row[column])) - int(row[less] or 0 if less else 0) for row, _ in read]
    apart = [
        f"{row['hf_id']}: {facts[fact]} {want}"
        for (row, facts), want in zip(read, expected, strict=True)
        if facts[fact] != want
    ]
    assert len(read) > 200
    assert len(apart) <= (1 - share) * len(read), apart


def test_tied_tables_are_known() -> None:
    """The config, or its class's default, says so in every case."""
    apart = [row["hf_id"] for row, facts in rows() if facts["tied_embeddings"] != (row["tied"] == "True")]
    assert apart == []
