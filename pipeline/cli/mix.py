"""The command that spreads several demands over several kinds of device: mix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline import api
from pipeline.cli.options import as_of_option, catalogs_option, format_options
from pipeline.cli.output import as_json, json_value, show, talk
from pipeline.core.errors import PipelineError
from pipeline.fleet.mix.cheapest import solve_mix
from pipeline.fleet.mix.file import read_mix
from pipeline.fleet.mix.model import import_solver
from pipeline.fleet.mix.options import demands_of, options_of
from pipeline.fleet.mix.sensitivity import at_bad_end, at_other_prices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date
    from pathlib import Path

    import polars as pl

    from pipeline.fleet.mix.cheapest import Mix
    from pipeline.fleet.mix.limits import Limits
    from pipeline.fleet.mix.sensitivity import BadEnd

    Problem = tuple[pl.DataFrame, pl.DataFrame, Limits]
    """Options, demands and limits."""

FLEET = (
    *("demand", "accelerator", "weights", "kv", "engine", "tp", "pp", "ep", "dp", "device_count", "region"),
    *("price_cloud", "price_date", "price_note", "device_usd_per_hour", "replicas", "devices", "nodes"),
    *("usd_per_hour", "usd_per_month", "fleet_power_w", "slo_requests_per_s", "slo_requests_per_s_lo", "confidence"),
)
"""Columns of the fleet that are printed, where they are there."""
PARTS = {
    # what is printed, and under which title
    "fleet": "Fleet: replicas of each plan, spares included",
    "demands": "Demands: what they get, with all replicas and without their spares",
    "limits": "Limits: used and left",
    "prices": "One kind of device at 0.8 and 1.2 of its price: is the choice the same?",
    "slow": "If every replica is as slow as the bad end of its band: does the fleet hold, and which would?",
}
PEOPLE = {
    # columns of tables for people, and what they are called there
    "device_count": "per replica",
    "price_cloud": "cloud",
    "usd_per_hour": "USD/h",
    "usd_per_month": "USD/month",
    "fleet_power_w": "power W",
    "slo_requests_per_s": "requests/s each",
    "requests_per_s": "requests/s",
    "planned_requests_per_s": "planned",
    "spare_replicas": "spare",
    "capacity_requests_per_s": "carries",
    "reserve_requests_per_s": "without spares",
    "utilisation_ratio": "utilisation",
    "usd_per_mtok_output": "USD/Mtok out",
    "price_ratio": "price times",
    "devices_then": "devices then",
    "kept_usd_per_hour": "this fleet USD/h",
    "capacity_requests_per_s_lo": "carries",
    "reserve_requests_per_s_lo": "without spares",
    "holds_at_lo": "holds",
    "holds_at_lo_without_spares": "holds without spares",
    "devices_lo": "devices then",
    "usd_per_hour_lo": "USD/h then",
}
HIDDEN = {"kv", "pp", "ep", "dp", "price_date", "price_note", "device_usd_per_hour", "slo_requests_per_s_lo"}
"""Columns that tables for people leave out; `gap_ratio` too, where all are exact."""


@click.command()
@click.argument("file")
@click.option(
    "--part",
    type=click.Choice(["all", *PARTS]),
    default="all",
    show_default=True,
    help="What to print; csv, md and parquet hold one part: the fleet, if nothing is said.",
)
@as_of_option
@catalogs_option
@format_options
def mix(file: str, catalogs_folder: Path | None, as_of: date, shape: str, part: str) -> None:
    """Choose the cheapest fleet for several demands under quotas and budgets. Needs capgrid[opt].

    FILE states demands, quotas, budgets and regions as TOML; `example` is one that comes with capgrid.
    Without a fleet within the limits, it says which of them would have to grow, and how far.

    \b
    Example:
      capgrid mix example --part fleet
    """  # noqa: D301
    import_solver()
    catalogs = api.catalogs(catalogs_folder)
    plan = read_mix(file, catalogs)
    options = options_of(plan, catalogs, as_of)
    demands = demands_of(plan, options, catalogs)
    answer = solve_mix(options, demands, plan.limits)
    check_feasible(answer)
    talk(mix_summary(answer, options.height))
    part = "fleet" if part == "all" and shape not in ("table", "json") else part
    parts = dict(printed_parts(answer, (options, demands, plan.limits), part))
    print_parts(parts, shape)


def check_feasible(answer: Mix) -> None:
    """Say why there is no fleet.

    Raises:
        PipelineError: there is none.
    """
    if not answer.is_feasible:
        raise PipelineError("\n  ".join(["no fleet serves all demands within all limits", *answer.problems]))


def mix_summary(answer: Mix, options: int) -> str:
    """The answer in a sentence."""
    fleet = answer.fleet
    sure = "none is cheaper" if not answer.gap_ratio else f"at most {answer.gap_ratio:.2%} above the cheapest there is"
    return (
        f"{options} options; {fleet['replicas'].sum()} replicas on {fleet['devices'].sum()} devices "
        f"for {answer.usd_per_hour:,.2f} USD/h: {sure}."
    )


def printed_parts(answer: Mix, problem: Problem, part: str) -> Iterator[tuple[str, pl.DataFrame]]:
    """What is to be printed, by name; what takes another search only where it is asked for."""
    made: dict[str, Callable[[], pl.DataFrame]] = {
        "fleet": lambda: answer.fleet.select(name for name in FLEET if name in answer.fleet.columns),
        "demands": lambda: answer.demands,
        "limits": lambda: answer.limits,
        "prices": lambda: at_other_prices(answer, *problem),
        "slow": lambda: demands_at(at_bad_end(answer, *problem)),
    }
    for name, make in made.items():
        if part in ("all", name):
            yield name, make()


def demands_at(end: BadEnd) -> pl.DataFrame:
    """The fleet at the bad end, and in a sentence what one that holds there costs, or why there is none."""
    if end.mix.is_feasible:
        talk(f"At the bad end of the band a fleet that holds costs {end.mix.usd_per_hour:,.2f} USD/h.")
    else:
        talk("At the bad end of the band quotas or power allow no fleet: " + "; ".join(end.mix.problems))
    return end.demands


def print_parts(parts: dict[str, pl.DataFrame], shape: str) -> None:
    """Print one part, or all of them: tables under titles, or one JSON object."""
    if shape == "json" and len(parts) > 1:
        click.echo(as_json(json_value({name: frame.to_dicts() for name, frame in parts.items()})))
        return
    for place, (name, frame) in enumerate(parts.items()):
        if shape != "table":
            show(frame, shape)
            continue
        if len(parts) > 1:
            click.echo(("\n" if place else "") + PARTS[name])
        show(people_names(frame), shape)


def people_names(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns that people look at first; where some searches ended early, how sure they are."""
    is_sure = "gap_ratio" not in frame.columns or not frame["gap_ratio"].ne_missing(0.0).any()
    hidden = HIDDEN | ({"gap_ratio"} if is_sure else set())
    names = [name for name in frame.columns if name not in hidden]
    words = PEOPLE | ({"usd_per_hour": "cheapest USD/h"} if "kept_usd_per_hour" in names else {})
    return frame.select(names).rename({name: words[name] for name in names if name in words})


COMMANDS = (mix,)
