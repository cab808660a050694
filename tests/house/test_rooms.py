"""The rooms of the house: imports go down only, in no circle, and each room says what it is for."""

from __future__ import annotations

import ast
import runpy
import tomllib
from statistics import median

import pytest

from tests.support import ROOT

HOUSE = runpy.run_path(str(ROOT / "benchmarks" / "house.py"))
FOUND = HOUSE["modules"](ROOT)
GRAPH = HOUSE["imports"](FOUND)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LAYERS = next(each for each in PROJECT["tool"]["importlinter"]["contracts"] if each["type"] == "layers")["layers"]
FLOORS = {room.strip(): floor for floor, rooms in enumerate(reversed(LAYERS), 1) for room in rooms.split("|")}
"""Every room of the package and its floor, counted from below, as import-linter holds them."""
PUBLIC = "pipeline"
"""The package itself: its three public functions call what they need, and commands call them."""


def room_of(module: str) -> str:
    """The room on the ground plan that a module stands in."""
    return ".".join(module.split(".")[:2])


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Nor for types: what cannot be read from below upwards cannot be understood in parts."""
    assert HOUSE["circles"](GRAPH) == []


def test_no_module_imports_upward() -> None:
    """An arrow up would make the lower room know what it is used for."""
    arrows = ((a, b) for a, its in GRAPH.items() for b in its if PUBLIC not in (a, b) and room_of(a) != room_of(b))
    assert [f"{a} -> {b}" for a, b in arrows if FLOORS[room_of(a)] <= FLOORS[room_of(b)]] == []


def test_every_room_has_a_floor() -> None:
    """A room that import-linter does not know would be held to nothing."""
    assert {room_of(module) for module in FOUND} - {PUBLIC} == FLOORS.keys()


def test_no_prefix_stands_for_a_room() -> None:
    """Three modules that begin alike want a folder."""
    assert HOUSE["families"](FOUND) == {}


@pytest.mark.parametrize(
    "room", sorted(path.parent.relative_to(ROOT).as_posix() for path in FOUND.values() if path.name == "__init__.py")
)
def test_a_room_says_what_it_is_for_and_nothing_of_its_floor(room: str) -> None:
    """A line that tells the visitor where he is; which floor that is stands in one place, the contract."""
    caption = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text("utf-8"))) or ""
    assert caption.partition("\n")[0].endswith((".", ":"))
    assert "floor" not in caption.casefold()


def test_functions_are_short() -> None:
    """Half of them have at most 6 lines without their docstring, nine in ten at most 15, and none more than 40."""
    lengths = sorted(HOUSE["length"](function) for _, function in HOUSE["functions"](FOUND))
    assert len(lengths) > 300
    assert (median(lengths) <= 6, lengths[len(lengths) * 9 // 10] <= 15, lengths[-1] <= 40) == (True, True, True)


def test_names_and_exemptions_do_not_spread() -> None:
    """A name says what it is of, imports stand at the top, and the formatter lays code out: exemptions are few."""
    assert len(HOUSE["top_functions"](FOUND)) <= 40
    assert len(HOUSE["marked"](FOUND, "PLC0415")) <= 30
    assert len(HOUSE["marked"](FOUND, "# fmt: skip")) <= 40
