"""Bytes of a checkpoint as it is published: every group of parameters in the format that its config says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.facts.config.quantisation import HALF_BITS, storage_of

if TYPE_CHECKING:
    from collections.abc import Mapping

STORED = {
    # group of parameters, and the group whose bits it is stored in; what is not named stays 16-bit
    "attention": "attention",
    "linear": "attention",
    "dense_ffn": "dense",
    "routed_experts": "experts",
    "shared_experts": "shared",
    "embedding": "tables",
    "head": "tables",
}


def checkpoint_facts(config: Mapping[str, Any], groups: Mapping[str, int], layers: int, towers: int) -> dict[str, Any]:
    """How the weights are stored, and what they weigh; prediction heads are not among them.

    Norms, routers, positions, biases and towers stay 16-bit. Models stored in 32 bits are counted
    as served, in 16.

    >>> checkpoint_facts({}, {"attention": 1000, "norms": 10}, 1, 0)["checkpoint_bytes"]
    2020
    """
    stored = storage_of(config, layers)
    bits = {name: stored.bits[STORED[name]] if name in STORED else HALF_BITS for name in groups}
    weight = sum(count * bits[name] for name, count in groups.items()) + HALF_BITS * towers
    return {
        "checkpoint_method": stored.method,
        "checkpoint_weight_bits": {name: round(bits[name], 6) for name in sorted(bits) if groups[name]},
        "checkpoint_bytes": round(weight / 8),
        "warnings": list(stored.warnings),
    }
