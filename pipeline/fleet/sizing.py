"""From options to fleets: replicas rounded up, spares, devices, nodes, money; the cheapest after rounding."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl
from polars import col

from pipeline.core.errors import UsageError
from pipeline.estimators.money.fleet import reserve_replicas
from pipeline.fleet.availability import Redundancy, redundant
from pipeline.fleet.pools import OWN, add_prefill, reads_in_time
from pipeline.grid.load import E2E, INPUTS, TPOT, TTFT, fill_inputs, meets_objectives, under_load

if TYPE_CHECKING:
    from collections.abc import Mapping

TIES = ["devices", "device_count", "accelerator", "weights", "kv", "engine", "tp", "pp", "ep", "dp", "prefill_workers"]
"""What decides between fleets of one price."""
MOST_REPLICAS = 10**7


@dataclass(frozen=True)
class Sizing:
    """What a fleet must carry, and what it must survive."""

    requests_per_s: float
    """Rate that latencies, cost per token and utilisation are told at."""
    plan_requests_per_s: float | None = None
    """Rate that the fleet is sized for; `requests_per_s` with headroom where left out."""
    headroom_ratio: float = 0.1
    """What is added to the rate. Source: study of load, section 4: it covers the form's error in 9 of 10 cases."""
    arrival_cv: float = 1.0
    """Unevenness of all arrivals; a replica gets every n-th at random."""
    spare_replicas: int = 1
    redundancy: Redundancy = field(default_factory=Redundancy)

    def __post_init__(self) -> None:
        """Refuse rates that nobody has."""
        if not 0 < self.requests_per_s <= 1e9:  # noqa: PLR2004
            raise UsageError(f"requests per second = {self.requests_per_s}: above 0, and at most 10^9")
        if not 0 <= self.headroom_ratio <= 100:  # noqa: PLR2004
            raise UsageError(f"headroom = {self.headroom_ratio}: a share from 0 to 100, such as 0.1")
        if not 0 <= self.spare_replicas <= 10**6:
            raise UsageError(f"spare = {self.spare_replicas}: a whole number from 0")

    @property
    def planned_per_s(self) -> float:
        """The rate that the fleet is sized for."""
        planned = self.plan_requests_per_s
        return planned if planned is not None else self.requests_per_s * (1.0 + self.headroom_ratio)


def size_fleets(options: pl.DataFrame, sizing: Sizing, interruption_ratio: float = 0.0) -> pl.DataFrame:
    """Options as fleets: replicas rounded up, spares, devices, nodes, and what requests see.

    Args:
        options: of `options_for`.
        sizing: what to carry.
        interruption_ratio: replicas kept besides, as a share of those that work, because devices may be taken away.

    Returns:
        The options with `working_replicas`, `replicas` (spares included), `spare_replicas`, `devices`,
        `nodes`; `utilisation_ratio`, `load_verdict` and latencies of a working replica that gets its
        share of the rate while spares idle.
    """
    needed = replicas_needed(options, sizing.planned_per_s, sizing.arrival_cv)
    kept = reserve_replicas(col("working_replicas"), pl.lit(interruption_ratio))
    rows = options.with_columns(working_replicas=needed).with_columns(
        replicas_needed=col("working_replicas") + sizing.spare_replicas + kept
    )
    rows = redundant(rows, sizing.redundancy)
    rows = rows.with_columns(spare_replicas=col("replicas") - col("working_replicas"))
    return with_latencies(rows, sizing.requests_per_s, sizing.arrival_cv).drop("replicas_needed", "node_replicas")


def replicas_needed(options: pl.DataFrame, planned_per_s: float, arrival_cv: float) -> pl.Series:
    """The fewest replicas n of each option so that n of them carry the rate within the objective.

    Each gets every n-th request at random, so that bursts thin out: ca2 = 1 + (CV^2 - 1) / n.
    Where arrivals are Poisson that is the rate over `slo_requests_per_s`, rounded up.

    Source: study of load, section 5.
    """
    even = whole_up(planned_per_s / options["slo_requests_per_s"])
    if arrival_cv == 1.0:
        return even.alias("working_replicas")
    low, high = (even - 1 if arrival_cv > 1 else even * 0), even
    enough = carries(options, high, planned_per_s, arrival_cv)
    while not enough.all() and (high < MOST_REPLICAS).all():  # with more replicas bursts thin out
        low, high = pick(enough, low, high), pick(enough, high, high * 2)
        enough = carries(options, high, planned_per_s, arrival_cv)
    while ((high - low) > 1).any():
        middle = (low + high + 1) // 2  # of a bracket that is closed already: its upper end, which is enough
        enough = carries(options, middle, planned_per_s, arrival_cv)
        low, high = pick(enough, low, middle), pick(enough, middle, high)
    return high.clip(1).alias("working_replicas")


