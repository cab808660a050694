"""The house in numbers: rooms, circles, names, lengths, exemptions. `python benchmarks/house.py [ROOT] [--list WHAT]`.

Reads a checkout as text and runs nothing of it, so that two can be compared: run it on a checkout of an older commit
too. `--list circles | families | names | long | deferred | unformatted` prints what stands behind a number.
"""

from __future__ import annotations

import argparse
import ast
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median, quantiles

Function = ast.FunctionDef | ast.AsyncFunctionDef
Imports = Mapping[str, set[str]]
FAMILY = 3
"""So many modules of one folder that begin with the same word are a family."""
LONGEST = 40
"""Lines of a function, its docstring left out."""


def modules(root: Path) -> dict[str, Path]:
    """The modules of the package by their dotted names."""
    paths = sorted((root / "pipeline").rglob("*.py"))
    return {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def imports(found: Mapping[str, Path]) -> Imports:
    """What each module imports of the package, for types or when called too."""
    return {name: {*imported(path, found)} - {name} for name, path in found.items()}


def imported(path: Path, found: Mapping[str, Path]) -> Iterator[str]:
    """The modules that one file imports of the package."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name in found)
        elif isinstance(node, ast.ImportFrom) and node.module in found:
            names = [f"{node.module}.{each.name}" for each in node.names]
            yield from (name if name in found else str(node.module) for name in names)


def circles(graph: Imports) -> list[list[str]]:
    """Modules that import one another, themselves or by way of others.

    >>> circles({"a": {"b"}, "b": {"c"}, "c": {"b"}})
    [['b', 'c']]
    """
    reached = {name: closure(graph, name) for name in graph}
    groups = {tuple(sorted(b for b in reached[a] if a in reached[b])) for a in graph if a in reached[a]}
    return [list(group) for group in sorted(groups)]


def closure(graph: Imports, begin: str) -> set[str]:
    """Everything that a module leads to; itself only where it leads back."""
    found: set[str] = set()
    left = set(graph[begin])
    while left:
        found |= left
        left = {more for each in left for more in graph[each]} - found
    return found


def families(found: Mapping[str, Path]) -> dict[str, list[str]]:
    """Modules that share their first word with two others in their folder."""
    by: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in found:
        room, _, own = name.rpartition(".")
        by[room, own.partition("_")[0]].append(name)
    return {f"{room}.{word}": each for (room, word), each in by.items() if len(each) >= FAMILY}


def functions(found: Mapping[str, Path]) -> Iterator[tuple[str, Function]]:
    """Every function with its module, methods and inner ones too."""
    for name, path in found.items():
        tree = ast.parse(path.read_text("utf-8"))
        yield from ((name, node) for node in ast.walk(tree) if isinstance(node, Function))


def top_functions(found: Mapping[str, Path]) -> dict[str, list[str]]:
    """Names of functions that stand at the top of more than one module, with these."""
    by: dict[str, list[str]] = defaultdict(list)
    for name, path in found.items():
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, Function):
                by[node.name].append(name)
    return {name: each for name, each in sorted(by.items()) if len(each) > 1}


def length(function: Function) -> int:
    """Lines of a function, its docstring left out."""
    first = function.body[0]
    text = (first.end_lineno or 0) - first.lineno + 1 if ast.get_docstring(function) else 0
    return (function.end_lineno or 0) - function.lineno + 1 - text


def marked(found: Mapping[str, Path], mark: str) -> list[str]:
    """The lines that carry a mark, with their places."""
    texts = {name: path.read_text("utf-8").splitlines() for name, path in found.items()}
    return [f"{name}:{i}" for name, lines in texts.items() for i, line in enumerate(lines, 1) if mark in line]


def measured(root: Path) -> dict[str, object]:
    """Every number of the house."""
    found = modules(root)
    every = list(functions(found))
    lengths = [length(function) for _, function in every]
    words = Counter("_" in function.name for _, function in every)
    rooms = {name.rpartition(".")[0] for name in found}
    engines = sorted((root / "catalogs" / "engines").glob("*.toml"))
    return {
        "modules": len(found),
        "modules side by side, at most": max(sum(n.rpartition(".")[0] == room for n in found) for room in rooms),
        "circles of imports": len(circles(imports(found))),
        "modules in families of a prefix": sum(map(len, families(found).values())),
        "function names in more than one module": len(top_functions(found)),
        "functions": len(lengths),
        "lines of a function: median": median(lengths),
        "lines of a function: p90": round(quantiles(lengths, n=10)[-1]),
        "lines of a function: longest": max(lengths),
        "functions of one word, %": round(100 * words[False] / len(lengths)),
        "noqa: PLC0415": len(marked(found, "PLC0415")),
        "fmt: skip": len(marked(found, "# fmt: skip")),
        "lines of pipeline/": sum(len(path.read_text("utf-8").splitlines()) for path in found.values()),
        "lines of catalogs/engines": sum(len(path.read_text("utf-8").splitlines()) for path in engines),
    }


def listed(root: Path, what: str) -> Iterator[str]:
    """What stands behind a number, a line each."""
    found = modules(root)
    if what == "long":
        yield from (f"{length(f)} {name}.{f.name}" for name, f in functions(found) if length(f) > LONGEST // 2)
    elif what in {"deferred", "unformatted"}:
        yield from marked(found, "PLC0415" if what == "deferred" else "# fmt: skip")
    elif what == "circles":
        yield from map(" ".join, circles(imports(found)))
    else:
        groups = families(found) if what == "families" else top_functions(found)
        yield from (f"{name}: {' '.join(each)}" for name, each in groups.items())


def main() -> None:
    """Print the numbers of one checkout, or what stands behind one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("--list", choices=["circles", "families", "names", "long", "deferred", "unformatted"])
    asked = parser.parse_args()
    if asked.list:
        print("\n".join(listed(asked.root, asked.list)))
        return
    for name, value in measured(asked.root).items():
        print(f"{name:40}{value:>8}")


if __name__ == "__main__":
    main()
