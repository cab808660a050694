"""The quantity engine: order, levels, what is wrong with a book, bundles, `again`, `at`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl
import pytest
from polars import Expr

from pipeline.core import quantity as engine
from pipeline.core.errors import MissingInputError, UnknownNameError
from pipeline.core.quantity import again, at, entered, evaluate, in_order, inputs, levels, quantity, summed

if TYPE_CHECKING:
    from pipeline.core.quantity import Book, Formula


class Matrix(NamedTuple):
    """Two columns that go together."""

    width: Expr
    depth: Expr

    def product(self) -> Expr:
        """Elements."""
        return self.width * self.depth


def area(side: Expr) -> Expr:
    """Area of a square.

    Definition.
    """
    return side * side


def volume(area: Expr, side: Expr) -> Expr:
    """Volume of a cube.

    Source: Euclid.
    """
    return area * side


def mass(volume: Expr, density: Expr) -> Expr:
    """Mass of a cube."""
    return volume * density


def price(density: Expr) -> Expr:
    """Price of the stuff."""
    return density * 10


def elements(rows: Expr, matrix: Matrix) -> Expr:
    """Elements of some matrices."""
    return rows * matrix.product()


def book_of(*formulas: Formula) -> Book:
    """A book of some functions."""
    return {formula.__name__: entered(formula) for formula in formulas}


CUBES = book_of(mass, volume, area, price)


def names(order: list[engine.Quantity]) -> list[str]:
    """Names of some quantities."""
    return [q.name for q in order]


def test_every_quantity_stands_after_its_inputs() -> None:
    """Without order a formula would read a column that is not there yet."""
    order = names(in_order(CUBES, ["mass", "price"], {"side", "density"}))
    assert order == ["area", "volume", "mass", "price"]


def test_only_what_leads_to_the_wanted_is_made() -> None:
    """A plan costs what it asks for: nothing unwanted is evaluated, and each thing once."""
    assert names(in_order(CUBES, ["volume", "area", "volume"], {"side", "density"})) == ["area", "volume"]


def test_a_given_column_takes_the_place_of_its_formula() -> None:
    """What-if questions give a quantity by hand; its formula must then not overwrite it."""
    assert names(in_order(CUBES, ["mass"], {"volume", "density"})) == ["mass"]
    assert in_order(CUBES, ["density"], {"density"}) == []


def test_levels_are_the_fewest_passes_that_keep_the_order() -> None:
    """Each level is one `with_columns`, whose expressions must not read each other."""
    found = levels(in_order(CUBES, ["mass", "price"], {"side", "density"}))
    assert [names(level) for level in found] == [["area", "price"], ["volume"], ["mass"]]


def test_levels_of_the_real_book_never_read_their_own_level() -> None:
    """The same for all production formulas at once."""
    from pipeline.estimators.book import book

    made = book()
    given = {column for q in made.values() for column in q.inputs if column not in made}
    done = set(given)
    for level in levels(in_order(made, made, given)):
        assert all(done.issuperset(q.inputs) for q in level)
        done |= set(names(level))
    assert done == given | set(made)


def test_evaluation_gives_the_wanted_columns_to_eager_and_lazy_frames() -> None:
    """One book serves a frame in memory and a plan that is not yet run."""
    frame = pl.DataFrame({"side": [1, 2, 3], "density": [10, 10, 1]})
    order = in_order(CUBES, ["mass"], set(frame.columns))
    assert evaluate(frame, order)["mass"].to_list() == [10, 80, 27]
    assert evaluate(frame.lazy(), order).select("mass").collect()["mass"].to_list() == [10, 80, 27]


def test_a_column_made_of_itself_is_refused_with_the_way_round() -> None:
    """The path says which of the functions to look at; a bare recursion error would not."""

    def egg(hen: Expr) -> Expr:
        return hen

    def hen(chick: Expr) -> Expr:
        return chick

    def chick(egg: Expr) -> Expr:
        return egg

    with pytest.raises(TypeError, match="a column is made of itself: egg <- hen <- chick <- egg"):
        in_order(book_of(egg, hen, chick), ["egg"], set())


def test_a_second_maker_of_a_column_is_refused_with_the_module_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two makers of one name would let the import order choose the number."""
    monkeypatch.setattr(engine, "QUANTITIES", {"area": entered(area)})
    with pytest.raises(TypeError, match=rf"{area.__module__}\.area: {area.__module__} already makes this column"):
        quantity(area)


