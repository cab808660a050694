"""The command that simulates one plan under load: simulate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

import click
import polars as pl
from polars import col

from pipeline import api
from pipeline.cli.options import FILE, RATE, SPREAD, format_options, option_field, taking
from pipeline.cli.output import for_people, show, talk
from pipeline.cli.plans import PlanOptions, plan_options
from pipeline.core.errors import UsageError
from pipeline.evidence.extras import library
from pipeline.evidence.simulation.plan import (
    closed_form_times,
    longest_tokens,
    requests_for,
    simulate_plan,
    simulation_of,
    split_scv,
    times_side_by_side,
)
from pipeline.evidence.simulation.simulate import MISSING
from pipeline.fleet.trace import read_trace, statistics_of
from pipeline.grid.point import point_axes
from pipeline.grid.replicas import Variation

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from pipeline.grid.axes import Axes

MOST_REQUESTS = 1_000_000
ROUTINGS = ["random", "round-robin", "least-outstanding"]


@dataclass(frozen=True)
class LoadOptions:
    """The load that a plan is put under, and what is expected of it."""

    requests_per_s: float | None = option_field("Rate of all replicas.  [default: the trace's]", type=RATE)
    arrival_cv: float = option_field("Burstiness: 1 is Poisson, 0 a clock.", type=SPREAD, default=1.0)
    prompt_cv: float = option_field("Spread of prompt lengths, lognormal.", type=SPREAD, default=1.0)
    output_cv: float = option_field("Spread of output lengths, lognormal.", type=SPREAD, default=1.0)
    trace: Path | None = option_field(
        "Requests of a file instead: arrival, prompt and output tokens, as CSV, JSON lines or Parquet.", type=FILE
    )
    requests: int = option_field("Requests to draw.", type=click.IntRange(10, MOST_REQUESTS), default=20_000)
    replicas: int = option_field("Replicas.", type=click.IntRange(1, 10_000), default=1)
    routing: str = option_field(
        "How requests are shared out among replicas.", type=click.Choice(ROUTINGS), default="random"
    )
    seed: int = option_field("Of all that is random.", type=click.IntRange(0, 2**31), default=1)
    ttft_p95: str | None = option_field("Objective of the p95 of the time to first token, such as 1s.")
    tpot_p95: str | None = option_field("Objective of the p95 of the time per output token, such as 50ms.")


class Traffic(NamedTuple):
    """Requests that come in: how fast, how they vary, and which, where a trace says so."""

    requests_per_s: float
    variation: Variation
    requests: pl.DataFrame | None = None


@click.command("simulate")
@plan_options
@taking(LoadOptions, "load")
@format_options
def simulate_command(
    plan: PlanOptions, catalogs_folder: Path | None, as_of: date, load: LoadOptions, shape: str
) -> None:
    """Simulate a plan under load, request by request, beside the closed form. Needs capgrid[sim].

    Steps take what capgrid estimates; who is in them follows the engine's scheduler. The first tenth
    of the requests is left out of percentiles.

    \b
    Example:
      capgrid simulate --model llama-3.1-8b --accelerator h100 --requests-per-s 8 --ttft-p95 1s --tpot-p95 50ms
    """  # noqa: D301
    library("simpy", MISSING)
    plan = replace(plan, ttft_slo_s=load.ttft_p95 or plan.ttft_slo_s, tpot_slo_s=load.tpot_p95 or plan.tpot_slo_s)
    if load.trace:
        plan, traffic = follow_trace(load.trace, plan, load)
    else:
        traffic = drawn_traffic(load)
    axes = point_axes(plan.as_point, api.catalogs(catalogs_folder), as_of)
    print_simulation(axes, traffic, load, plan.dp, shape)


def drawn_traffic(load: LoadOptions) -> Traffic:
    """Requests at the rate and with the spreads that the options say.

    Raises:
        UsageError: no rate.
    """
    if load.requests_per_s is None:
        raise UsageError("how many requests per second? Give --requests-per-s, or a --trace")
    if not isfinite(load.requests_per_s):
        raise UsageError(f"--requests-per-s {load.requests_per_s} is not a number")
    return Traffic(load.requests_per_s, Variation(load.prompt_cv, load.output_cv, load.arrival_cv))


def follow_trace(path: Path, plan: PlanOptions, load: LoadOptions) -> tuple[PlanOptions, Traffic]:
    """The plan with the lengths of a trace, and its requests; their rate holds where the options state none."""
    requests = read_trace(path)
    row = statistics_of(requests).row(0, named=True)
    talk(f"{path}: {requests.height:,} requests, CV of the times between them {row['arrival_cv']:.2f}")
    variation = Variation(row["prompt_cv"], row["output_cv"], row["arrival_cv"])
    plan = replace(plan, prompt_tokens=row["prompt_tokens"], output_tokens=row["output_tokens"])
    return plan, Traffic(load.requests_per_s or row["requests_per_s_mean"], variation, requests)


def print_simulation(axes: Axes, traffic: Traffic, load: LoadOptions, dp: int, shape: str) -> None:
    """Simulate, and print percentiles beside the closed form's."""
    rate, variation, requests = traffic
    groups = load.replicas * dp
    plan = simulation_of(axes, variation, rate / groups)
    if requests is None:
        requests = requests_for(plan, axes, variation, load.requests, load.seed)
        warn_of_cuts(requests, longest_tokens(plan.replica))
    seen = simulate_plan(plan, requests, rate, load.replicas, load.routing, load.seed)
    form = closed_form_times(plan, rate / groups, split_scv(variation.arrival_cv**2, groups, load.routing) ** 0.5)
    rows = times_side_by_side(plan, seen, form)
    show(readable_times(rows) if shape == "table" else rows, shape)
    met = "met" if rows["is_met"].drop_nulls().all() else "missed"
    servers = f"{groups:,} {'replica' if dp == 1 else 'data-parallel group'}{'s' * (groups > 1)}"
    talk(f"objective {met} in the simulation: {requests.height:,} requests at {rate:.4g}/s on {servers}")
    talk(f"closed form: {form['load_verdict']}, at {form['utilisation_ratio']:.3g} times the largest throughput")


def warn_of_cuts(requests: pl.DataFrame, longest: int) -> None:
    """Say how many lengths were cut, if any."""
    cut = requests.filter((col("prompt_tokens") >= longest) | (col("output_tokens") >= longest)).height
    if cut:
        talk(f"warning: lengths of {cut:,} requests were cut to {longest:,} tokens: the cache holds no longer ones")


def readable_times(rows: pl.DataFrame) -> pl.DataFrame:
    """Times as people read them."""
    return pl.DataFrame(
        [
            {
                "quantity": row["quantity"],
                "simulated": for_people(row["simulated_s"], "s"),
                "closed form": for_people(row["closed_form_s"], "s"),
                "difference": "-" if row["difference_ratio"] is None else f"{row['difference_ratio']:+.1%}",
                "objective": for_people(row["objective_s"], "s"),
                "met": for_people(row["is_met"]),
            }
            for row in rows.iter_rows(named=True)
        ]
    )


COMMANDS = (simulate_command,)
