"""Parameters of the attention of one layer, by kind."""

from __future__ import annotations

from collections import Counter

from pipeline.facts.config.described import VECTORS, Groups, Model
from pipeline.facts.config.layers import Layer


def attention_parameters(model: Model, layer: Layer) -> Groups:
    """Projections, norms and biases of the attention of one layer."""
    groups: Groups = Counter()
    if layer.attention in {"none", "linear"}:
        return groups
    if layer.attention in {"window", "csa", "hca"}:
        groups["attention"] = compressed_parameters(model, layer)
        return groups
    if layer.attention == "mla":
        groups += latent_parameters(model, layer)
    else:
        groups += grouped_parameters(model, layer)
    groups["attention"] += gate_parameters(model, layer) + sinks(model, layer)
    groups["other"] += index_parameters(model, layer)
    return groups


def grouped_parameters(model: Model, layer: Layer) -> Groups:
    """Queries, keys, values, output: MHA, GQA, MQA; a layer that borrows keys and values has none of its own."""
    own, hidden, family = layer.heads, model.stack.hidden, model.family
    keys = own.kv_heads * own.head_dim * layer.keeps
    values = 0 if layer.key_is_value else own.kv_heads * own.value_dim * layer.keeps
    out = own.heads * own.value_dim
    queries = own.query_width * (2 if family.gate == "double" else 1)
    inside = (queries + keys + values) * model.reader.says(family.qkv_bias)
    outside = hidden * model.reader.says(family.out_bias)
    if layer.attention == "cross":
        inside, outside = 2 * own.head_dim + 2, 0
    norms = qk_norms(model, layer) if layer.attention != "cross" else 0
    return Counter(attention=hidden * (own.query_width + keys + values + out), biases=inside + outside, norms=norms)


def qk_norms(model: Model, layer: Layer) -> int:
    """Norms of queries and keys."""
    family, own = model.family, layer.heads
    style = family.qk_norm or ("head" if model.reader.flag("use_qk_norm") and not family.known else "")
    if family.qk_norm_if and not model.reader.flag(family.qk_norm_if):
        return 0
    if style == "width":
        return own.query_width + own.kv_heads * own.head_dim * layer.keeps
    vectors = {"head": VECTORS[family.norm], "layer_head": 2}.get(style, 0)
    return vectors * own.head_dim * (1 + layer.keeps)


def gate_parameters(model: Model, layer: Layer) -> int:
    """A gate on the attention's output: as wide as it, or a number for each head."""
    style = model.family.gate or ("double" if model.reader.flag("attn_output_gate") else "")
    wide = layer.heads.heads * layer.heads.value_dim
    return model.stack.hidden * {"double": wide, "width": wide, "head": layer.heads.heads}.get(style, 0)


def sinks(model: Model, layer: Layer) -> int:
    """A learned sink for each head. Source: gpt-oss; MiMo-V2 in sliding layers."""
    return layer.heads.heads if model.family.sinks in {"all", layer.attention} else 0


def latent_parameters(model: Model, layer: Layer) -> Groups:
    """Latent queries, keys and values. Source: arXiv:2405.04434, section 2.1."""
    reader, hidden, own = model.reader, model.stack.hidden, layer.heads
    latent, rope = reader.need("kv_lora_rank"), reader.number("rope_dim", least=0) or 0
    rank = reader.number("q_lora_rank", least=0) or 0
    queries = hidden * rank + rank * own.query_width if rank else hidden * own.query_width
    keys = hidden * (latent + rope) + latent * own.heads * (own.head_dim - rope + own.value_dim)
    bias = (rank + latent + rope + hidden) * reader.flag("attention_bias")
    out = own.heads * own.value_dim * hidden
    return Counter(attention=queries + keys + out, norms=rank + latent, biases=bias)


def index_parameters(model: Model, layer: Layer) -> int:
    """The index that picks tokens. Source: DeepSeek-V3.2 (latent queries), MiniMax-M3."""
    if not layer.indexed:
        return 0
    heads, dim = model.reader.need("index_heads"), model.reader.need("index_dim")
    hidden, rank = model.stack.hidden, model.reader.number("q_lora_rank", least=0) or 0
    if rank:
        return rank * heads * dim + hidden * dim + 2 * dim + hidden * heads
    return hidden * (heads + 1) * dim + 2 * dim


def compressed_parameters(model: Model, layer: Layer) -> int:
    """One key for all heads, a grouped output, sinks, and what compresses. Source: DeepSeek-V4."""
    reader, hidden, own = model.reader, model.stack.hidden, layer.heads
    rank, low, groups = (reader.need(each) for each in ("q_lora_rank", "o_lora_rank", "o_groups"))
    queries = hidden * rank + rank + rank * own.query_width
    out = own.query_width * low + groups * low * hidden
    return queries + hidden * own.head_dim + own.head_dim + out + own.heads + compressor(model, layer)


def compressor(model: Model, layer: Layer) -> int:
    """What turns tokens into compressed entries; those of a few tokens overlap and have an index."""
    hidden, dim = model.stack.hidden, layer.heads.head_dim
    rate = RATES.get(layer.attention, 0)
    if layer.attention != "csa":
        return (2 * hidden * dim + rate * dim + dim) if rate else 0
    heads, small, rank = (model.reader.need(each) for each in ("index_heads", "index_dim", "q_lora_rank"))
    index = 4 * hidden * small + 2 * rate * small + small + rank * heads * small + hidden * heads
    return 4 * hidden * dim + 2 * rate * dim + dim + index


RATES = {"csa": 4, "hca": 128}
"""Tokens per compressed entry. Source: DeepSeek-V4."""
