"""The command that simulates one plan under load: simulate."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import format_options
from pipeline.cli.output import for_people, show, talk
from pipeline.cli.plans import plan_options, point_and_axes

if TYPE_CHECKING:
    from datetime import date

    import polars as pl

    from pipeline.grid.axes import Axes
    from pipeline.grid.replicas import Variation

SPREAD = click.FloatRange(0, 20)
MOST_REQUESTS = 1_000_000


@click.command()
@plan_options
@click.option(
    "--requests-per-s", type=click.FloatRange(0, min_open=True), help="Rate of all replicas.  [default: the trace's]"
)
@click.option("--arrival-cv", type=SPREAD, default=1.0, show_default=True, help="Burstiness: 1 is Poisson, 0 a clock.")
@click.option("--prompt-cv", type=SPREAD, default=1.0, show_default=True, help="Spread of prompt lengths, lognormal.")
@click.option("--output-cv", type=SPREAD, default=1.0, show_default=True, help="Spread of output lengths, lognormal.")
@click.option(
    "--trace",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Requests of a file instead: arrival, prompt and output tokens, as CSV, JSON lines or Parquet.",
)
@click.option(
    "--requests", type=click.IntRange(10, MOST_REQUESTS), default=20_000, show_default=True, help="Requests to draw."
)
@click.option("--replicas", type=click.IntRange(1, 10_000), default=1, show_default=True, help="Replicas.")
@click.option(
    "--routing",
    type=click.Choice(["random", "round-robin", "least-outstanding"]),
    default="random",
    show_default=True,
    help="How requests are shared out among replicas.",
)
@click.option("--seed", type=click.IntRange(0, 2**31), default=1, show_default=True, help="Of all that is random.")
@click.option("--ttft-p95", help="Objective of the p95 of the time to first token, such as 1s.")
@click.option("--tpot-p95", help="Objective of the p95 of the time per output token, such as 50ms.")
@format_options
def simulate(
    catalogs_folder: Path | None,
    as_of: date,
    shape: str,
    trace: Path | None,
    ttft_p95: str,
    tpot_p95: str,
    **asked: Any,
) -> None:
    """Simulate a plan under load, request by request, beside the closed form. Needs capgrid[sim].

    Steps take what capgrid estimates; who is in them follows the engine's scheduler. The first tenth
    of the requests is left out of percentiles.

    \b
    Example:
      capgrid simulate --model llama-3.1-8b --accelerator h100 --requests-per-s 8 --ttft-p95 1s --tpot-p95 50ms
    """  # noqa: D301
    from pipeline.evidence.extras import library  # noqa: PLC0415
    from pipeline.evidence.simulation.simulate import MISSING  # noqa: PLC0415

    library("simpy", MISSING)
    asked["ttft_slo_s"] = ttft_p95 or asked["ttft_slo_s"]
    asked["tpot_slo_s"] = tpot_p95 or asked["tpot_slo_s"]
    requests, variation = from_trace(trace, asked) if trace else (None, spreads(asked))
    _, axes, _ = point_and_axes(asked, catalogs_folder, as_of)
    tell(axes, variation, requests, asked, shape)


def spreads(asked: dict[str, Any]) -> Variation:
    """How requests vary, as the options say.

    Raises:
        UsageError: no rate.
    """
    from pipeline.core.errors import UsageError  # noqa: PLC0415
    from pipeline.grid.replicas import Variation  # noqa: PLC0415

    if asked["requests_per_s"] is None:
        raise UsageError("how many requests per second? Give --requests-per-s, or a --trace")
    if not isfinite(asked["requests_per_s"]):
        raise UsageError(f"--requests-per-s {asked['requests_per_s']} is not a number")
    return Variation(asked["prompt_cv"], asked["output_cv"], asked["arrival_cv"])


def from_trace(path: Path, asked: dict[str, Any]) -> tuple[pl.DataFrame, Variation]:
    """The requests of a trace and how they vary; its lengths and rate hold where the options state none."""
    from pipeline.fleet.trace import read_trace, statistics_of  # noqa: PLC0415
    from pipeline.grid.replicas import Variation  # noqa: PLC0415

    requests = read_trace(path)
    told = statistics_of(requests).row(0, named=True)
    asked["prompt_tokens"], asked["output_tokens"] = told["prompt_tokens"], told["output_tokens"]
    asked["requests_per_s"] = asked["requests_per_s"] or told["requests_per_s_mean"]
    talk(f"{path}: {requests.height:,} requests, CV of the times between them {told['arrival_cv']:.2f}")
    return requests, Variation(told["prompt_cv"], told["output_cv"], told["arrival_cv"])


def tell(axes: Axes, variation: Variation, requests: pl.DataFrame | None, asked: dict[str, Any], shape: str) -> None:
    """Simulate, and print percentiles beside the closed form's."""
    from pipeline.evidence.simulation.plan import (  # noqa: PLC0415
        closed_form_times,
        longest_tokens,
        requests_for,
        simulate_plan,
        simulation_of,
        split_scv,
        times_side_by_side,
    )

    rate, count, routing, seed = (asked[name] for name in ("requests_per_s", "replicas", "routing", "seed"))
    groups = count * asked["dp"]
    plan = simulation_of(axes, variation, rate / groups)
    if requests is None:
        requests = requests_for(plan, axes, variation, asked["requests"], seed)
        warn_of_cuts(requests, longest_tokens(plan.replica))
    seen = simulate_plan(plan, requests, rate, count, routing, seed)
    said = closed_form_times(plan, rate / groups, split_scv(variation.arrival_cv**2, groups, routing) ** 0.5)
    rows = times_side_by_side(plan, seen, said)
    show(readable(rows) if shape == "table" else rows, shape)
    met = "met" if rows["is_met"].drop_nulls().all() else "missed"
    servers = f"{groups:,} {'replica' if asked['dp'] == 1 else 'data-parallel group'}{'s' * (groups > 1)}"
    talk(f"objective {met} in the simulation: {requests.height:,} requests at {rate:.4g}/s on {servers}")
    talk(f"closed form: {said['load_verdict']}, at {said['utilisation_ratio']:.3g} times the largest throughput")


def warn_of_cuts(requests: pl.DataFrame, longest: int) -> None:
    """Say how many lengths were cut, if any."""
    from polars import col  # noqa: PLC0415

    cut = requests.filter((col("prompt_tokens") >= longest) | (col("output_tokens") >= longest)).height
    if cut:
        talk(f"warning: lengths of {cut:,} requests were cut to {longest:,} tokens: the cache holds no longer ones")


def readable(rows: pl.DataFrame) -> pl.DataFrame:
    """Times as people read them."""
    import polars as pl  # noqa: PLC0415

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


COMMANDS = (simulate,)
