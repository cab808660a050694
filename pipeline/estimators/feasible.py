"""What can be combined at all. A rule is a quantity; its first line is the reason for a drop.

A plan drops a combination as soon as the columns that a rule reads have met, and counts it.
"""

from polars import Expr

from pipeline.core.quantity import Formula, quantity

RULES: list[str] = []


def rule(formula: Formula) -> Formula:
    """Enter a quantity as a condition that every row of a grid meets."""
    RULES.append(formula.__name__)
    return quantity(formula)


@rule
def format_suits_model(is_expert_format: Expr, moe_layers: Expr) -> Expr:
    """The number format quantises routed experts only, and the model has none.

    Source: gpt-oss model card: mxfp4 for the experts, 16 bits for the rest.
    """
    return ~is_expert_format | (moe_layers > 0)


@rule
def tp_divides_heads(heads: Expr, kv_heads: Expr, tp: Expr) -> Expr:
    """The model's heads cannot be dealt out evenly over so many tensor-parallel ranks.

    Source: vLLM config checks: heads % tp == 0, and kv_heads and tp divide one another.
    """
    return (heads % tp == 0) & ((kv_heads % tp == 0) | (tp % kv_heads == 0))


@rule
def pp_splits_layers(layer_count: Expr, pp: Expr) -> Expr:
    """The model has fewer layers than pipeline stages.

    Definition.
    """
    return pp <= layer_count


@rule
def ep_splits_experts(experts: Expr, expert_ranks: Expr, ep: Expr) -> Expr:
    """The model's experts cannot be dealt out over so many expert-parallel ranks.

    Source: engines place experts on the ranks of all groups: ep divides tp x dp, and the experts.
    """
    return (ep == 1) | ((expert_ranks % ep == 0) & (experts.fill_null(1) % ep == 0))


@rule
def dp_shares_experts(moe_layers: Expr, dp: Expr) -> Expr:
    """Data-parallel groups share routed experts, and the model has none: replicas do the same.

    Source: vLLM docs, data parallel deployment.
    """
    return (dp == 1) | (moe_layers > 0)


@rule
def device_runs_format(dense_flop_per_s: Expr, expert_flop_per_s: Expr) -> Expr:
    """The device has no unit for the number format, and the format no fallback.

    Source: the device's dense peaks in catalogs/accelerators.
    """
    return dense_flop_per_s.is_not_null() & expert_flop_per_s.is_not_null()


@rule
def node_holds_ranks(tp: Expr, node_devices: Expr) -> Expr:
    """Tensor parallelism would span nodes.

    Source: catalogs/accelerators, node_devices.
    """
    return tp <= node_devices


@rule
def engine_reads_format(engine_weights_bits: Expr, weights_bit: Expr) -> Expr:
    """The engine does not read the number format.

    Source: catalogs/engines, formats.
    """
    return engine_weights_bits & weights_bit != 0


@rule
def engine_keeps_kv(engine_kv_bits: Expr, kv_bit: Expr) -> Expr:
    """The engine cannot keep its cache in the number format.

    Source: catalogs/engines, kv_formats.
    """
    return engine_kv_bits & kv_bit != 0


@rule
def engine_runs_on_device(engine_architecture_bits: Expr, architecture_bit: Expr) -> Expr:
    """The engine does not run on devices of this architecture.

    Source: catalogs/engines, architectures.
    """
    return engine_architecture_bits & architecture_bit != 0
