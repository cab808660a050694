"""The kind of every layer, from each of the ways in which configs say it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pipeline.core.errors import CatalogError
from pipeline.facts.config.families import Family
from pipeline.facts.config.read import KEYS, Reader, wrong

LONGEST = 10_000
"""Layers; deeper models do not exist."""

WORDS: dict[str, str] = {word: kind for kind, words in KEYS["kinds"].items() for word in words}
"""Words and letters for kinds of layers."""

RATIOS = {0: "sliding", 4: "csa", 128: "hca"}
"""Tokens per compressed entry and the kind that it marks. Source: DeepSeek-V4, compress_ratios."""


def kinds_of(reader: Reader, family: Family) -> list[str]:
    """The kind of every layer: by the first rule that the config, else the class, answers."""
    count = layer_count(reader)
    for rule in RULES:
        kinds = rule(reader, family, count)
        if kinds is not None:
            reader.read.update(KEYS["patterns"])
            return cut_to_layers(kinds, count)
    return [family.all_kind] * count * family.sublayers


def layer_count(reader: Reader) -> int:
    """Layers: stated, or as long as the list of their kinds."""
    letters = reader.text_value("hybrid_override_pattern").replace("|", "")
    named = len(letters) or (len(reader.items("layers_block_type") or ()) if reader.has("layers_block_type") else 0)
    count = named or reader.need("layers")
    reader.find("layers")
    if count > LONGEST:
        raise wrong("num_hidden_layers", count, f"at most {LONGEST}")
    return count


def cut_to_layers(kinds: list[str], count: int) -> list[str]:
    """A list cut to the layers: what follows belongs to prediction heads."""
    if len(kinds) < count:
        raise CatalogError([f"config: layer kinds are given for {len(kinds)} layers of {count}"])
    return kinds[:count] if len(kinds) < 2 * count else kinds


Rule = Callable[[Reader, Family, int], list[str] | None]


def by_letters(reader: Reader, family: Family, count: int) -> list[str] | None:
    """A letter a layer. Source: Nemotron-H, hybrid_override_pattern."""
    letters = reader.text_value("hybrid_override_pattern").replace("|", "")
    return [layer_kind(reader, each) for each in letters] or None


def by_names(reader: Reader, family: Family, count: int) -> list[str] | None:
    """A name a layer. Source: layer_types of transformers."""
    names = reader.items("kinds")
    if not names:
        return None
    kinds = [layer_kind(reader, each) for each in names]
    return [*kinds[: count - 1], "full", *kinds[count:]] if family.last_full and len(kinds) >= count else kinds


def layer_kind(reader: Reader, name: object) -> str:
    """A layer's kind by its name; an unknown name is told and taken for full attention."""
    if not isinstance(name, str):
        raise wrong("layer_types", name, "a list of names")
    if name not in WORDS:
        reader.warn(f"layer kind {name[:40]!r} is not known: taken for full attention")
    return WORDS.get(name, "full")


def by_switches(reader: Reader, family: Family, count: int, *, key: str, on: str, off: str) -> list[str] | None:
    """A zero or a one a layer."""
    switches = reader.items(key)
    return [on if each == 1 else off for each in switches] if switches else None


def by_ratios(reader: Reader, family: Family, count: int) -> list[str] | None:
    """Tokens per compressed entry, a layer. Source: DeepSeek-V4."""
    ratios = reader.items("compress_ratios")
    if not ratios:
        return None
    if any(not isinstance(each, int) or each not in RATIOS for each in ratios):
        raise wrong("compress_ratios", ratios, f"a list of {sorted(RATIOS)}")
    return [RATIOS[each] for each in ratios]


def by_places(reader: Reader, family: Family, count: int, *, key: str, first: int, other: str) -> list[str] | None:
    """The layers with full attention, by number."""
    places = reader.positions(key)
    return None if places is None else ["full" if i + first in places else other for i in range(count)]


def by_period(reader: Reader, family: Family, count: int) -> list[str] | None:
    """Attention in every n-th layer from an offset. Source: Jamba."""
    period, offset = reader.number("attn_layer_period"), reader.number("attn_layer_offset", least=0) or 0
    return None if period is None else ["full" if i % period == offset else "linear" for i in range(count)]


