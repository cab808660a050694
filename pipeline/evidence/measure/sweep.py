"""The case study's experiment: batches and prompts until memory, or the time given, runs out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Tell = Callable[[str], None]
WARM_UP_TOKENS = 2
MEMORY_SHARE = 1 / 3
"""Share of the time after which times are measured, though some points have no memory yet."""


class OutOfMemory(Exception):  # noqa: N818
    """The device had no memory left for a run; it can go on with smaller ones."""


class Runner(Protocol):
    """What can run one batch of equal prompts."""

    def token_s(self, batch: int, prompt_tokens: int, output_tokens: int) -> Sequence[float]:
        """Seconds from the start until each token is there.

        Raises:
            OutOfMemory: it does not fit.
        """
        ...

    def peak_bytes(self, batch: int, prompt_tokens: int, output_tokens: int) -> int:
        """Largest memory in use while it runs; it may take longer than `token_s`.

        Raises:
            OutOfMemory: it does not fit.
        """
        ...


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    batches: Sequence[int]
    prompts: Sequence[int]
    output_tokens: int = 16
    repeats: int = 5
    warm_ups: int = 1
    budget_s: float = float("inf")

    def points(self) -> Iterator[tuple[int, int]]:
        """Batches and prompts, the smallest batches first: what a short run leaves still spans all prompts."""
        yield from product(sorted(set(self.batches)), sorted(set(self.prompts)))


@dataclass
class Point:
    """What was measured of one batch and prompt length: a time for each repeat, memory once."""

    batch: int
    prompt_tokens: int
    output_tokens: int
    ttft_s: list[float] = field(default_factory=list)
    tpot_s: list[float] = field(default_factory=list)
    first_peak_bytes: int = 0
    peak_bytes: int = 0
    ran_out: bool = False

    def add(self, first: Sequence[float], whole: Sequence[float]) -> None:
        """Keep one repeat: a run of one token, as the article takes its TTFT, and a run of all of them."""
        self.ttft_s.append(first[-1])
        if len(whole) > 1:
            self.tpot_s.append((whole[-1] - whole[0]) / (len(whole) - 1))


@dataclass
class Sweep:
    """All points, and why no more came."""

    points: list[Point] = field(default_factory=list)
    ended: str = "done"


def quartile_ratio(values: Sequence[float]) -> float:
    """How far the quartiles lie apart, as a share of the median; 0 of fewer than two values.

    >>> round(quartile_ratio([1.0, 2.0, 3.0]), 2), quartile_ratio([5.0])
    (0.5, 0.0)
    """
    middle = median(values)
    if len(values) < 2 or not middle:  # noqa: PLR2004
        return 0.0
    low, _, high = quantiles(values, n=4, method="inclusive")
    return (high - low) / middle


def sweep(runner: Runner, plan: Plan, tell: Tell, clock: Callable[[], float] = perf_counter) -> Sweep:
    """Measure point after point, memory before times; what was measured stays, however it ends.

    Memory comes first, for all points: it says where it runs out, and a process that was timed
    keeps memory in pieces. A batch that ran out is recorded, and those at least as large are left
    out. An interrupt (Ctrl-C) ends the sweep, not the program.
    """
    begun = clock()
    found = Sweep([Point(*size, plan.output_tokens) for size in plan.points()])
    try:
        for step, share in ((measure_memory, MEMORY_SHARE), (measure_times, 1.0)):
            late = begun + plan.budget_s * share
            for place, point in enumerate(found.points, 1):
                if clock() > late:
                    found.ended = "budget" if share == 1.0 else found.ended
                    break
                if is_past_memory(point, found.points):
                    continue
                step(runner, plan, point, partial(is_over, clock, late))
                tell(f"{place}/{len(found.points)}  {progress_line(point)}  {clock() - begun:.0f} s")
    except KeyboardInterrupt:
        found.ended = "stopped"
    found.points = [each for each in found.points if each.ttft_s or each.peak_bytes or each.ran_out]
    return found


def is_over(clock: Callable[[], float], end: float) -> bool:
    """Whether a time has come."""
    return clock() > end


def is_past_memory(point: Point, points: Sequence[Point]) -> bool:
    """Whether this point, or one that is no larger, ran out of memory."""
    return any(
        each.ran_out and each.batch <= point.batch and each.prompt_tokens <= point.prompt_tokens for each in points
    )


def measure_memory(runner: Runner, plan: Plan, point: Point, _is_late: Callable[[], bool]) -> None:
    """Measure the memory of one point, reading prompts alone and writing all tokens."""
    size = (point.batch, point.prompt_tokens)
    try:
        first = runner.peak_bytes(*size, 1)
        point.first_peak_bytes, point.peak_bytes = first, runner.peak_bytes(*size, plan.output_tokens)
    except OutOfMemory:
        point.ran_out = True


def measure_times(runner: Runner, plan: Plan, point: Point, is_late: Callable[[], bool]) -> None:
    """Time one point: warm up, then repeat until it is enough or the time is over."""
    size = (point.batch, point.prompt_tokens)
    try:
        for _ in range(plan.warm_ups):
            runner.token_s(*size, min(plan.output_tokens, WARM_UP_TOKENS))
        for _ in range(plan.repeats):
            point.add(runner.token_s(*size, 1), runner.token_s(*size, plan.output_tokens))
            if is_late():
                return
    except OutOfMemory:
        point.ran_out = not point.peak_bytes  # what once fitted was only kept in pieces: it stays untimed


def progress_line(point: Point) -> str:
    """A point in a line of progress."""
    name = f"batch {point.batch} x {point.prompt_tokens} tokens"
    if point.ran_out:
        return f"{name}: out of memory"
    if not point.ttft_s:
        return f"{name}: {point.peak_bytes / 1e9:.4g} GB"
    tpot = f", TPOT {median(point.tpot_s) * 1e3:.4g} ms" if point.tpot_s else ""
    spread = max(quartile_ratio(point.ttft_s), quartile_ratio(point.tpot_s) if point.tpot_s else 0.0)
    return f"{name}: TTFT {median(point.ttft_s) * 1e3:.4g} ms{tpot}, quartiles {spread:.0%} apart"
