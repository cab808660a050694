"""A quantity: one column of the answer, made by one function that bears its name.

The parameters of the function are the columns that it needs. Nothing else declares the graph, so
it cannot fall out of step: `in_order` walks the signatures, `levels` groups what can be made in one
pass, `again` makes a quantity once more from other inputs. A parameter typed as a NamedTuple (a
bundle) stands for the columns that its fields name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl
from polars import Expr

from pipeline.core.errors import MissingInputError, UnknownNameError
from pipeline.core.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

Formula = Callable[..., Expr]
NO_COLUMNS = {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}
"""Parameters of a template that name no column: constants, and what takes the columns of an instance."""
Frame = TypeVar("Frame", pl.LazyFrame, pl.DataFrame)


@dataclass(frozen=True)
class Quantity:
    """A named column, its formula, the column that each input of the formula is read from, and its words.

    Words are those of one instance of a template: they fill the braces of its docstring, and its constants.
    """

    name: str
    formula: Formula
    reads: Mapping[str, str]
    words: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def bundles(self) -> dict[str, type]:
        """Parameters that stand for several columns."""
        return bundles(self.formula)

    @property
    def expr(self) -> Expr:
        """The formula over whole columns."""
        columns = {name: pl.col(column) for name, column in self.reads.items()}
        groups = {name: kind(*map(columns.pop, fields(kind))) for name, kind in self.bundles.items()}
        numbers = {name: self.words[name] for name in constants(self.formula)}
        return self.formula(**columns, **groups, **numbers).alias(self.name)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that must be there first."""
        return tuple(dict.fromkeys(self.reads.values()))

    @property
    def functions(self) -> tuple[Formula, ...]:
        """What decides the number: the formula, and functions among the words of an instance."""
        words = (each if isinstance(each, tuple) else (each,) for each in self.words.values())
        return (self.formula, *(each for several in words for each in several if callable(each)))

    @property
    def unit(self) -> str:
        """The unit that the name states."""
        return unit_of(self.name)

    @property
    def summary(self) -> str:
        """First line of the formula's docstring: the column's description everywhere."""
        return self.doc.split("\n", 1)[0]

    @property
    def doc(self) -> str:
        """The formula's docstring without indentation, the words of an instance filled in."""
        text = inspect.getdoc(self.formula) or ""
        return text.format_map(self.words) if self.words else text

    @property
    def paragraphs(self) -> list[str]:
        """The paragraphs of that docstring, a line each."""
        return [" ".join(part.split()) for part in self.doc.split("\n\n")]

    @property
    def source(self) -> str:
        """Where the formula comes from: its `Source:` line, or "Definition."."""
        return next(
            (line.removeprefix("Source: ") for line in self.paragraphs if line.startswith("Source: ")), "Definition."
        )


Book = Mapping[str, Quantity]
QUANTITIES: dict[str, Quantity] = {}


def quantity(formula: Formula) -> Formula:
    """Enter a function as the maker of the column that it is named after.

    Raises:
        TypeError: another function already makes this column.
    """
    name = formula.__name__
    if name in QUANTITIES:
        message = f"{formula.__module__}.{name}: {QUANTITIES[name].formula.__module__} already makes this column"
        raise TypeError(message)
    QUANTITIES[name] = entered(formula)
    return formula


def entered(formula: Formula, name: str = "") -> Quantity:
    """The quantity of a function, reading each input from the column of the same name."""
    return Quantity(name or formula.__name__, formula, {column: column for column in inputs(formula)})


def instance(template: Formula, name: str, words: Mapping[str, Any] | None = None, /, **reads: str) -> Quantity:
    """One of the quantities that a template stands for.

    Args:
        template: a formula; braces in its docstring stand for words, keyword-only parameters for constants.
        name: the column that this instance makes.
        words: what the braces and the constants are.
        reads: inputs that are read from a column of another name, and those that a template takes as `**columns`.

    >>> def share_bytes(whole_bytes: Expr, *, share: float) -> Expr:
    ...     return whole_bytes * share
    >>> half = instance(share_bytes, "half_bytes", {"share": 0.5}, whole_bytes="kv_bytes")
    >>> half.inputs, pl.DataFrame({"kv_bytes": [4.0]}).select(half.expr).item()
    (('kv_bytes',), 2.0)
    """
    return Quantity(name, template, {column: column for column in inputs(template)} | reads, words or {})


def constants(formula: Formula) -> list[str]:
    """The parameters of a template that each instance fixes, no columns: its keyword-only ones."""
    return [p.name for p in inspect.signature(formula).parameters.values() if p.kind is p.KEYWORD_ONLY]