def by_interval(reader: Reader, family: Family, count: int) -> list[str] | None:
    """Attention in every n-th layer, counted from one. Source: Qwen3-Next."""
    return every(reader.number("full_attention_interval"), count, "linear")


def by_blocks(reader: Reader, family: Family, count: int) -> list[str] | None:
    """A few kinds in a round. Source: RecurrentGemma."""
    cycle = reader.items("block_types") or reader.items("_block_types")
    if not cycle:
        return None
    kinds = [layer_kind(reader, each) for each in cycle]
    slid = ["sliding" if kind == "full" and family.windowed is True else kind for kind in kinds]
    return [slid[i % len(slid)] for i in range(count)]


def by_window_pattern(reader: Reader, family: Family, count: int) -> list[str] | None:
    """Full attention in every n-th layer among windows: a number, or letters such as LLLG. Source: Gemma 3, Exaone."""
    _, pattern = reader.find("window_pattern")
    if isinstance(pattern, str) and pattern:
        return [layer_kind(reader, pattern[i % len(pattern)]) for i in range(count)]
    return every(reader.number("window_pattern"), count, "sliding")


def by_rope(reader: Reader, family: Family, count: int) -> list[str] | None:
    """Chunks where positions are rotary. Source: Llama 4, no_rope_layers."""
    if not reader.number("attention_chunk_size", least=0) or family.windowed or family.window_extra:
        return None
    rotary = reader.items("no_rope_layers")
    if rotary:
        return ["chunked" if each else "full" for each in rotary]
    return every(reader.number("no_rope_layer_interval") or 4, count, "chunked")


def by_class(reader: Reader, family: Family, count: int) -> list[str] | None:
    """The pattern that the class takes by itself."""
    kinds = every(family.full_every or None, count, family.other_kind)
    if kinds and family.first_full:
        kinds[0] = "full"
    if kinds and family.last_full:
        kinds[-1] = "full"
    return kinds


def by_window(reader: Reader, family: Family, count: int) -> list[str] | None:
    """Windows in all layers, or in those from some layer on. Source: Mistral, Qwen2 (max_window_layers)."""
    if not reader.number("window", least=0):
        return None
    if not reader.says(family.windowed):
        if not family.known and not (reader.has("use_sliding_window") and not reader.flag("use_sliding_window")):
            reader.warn("sliding_window is set, but nothing says which layers slide: taken for full attention")
        return None
    start = 0 if family.windowed is True else reader.number("max_window_layers", least=0) or 0
    return ["full" if i < start else "sliding" for i in range(count)]


def every(period: int | None, count: int, other: str) -> list[str] | None:
    """Full attention in every n-th of the layers.

    >>> every(3, 4, "sliding")
    ['sliding', 'sliding', 'full', 'sliding']
    """
    return None if period is None else [other if (i + 1) % period else "full" for i in range(count)]


RULES: tuple[Rule, ...] = (
    by_letters,
    by_names,
    partial(by_switches, key="hybrid_layer_pattern", on="sliding", off="full"),
    partial(by_switches, key="attn_type_list", on="full", off="linear"),
    by_ratios,
    partial(by_places, key="linear_attn_config.full_attn_layers", first=1, other="linear"),
    partial(by_places, key="attn_layer_indices", first=0, other="linear"),
    partial(by_places, key="full_attn_idxs", first=0, other="linear"),
    by_period,
    by_interval,
    by_blocks,
    by_window_pattern,
    by_rope,
    by_class,
    by_window,
)


def indexed_layers(reader: Reader, kinds: list[str]) -> frozenset[int]:
    """The layers with an index that picks tokens. Source: DeepSeek-V3.2, GLM-5.2 (indexer_types), MiniMax-M3."""
    if not reader.number("index_dim") or not {*kinds} <= {"full", "sparse"}:
        return frozenset()
    types, switches = reader.items("indexer_types"), reader.items("sparse_attention_config.sparse_attention_freq")
    if types or switches:
        return frozenset(i for i, each in enumerate(types or switches or ()) if each in ("full", 1) and i < len(kinds))
    sparse = frozenset(i for i, kind in enumerate(kinds) if kind == "sparse")
    return sparse or frozenset(range(len(kinds)) if reader.has("q_lora_rank") else ())