def pick(holds: pl.Series, then: pl.Series, otherwise: pl.Series) -> pl.Series:
    """One series or the other, row by row."""
    return then.zip_with(holds, otherwise)


def whole_up(exact: pl.Series) -> pl.Series:
    """Numbers rounded up to whole ones, 1 at least; 3 and a rounding error is 3."""
    return (exact - 1e-9).ceil().clip(1, MOST_REPLICAS).cast(pl.Int64)


def carries(options: pl.DataFrame, count: pl.Series, planned_per_s: float, arrival_cv: float) -> pl.Series:
    """Whether so many replicas carry the rate within the objective, each with its share of the bursts."""
    share, uneven = shares(count * options["load_groups"], planned_per_s, arrival_cv)
    holds = meets_objectives(fill_inputs(as_load(options)).with_columns(share, uneven), cautious=True)
    if not is_apart(options):
        return holds
    return holds & reads_in_time(options, *shares(count * prefill_groups(options), planned_per_s, arrival_cv))


def shares(groups: pl.Series, requests_per_s: float, arrival_cv: float) -> tuple[pl.Series, pl.Series]:
    """What each of so many gets of a rate at random: `arrivals_per_s` and `arrival_cv`."""
    cv = pl.select(arrival_cv=spread_cv(pl.lit(1.0 * groups), arrival_cv))["arrival_cv"]
    return (requests_per_s / groups).alias("arrivals_per_s"), cv


def is_apart(options: pl.DataFrame) -> bool:
    """Whether prompts are read by workers of their own; a demand asks for it, so that all its options are alike."""
    return "left_s" in options.columns


def prefill_groups(options: pl.DataFrame) -> pl.Series:
    """Groups of the prefill workers of one replica."""
    return options["prefill_workers"] * options["dp"]


def spread_cv(replicas: pl.Expr, arrival_cv: float) -> pl.Expr:
    """Unevenness of what one of n replicas gets at random. Source: study of load, section 5."""
    return (1.0 + (arrival_cv**2 - 1.0) / replicas).clip(0.05).sqrt()


def as_load(options: pl.DataFrame) -> pl.DataFrame:
    """Options as the load formulas read them: outputs in steps, objectives of steps."""
    own = [name for name in INPUTS if name != "output_tokens"]
    return options.select(*own, "ttft_slo_s", "tpot_slo_s", output_tokens="load_output_tokens")


TIGHT = 0.4
"""Share of what a replica can finish below which a p95 hangs on single collisions. Source: study of load, section 4."""
UNDER_LOAD = (*TTFT, *TPOT, *E2E, "running_batch", "load_verdict")


def with_latencies(fleets: pl.DataFrame, requests_per_s: float, arrival_cv: float) -> pl.DataFrame:
    """Fleets with what their requests see, and how busy their working replicas are."""
    working = fleets["working_replicas"]
    arrivals = shares(working * fleets["load_groups"], requests_per_s, arrival_cv)
    seen = under_load(as_load(fleets).with_columns(*arrivals))
    tokens = fleets["accepted_tokens"]
    latencies = [seen[name] / tokens if name.startswith("tpot_") else seen[name] for name in UNDER_LOAD]
    tight = fleets["slo_requests_per_s"] / (seen["arrivals_max_per_s"] * fleets["load_groups"]) < TIGHT
    is_tight = (col("load_verdict") == "stable") & pl.lit(tight)
    verdict = pl.when(is_tight).then(pl.lit("tight")).otherwise(col("load_verdict").cast(pl.String))
    rows = fleets.with_columns(*latencies, seen["utilisation_ratio"]).with_columns(load_verdict=verdict)
    if not is_apart(rows):
        return rows
    late = add_prefill(rows, *shares(working * prefill_groups(rows), requests_per_s, arrival_cv))
    return late.with_columns(ttft_slo_s="whole_ttft_slo_s", **{name[4:]: col(name) for name in OWN})


def within_budget(fleets: pl.DataFrame, quotas: Mapping[str, int], budget_usd_per_hour: float | None) -> pl.DataFrame:
    """Fleets that quotas of devices and a budget allow; those without a price break every budget."""
    allowed = pl.lit(True)
    for accelerator, devices in quotas.items():
        allowed &= (col("accelerator") != accelerator) | (col("devices") <= devices)
    if budget_usd_per_hour is not None:
        allowed &= (col("usd_per_hour") <= budget_usd_per_hour).fill_null(False)
    return fleets.filter(allowed)
