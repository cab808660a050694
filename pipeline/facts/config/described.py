"""A model as its config and its class describe it: all that counting needs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from pipeline.facts.config.families import Family
from pipeline.facts.config.feedforward import Experts
from pipeline.facts.config.layers import Stack
from pipeline.facts.config.read import Reader
from pipeline.facts.config.recurrent import Mixer

VECTORS = {"rms": 1, "layer": 2, "none": 0}
"""Vectors of one norm."""

Groups = Counter[str]
"""Parameters by group: embedding, positions, head, attention, dense_ffn, routed_experts, shared_experts, router,
norms, biases, linear, other."""


@dataclass(frozen=True)
class Model:
    """All that counting needs."""

    reader: Reader
    family: Family
    stack: Stack
    experts: Experts | None
    mixer: Mixer | None
    tied: bool

    @property
    def norm(self) -> int:
        """Parameters of one norm over the hidden width."""
        return self.stack.hidden * VECTORS[self.family.norm]

    @property
    def gated(self) -> int:
        """Matrices of a feed-forward block."""
        return 2 + self.reader.says(self.family.gated)
