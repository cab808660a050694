"""Constants that measurements can set: their bounds, and which rows bear on each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from polars import Expr, col, lit

from pipeline.core.errors import UnknownNameError
from pipeline.estimators.step.serving import EXPERT_OVERHEADS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LONG_OUTPUT = 16
"""Output tokens from which a whole request is mostly decoding."""
REQUESTS = ["output_tokens_per_s", "total_tokens_per_s", "requests_per_s", "e2e_s"]
FIRST = ["ttft_s", "ttft_p50_s", "prefill_tokens_per_s"]
DECODING = ["itl_s", "itl_p50_s", "decode_tokens_per_s"]
SPEEDS = [*FIRST, *DECODING, *REQUESTS]
"""Measured quantities that constants of speed are fitted to."""

work, is_moe = col("expert_overhead"), col("moe_layers") > 0
decodes = col("quantity").is_in(DECODING) | (
    col("quantity").is_in(REQUESTS) & (col("output_tokens") >= LONG_OUTPUT) & (col("clients") <= col("batch"))
)
reads = col("quantity").is_in([*FIRST, *REQUESTS]) & (col("batch") == 1)
waits = col("quantity").is_in(FIRST) & ~col("is_static")


class Constant(NamedTuple):
    """Where a constant may lie, a usual value, and the rows that may set it where nobody names it."""

    least: float
    usual: float
    most: float
    bears: Expr


ENGINE: Mapping[str, Constant] = {
    # in the order in which they are chosen where nobody names them
    "engine_layer_floor_s": Constant(1e-7, 1e-3, 0.09, decodes & (col("engine_layer_floor_s") > 0)),
    "engine_layer_s": Constant(1e-7, 2e-5, 0.09, decodes & ~is_moe),
    "engine_moe_layer_s": Constant(1e-7, 2e-5, 0.09, decodes & is_moe),
    **{
        f"engine_{each}_moe_layer_s": Constant(1e-7, 2e-5, 0.09, decodes & is_moe & (work == place))
        for place, each in enumerate(EXPERT_OVERHEADS)
        if place
    },
    "engine_first_token_steps": Constant(1e-2, 1.0, 900.0, waits),
    "engine_burst_ratio": Constant(1e-4, 0.05, 1.0, waits & (col("batch") > 1)),
    "engine_bytes_ratio": Constant(0.02, 0.5, 2.0, decodes),
    "engine_flop_ratio": Constant(0.02, 0.5, 2.0, reads & col("is_static")),
    "engine_step_s": Constant(1e-6, 5e-4, 0.9, lit(False)),
    "engine_sequence_s": Constant(1e-9, 5e-6, 0.09, lit(False)),
    "engine_prefill_share_ratio": Constant(1e-2, 0.5, 2.0, lit(False)),
}
DEVICE: Mapping[str, Constant] = {
    "achieved_bytes_ratio": Constant(0.02, 0.5, 2.0, lit(False)),
    "achieved_flop_ratio": Constant(0.02, 0.5, 2.0, lit(False)),
    "attention_head_s": Constant(1e-10, 1e-8, 9e-4, lit(False)),
    "elementwise_bytes": Constant(1.0, 37.5, 9e3, lit(False)),
    "linear_scan_s": Constant(1e-7, 2e-5, 9e-3, lit(False)),
    "latent_flop_ratio": Constant(0.02, 0.3, 1.0, lit(False)),
}
"""Fitted where they are named only: an engine's constants explain the same rows."""
CONSTANTS = {"engine": ENGINE, "accelerator": DEVICE}


def constants_by_kind(names: Iterable[str]) -> dict[str, Sequence[str]]:
    """Constants by what has them, engines first.

    Raises:
        UnknownNameError: no such constant can be fitted; says the nearest.

    >>> constants_by_kind(["achieved_bytes_ratio", "engine_layer_s"])
    {'engine': ['engine_layer_s'], 'accelerator': ['achieved_bytes_ratio']}
    """
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if not any(name in known for known in CONSTANTS.values()):
            raise UnknownNameError("constant", name, [*ENGINE, *DEVICE])
    return {kind: [name for name in wanted if name in known] for kind, known in CONSTANTS.items()}
