"""How sure a number is: a class of evidence, and a band around the estimate."""

from functools import reduce
from operator import add
from typing import NamedTuple

import polars as pl
from polars import Expr

from pipeline.core.choices import first_largest
from pipeline.core.quantity import Book, instance, quantity

CONFIDENCES = ("calibrated", "same architecture", "datasheet only")
LIMITS = ("memory", "bandwidth", "compute", "communication", "overhead")

Z80, Z95 = 1.2816, 1.6449
"""Normal quantiles of 90 % (the edge of a two-sided 80 % band) and 95 % (one-sided)."""


@quantity
def confidence_code(
    engine_measured_bits: Expr, accelerator_bit: Expr, engine_measured_architecture_bits: Expr, architecture_bit: Expr
) -> Expr:
    """Evidence behind a row, as an index into CONFIDENCES: device measured, architecture measured, neither.

    Source: catalogs/engines: measured_accelerators, measured_architectures.
    """
    device = engine_measured_bits & accelerator_bit != 0
    relative = engine_measured_architecture_bits & architecture_bit != 0
    return pl.when(device).then(0).when(relative).then(1).otherwise(2).cast(pl.UInt8)


@quantity
def confidence(confidence_code: Expr) -> Expr:
    """Evidence behind the row: "calibrated", "same architecture" or "datasheet only".

    Definition.
    """
    return confidence_code.cat.to(pl.Enum(CONFIDENCES))


@quantity
def limited_by(limited_by_code: Expr) -> Expr:
    """What bounds the row: "memory" where it does not fit, else the longest part of a decode step.

    Definition.
    """
    return limited_by_code.cat.to(pl.Enum(LIMITS))


@quantity
def spread_ratio(
    confidence_code: Expr, spread_0_ratio: Expr, spread_1_ratio: Expr, spread_2_ratio: Expr, engine_spread_ratio: Expr
) -> Expr:
    """How much wider the band of times is than on a measured device, with the best known engine.

    Source: step-time study, section 6; catalogs/efficiencies, catalogs/engines.
    """
    chosen = pl.when(confidence_code == 0).then(spread_0_ratio).when(confidence_code == 1).then(spread_1_ratio)
    return chosen.otherwise(spread_2_ratio) * engine_spread_ratio


# ----- memory: one-sided errors of 95 %, a term each


@quantity
def memory_confidence_code(
    engine_memory_is_measured: Expr,
    engine_memory_measured_bits: Expr,
    accelerator_bit: Expr,
    engine_memory_architecture_bits: Expr,
    architecture_bit: Expr,
) -> Expr:
    """Evidence behind the memory account, as an index into CONFIDENCES.

    0 where this range of versions was measured on the device, 1 where any version was on its
    architecture, else 2.

    Source: catalogs/engines: memory_measured_accelerators, engine_memory_is_measured.
    """
    device = engine_memory_is_measured & (engine_memory_measured_bits & accelerator_bit != 0)
    relative = engine_memory_architecture_bits & architecture_bit != 0
    return pl.when(device).then(0).when(relative).then(1).otherwise(2).cast(pl.UInt8)


@quantity
def memory_confidence(memory_confidence_code: Expr) -> Expr:
    """Evidence behind the memory account: "calibrated", "same architecture" or "datasheet only".

    Definition.
    """
    return memory_confidence_code.cat.to(pl.Enum(CONFIDENCES))


@quantity
def memory_spread_ratio(
    memory_confidence_code: Expr, memory_spread_0_ratio: Expr, memory_spread_1_ratio: Expr, memory_spread_2_ratio: Expr
) -> Expr:
    """How much wider the band of memory is than where device and version were measured.

    Source: serving-memory study, section 7; catalogs/efficiencies.
    """
    chosen = pl.when(memory_confidence_code == 0).then(memory_spread_0_ratio).when(memory_confidence_code == 1)
    return chosen.then(memory_spread_1_ratio).otherwise(memory_spread_2_ratio)


@quantity
def weight_error_bytes(
    weight_bytes: Expr, weight_error_ratio: Expr, tower_bytes: Expr, unsure_towers_ratio: Expr, tp: Expr
) -> Expr:
    """Error of the weights: the format's, and with ranks a share of the towers, which loaders split or not.

    Source: serving-memory study, section 7.
    """
    towers = unsure_towers_ratio * tower_bytes * (tp > 1)
    return (weight_error_ratio * weight_bytes).pow(2).add(towers.pow(2)).sqrt()


@quantity
def activation_error_bytes(
    activation_bytes: Expr,
    is_forward_bound: Expr,
    sampler_error_ratio: Expr,
    forward_error_ratio: Expr,
    memory_spread_ratio: Expr,
    engine_charges_activation: Expr,
) -> Expr:
    """Error of the activation peak: small where the sampler makes it, whose tensors are known by name.

    Source: serving-memory study, section 7.
    """
    ratio = pl.max_horizontal(
        sampler_error_ratio * memory_spread_ratio, pl.when(is_forward_bound).then(forward_error_ratio).otherwise(0.0)
    )
    return activation_bytes * ratio * engine_charges_activation


