"""Why no fleet serves all demands within all limits: which of them would have to give way, and how far.

Each limit is let grow alone, and by as little as will do; where none is enough alone, all together.
Each demand is cut alone, by as little as will do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
from polars import col

from pipeline.core.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.fleet.mix_limits import Limit
    from pipeline.fleet.mix_model import Programme, Solution

NOTHING_RATIO = 1e-6
"""Growth of a limit, as a share of it, that is rounding."""


@dataclass(frozen=True)
class Explained:
    """What would have to give way, as frames and in words."""

    demands: pl.DataFrame
    limits: pl.DataFrame
    problems: tuple[str, ...]


def without_options(options: pl.DataFrame, usable: pl.DataFrame, demands: pl.DataFrame, rate: str) -> tuple[str, ...]:
    """A sentence for each demand that no option serves, whatever the limits."""
    alone = demands.join(usable, on="demand", how="anti", maintain_order="left")["demand"]
    return tuple(f"'{each}': {reason(options.filter(col('demand') == each), rate)}" for each in alone)


def reason(own: pl.DataFrame, rate: str) -> str:
    """Why none of a demand's options can be chosen."""
    if own.is_empty():
        return "no plan meets its objectives"
    if not (own[rate].fill_null(0) > 0).any():
        return "no plan meets its objectives at that end of the estimate's band"
    if own["device_usd_per_hour"].null_count() == own.height:
        return "no device that serves it has a price; state one, or another market"
    return "what it may use (accelerators, clouds, regions) has no plan with a price that meets its objectives"


def explained(programme: Programme, demands: pl.DataFrame) -> Explained:
    """What each limit and each demand would have to give, alone; all limits together where none is enough alone."""
    limits = programme.limits
    alone = [needed(programme, lambda at=at: programme.least_growth([at]), at) for at in range(len(limits))]
    every = (
        None if any(each is not None for each in alone) else tried(lambda: programme.least_growth(range(len(limits))))
    )
    together = (
        [None] * len(limits)
        if every is None
        else [each.allowed + float(grown) for each, grown in zip(limits, every.growth, strict=True)]
    )
    possible = [served_at_most(programme, at) for at in range(demands.height)]
    told = pl.DataFrame(
        {
            "limit": [each.name for each in limits],
            "unit": [each.unit for each in limits],
            "allowed": [float(each.allowed) for each in limits],
            "needed_alone": alone,
            "needed_together": together,
        },
        schema_overrides={"needed_alone": pl.Float64, "needed_together": pl.Float64},
    )
    cut = demands.rename({"planned": "planned_requests_per_s"}).with_columns(
        pl.Series("possible_requests_per_s", possible, pl.Float64)
    )
    return Explained(cut, told, tuple(in_words(limits, alone, together, cut)))


def tried(solve: Callable[[], Solution | None]) -> Solution | None:
    """What a search finds; nothing where time ends it empty-handed."""
    try:
        return solve()
    except PipelineError:
        return None


def needed(programme: Programme, solve: Callable[[], Solution | None], at: int) -> float | None:
    """How large one limit would have to be if nothing else gave way; nothing where that is not enough."""
    found = tried(solve)
    return None if found is None else float(programme.limits[at].allowed + found.growth[at])


def served_at_most(programme: Programme, at: int) -> float | None:
    """Requests per second of one demand that are possible beside all of the others."""
    found = tried(lambda: programme.least_cut(at))
    return None if found is None else float(found.served[at])


def in_words(
    limits: list[Limit], alone: list[float | None], together: list[float | None], cut: pl.DataFrame
) -> Iterator[str]:
    """The same as sentences, the ways out first."""
    for limit, size in zip(limits, alone, strict=True):
        if size is not None:
            yield f"'{limit.name}' binds: {grown(limit, size)} would do, if nothing else gives way"
    several = [
        grown(limit, size)
        for limit, size in zip(limits, together, strict=True)
        if size is not None and grows(limit, size)
    ]
    if several:
        yield f"no limit is enough alone; together: {'; '.join(several)}"
    for row in cut.iter_rows(named=True):
        if row["possible_requests_per_s"] is not None:
            yield f"or '{row['demand']}' is cut from {row['planned_requests_per_s']:.4g} to {row['possible_requests_per_s']:.4g} requests/s"


def grows(limit: Limit, size: float) -> bool:
    """Whether a limit grows by more than rounding."""
    return size - limit.allowed > NOTHING_RATIO * limit.scale


def grown(limit: Limit, size: float) -> str:
    """A limit and what it would have to be."""
    text = f"{size:.0f}" if limit.unit == "devices" else f"{size:,.2f}"
    return f"{limit.name} from {limit.allowed:g} to {text} {limit.unit}"
