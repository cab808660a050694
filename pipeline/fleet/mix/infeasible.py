"""Why no fleet serves all demands within all limits: which of them would have to give way, and how far.

Each limit is let grow alone, and by as little as will do; where none is enough alone, all together.
Each demand is cut alone, by as little as will do. Where time ends a search, what it found does, but less might.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

import polars as pl
from polars import col

from pipeline.core.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipeline.fleet.mix.limits import Limit
    from pipeline.fleet.mix.model import Programme, Solution

TIME_LIMIT_S = 10.0
"""Of all searches together."""
LEAST_S = 0.3
"""What each of them gets at least."""
NEEDED = {"limit": pl.String, "unit": pl.String} | dict.fromkeys(
    ("allowed", "needed_alone", "needed_together"), pl.Float64
)
NOTHING_RATIO = 1e-6
"""Growth of a limit, or a rate that is left, as a share of the whole, that is rounding."""


@dataclass(frozen=True)
class WaysOut:
    """What would have to give way, as frames and in words."""

    demands: pl.DataFrame
    limits: pl.DataFrame
    problems: tuple[str, ...]


@dataclass
class Turns:
    """Searches that share a time: what one leaves, the next ones have."""

    left: int
    ends_s: float

    def next_s(self) -> float:
        """Seconds of the next search."""
        self.left -= 1
        return max(LEAST_S, (self.ends_s - monotonic()) / (self.left + 1))


def without_options(options: pl.DataFrame, usable: pl.DataFrame, demands: pl.DataFrame, rate: str) -> tuple[str, ...]:
    """A sentence for each demand that no option serves, whatever the limits."""
    alone = demands.join(usable, on="demand", how="anti", maintain_order="left")["demand"]
    return tuple(f"'{each}': {why_no_option(options.filter(col('demand') == each), rate)}" for each in alone)


def why_no_option(own: pl.DataFrame, rate: str) -> str:
    """Why none of a demand's options can be chosen."""
    if own.is_empty():
        return "no plan meets its objectives"
    if not (own[rate].fill_null(0) > 0).any():
        return "no plan meets its objectives at that end of the estimate's band"
    if own["device_usd_per_hour"].null_count() == own.height:
        return "no device that serves it has a price; state one, or another market"
    return "what it may use (accelerators, clouds, regions) has no plan with a price that meets its objectives"


def explain_infeasible(programme: Programme, demands: pl.DataFrame) -> WaysOut:
    """What each limit and each demand would have to give, alone; all limits together where none is enough alone."""
    limits = programme.limits
    turns = Turns(len(limits) + demands.height + 1, monotonic() + TIME_LIMIT_S)
    alone = [limits_needed(programme, [at], turns)[at] for at in range(len(limits))]
    is_enough = any(each is not None for each in alone)
    together = [None] * len(limits) if is_enough else limits_needed(programme, range(len(limits)), turns)
    possible = [served_at_most(programme, at, turns) for at in range(demands.height)]
    needed = zip(limits, alone, together, strict=True)
    rows = [(of.name, of.unit, float(of.allowed), one, both) for of, one, both in needed]
    told = pl.DataFrame(rows, schema=NEEDED, orient="row")
    cut = demands.rename({"planned": "planned_requests_per_s"}).with_columns(
        pl.Series("possible_requests_per_s", possible, pl.Float64)
    )
    words = tuple(ways_out(limits, alone, together, cut))
    return WaysOut(cut, told, words or ("which of the limits would have to give way was not found in time",))


def search_or_none(solve: Callable[[], Solution | None]) -> Solution | None:
    """What a search finds; nothing where time ends it empty-handed."""
    try:
        return solve()
    except PipelineError:
        return None


def limits_needed(programme: Programme, grown: Sequence[int], turns: Turns) -> list[float | None]:
    """How large each limit would have to be if only these gave way; nothing where that is not enough."""
    found = search_or_none(lambda: programme.least_growth(grown, turns.next_s()))
    if found is None:
        return [None] * len(programme.limits)
    return [each.allowed + float(more) for each, more in zip(programme.limits, found.growth, strict=True)]


def served_at_most(programme: Programme, at: int, turns: Turns) -> float | None:
    """Requests per second of one demand that are possible beside all of the others."""
    found = search_or_none(lambda: programme.least_cut(at, turns.next_s()))
    if found is None:
        return None
    possible, asked = float(found.served[at]), programme.wanted[at].requests_per_s
    return possible if possible > NOTHING_RATIO * asked else 0.0


def ways_out(
    limits: Sequence[Limit], alone: Sequence[float | None], together: Sequence[float | None], cut: pl.DataFrame
) -> Iterator[str]:
    """The same as sentences, the ways out first."""
    for limit, size in zip(limits, alone, strict=True):
        if size is not None:
            yield f"{limit.name!r} binds: {growth_text(limit, size)} would do, all else as it is"
    several = [
        f"{limit.name!r} {growth_text(limit, size)}"
        for limit, size in zip(limits, together, strict=True)
        if size is not None and grows(limit, size)
    ]
    if several:
        yield f"no limit is enough alone; together {', '.join(several)}"
    for row in cut.iter_rows(named=True):
        if row["possible_requests_per_s"] is not None:
            asked, possible = row["planned_requests_per_s"], row["possible_requests_per_s"]
            yield f"or '{row['demand']}' is cut from {asked:.4g} to {possible:.4g} requests/s, headroom included"


def grows(limit: Limit, size: float) -> bool:
    """Whether a limit grows by more than rounding."""
    return size - limit.allowed > NOTHING_RATIO * limit.scale


def growth_text(limit: Limit, size: float) -> str:
    """A limit and what it would have to be."""
    text = f"{size:.0f}" if limit.unit == "devices" else f"{size:,.2f}"
    return f"{text} {limit.unit} in place of {limit.allowed:,g}"
