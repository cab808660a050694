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


def error_band(name: str, error: str) -> Answer:
    """A number of bytes with an 80 % band from the one-sided 95 % error of its account."""
    edge = col(error) * (Z80 / Z95)
    return Answer(col(name), (col(name) - edge).clip(0), col(name) + edge)


PEAK_ERROR_RATIO = 0.01
"""Half-width of the band of a peak in tensors. Source: serving-memory study, section 6, transformers rows."""


def ratio_band(name: str, ratio: float) -> Answer:
    """A number with a band of a share of itself."""
    return Answer(col(name), col(name) * (1 - ratio), col(name) * (1 + ratio))


def pool_band(name: str) -> Answer:
    """What is in proportion to the pool: its lower edge is safe at 95 %, as batch_max_lo is."""
    share = col("memory_error_bytes") / col("kv_pool_bytes").clip(1)
    return Answer(col(name), (col(name) * (1 - share)).clip(0), col(name) * (1 + share * (Z80 / Z95)))


def published_band(name: str, banded: str) -> Answer:
    """A time or rate with the relative band of a published one."""
    return Answer(
        col(name), col(name) * col(f"{banded}_lo") / col(banded), col(name) * col(f"{banded}_hi") / col(banded)
    )


def no_band(expr: Expr) -> Answer:
    """A quantity without a band."""
    return Answer(expr, expr, expr)


MEASURED: dict[str, Answer] = {
    "weight_bytes": error_band("weight_bytes", "weight_error_bytes"),
    "activation_bytes": error_band("first_stage_activation_bytes", "activation_error_bytes"),
    "non_torch_bytes": error_band("non_torch_bytes", "non_torch_error_bytes"),
    "cuda_graph_bytes": error_band("cuda_graph_bytes", "cuda_graph_error_bytes"),
    "kv_pool_bytes": error_band("first_stage_pool_bytes", "memory_error_bytes"),
    "kv_pool_tokens": pool_band("kv_pool_tokens"),
    "kv_pool_blocks": pool_band("kv_pool_blocks"),
    "batch_max_at_model_len": pool_band("concurrency_at_model_len"),
    "batch_max": pool_band("batch_max"),
    "memory_bytes": ratio_band("peak_bytes", PEAK_ERROR_RATIO),
    "oom": no_band((~col("fits")).cast(float)),
    "ttft_s": published_band("client_ttft_s", "ttft_s"),
    "ttft_p50_s": published_band("client_ttft_s", "ttft_s"),
    "itl_s": published_band("tpot_s", "tpot_s"),
    "itl_p50_s": published_band("tpot_s", "tpot_s"),
    "e2e_s": published_band("client_e2e_s", "output_tokens_per_s"),
    "output_tokens_per_s": published_band("client_output_tokens_per_s", "output_tokens_per_s"),
    "total_tokens_per_s": published_band("client_total_tokens_per_s", "output_tokens_per_s"),
    "requests_per_s": published_band("client_requests_per_s", "output_tokens_per_s"),
    "decode_tokens_per_s": published_band("decode_tokens_per_s", "tpot_s"),
    "prefill_tokens_per_s": published_band("prefill_tokens_per_s", "ttft_s"),
}
"""By the name that measurements use."""


def inputs_of_measured(names: Iterable[str]) -> list[str]:
    """The quantities that some measured names need."""
    return sorted({column for name in names for column in MEASURED[name].columns})
