"""Fingerprints of the code that decides results, a definition each: `capgrid diff` names what changed in it."""

from __future__ import annotations

import ast
import hashlib
import json
from functools import cache
from typing import TYPE_CHECKING

from pipeline.core.places import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOMS = ("core", "estimators", "facts", "fleet", "grid", "run")
"""Rooms whose code may decide numbers; commands, answers and pages only show them."""
BEGIN = ("estimators/book.py", "fleet/demanded.py", "run/job.py", "run/compute.py")
"""Files that a run begins with: what they read decides its numbers, and nothing else does."""
DIGITS = 8
Definitions = dict[str, dict[str, str]]
"""File below the package, name of a definition, fingerprint."""


@cache
def fingerprints() -> str:
    """The definitions of the code of a run as JSON text, to be kept beside it."""
    found = {name: definitions(tree(name)) for name in sorted(closure_of(BEGIN, imports_of))}
    return json.dumps(found, separators=(",", ":"))


@cache
def files() -> list[str]:
    """The files of the rooms that decide results, named from the package on."""
    return [path.relative_to(PACKAGE).as_posix() for room in ROOMS for path in sorted((PACKAGE / room).rglob("*.py"))]


@cache
def tree(file: str) -> ast.Module:
    """A file of the package, parsed."""
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"))


def definitions(module: ast.Module) -> dict[str, str]:
    r"""Each top-level name of a file with a fingerprint; comments, docstrings and imports do not count.

    >>> texts = ("A = 1  # one\ndef f(): return A", "A = 2\ndef f(): return A")
    >>> old, new = (definitions(ast.parse(text)) for text in texts)
    >>> old["A"] == new["A"], old["f"] == new["f"]
    (False, True)
    """
    for node in ast.walk(module):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [each for each in body if not is_text(each)] or [ast.Pass()]  # type: ignore[attr-defined]
    found: dict[str, list[str]] = {}
    for node in module.body:
        if not isinstance(node, ast.Import | ast.ImportFrom | ast.Pass) and not is_for_types(node):
            for name in defined_names(node):
                found.setdefault(name, []).append(ast.unparse(node))
    return {name: hashlib.sha256("\n".join(said).encode()).hexdigest()[:DIGITS] for name, said in found.items()}


def is_text(node: ast.AST) -> bool:
    """Whether a statement is only a text: a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def is_for_types(node: ast.AST) -> bool:
    """Whether a statement is there for the type checker alone."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def defined_names(node: ast.stmt) -> list[str]:
    """The names that a statement defines; "" for one that defines none."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)] or [""]


@cache
def readers_of(file: str) -> frozenset[str]:
    """The files that read something of a file, themselves or by way of others; itself among them."""
    return closure_of([file], lambda of: {by for by in files() if of in imports_of(by)})


def closure_of(begin: Iterable[str], step: Callable[[str], Iterable[str]]) -> frozenset[str]:
    """Everything that steps lead to, the beginning among it.

    >>> sorted(closure_of(["a"], {"a": "b", "b": "ac", "c": ""}.get))
    ['a', 'b', 'c']
    """
    found: set[str] = set()
    left = set(begin)
    while left:
        found |= left
        left = {more for each in left for more in step(each)} - found
    return frozenset(found)


@cache
def imports_of(file: str) -> frozenset[str]:
    """The files of those rooms that a file imports from."""
    return imports(tree(file)).intersection(files())


def imports(module: ast.Module) -> frozenset[str]:
    r"""What a file imports of the package, as files.

    >>> sorted(imports(ast.parse("from pipeline.estimators import bands")))
    ['estimators.py', 'estimators/__init__.py', 'estimators/bands.py']
    """
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipeline."):
            place = str(node.module).removeprefix("pipeline.").replace(".", "/")
            found |= {f"{place}.py", f"{place}/__init__.py", *(f"{place}/{each.name}.py" for each in node.names)}
    return frozenset(found)
