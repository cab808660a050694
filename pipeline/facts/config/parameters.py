"""Parameters of a language model by group, to the unit, from its layers."""

from __future__ import annotations

from collections import Counter

from pipeline.facts.config.described import Groups, Model
from pipeline.facts.config.extras import extra_parameters, shared_block_parameters
from pipeline.facts.config.families import Family
from pipeline.facts.config.feedforward import Experts
from pipeline.facts.config.layers import Layer
from pipeline.facts.config.projections import attention_parameters
from pipeline.facts.config.read import Reader


def parameters_of(model: Model) -> Groups:
    """Unique parameters of the language model by group; prediction heads are not among them."""
    groups = table_parameters(model)
    for layer, times in Counter(model.stack.layers).items():
        for name, count in layer_parameters(model, layer).items():
            groups[name] += count * times
    groups["other"] += extra_parameters(model.reader, model.stack)
    if model.family.block == "shared":
        groups["attention"] += shared_block_parameters(model.reader, model.stack)
    return groups


def table_parameters(model: Model) -> Groups:
    """Token and position tables, the head, and norms outside the layers."""
    reader, family, stack = model.reader, model.family, model.stack
    width = reader.number("word_embed_proj_dim") or stack.hidden
    table = stack.vocab * width
    projections = 2 * width * stack.hidden if width != stack.hidden else 0
    norms = model.norm * (reader.says(family.final_norm) + family.embedding_norm)
    return Counter(
        embedding=table + family.extra_rows * width,
        positions=position_rows(reader, family) * stack.hidden,
        head=(0 if model.tied else table) + stack.vocab * reader.says(family.head_bias),
        norms=norms,
        other=projections,
    )


def position_rows(reader: Reader, family: Family) -> int:
    """Rows of a learned position table."""
    if not reader.says(family.learned_positions):
        return 0
    reader.tell_default("context")
    return reader.need("context") + family.position_offset


def layer_parameters(model: Model, layer: Layer) -> Groups:
    """Parameters of one layer by group."""
    groups: Groups = Counter(norms=layer_norms(model, layer))
    if model.family.block != "shared":
        groups += attention_parameters(model, layer)
        groups += dense_parameters(model, layer.block.width)
    if layer.linear and model.mixer:
        groups["linear"] += model.mixer.parameters
    if layer.block.experts and model.experts:
        groups += expert_parameters(model, model.experts)
    groups["other"] += model.family.activation_parameters * (layer.block.width > 0)
    return groups


def layer_norms(model: Model, layer: Layer) -> int:
    """Norms before, after and between the parts of a layer."""
    family = model.family
    count = norm_count(model, layer) + family.moe_norms * layer.block.experts
    below = layer.heads.heads * layer.heads.value_dim + layer.block.width if family.sub_norms else 0
    return count * model.norm + below


def norm_count(model: Model, layer: Layer) -> int:
    """Norms of a layer over the hidden width; a part that was left out has none."""
    if model.family.block:
        return 1
    if model.reader.has("block_configs"):
        return (layer.attention != "none") + (layer.block.width > 0)
    switches = model.family.layer_norms_if or {}
    return next((count for key, count in switches.items() if model.reader.flag(key)), model.family.layer_norms)


# ----- feed-forward


def dense_parameters(model: Model, width: int) -> Groups:
    """A dense block and its biases."""
    hidden, matrices = model.stack.hidden, model.gated
    bias = ((matrices - 1) * width + hidden) * model.reader.says(model.family.ffn_bias) if width else 0
    return Counter(dense_ffn=matrices * hidden * width, biases=bias)


def expert_parameters(model: Model, experts: Experts) -> Groups:
    """Routed experts, shared experts, and what routes to them."""
    hidden, shared = model.stack.hidden, experts.shared_width
    latent = 2 * hidden * experts.latent
    return Counter(
        routed_experts=experts.number * expert_unit(model, experts),
        shared_experts=model.gated * hidden * shared + (hidden if model.family.shared_gate and shared else 0),
        router=router_parameters(model, experts) + latent,
    )


def expert_unit(model: Model, experts: Experts) -> int:
    """Parameters of one routed expert."""
    hidden, matrices = experts.latent or model.stack.hidden, model.gated
    bias = (matrices - 1) * experts.width + hidden if model.reader.says(model.family.expert_bias) else 0
    return matrices * hidden * experts.width + bias


def router_parameters(model: Model, experts: Experts) -> int:
    """A row for each expert, those that do nothing included; perhaps a bias, perhaps scales."""
    rows = experts.number + (model.reader.number("zero_expert_num", least=0) or 0)
    scales = model.stack.hidden + experts.number if model.family.router_scales else 0
    return rows * (model.stack.hidden + model.reader.says(model.family.router_bias)) + scales


def prediction_parameters(model: Model) -> int:
    """Layers that predict further tokens: in the checkpoint, not in the served model. Source: arXiv:2412.19437, 2.2."""
    count = model.reader.number("mtp_layers", least=0) or 0
    full = [layer for layer in model.stack.layers if layer.attention not in {"none", "linear", "sliding"}]
    if not count or not full:
        return 0
    hidden = model.stack.hidden
    return count * (layer_parameters(model, full[-1]).total() + 2 * hidden * hidden + 3 * model.norm)
