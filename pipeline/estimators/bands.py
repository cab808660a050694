"""How sure a number is: a class of evidence, and a band around the estimate."""

import polars as pl
from polars import Expr

from pipeline.core.quantity import Book, Formula, Quantity, quantity

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
def spread_ratio(confidence_code: Expr, spread_0_ratio: Expr, spread_1_ratio: Expr, spread_2_ratio: Expr) -> Expr:
    """How much wider the band of times is than on a measured device.

    Source: step-time study, section 6; catalogs/efficiencies.
    """
    return (
        pl.when(confidence_code == 0)
        .then(spread_0_ratio)
        .when(confidence_code == 1)
        .then(spread_1_ratio)
        .otherwise(spread_2_ratio)
    )


@quantity
def memory_spread_ratio(
    confidence_code: Expr, memory_spread_0_ratio: Expr, memory_spread_1_ratio: Expr, memory_spread_2_ratio: Expr
) -> Expr:
    """How much wider the band of memory is than on a measured device.

    Source: serving-memory study, section 7; catalogs/efficiencies.
    """
    chosen = pl.when(confidence_code == 0).then(memory_spread_0_ratio).when(confidence_code == 1)
    return chosen.then(memory_spread_1_ratio).otherwise(memory_spread_2_ratio)


@quantity
def memory_error_bytes(
    weight_bytes: Expr, activation_bytes: Expr, overhead_bytes: Expr, memory_spread_ratio: Expr
) -> Expr:
    """Standard error of the memory account of one device: its terms' errors, added as squares.

    On a measured device 0.4 % of the weights (allocator rounding and rope tables are not counted),
    3 % of the activations, 6 % of the runtime.

    Source: serving-memory study, sections 7 and 8.
    """
    weights, activations, runtime = 4e-3 * weight_bytes, 3e-2 * activation_bytes, 6e-2 * overhead_bytes
    return memory_spread_ratio * (weights * weights + activations * activations + runtime * runtime).sqrt()


@quantity
def batch_max_lo(kv_pool_bytes: Expr, memory_error_bytes: Expr, sequence_bytes: Expr) -> Expr:
    """Batch that is safe from running out of memory at 95 %.

    Source: serving-memory study, section 7: floor((pool - margin) / bytes per sequence).
    """
    return ((kv_pool_bytes - Z95 * memory_error_bytes) / sequence_bytes).floor().clip(0.0).cast(pl.Int64)


@quantity
def vram_bytes_lo(vram_bytes: Expr, memory_error_bytes: Expr) -> Expr:
    """Lower edge of the 80 % band of vram_bytes.

    Source: serving-memory study, section 7.
    """
    return vram_bytes - Z80 * memory_error_bytes


@quantity
def vram_bytes_hi(vram_bytes: Expr, memory_error_bytes: Expr) -> Expr:
    """Upper edge of the 80 % band of vram_bytes.

    Source: serving-memory study, section 7.
    """
    return vram_bytes + Z80 * memory_error_bytes


@quantity
def tpot_error_ratio(moe_layers: Expr) -> Expr:
    """Relative half-width of the 80 % band of tpot_s on a measured device.

    Source: step-time study, section 6: dense 0.10, MoE 0.21.
    """
    return pl.when(moe_layers > 0).then(0.21).otherwise(0.10)


@quantity
def ttft_error_ratio(moe_layers: Expr) -> Expr:
    """Relative half-width of the 80 % band of ttft_s on a measured device.

    Source: step-time study, section 6: 0.45 in the logarithm, either kind.
    """
    return 0.0 * moe_layers + 0.57


@quantity
def output_tokens_error_ratio(moe_layers: Expr) -> Expr:
    """Relative half-width of the 80 % band of output_tokens_per_s on a measured device.

    Source: step-time study, section 6: dense 0.12, MoE 0.20 in the logarithm.
    """
    return pl.when(moe_layers > 0).then(0.22).otherwise(0.13)


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
    edges = [_edge(value, error, *edge) for value, error in BANDED.items() for edge in (("lo", lower), ("hi", upper))]
    return {**book, **{edge.name: edge for edge in edges}}


def _edge(value: str, error: str, suffix: str, formula: Formula) -> Quantity:
    def edge(**columns: Expr) -> Expr:
        return formula(**columns)

    edge.__doc__ = (formula.__doc__ or "").format(value=value)
    return Quantity(f"{value}_{suffix}", edge, {"value": value, "error_ratio": error, "spread_ratio": "spread_ratio"})
