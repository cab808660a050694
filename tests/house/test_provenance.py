"""Every fact that a formula reads says where it comes from, and every study that is cited is a page of docs/studies."""

from __future__ import annotations

import json
import re
import runpy
import tomllib
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from pipeline.answers.provenance import FROM_PRICE, Provenance, base_field
from pipeline.core.money import MARKETS
from pipeline.estimators.book import book
from pipeline.estimators.load.book import load_book
from pipeline.estimators.load.passes import START
from pipeline.facts.entries import columns_of
from pipeline.facts.schema.kinds import DEFAULTS, SCHEMAS
from pipeline.grid.axes import axes_of
from pipeline.grid.load import INPUTS
from pipeline.grid.selection import PARALLEL, Grid
from tests.conftest import invoke
from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.facts.catalog import Catalogs
    from pipeline.grid.axes import Axes

AS_OF = date(2026, 11, 22)
BOOK = {**book(), **load_book()}
READ = {column for q in BOOK.values() for column in q.inputs} - BOOK.keys()
"""Columns that formulas read and none makes."""
KINDS = {
    "models": "model",
    "weights": "format",
    "kv": "format",
    "engines": "engine",
    "accelerators": "accelerator",
    "workloads": "workload",
}
AXES = ("model", "weights", "kv", "accelerator", "engine", "workload", "parallel", "batch")
OF_A_STEP = {"step_sequences", "step_tokens", "clients"}
"""What stands for other columns in formulas that are entered once for each kind of step, and who asks."""
OF_DEMANDS = {*INPUTS, *START, "arrivals_per_s", "prefill_arrivals_per_s"}
"""What demands and passes of the formulas of load set."""
GENERATE = runpy.run_path(str(ROOT / "docs" / "generate.py"))
PAGES = sorted((ROOT / "docs" / "studies").glob("*.md"))
MODULES = sorted((ROOT / "pipeline").rglob("*.py"))
OPENABLE = re.compile(
    r"arXiv:|https?://|\.py\b|\.cpp\b|catalogs/|vLLM|SGLang|transformers|llama\.cpp|auto-gptq|Llama 4|OPT 350M|gpt-oss"
    r"|J\. Chen, case study|\(?(19|20)\d\d|Little's law|Pollaczek|GI/M/1|Definition|definition|ssumption|speculative"
)
"""What a reader can open, a law that has a name, or an honest word for neither."""
DERIVED = ("a gamma of", "parameters of", "pairs of", "engines place", "`fits` solved", "kv_bytes_per_sequence solved")
"""Beginnings of sources that say how a formula follows from others."""


@pytest.fixture(scope="module")
def axes(bundled_catalogs: Catalogs) -> Axes:
    """Every entry of every catalog that a plan can name."""
    every = {name: tuple(bundled_catalogs.frames[kind][kind]) for name, kind in KINDS.items()}
    once = dict.fromkeys(PARALLEL, 1)
    return axes_of(bundled_catalogs, Grid("every", **every, parallel=(once,), batches=(1,)), AS_OF)


def plans(axes: Axes, axis: str) -> Iterator[Axes]:
    """A plan for each entry of one axis."""
    first = {name: frame.head(1) for name, frame in axes.items()}
    for place in range(axes[axis].height):
        yield first | {axis: axes[axis].slice(place, 1)}


# ----- facts


def test_formulas_read_axes_and_nothing_else(axes: Axes) -> None:
    """What no formula makes is a column of an axis, or of a step or a demand, which formulas are entered for."""
    known = {column for frame in axes.values() for column in frame.columns}
    assert READ - known <= OF_A_STEP | OF_DEMANDS


@pytest.mark.parametrize("axis", AXES)
def test_every_fact_of_every_entry_has_a_source(axis: str, axes: Axes, bundled_catalogs: Catalogs) -> None:
    """What `explain` says of it: a source, a default that is called so, or that the entry leaves it out."""
    found = {
        (column, Provenance(plan, bundled_catalogs).source(column))
        for plan in plans(axes, axis)
        for column in plan[axis].columns
        if column in READ
    }
    assert found
    assert not {column for column, source in found if not source or "derived from" in source}


