"""Every quantity says what it is, in what unit, and who says so; every function is short and speaks."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pipeline
from pipeline.core.units import unit_of
from pipeline.estimators.book import book
from pipeline.estimators.feasible import RULES
from pipeline.grid.columns import columns_table
from pipeline.grid.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

BARE = {
    # last words of names that bear no unit, and why
    "fits": "a truth",
    "is_eager": "a truth",
    "is_forward_bound": "a truth",
    "samples_lean": "a truth",
    "confidence": "a word of bands.CONFIDENCES",
    "limited_by": "a word of bands.LIMITS",
    "memory_risk": "a word of bands.RISKS",
    "device_size": "a place in settings.SIZES_BYTES",
    "defaults_size": "a place in settings.SIZES_BYTES",
    "code": "a place in such a list of words",
    "batch_max": "a count of sequences, named after the axis that it ends",
    "batched_tokens_max": "a limit of the engine, named after what it limits",
    "sequences_max": "a limit of the engine, named after what it limits",
    "microbatch": "a count of sequences; a fraction where stages share a batch unevenly",
    "rank_batch": "a count of sequences",
    "expert_ranks": "a count of devices",
    "prefill_replicas": "a count of replicas, a fraction of the time",
    "step_sequences": "a count of sequences, as microbatch",
    "joining_prompts": "a count of prompts; a fraction on average",
    "distinct_experts": "an expected count of experts",
    "scored_keys": "an expected count of keys",
    "read_heads": "a count of KV heads",
    "layers": "a count of layers",
    "inputs": "a count of matrices that read the same input",
    "blocks": "a count of cache blocks",
    "block_tokens_held": "a count of tokens, named after the block that holds them",
    "concurrency_at_model_len": "a count of sequences, a fraction as engines print it",
    "padded_vocab": "a count of rows, named after the vocabulary",
    "matrix_parameters": "a count of parameters of one layer",
    "width": "elements per token",
    "depth": "elements per token, that a matrix reads",
}
BOOK = book()
ROOT = Path(pipeline.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

Function = ast.FunctionDef | ast.AsyncFunctionDef


def bare_word(name: str) -> str | None:
    """The last words of a name that stand in BARE."""
    base = name.removesuffix("_lo").removesuffix("_hi")
    return next((word for word in BARE if base == word or base.endswith(f"_{word}")), None)


def public(tree: ast.Module) -> Iterator[Function | ast.ClassDef]:
    """The functions, classes and methods of a module that do not begin with an underscore."""
    for body in (tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))):
        yield from (
            node
            for node in body.body
            if isinstance(node, Function | ast.ClassDef) and (not node.name.startswith("_") or node.name == "__init__")
        )


def test_a_quantity_begins_with_a_sentence() -> None:
    """The first line is the column's description in the data dictionary, the report and COMMENT ON."""
    summaries = {name: q.summary for name, q in BOOK.items()}
    assert {name: text for name, text in summaries.items() if not re.fullmatch(r"[A-Z0-9][^{}]+\.", text)} == {}


def test_a_quantity_says_where_it_comes_from() -> None:
    """A formula without a source cannot be judged; "Definition." says that there is nothing to judge."""
    sourced = re.compile(r"Source: .+|Definition\.")
    assert [name for name, q in BOOK.items() if not any(map(sourced.fullmatch, q.paragraphs))] == []


def test_a_quantity_is_entered_under_its_name() -> None:
    """A book whose keys and columns differ would fill one column and read another."""
    assert {name: q.expr.meta.output_name() for name, q in BOOK.items()} == {name: name for name in BOOK}


def test_a_formula_is_found_by_its_name() -> None:
    """What decides a number stands at the top of a module: `diff` names it, and a reader finds it."""
    functions = {each for q in BOOK.values() for each in q.functions}
    assert [each for each in functions if getattr(import_module(each.__module__), each.__name__, None) != each] == []


def test_a_name_ends_in_a_unit_or_is_known_to_have_none() -> None:
    """Units are nowhere else: a name without one invites a factor of 10^9. Rules are truths, all of them."""
    assert [name for name in BOOK.keys() - set(RULES) if bool(unit_of(name)) == bool(bare_word(name))] == []


def test_the_list_of_bare_names_is_no_longer_than_needed() -> None:
    """A word that no quantity uses would excuse the next mistake."""
    assert {bare_word(name) for name in BOOK} - {None} == BARE.keys()


def test_every_published_column_has_a_meaning() -> None:
    """The data dictionary has no empty line."""
    table = columns_table()
    assert table.height == sum(map(len, TABLES.values()))
    assert table.filter(table["description"].str.ends_with(".").not_())["column"].to_list() == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_public_name_of_a_module_is_explained(path: Path) -> None:
    """What has to be guessed is not maintained."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    assert [node.name for node in public(tree) if not ast.get_docstring(node)] == []


def test_modules_are_short() -> None:
    """What cannot be read in one sitting is not read."""
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines > 330} == {}
