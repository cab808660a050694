"""The memory account of one plan, line by line: what a device has, what goes off, and what goes into the rest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipeline.core.units import unit_of
from pipeline.grid.point import formulas_of, point_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.answers.provenance import Provenance

ACCOUNTED = {"batch_max", "batch_max_lo", "kv_pool_bytes", "kv_pool_blocks", "kv_pool_tokens", "context_max_tokens"}
"""Quantities whose explanation begins with the account."""


@dataclass(frozen=True)
class Line:
    """One line of the account: what is done with which number."""

    sign: str
    name: str
    value: Any
    unit: str
    words: str
    source: str


SHARE_FIRST = (
    ("", "device_memory_bytes", "memory that software sees on the device"),
    ("x", "memory_utilization_ratio", "share that the engine may use"),
    ("=", "requested_bytes", "requested"),
)
SHARE_LAST = (("", "usable_bytes", "memory of the device that is free when the engine starts"),)
CHARGED = (
    ("-", "weight_bytes", "weights on this rank: matrices, tables, towers, rotary tables"),
    ("-", "activation_bytes", "peak of temporary tensors: a full step, or a full sampling step"),
    ("-", "non_torch_bytes", "runtime and communicators outside tensors"),
    ("-", "charged_graph_bytes", "CUDA graphs as the engine estimates them"),
)
POOL = (("=", "kv_pool_bytes", "pool for sequences"),)
SEQUENCES = (
    ("/", "block_group_bytes", "one block: a page of every layer of a group"),
    ("=", "kv_pool_blocks", "blocks"),
    ("", "kv_pool_tokens", "tokens, as the engine prints them"),
    ("/", "sequence_bytes", "one sequence at its full length, in whole blocks"),
    ("=", "batch_max", "largest batch before out of memory"),
)
CAUTION = (
    ("+-", "memory_error_bytes", "what the account may be wrong by, at 95 %"),
    ("", "memory_risk", "the term that most of it comes from"),
    ("", "memory_confidence", "evidence behind the account"),
    ("=", "batch_max_lo", "batch that is safe at 95 %"),
    ("", "cuda_graph_bytes", "CUDA graphs as captured; where they are not charged they live outside the pool"),
)


def account(provenance: Provenance) -> list[Line]:
    """The lines of one plan's account, in the order in which the engine reckons."""
    values, formulas = point_row(provenance.axes), formulas_of(provenance.axes)

    def source(column: str) -> str:
        is_made = column in formulas and column not in provenance.settings
        return formulas[column].source if is_made else provenance.source(column)

    return [Line(sign, name, values[name], unit_of(name), words, source(name)) for sign, name, words in steps(values)]


def steps(values: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Which numbers the account goes through for this engine."""
    is_last = values["engine_shares_what_is_left"]
    yield from SHARE_LAST if is_last else SHARE_FIRST
    yield from CHARGED if values["engine_charges_activation"] else CHARGED[:1]
    if is_last:
        yield ("x", "memory_utilization_ratio", "share of what is left that sequences get")
    yield from (*POOL, *SEQUENCES, *CAUTION)


def as_data(lines: list[Line]) -> list[dict[str, Any]]:
    """The account as plain values, for JSON."""
    return [asdict(line) for line in lines]
