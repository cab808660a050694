"""Matrix products: what one takes on a device, and the bundles of columns that say so."""

from typing import NamedTuple

from polars import Expr

from pipeline.core.quantity import quantity


class DenseGemm(NamedTuple):
    """What a matrix multiplication in the weights' number format does on the device."""

    dense_bytes_per_element: Expr
    dense_launch_s: Expr
    dense_ramp: Expr
    dense_flop_per_s: Expr
    dense_bytes_per_s: Expr
    ramp_ratio: Expr

    def seconds(self, tokens: Expr, width: Expr, depth: Expr) -> Expr:
        """Seconds of one product of `tokens` rows with a `width` x `depth` matrix."""
        return product_s(tokens, width, depth, *self)


class HalfGemm(NamedTuple):
    """What a 16-bit matrix multiplication does on the device."""

    table_bytes_per_element: Expr
    half_launch_s: Expr
    half_ramp: Expr
    half_flop_per_s: Expr
    half_bytes_per_s: Expr
    ramp_ratio: Expr

    def seconds(self, tokens: Expr, width: Expr, depth: Expr) -> Expr:
        """Seconds of one product of `tokens` rows with a `width` x `depth` matrix."""
        return product_s(tokens, width, depth, *self)


class ExpertGemm(NamedTuple):
    """What the grouped matrix product of routed experts does on the device."""

    expert_weight_bits: Expr
    expert_launch_s: Expr
    expert_ramp: Expr
    expert_flop_per_s: Expr
    expert_bytes_per_s: Expr


def product_s(
    tokens: Expr,
    width: Expr,
    depth: Expr,
    bytes_per_element: Expr,
    launch_s: Expr,
    ramp: Expr,
    flop_per_s: Expr,
    bytes_per_s: Expr,
    ramp_ratio: Expr,
) -> Expr:
    """Launch, then arithmetic and traffic, which overlap in part: their 2-norm.

    Arithmetic has a ramp: few output tiles leave multiprocessors idle. A processor of few cores has none.

    Source: step-time study, section 1, GEMM form t0 + p-norm with ec = e m n / (m n + A), p = 2.
    """
    arithmetic_s = 2.0 * depth * (tokens * width + ramp * ramp_ratio) / flop_per_s
    moved = width * depth * bytes_per_element + 2.0 * tokens * (width + depth)
    return launch_s + overlapped(arithmetic_s, moved / bytes_per_s)


def overlapped(arithmetic_s: Expr, traffic_s: Expr) -> Expr:
    """The 2-norm of two times: the longer one, and up to 41 % more where they are alike.

    >>> from pipeline.core.quantity import at
    >>> at(overlapped, arithmetic_s=3.0, traffic_s=4.0)
    5.0
    """
    return (arithmetic_s * arithmetic_s + traffic_s * traffic_s).sqrt()


@quantity
def dense_bytes_per_element(dense_weight_bits: Expr) -> Expr:
    """Bytes of one weight of a plain matrix, scales included.

    Definition.
    """
    return dense_weight_bits / 8.0


@quantity
def table_bytes_per_element(table_weight_bits: Expr) -> Expr:
    """Bytes of one weight of the token tables.

    Definition.
    """
    return table_weight_bits / 8.0
