"""Which layer does what: attention of which kind and shape, recurrence, feed-forward or experts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline.facts.config.families import Family
from pipeline.facts.config.feedforward import Block, blocks_of
from pipeline.facts.config.kinds import indexed_layers, kinds_of
from pipeline.facts.config.read import Reader, whole_number, wrong


class Heads(NamedTuple):
    """Heads of one attention layer."""

    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int

    @property
    def query_width(self) -> int:
        """Columns of all queries together."""
        return self.heads * self.head_dim

    @property
    def cached(self) -> int:
        """Numbers that a token leaves in the cache."""
        return self.kv_heads * (self.head_dim + self.value_dim)


class Layer(NamedTuple):
    """One layer: what it attends to, whether it recurs, and what follows."""

    attention: str
    linear: bool
    heads: Heads
    block: Block
    keeps: bool = True
    """Has keys and values of its own."""
    indexed: bool = False
    """Has an index that picks tokens."""
    key_is_value: bool = False


@dataclass(frozen=True)
class Stack:
    """All layers and the sizes that they share."""

    hidden: int
    vocab: int
    context: int | None
    window: int | None
    layers: tuple[Layer, ...]


def stack_of(reader: Reader, family: Family) -> Stack:
    """The layers of a model."""
    window = window_of(reader, family)
    kinds = kinds_of(reader, family)
    hidden = reader.need("hidden")
    if window is not None and {"sliding", "chunked"} & {*kinds} and not reader.has("attention_chunk_size"):
        reader.tell_default("window")
    if window is None:
        kinds = ["full" if kind in {"sliding", "chunked"} else kind for kind in kinds]
    layers = tuple(layers_of(reader, family, kinds, hidden))
    return Stack(hidden, reader.need("vocab"), reader.number("context"), window, layers)


def window_of(reader: Reader, family: Family) -> int | None:
    """Tokens that sliding or chunked layers see."""
    chunk = reader.number("attention_chunk_size", least=0)
    window = reader.number("window", least=0)
    if family.window_extra and (bare := reader.number(family.window_extra)):
        return bare + 1
    return window or chunk or None


def layers_of(reader: Reader, family: Family, kinds: list[str], hidden: int) -> Iterator[Layer]:
    """The layers in order, from their kinds."""
    count = len(kinds)
    heads = heads_by_kind(reader, hidden, kinds)
    shared = count - (reader.number("num_kv_shared_layers", least=0) or 0)
    crossed = reader.positions("cross_attention_layers") or frozenset()
    blocks = blocks_of(reader, family, kinds, hidden, shared)
    indexed = indexed_layers(reader, kinds)
    latent, nas = reader.has("kv_lora_rank"), one_each(reader, "block_configs", count)
    twins, several = reader.flag("attention_k_eq_v"), heads_per_layer(reader, count)
    for i, kind in enumerate(kinds):
        attention = "cross" if i in crossed else attention_of(kind, family, latent=latent)
        own = heads["sliding" if kind == "sliding" else "full"]
        if nas:
            own = heads_in_group(nas[i], own)
        if nas and leaves_out(nas[i], "attention"):
            attention = "none"
        if several:
            own = own._replace(heads=several[i])
        recurs = kind in {"linear", "parallel"}
        yield Layer(attention, recurs, own, blocks[i], i < shared, i in indexed, twins and attention == "full")


def one_each(reader: Reader, name: str, count: int) -> list[Any] | None:
    """A list with an item for every layer, or None where the config has none."""
    values = reader.items(name)
    if values and len(values) < count:
        raise wrong(name, values, f"a list of {count}")
    return values or None


def heads_per_layer(reader: Reader, count: int) -> list[int] | None:
    """Query heads of each layer, where they differ. Source: Laguna."""
    values = one_each(reader, "num_attention_heads_per_layer", count)
    return None if values is None else [whole_number("num_attention_heads_per_layer", each) for each in values]


def attention_of(kind: str, family: Family, *, latent: bool) -> str:
    """What a layer of some kind attends to."""
    if kind in {"linear", "mlp", "moe"}:
        return "none"
    if family.attention == "compressed":
        return "window" if kind in {"sliding", "full"} else kind
    if kind in {"full", "parallel", "sparse"}:
        return "mla" if latent else "full"
    return kind


def leaves_out(config: Any, part: str) -> bool:
    """Whether a searched layer leaves out a part. Source: Llama-Nemotron, block_configs."""
    inner = config.get(part) if isinstance(config, dict) else None
    if not isinstance(inner, dict):
        raise wrong(f"block_configs.{part}", inner, "a table")
    return bool(inner.get("no_op") or inner.get("replace_with_linear"))


def heads_in_group(config: Any, common: Heads) -> Heads:
    """The heads of a searched layer, which names how many queries share a key."""
    if leaves_out(config, "attention"):
        return common
    group = whole_number("n_heads_in_group", config["attention"].get("n_heads_in_group"))
    return common._replace(kv_heads=max(common.heads // group, 1))


# ----- heads


def heads_by_kind(reader: Reader, hidden: int, kinds: list[str]) -> dict[str, Heads]:
    """Heads of layers that see everything and of those that slide."""
    if not {*kinds} - {"linear", "mlp", "moe"}:
        reader.find("heads"), reader.find("kv_heads"), reader.find("head_dim")
        return dict.fromkeys(("full", "sliding"), Heads(1, 1, 1, 1))
    common = common_heads(reader, hidden)
    return {"full": global_heads(reader, common), "sliding": sliding_heads(reader, common)}


def common_heads(reader: Reader, hidden: int) -> Heads:
    """Heads as most layers have them."""
    heads = reader.need("heads")
    dim = reader.number("head_dim") or hidden_share(reader, hidden, heads)
    if reader.has("kv_lora_rank"):
        dim = (reader.number("nope_dim", least=0) or 0) + (reader.number("rope_dim", least=0) or 0) or dim
    return Heads(heads, kv_heads_of(reader, heads), dim, reader.number("value_dim", least=0) or value_dim(reader, dim))


def value_dim(reader: Reader, dim: int) -> int:
    """Width of a value where nothing says so: a latent model's keys without position, else as a key."""
    return (reader.number("nope_dim", least=0) or dim) if reader.has("kv_lora_rank") else dim