@pytest.mark.parametrize("axis", AXES[:6])
def test_a_source_states_the_very_value(axis: str, axes: Axes, bundled_catalogs: Catalogs) -> None:
    """No fact is ascribed to a source that says something else; what an axis makes of a field says so."""
    wrong = {}
    for plan in plans(axes, axis):
        provenance, row = Provenance(plan, bundled_catalogs), plan[axis].row(0, named=True)
        for column in {*plan[axis].columns} & READ - {*FROM_PRICE}:
            if base_field(column) is None and not column.startswith("asked_"):
                said = next(filter(None, map(provenance.fact, provenance.places(axis, str(row[axis]), column))), None)
                if said and not same(said["value"], row[column]):
                    wrong[column] = (row[axis], said["value"], row[column])
    assert not wrong


def same(said: str, value: Any) -> bool:
    """Whether a fact's text says a value."""
    texts = [str(each) for each in value] if isinstance(value, list) else [str(value)]
    try:
        return said.casefold() == ", ".join(texts).casefold() or float(said) == float(value)
    except (TypeError, ValueError):
        return False


@pytest.mark.parametrize("market", MARKETS)
def test_every_price_has_a_source(market: str, axes: Axes, bundled_catalogs: Catalogs) -> None:
    """Listed, assumed as a share of another, or owned: who says so is told; where there is none, that is said."""
    every = tuple(axes["accelerator"]["accelerator"].cast(pl.String))
    grid = Grid("p", ("llama-7b",), ("bf16",), ("bf16",), ("vllm",), every, ("chat",), ({"tp": 1},), (1,), market)
    priced = axes_of(bundled_catalogs, grid, AS_OF)
    for plan in plans(priced, "accelerator"):
        source = Provenance(plan, bundled_catalogs).source("device_usd_per_hour")
        is_known = plan["accelerator"]["device_usd_per_hour"].item() is not None
        assert ("catalogs/" in source and ": " in source) if is_known else source.startswith("no price in force")


@pytest.mark.parametrize("kind", sorted(SCHEMAS))
def test_every_field_of_every_other_entry_has_a_source(kind: str, bundled_catalogs: Catalogs) -> None:
    """Traffic, prices, markets, owned devices, sites: what they state, what they leave to a default, or to nobody."""
    facts = bundled_catalogs.facts.filter(kind=kind)
    stated = set(zip(facts["name"], facts["field"], strict=True))
    frame = bundled_catalogs.frames[kind]
    if kind not in frame.columns:
        assert set(facts["field"]) >= {name for name, (_, required) in columns_of(kind).items() if required}
        return
    fields = columns_of(kind).keys() - {kind} - DEFAULTS.get(kind, {}).keys()
    for row in frame.iter_rows(named=True):
        assert not {name for name in fields if row[name] is not None and (row[kind], name) not in stated}


# ----- what explain says


