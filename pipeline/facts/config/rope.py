"""Tables of rotary positions that vLLM keeps on every device: positions x rotating width x bytes of a number.

Source: vLLM 0.24, model_executor/layers/rotary_embedding: get_rope, one table for every distinct set of settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any, NamedTuple

from pipeline.facts.config.cache import BF16
from pipeline.facts.config.described import Model
from pipeline.facts.config.read import Reader, whole_number, wrong

FP32 = 4
AXES = 4
"""Tables of positions in time, height and width are this many times as long: mrope.py."""

FUSED = {64, 128, 256, 512}
"""Widths at which FlashInfer turns latent attention, with tables in fp32: deepseek_scaling_rope.py."""

PLACES = ("rope_parameters", "rope_scaling")
SHARES = ("partial_rotary_factor", "rotary_pct", "rotary_emb_fraction")
WIDTHS = ("rotary_dim", "attn_rotary_emb")
UNTURNED = {"nope", "alibi", "absolute", "learned"}
LARGEST = 10**11

Settings = Mapping[str, Any]


class Table(NamedTuple):
    """One table: rows, columns, bytes of a number; and what tells it from another of the same size."""

    positions: int
    width: int
    item_bytes: int
    which: str

    @property
    def bytes(self) -> int:
        """What it occupies."""
        return self.positions * self.width * self.item_bytes


def rope_cache_bytes(model: Model) -> int:
    """All tables of a model; 0 where positions are learned, added to scores, or left out."""
    total = sum(table.bytes for table in set(tables_of(model)))
    if total > LARGEST:
        raise wrong("max_position_embeddings", total, f"a table of at most {LARGEST} bytes")
    return total


def tables_of(model: Model) -> Iterator[Table]:
    """The tables of every kind of layer; equal ones are kept once."""
    reader, family = model.reader, model.family
    kinds = {layer.attention for layer in model.stack.layers} - {"none", "cross"}
    if not kinds or not turns(model):
        return
    settings = rope_settings(reader)
    nested = {kind: part for kind in ("full", "sliding") if isinstance(part := settings.get(f"{kind}_attention"), dict)}
    for kind in sorted(kinds):
        side = "sliding" if kind == "sliding" else "full"
        own: Settings = nested.get(side, {} if nested else settings)
        if side == "sliding" and family.local_rope:
            own = {name: own[name] for name in own if name in SHARES}
        alone = side if family.local_rope == "own" else ""
        yield table_of(model, kind, own, alone)
    if reader.has("index_heads") and "mla" in kinds:
        yield table_of(model, "mla", settings, "index")


def turns(model: Model) -> bool:
    """Whether attention turns queries and keys by position."""
    reader, family = model.reader, model.family
    if reader.says(family.learned_positions) or not reader.says(family.rope):
        return False
    return reader.text_value("position_embedding_type") not in UNTURNED


def rope_settings(reader: Reader) -> Settings:
    """How a config scales its tables; the newer key counts first."""
    for name in PLACES:
        key, value = reader.find(name)
        if value is not None and not isinstance(value, dict):
            raise wrong(key, value, "a table of keys")
        if value:
            return {str(each): said for each, said in value.items() if said is not None}
    return {}


def table_of(model: Model, kind: str, settings: Settings, alone: str) -> Table:
    """The table of one kind of layer."""
    reader = model.reader
    head = turned_head(model, kind)
    width = head if scaling_of(settings) == "proportional" else turned_width(model, kind, head, settings)
    positions = positions_of(reader, settings, model.stack.context or reader.need("context"))
    several = AXES if "mrope_section" in settings or model.family.mrope else 1
    exact = kind == "mla" and "yarn" in scaling_of(settings) and head in FUSED
    which = f"{alone} {head} {sorted((name, str(value)) for name, value in settings.items())}"
    return Table(positions * several, width, FP32 if exact else BF16, which)


def turned_head(model: Model, kind: str) -> int:
    """Width of the head, or of latent attention's part, that carries positions."""
    if kind == "mla":
        return model.reader.number("rope_dim", least=0) or 0
    return next(layer.heads.head_dim for layer in model.stack.layers if layer.attention == kind)


def turned_width(model: Model, kind: str, head: int, settings: Settings) -> int:
    """The part of a head that turns: a share, a width, or as the class does it."""
    reader = model.reader
    if kind == "mla":
        return head
    stated = next((name for name in SHARES if name in settings), "")
    if stated:
        return int(head * positive(stated, settings[stated], 1))
    for name in SHARES:
        share = reader.ratio(name)
        if share is not None:
            return int(head * positive(name, share, 1))
    widths = (reader.number(name) for name in WIDTHS)
    return min(next((each for each in widths if each), int(head * model.family.rotary_share)), head)


def scaling_of(settings: Settings) -> str:
    """The kind of scaling.

    >>> scaling_of({"type": "su"}), scaling_of({"rope_type": "yarn", "type": "yarn"}), scaling_of({})
    ('longrope', 'yarn', 'default')
    """
    said = str(settings.get("rope_type", settings.get("type", "default")))
    return "longrope" if said == "su" else said


def positions_of(reader: Reader, settings: Settings, context: int) -> int:
    """Rows of a table: the longest context that the config states, as its scaling stretches it.

    >>> positions_of(Reader({}, {}), {"rope_type": "linear", "factor": 8.0}, 131_072)
    1048576
    >>> yarn = {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096}
    >>> positions_of(Reader({}, {}), yarn, 163_840)
    163840
    """
    kind = scaling_of(settings)
    if kind in {"linear", "dynamic"} and "factor" in settings:
        return ceil(context * positive("factor", settings["factor"]))
    if "yarn" in kind and "factor" in settings:
        return ceil(trained_context(reader, settings, context) * positive("factor", settings["factor"]))
    return context + trained_context(reader, settings, context) if kind == "longrope" else context


def trained_context(reader: Reader, settings: Settings, context: int) -> int:
    """The context that was trained before it was stretched."""
    name = "original_max_position_embeddings"
    if name in settings:
        return whole_number(name, settings[name])
    return reader.number(name) or context


def positive(name: str, value: object, most: float = 10**6) -> float:
    """A factor or a share.

    >>> positive("factor", 8)
    8.0
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
        raise wrong(name, value, f"a number above 0, at most {most:g}")
    return float(value)
