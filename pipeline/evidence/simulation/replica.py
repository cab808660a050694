"""A replica of continuous batching simulated step by step: the judge of the closed forms of load.

A step takes `a + b n + c sum(context) + d tokens + e sum(chunk (read + chunk / 2))`: n sequences in it, the context of
those that decode, and the prompt tokens that are read. Everything else is who is in it: steps.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.core.errors import UsageError


@dataclass(frozen=True)
class Replica:
    """One replica: the line of its step, and its limits.

    Attributes:
        a_s: time of a step [s].
        b_s: what a sequence in the step adds [s].
        c_s: what a token of context of a sequence that decodes adds [s].
        d_s: what a prompt token that is read adds [s].
        e_s: what a pair of a prompt token and one before it adds [s].
        step_tokens: tokens of a step at most.
        slots: sequences that run at once at most.
        kv_tokens: tokens that the cache holds.
        block_tokens: tokens of a block of the cache.
        prefills_first: whether prompts are read in steps of their own, before any decoding.
        reserves: whether a sequence is admitted only where its whole output fits too; else the youngest starts again
            where cache runs out.
    """

    a_s: float
    b_s: float = 0.0
    c_s: float = 0.0
    d_s: float = 0.0
    e_s: float = 0.0
    step_tokens: int = 8192
    slots: int = 256
    kv_tokens: int = 10**9
    block_tokens: int = 16
    prefills_first: bool = False
    reserves: bool = False

    def __post_init__(self) -> None:
        """Refuse a replica on which time stands still or nothing fits."""
        if not self.a_s > 0 or min(self.b_s, self.c_s, self.d_s, self.e_s) < 0:
            raise UsageError(f"a step that takes {self.a_s} s, and less with more in it: no replica is like that")
        for name in ("step_tokens", "slots", "kv_tokens", "block_tokens"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} = {getattr(self, name)} is not a whole number from 1")

    @property
    def blocks(self) -> int:
        """Blocks of the cache."""
        return self.kv_tokens // self.block_tokens

    def blocks_of(self, tokens: int) -> int:
        """Blocks that so many tokens take."""
        return -(-tokens // self.block_tokens)
