"""What each measured quantity is held against: an estimate, and the edges of its band."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polars import Expr, col

from pipeline.estimators.bands import Z80, Z95

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Answer:
    """The estimate of one measured quantity, as expressions over the columns of a plan."""

    predicted: Expr
    lo: Expr
    hi: Expr

    @property
    def columns(self) -> set[str]:
        """The quantities that it needs."""
        return {name for each in (self.predicted, self.lo, self.hi) for name in each.meta.root_names()}


def within(name: str, error: str) -> Answer:
    """A number of bytes with an 80 % band from the one-sided 95 % error of its account."""
    edge = col(error) * (Z80 / Z95)
    return Answer(col(name), (col(name) - edge).clip(0), col(name) + edge)


def of_pool(name: str) -> Answer:
    """What is in proportion to the pool: its lower edge is safe at 95 %, as batch_max_lo is."""
    share = col("memory_error_bytes") / col("kv_pool_bytes").clip(1)
    return Answer(col(name), (col(name) * (1 - share)).clip(0), col(name) * (1 + share * (Z80 / Z95)))


def banded(name: str) -> Answer:
    """A quantity with a published band."""
    return Answer(col(name), col(f"{name}_lo"), col(f"{name}_hi"))


def bare(expr: Expr) -> Answer:
    """A quantity without a band."""
    return Answer(expr, expr, expr)


MEASURED: dict[str, Answer] = {
    "weight_bytes": within("weight_bytes", "weight_error_bytes"),
    "activation_bytes": within("first_stage_activation_bytes", "activation_error_bytes"),
    "non_torch_bytes": within("non_torch_bytes", "non_torch_error_bytes"),
    "cuda_graph_bytes": within("cuda_graph_bytes", "cuda_graph_error_bytes"),
    "kv_pool_bytes": within("first_stage_pool_bytes", "memory_error_bytes"),
    "kv_pool_tokens": of_pool("kv_pool_tokens"),
    "kv_pool_blocks": of_pool("kv_pool_blocks"),
    "batch_max_at_model_len": of_pool("concurrency_at_model_len"),
    "batch_max": of_pool("batch_max"),
    "memory_bytes": within("peak_bytes", "memory_error_bytes"),
    "oom": bare((~col("fits")).cast(float)),
    "ttft_s": banded("ttft_s"),
    "itl_s": banded("tpot_s"),
    "output_tokens_per_s": banded("output_tokens_per_s"),
    "e2e_s": bare(col("e2e_s")),
    "requests_per_s": bare(col("requests_per_s")),
}
"""By the name that measurements use."""


def needed(names: Iterable[str]) -> list[str]:
    """The quantities that some measured names need."""
    return sorted({column for name in names for column in MEASURED[name].columns})
