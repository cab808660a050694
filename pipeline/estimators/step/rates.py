"""What a device achieves of its peaks, by number format and group of weights."""

from typing import NamedTuple

import polars as pl
from polars import Expr

from pipeline.core.quantity import Book, instance, quantity


class Peaks(NamedTuple):
    """The device's dense peaks by number format."""

    fp16_flop_per_s: Expr
    bf16_flop_per_s: Expr
    fp8_flop_per_s: Expr
    int8_flop_per_s: Expr
    fp4_flop_per_s: Expr

    def of(self, compute: Expr) -> Expr:
        """Peak of the unit that `compute` names; null where the device has none."""
        half = pl.coalesce(self.bf16_flop_per_s, self.fp16_flop_per_s)
        by_name = {**dict(zip(("fp16", "bf16", "fp8", "int8", "fp4"), self, strict=True)), "half": half}
        return pl.coalesce(pl.when(compute == name).then(peak) for name, peak in by_name.items())


@quantity
def half_peak_flop_per_s(bf16_flop_per_s: Expr, fp16_flop_per_s: Expr) -> Expr:
    """Dense 16-bit peak of the device: bf16, or fp16 where it has no bf16.

    Definition.
    """
    return pl.coalesce(bf16_flop_per_s, fp16_flop_per_s)


@quantity
def reached_half_flop_per_s(half_peak_flop_per_s: Expr, achieved_flop_ratio: Expr) -> Expr:
    """The 16-bit peak, as far as this very device reaches it among those of its architecture.

    Definition.
    """
    return half_peak_flop_per_s * achieved_flop_ratio


@quantity
def reached_memory_bytes_per_s(memory_bytes_per_s: Expr, achieved_bytes_ratio: Expr) -> Expr:
    """The memory bandwidth, as far as this very device reaches it among those of its architecture.

    Definition.
    """
    return memory_bytes_per_s * achieved_bytes_ratio


def achieved_flop_per_s(
    compute: Expr, fallback: Expr, flop_ratio: Expr, fallback_ratio: Expr, achieved_flop_ratio: Expr, peaks: Peaks
) -> Expr:
    """Arithmetic rate of a large {group} matrix product: a share of the peak of the unit that it runs on.

    A format without native support runs on its fallback unit (mxfp4 on Hopper is unpacked to
    16 bits), and is not available where it has none.

    Source: catalogs/efficiencies: achieved fractions; kernel timings, section 1.
    """
    share = pl.coalesce(peaks.of(compute) * flop_ratio, peaks.of(fallback) * fallback_ratio)
    return share * achieved_flop_ratio


def achieved_bytes_per_s(reached_memory_bytes_per_s: Expr, bytes_ratio: Expr) -> Expr:
    """Rate at which a large {group} matrix is read: a share of the device's memory bandwidth.

    Source: catalogs/efficiencies: achieved fractions; kernel timings, section 1.
    """
    return reached_memory_bytes_per_s * bytes_ratio


GROUPS = ("dense", "expert", "half")
"""The three kernels of a number format: plain matrices, routed experts, and what stays 16-bit."""


def achieved_rates() -> Book:
    """Achieved arithmetic and memory rates of every group of weights."""
    of_unit = ("compute", "fallback", "flop_ratio", "fallback_ratio")
    rates = [
        rate
        for group in GROUPS
        for rate in (
            instance(
                achieved_flop_per_s,
                f"{group}_flop_per_s",
                {"group": group},
                **{each: f"{group}_{each}" for each in of_unit},
            ),
            instance(
                achieved_bytes_per_s, f"{group}_bytes_per_s", {"group": group}, bytes_ratio=f"{group}_bytes_ratio"
            ),
        )
    ]
    return {rate.name: rate for rate in rates}