def test_missing_inputs_are_all_named_with_who_asks() -> None:
    """A person who gives one column at a time would otherwise need as many tries as columns."""
    with pytest.raises(MissingInputError) as refused:
        in_order(CUBES, ["mass", "price"], set())
    assert str(refused.value).splitlines() == [
        "no column named 'side', which volume needs",
        "no column named 'density', which price needs",
    ]


def test_an_unknown_wanted_name_is_met_with_the_nearest() -> None:
    """A misspelt wish is the asker's mistake, not a missing input of ours; given columns count as known."""
    with pytest.raises(UnknownNameError, match=r"no quantity named 'volum'\. Did you mean volume"):
        in_order(CUBES, ["volum"], {"side"})
    with pytest.raises(UnknownNameError, match=r"densty.*density"):
        in_order(CUBES, ["densty"], {"density"})


def test_a_bundle_stands_for_its_columns() -> None:
    """A NamedTuple parameter asks for its fields and hands them over in their order, methods and all."""
    assert inputs(elements) == ["rows", "width", "depth"]
    assert entered(elements).inputs == ("rows", "width", "depth")
    assert at(elements, rows=2, width=3, depth=5) == 30


def test_again_makes_anew_only_what_depends_on_the_swapped_column() -> None:
    """What does not depend on it is shared: else every step kind would repeat the whole book."""
    found = again(CUBES, "big", "mass", side=lambda length: length * 2)
    assert found.keys() - CUBES.keys() == {"big_side", "big_area", "big_volume", "big_mass"}
    assert {name: found[name] for name in CUBES} == CUBES
    assert dict(found["big_mass"].reads) == {"volume": "big_volume", "density": "density"}
    assert found["big_mass"].formula is mass


def test_again_gives_what_the_plain_formula_gives_at_the_swapped_value() -> None:
    """A quantity made again is the same formula at other inputs, not another formula."""
    found = again(CUBES, "big", "mass", side=lambda length: length * 2)
    frame = pl.DataFrame({"length": [1, 2, 7], "side": [2, 4, 14], "density": [3, 5, 1]})
    made = evaluate(frame, in_order(found, ["mass", "big_mass"], set(frame.columns)))
    assert made["big_mass"].to_list() == made["mass"].to_list() == [24, 320, 2744]


def test_a_swap_that_nothing_depends_on_changes_nothing() -> None:
    """Sharing is complete: a swapped column elsewhere leaves the quantity itself alone."""
    found = again(CUBES, "other", "volume", density=lambda side: side)
    assert "other_volume" not in found
    assert found["volume"] is CUBES["volume"]


def test_a_sum_counts_each_part_as_often_as_its_count_says() -> None:
    """Layers of several kinds are added up by this; a part without layers adds nothing, even where it is unknown."""
    total = summed("cache_bytes", {"full_bytes": "full_layers", "mla_bytes": "mla_layers"}, "All layers.")
    frame = pl.DataFrame({"full_bytes": [7, 7], "full_layers": [2, 3], "mla_bytes": [5, None], "mla_layers": [1, 0]})
    assert frame.select(total.expr)["cache_bytes"].to_list() == [19, 21]
    assert (total.summary, total.source, total.unit) == ("All layers.", "Definition.", "B")


def test_at_goes_through_the_expression_that_fills_columns() -> None:
    """Doctests speak for production because `at` has no arithmetic of its own."""
    frame = pl.DataFrame({"area": [4.0], "side": [2.5]})
    assert at(volume, area=4.0, side=2.5) == frame.select(entered(volume).expr).item() == 10.0


def test_at_counts_in_the_type_of_the_tables() -> None:
    """Whole numbers are Int64 in every table; in 32 bits a point would wrap around silently where a row does not."""
    assert at(lambda rows, columns: rows * columns, rows=2**16, columns=2**16) == 2**32


def test_a_docstring_is_the_description_and_the_source() -> None:
    """Nothing is said twice: the data dictionary is read from here."""
    assert entered(volume).summary == "Volume of a cube."
    assert entered(volume).source == "Euclid."
    assert entered(area).source == "Definition."