def leaves(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes of a tree that are made of nothing else."""
    yield from [node] if "inputs" not in node else []
    for each in node.get("inputs", ()):
        yield from leaves(each)


def sources(*options: str) -> dict[str, str]:
    """Sources of the facts behind a plan's cost and its largest batch, by column."""
    plan = ("--model", "llama-3.1-8b", "--accelerator", "h100", "--as-of", AS_OF, "--json")
    trees = (invoke("explain", name, *plan, *options).stdout for name in ("usd_per_mtok_output", "batch_max"))
    return {leaf["name"]: leaf["source"] for tree in trees for leaf in leaves(json.loads(tree))}


def test_a_default_is_called_a_default() -> None:
    """Lengths that nobody gave are not blamed on a trace, and a count that nobody typed was not asked for."""
    source = sources()
    assert source["prompt_tokens"] == "default: 512 where no workload is named"
    assert source["tp"] == source["batch"] == "default: 1 where nothing is asked for"
    assert source["asked_sequences_max"].startswith("default: nothing is asked for")
    assert source["chunk_tokens"].startswith("default where no workload is named; default: ")
    assert "default: 1" in source["achieved_flop_ratio"]


def test_what_was_asked_for_is_told_from_a_default() -> None:
    """Even where it is what the default says."""
    typed = ("--tp", "1", "--batch", "8", "--isl", "512", "--sequences-max", "77")
    source = sources(*typed, "--set", "achieved_flop_ratio=1")
    assert {source[name] for name in ("tp", "batch", "prompt_tokens", "asked_sequences_max")} == {"asked for"}
    assert source["achieved_flop_ratio"] == "asked for"
    assert source["pp"] == "default: 1 where nothing is asked for"
    assert source["output_tokens"].startswith("default: 128")
    assert "azure" in sources("--workload", "chat")["prompt_tokens"].casefold()


# ----- studies


def cited(text: str) -> Iterator[tuple[str, list[str]]]:
    """Studies of our own that a text names, and numbers of sections."""
    for found in GENERATE["CITED"].finditer(text):
        yield found[1].casefold(), re.findall(r"\d+", found[2])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_study_that_is_cited_is_a_page_with_that_section(path: Path) -> None:
    """`Source: step-time study, section 6` leads to a heading of docs/studies/step-time.md."""
    for source in re.findall(r"Source: ((?:.+\n?)+)", path.read_text(encoding="utf-8")):
        for study, numbers in cited(source):
            known = GENERATE["sections"](GENERATE["STUDIES"][study])
            assert numbers, f"{study} is cited without a section: {source}"
            assert set(numbers) <= known.keys()
        rest = GENERATE["CITED"].sub("", source).replace("case study", "")
        assert "study" not in rest.split("\n\n")[0]


def test_every_quantity_cites_what_a_reader_can_open() -> None:
    """A paper, a file of an engine, a catalog, a page of ours, a law; or how it follows from others."""
    closed = {
        name: source
        for name, source in ((name, q.source) for name, q in BOOK.items())
        if not (OPENABLE.search(source) or GENERATE["CITED"].search(source) or source.startswith(DERIVED))
    }
    assert not closed


def test_sources_that_are_ours_point_to_pages() -> None:
    """catalogs/sources.toml: what we measured or studied has a page of the project."""
    listed = tomllib.loads((ROOT / "catalogs" / "sources.toml").read_text(encoding="utf-8"))
    pages = {name: said["url"] for name, said in listed.items() if said["url"].startswith("docs/")}
    assert all((ROOT / page).is_file() for page in pages.values())
    assert {page for page in pages.values() if "studies" in page} == {f"docs/studies/{page.name}" for page in PAGES}
    ours = [name for name, said in listed.items() if re.search(r"\bour (study|fits)|capgrid calibrate", said["title"])]
    assert {*ours} <= pages.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_study_names_its_data_its_errors_and_how_to_make_it_again(page: Path) -> None:
    """Files of rows or cases, a command, standard errors, and errors on what was left out."""
    text = page.read_text(encoding="utf-8")
    commands = re.findall(r"^\$ (?:python (\S+\.py)|capgrid \w+|make \w+)", text, flags=re.MULTILINE)
    assert all((ROOT / script).is_file() for script in filter(None, commands))
    assert commands
    assert "Question" in text
    assert re.search(r"\.csv|points of \d+ replicas", text)
    assert "standard error" in text
    assert "left out" in text or "held out" in text


@pytest.mark.parametrize("script", ["docs/studies.py", "docs/accuracy.py", "benchmarks/load_fit.py"])
def test_the_scripts_that_make_pages_again_can_be_called(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they import is there, whatever was renamed."""
    monkeypatch.syspath_prepend(ROOT / Path(script).parent)
    assert "main" in runpy.run_path(str(ROOT / script))
