"""The glossary names what there is, and has the words of the field."""

from __future__ import annotations

import re

import pytest

from pipeline.estimators.book import book
from pipeline.facts.schema.kinds import SCHEMAS
from pipeline.fleet.demand import TRAFFIC
from pipeline.grid.columns import formulas, meaning
from pipeline.grid.load import INPUTS
from pipeline.grid.schema import FLEET, TABLES
from tests.support import ROOT

PAGE = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
STATED = {"arrivals_per_s", "headroom_ratio"}
"""What a demand states, which no table holds."""
FIELD = """
TTFT; TPOT; E2E latency; prefill; decode; KV cache; roofline; tensor parallel; pipeline parallel; expert parallel;
data parallel; continuous batching; chunked prefill; admission; queueing delay; batch residency; peakedness;
prefill interference; utilisation; offered load; squared coefficient of variation; goodput; spot; reserved; on-demand
"""


@pytest.mark.parametrize("term", [" ".join(each.split()) for each in FIELD.split(";")])
def test_words_of_the_field_are_in_the_glossary(term: str) -> None:
    """Each begins a row, with a meaning beside it."""
    meanings = [row[1] for row in ROWS if term in re.split(r", | \(", row[0])]
    assert len(meanings) == 1
    assert meanings[0]


def test_names_in_the_glossary_exist() -> None:
    """A column, a quantity, a fact, or what a demand states."""
    columns = {name for table in TABLES.values() for name in table}
    facts = {name for schema in SCHEMAS.values() for name in schema.to_schema().columns}
    known = columns | facts | {*formulas("fleet"), *book(), *INPUTS, *TRAFFIC, *TABLES} | STATED
    named = {name for row in ROWS for cell in row for name in re.findall(r"`(\w+)`", cell)}
    assert not named - known


@pytest.mark.parametrize("name", sorted(TABLES["capacity"].keys() & FLEET.keys()))
def test_a_name_in_several_tables_has_one_description(name: str) -> None:
    """The bill of a row, and all else, says the same of a replica and of a fleet."""
    assert meaning(name, "capacity") == meaning(name, "fleet")