def hidden_share(reader: Reader, hidden: int, heads: int) -> int:
    """Width of a head where nothing says so; Zamba 2's attention sees twice the hidden width."""
    return hidden * (2 if reader.has("num_mem_blocks") else 1) // heads or 1


def kv_heads_of(reader: Reader, heads: int) -> int:
    """Heads of keys and values: stated, one for all, or as many as queries."""
    if reader.flag("multi_query_attention"):
        return reader.need("multi_query_group_num")
    if reader.flag("multi_query") and not reader.flag("new_decoder_architecture"):
        return 1
    return reader.number("kv_heads") or heads


def global_heads(reader: Reader, common: Heads) -> Heads:
    """Heads of full layers where they differ. Source: Gemma 4, global_head_dim."""
    dim = reader.number("global_head_dim") or common.head_dim
    kv_heads = reader.number("num_global_key_value_heads") if reader.flag("attention_k_eq_v") else None
    value_dim = common.value_dim if dim == common.head_dim else dim
    return common._replace(head_dim=dim, value_dim=value_dim, kv_heads=kv_heads or common.kv_heads)


def sliding_heads(reader: Reader, common: Heads) -> Heads:
    """Heads of sliding layers where they differ. Source: MiMo-V2, swa_*; Step-3.5."""
    heads = reader.number("num_sliding_attention_heads") or reader.number("swa_num_attention_heads")
    kv_heads = reader.number("swa_num_key_value_heads")
    dim, value = reader.number("swa_head_dim"), reader.number("swa_v_head_dim")
    return Heads(heads or common.heads, kv_heads or common.kv_heads, dim or common.head_dim, value or common.value_dim)
