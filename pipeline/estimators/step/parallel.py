"""What several devices say to each other."""

import polars as pl
from polars import Expr

from pipeline.core.quantity import quantity


@quantity
def device_count(tp: Expr, pp: Expr, dp: Expr) -> Expr:
    """Devices of one replica: tensor-parallel ranks times pipeline stages times data-parallel groups.

    Definition.
    """
    return tp * pp * dp


@quantity
def expert_ranks(tp: Expr, dp: Expr) -> Expr:
    """Ranks that the routed experts of a layer are spread over.

    Source: vLLM fused_moe/config.py: experts are split over tensor- and data-parallel ranks.
    """
    return tp * dp


@quantity
def rank_batch(batch: Expr, dp: Expr) -> Expr:
    """Sequences of one data-parallel group, the fullest.

    Definition.
    """
    return -(-batch // dp)


@quantity
def peer_bytes_per_s(link_bytes_per_s: Expr, pcie_bytes_per_s: Expr, link_ratio: Expr, pcie_ratio: Expr) -> Expr:
    """Achieved rate between two devices, per direction: over the link, or over PCIe where there is none.

    Source: catalogs/efficiencies: achieved fractions of collectives.
    """
    return pl.coalesce(link_bytes_per_s * link_ratio, pcie_bytes_per_s * pcie_ratio)


@quantity
def collective_launch_s(collective_base_s: Expr, collective_rank_ratio: Expr, tp: Expr) -> Expr:
    """Seconds that an all-reduce takes before it moves a byte; none on a single rank.

    Source: step-time study, section 1: a (1 + 0.15 log2 tp).
    """
    ranks = 1.0 * tp
    return collective_base_s * (1.0 + collective_rank_ratio * ranks.log(2.0)) * (tp > 1)
