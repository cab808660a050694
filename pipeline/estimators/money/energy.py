"""What the seconds take from the socket."""

from polars import Expr

from pipeline.core.quantity import quantity


@quantity
def busy_ratio(decode_traffic_s: Expr, decode_arithmetic_s: Expr, decode_step_s: Expr) -> Expr:
    """Share of a decode step in which memory or arithmetic units work at full rate, at most 1.

    Source: roofline (Williams et al. 2009).
    """
    return ((decode_traffic_s + decode_arithmetic_s) / decode_step_s).clip(0.0, 1.0)


@quantity
def power_w(tdp_w: Expr, device_count: Expr, busy_ratio: Expr, idle_power_ratio: Expr) -> Expr:
    """Power of one replica's devices while decoding; hosts, network and cooling are not in it.

    Linear between an idle share and the rated power.

    Source: assumption; null where the device's rated power is not known.

    >>> from pipeline.core.quantity import at
    >>> at(power_w, tdp_w=400.0, device_count=2, busy_ratio=1.0, idle_power_ratio=0.3)
    800.0
    """
    return tdp_w * device_count * (idle_power_ratio + (1.0 - idle_power_ratio) * busy_ratio)


@quantity
def energy_j_per_token(power_w: Expr, output_tokens_per_s: Expr) -> Expr:
    """Energy of the devices for one output token on a busy replica.

    Definition.
    """
    return power_w / output_tokens_per_s