@quantity
def non_torch_error_bytes(
    runtime_error_bytes: Expr,
    communicator_error_bytes: Expr,
    memory_spread_ratio: Expr,
    expert_ranks: Expr,
    engine_charges_activation: Expr,
) -> Expr:
    """Error of the memory outside tensors, where it comes off the pool.

    Source: serving-memory study, section 7.
    """
    outside = pl.when(expert_ranks > 1).then(communicator_error_bytes).otherwise(runtime_error_bytes)
    error = memory_spread_ratio * outside
    return error * engine_charges_activation


@quantity
def cuda_graph_error_bytes(cuda_graph_bytes: Expr, graph_error_ratio: Expr) -> Expr:
    """Error of CUDA graphs.

    Source: serving-memory study, section 3: 0.28 GiB at most of 0.5 to 2.
    """
    return graph_error_ratio * cuda_graph_bytes


@quantity
def charged_graph_error_bytes(
    charged_graph_bytes: Expr, graph_error_ratio: Expr, ranks_graph_factor: Expr, tp: Expr
) -> Expr:
    """Error of the engine's own estimate of CUDA graphs, which is noisy where ranks talk.

    Source: serving-memory study, section 7: 0.15 GiB on one rank, 1.0 on several.
    """
    return charged_graph_bytes * graph_error_ratio * pl.when(tp > 1).then(ranks_graph_factor).otherwise(1.0)


class MemoryErrors(NamedTuple):
    """One-sided 95 % errors of the terms of a device's memory account."""

    weight_error_bytes: Expr
    activation_error_bytes: Expr
    non_torch_error_bytes: Expr
    charged_graph_error_bytes: Expr


RISKS = ("weights", "activations", "runtime", "graphs")
"""The terms of MemoryErrors, in their order, for people."""


@quantity
def memory_error_bytes(errors: MemoryErrors) -> Expr:
    """One-sided 95 % error of the memory account of one device: its terms' errors, added as squares.

    Source: serving-memory study, section 7.
    """
    return reduce(add, (each.pow(2) for each in errors)).sqrt()


@quantity
def memory_risk(errors: MemoryErrors) -> Expr:
    """The term whose error is largest: what to look into before betting on the batch.

    Definition.
    """
    return first_largest(errors).cat.to(pl.Enum(RISKS))


@quantity
def batch_max_lo(kv_pool_bytes: Expr, memory_error_bytes: Expr, sequence_bytes: Expr, dp: Expr) -> Expr:
    """Batch that is safe from running out of memory at 95 %.

    Source: serving-memory study, section 7: floor((pool - margin) / bytes per sequence).
    """
    return ((kv_pool_bytes - memory_error_bytes) / sequence_bytes).floor().clip(0.0).cast(pl.Int64) * dp


@quantity
def vram_bytes_lo(vram_bytes: Expr, memory_error_bytes: Expr) -> Expr:
    """Lower edge of the 80 % band of vram_bytes.

    Source: serving-memory study, section 7.
    """
    return vram_bytes - Z80 / Z95 * memory_error_bytes


@quantity
def vram_bytes_hi(vram_bytes: Expr, memory_error_bytes: Expr) -> Expr:
    """Upper edge of the 80 % band of vram_bytes.

    Source: serving-memory study, section 7.
    """
    return vram_bytes + Z80 / Z95 * memory_error_bytes


# ----- times and rates


@quantity
def tpot_error_ratio(moe_layers: Expr, tpot_dense_error_ratio: Expr, tpot_moe_error_ratio: Expr) -> Expr:
    """Relative half-width of the 80 % band of tpot_s on a measured device.

    Source: step-time study, section 6; catalogs/efficiencies.
    """
    return pl.when(moe_layers > 0).then(tpot_moe_error_ratio).otherwise(tpot_dense_error_ratio)


@quantity
def output_tokens_error_ratio(
    moe_layers: Expr, output_tokens_dense_error_ratio: Expr, output_tokens_moe_error_ratio: Expr
) -> Expr:
    """Relative half-width of the 80 % band of output_tokens_per_s on a measured device.

    Source: step-time study, section 6; catalogs/efficiencies.
    """
    return pl.when(moe_layers > 0).then(output_tokens_moe_error_ratio).otherwise(output_tokens_dense_error_ratio)


def lower(value: Expr, error_ratio: Expr, spread_ratio: Expr) -> Expr:
    """Lower edge of the 80 % band of {value}: as many times below as the upper edge is above.

    Source: step-time study, section 6.
    """
    return value / (1.0 + error_ratio * spread_ratio)


def upper(value: Expr, error_ratio: Expr, spread_ratio: Expr) -> Expr:
    """Upper edge of the 80 % band of {value}.

    Source: step-time study, section 6.
    """
    return value * (1.0 + error_ratio * spread_ratio)


BANDED = {
    "ttft_s": "ttft_error_ratio",
    "tpot_s": "tpot_error_ratio",
    "output_tokens_per_s": "output_tokens_error_ratio",
}


def with_bands(book: Book) -> Book:
    """The book with the edges of every banded time and rate."""
    edges = [
        instance(edge, f"{value}_{suffix}", {"value": value}, value=value, error_ratio=error)
        for value, error in BANDED.items()
        for suffix, edge in (("lo", lower), ("hi", upper))
    ]
    return {**book, **{each.name: each for each in edges}}
