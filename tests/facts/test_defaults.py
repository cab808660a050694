"""Defaults of the schema: what they may be, when they hold, and that they say who says so."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from pipeline.cli.main import cli
from pipeline.facts.catalog import DEFAULT, out_of_bounds
from pipeline.facts.schema.fields import field_defaults
from pipeline.facts.schema.kinds import DEFAULTS, SCHEMAS
from tests.support import catalogs


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_default_could_stand_in_an_entry(kind: str) -> None:
    """It is another field of the catalog, or within the bounds of its own; only what may be left out has one."""
    columns = SCHEMAS[kind].to_schema().columns
    for name, value in DEFAULTS[kind].items():
        assert columns[name].nullable, name
        assert value in columns if isinstance(value, str) else not out_of_bounds(name, value), name


def test_every_default_of_an_engine_has_a_reason_and_an_engine_that_takes_it() -> None:
    """A default that no engine takes is a fact; one without a reason would be a fact without a source."""
    taken = set(catalogs().facts.filter(kind="engine", source=DEFAULT)["field"])
    assert (
        {name for name, each in field_defaults(SCHEMAS["engine"]).items() if each.why}
        == set(DEFAULTS["engine"])
        == taken
    )


def test_a_default_holds_where_no_block_states_the_fact() -> None:
    """What an older block states, a later one takes over; a default comes after all of them."""
    facts = catalogs().facts.filter(kind="engine", field="engine_bounds_windows")
    said = {name: (value, source) for name, value, source in facts.select("name", "value", "source").iter_rows()}
    assert said["vllm@0.8.0"] == ("false", "vllm-source")
    assert said["vllm"] == ("true", "vllm-source")
    assert said["tgi"] == ("false", DEFAULT)


def test_no_fact_that_an_engine_needs_is_unknown() -> None:
    """Each is stated or has a default, in every block, and says its source."""
    facts = catalogs().facts.filter(kind="engine")
    for (name,), said in facts.group_by("name"):
        assert set(DEFAULTS["engine"]) <= set(said["field"]), name
    assert facts.filter((facts["source_title"] == "") | facts["file"].is_null()).is_empty()


def test_explain_calls_a_default_a_default() -> None:
    """With its reason, and the file in which it stands."""
    plan = ["--model", "llama-3.1-8b", "--accelerator", "l4", "--engine", "tgi"]
    said = CliRunner().invoke(cli, ["explain", "engine_hosts_tables", *plan, "--json"])
    source = json.loads(said.stdout)["source"]
    assert "default of the schema: only llama.cpp is known to differ" in source
    assert source.endswith("pipeline/facts/schema/engines.py: tgi")
    assert catalogs().facts.filter(source=DEFAULT)["file"].unique().to_list() == ["pipeline/facts/schema/engines.py"]