def inputs(formula: Formula) -> list[str]:
    """The columns that a formula names, bundles spread out; constants and `**columns` are left out.

    >>> inputs(lambda batch, kv_bytes: batch * kv_bytes)
    ['batch', 'kv_bytes']
    """
    groups = bundles(formula)
    parameters = [p.name for p in inspect.signature(formula).parameters.values() if p.kind not in NO_COLUMNS]
    return [column for name in parameters for column in (fields(groups[name]) if name in groups else (name,))]


def bundles(formula: Formula) -> dict[str, type]:
    """Parameters typed as a NamedTuple, with that type."""
    parameters = inspect.signature(formula, eval_str=True).parameters.values()
    return {p.name: p.annotation for p in parameters if hasattr(p.annotation, "_fields")}


def fields(bundle: type) -> tuple[str, ...]:
    """The columns that a bundle stands for."""
    names: tuple[str, ...] = bundle._fields  # type: ignore[attr-defined]
    return names


def in_order(book: Book, wanted: Iterable[str], given: AbstractSet[str]) -> list[Quantity]:
    """The quantities that lead from the given columns to the wanted ones, each after its inputs.

    Raises:
        MissingInputError: a formula needs a column that is neither given nor made: all of them.
        UnknownNameError: a wanted name is neither.
        TypeError: a column is made of itself.
    """
    done: dict[str, Quantity] = {}
    missing: dict[str, str] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in given or name in done:
            return
        if name in path:
            message = f"a column is made of itself: {' <- '.join((*path, name))}"
            raise TypeError(message)
        if name in book:
            for column in book[name].inputs:
                visit(column, (*path, name))
            done[name] = book[name]
        elif path:
            missing[name] = path[-1]
        else:
            raise UnknownNameError("quantity", name, {*book, *given})

    for name in wanted:
        visit(name, ())
    if missing:
        raise MissingInputError(missing)
    return list(done.values())


def levels(order: Iterable[Quantity]) -> list[list[Quantity]]:
    """The same quantities in the fewest passes: each level needs only earlier ones."""
    depth: dict[str, int] = {}
    out: list[list[Quantity]] = []
    for q in order:
        depth[q.name] = 1 + max((depth.get(column, 0) for column in q.inputs), default=0)
        out += [[] for _ in range(depth[q.name] - len(out))]
        out[depth[q.name] - 1].append(q)
    return out


def evaluate(frame: Frame, order: Iterable[Quantity]) -> Frame:
    """A frame with these quantities beside its columns."""
    for level in levels(order):
        frame = frame.with_columns(q.expr for q in level)
    return frame


def again(book: Book, prefix: str, name: str, **swapped: Formula) -> Book:
    """Enter `name` once more, as `prefix_name`, with some columns made another way.

    What depends on a swapped column is entered again under the prefix; the rest is shared.
    """
    made = {f"{prefix}_{column}": entered(formula, f"{prefix}_{column}") for column, formula in swapped.items()}
    renamed = {column: f"{prefix}_{column}" for column in swapped}

    def walk(column: str) -> str:
        if column not in renamed:
            renamed[column] = column
            if column in book:
                old = book[column]
                reads = {given: walk(read) for given, read in old.reads.items()}
                if reads != old.reads:
                    renamed[column] = f"{prefix}_{column}"
                    made[renamed[column]] = replace(old, name=renamed[column], reads=reads)
        return renamed[column]

    walk(name)
    return {**book, **made}


def summed(name: str, parts: Mapping[str, str], summary: str) -> Quantity:
    """A quantity that adds up parts, each as often as its count column says."""
    reads = dict.fromkeys(column for pair in parts.items() for column in pair)
    return instance(
        total, name, {"summary": summary.removesuffix("."), "parts": parts}, **{column: column for column in reads}
    )


def total(*, parts: Mapping[str, str], **columns: Expr) -> Expr:
    """{summary}.

    Definition.
    """
    terms = [columns[part] * columns[times] for part, times in parts.items()]
    return pl.sum_horizontal(terms) if terms else pl.lit(0.0)


def at(formula: Formula, **point: Any) -> Any:
    """One formula at one point, through the very expression that fills the columns.

    >>> at(lambda batch, kv_bytes: batch * kv_bytes, batch=3, kv_bytes=512)
    1536
    """
    columns = (pl.lit(value, pl.Int64 if type(value) is int else None).alias(name) for name, value in point.items())
    return pl.select(columns).select(entered(formula).expr).item()
