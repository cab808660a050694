"""The fleets of a run: every option for every demand that its grid states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.core.errors import PipelineError
from pipeline.core.files import write_parquet
from pipeline.fleet.options import BASE_WORKLOAD, Choice, Demand
from pipeline.fleet.plans import FleetPlan, plan_fleets
from pipeline.fleet.sizing import Sizing
from pipeline.grid.replicas import Variation
from pipeline.grid.schema import TABLES, stored, validated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.facts.catalog import Catalogs
    from pipeline.run.job import Job

FILE = "fleet.parquet"
LENGTHS = ("prompt_tokens", "output_tokens", "ttft_p95_s", "tpot_p95_s")


def write_fleets(job: Job, catalogs: Catalogs) -> int:
    """Write the fleets of a run, an empty table where its grid demands none; says how many rows."""
    frame = fleets_of_job(job, catalogs)
    write_parquet(frame, job.folder / FILE, {"capgrid.run": job.id})
    return frame.height


def fleets_of_job(job: Job, catalogs: Catalogs) -> pl.DataFrame:
    """The table `fleet`: all options of all demands, each demand's cheapest first."""
    made = [of_demand(said, job, catalogs) for said in job.grid.fleets]
    frames = [stored(frame.lazy(), "fleet").collect() for frame in made if frame.height]
    return validated(pl.concat(frames), "fleet") if frames else pl.DataFrame(schema=empty())


def of_demand(said: Mapping[str, Any], job: Job, catalogs: Catalogs) -> pl.DataFrame:
    """The options of one demand; none where no plan meets its objective."""
    spread = Variation(**{name: float(said.get(name, 1.0)) for name in Variation._fields})
    lengths: dict[str, Any] = {name: said.get(name) for name in LENGTHS}
    demand = Demand(said["model"], **lengths, workload=said.get("workload", BASE_WORKLOAD), variation=spread)
    sizing = Sizing(float(said["requests_per_s"]), arrival_cv=spread.arrival_cv)
    choice = Choice(market=job.grid.market, clouds=job.grid.clouds)
    try:
        return plan_fleets(FleetPlan(demand, sizing, choice), catalogs, job.as_of)
    except PipelineError:
        return pl.DataFrame()


def empty() -> dict[str, Any]:
    """The columns of a table without rows."""
    return {name: pl.String if column.dtype == pl.Enum else column.dtype for name, column in TABLES["fleet"].items()}
