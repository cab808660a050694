"""One plan of the catalogs, simulated under load beside its closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
from polars import col

from pipeline.core.errors import PipelineError, UsageError
from pipeline.evidence.simulation.arrivals import Traffic, draw_requests
from pipeline.evidence.simulation.replica import Replica
from pipeline.evidence.simulation.simulate import MEASURED, percentiles, simulate_requests
from pipeline.grid.load import INPUTS, run_passes, under_load
from pipeline.grid.point import point_row, with_facts
from pipeline.grid.replicas import Variation, replicas, with_line

if TYPE_CHECKING:
    from pipeline.grid.axes import Axes

TURNS = 3
"""Turns between the line of the step and the batch through which it is drawn."""
LEAST_PROMPT, LEAST_SCV = 16, 0.0025
CLOSED = {"ttft_s_mean": "ttft_loaded_s", "tpot_s_mean": "tpot_loaded_s", "e2e_s_mean": "e2e_loaded_s"}

TIMES: dict[str, type[pl.DataType]] = {
    "quantity": pl.String,
    **dict.fromkeys(("simulated_s", "closed_form_s", "objective_s"), pl.Float64),
    "is_met": pl.Boolean,
}


@dataclass(frozen=True)
class GroupPlan:
    """One data-parallel group of a plan: what the simulation takes, and the row that the closed forms read."""

    replica: Replica
    row: dict[str, Any]

    @property
    def groups(self) -> int:
        """Groups of one replica."""
        return int(self.row["dp"])


def simulation_of(axes: Axes, variation: Variation, group_requests_per_s: float) -> GroupPlan:
    """The plan of some axes at a rate, its steps' line drawn through the batch that it then runs.

    Two lengths of prompts tell what context adds to a step from what a sequence does.

    Raises:
        PipelineError: the plan cannot run; says every reason.
        UsageError: the workload is a static batch.
    """
    workload = axes["workload"].row(0, named=True)
    if workload["is_static"]:
        raise UsageError("a static batch has no arrivals: leave --static out, or name another workload")
    if workload["is_disaggregated"]:
        raise UsageError("prompts read by workers of their own are not simulated: is_disaggregated")
    point_row(axes)
    prompt = int(workload["prompt_tokens"])
    more = max(prompt, LEAST_PROMPT)
    own = fix_line(replicas(axes, variation), group_requests_per_s)
    long_axes = {**axes, "workload": with_facts(axes["workload"], {"prompt_tokens": prompt + more})}
    long = with_line(replicas(long_axes, variation), pl.lit(own["drawn_at"]))
    slope = own["step_sequence_s"]
    longer_slope = long["step_sequence_s"].item() if long.height else slope
    context = held_tokens(own, variation)
    context_s = max(min((longer_slope - slope) / more, slope / context), 0.0)
    line = {"a_s": own["step_base_s"], "b_s": slope - context_s * context, "c_s": context_s}
    reading = {"d_s": own["prompt_token_s"], "e_s": own["prompt_pair_s"], "step_tokens": int(own["step_tokens"])}
    reserves = own["kv_growth_ratio"] == 0
    room = context + 1 if not reserves else held_tokens(own, variation, 1.0) + 1
    limits = {"slots": int(own["slots"]), "kv_tokens": int(own["kv_slots"] * room)}
    return GroupPlan(Replica(**line, **reading, **limits, prefills_first=own["prefills_first"], reserves=reserves), own)


def fix_line(rows: pl.DataFrame, group_requests_per_s: float) -> dict[str, Any]:
    """The one row of a plan, its line drawn where it works; with the batch through which it is drawn."""
    rows = rows.with_columns(arrivals_per_s=pl.lit(group_requests_per_s), drawn_at=pl.lit(2.0))
    for _ in range(TURNS):
        batch = run_passes(rows, ["running_batch"])["running_batch"]
        rows = with_line(rows.with_columns(drawn_at=batch.clip(2.0)), col("drawn_at"))
    row = rows.row(0, named=True) | {"after_step_s": run_passes(rows, ["after_step_s"])["after_step_s"].item()}
    if row["kv_slots"] < 1:
        raise PipelineError(
            "no request of these lengths has room in the cache: `capgrid point` with the same options says why"
        )
    return row


def held_tokens(row: dict[str, Any], variation: Variation, share: float = 0.5) -> float:
    """Tokens in the cache of a sequence that decodes, on average over its stay, or at its end."""
    return float(row["prompt_tokens"] + share * row["shown_output_tokens"] * (1 + variation.output_cv**2))


def longest_tokens(replica: Replica) -> int:
    """The longest prompt, and the longest output, of which the cache holds one of each."""
    return max((replica.blocks - 1) * replica.block_tokens // 2, 1)


def requests_for(plan: GroupPlan, axes: Axes, variation: Variation, count: int, seed: int) -> pl.DataFrame:
    """Requests drawn for a plan; lengths are cut where the cache holds no longer ones."""
    prompt, output = (float(axes["workload"][name].item()) for name in ("prompt_tokens", "output_tokens"))
    spreads = (variation.arrival_cv, variation.prompt_cv, variation.output_cv)
    return draw_requests(Traffic(prompt, output, *spreads, longest_tokens(plan.replica)), count, seed)


def split_scv(arrival_scv: float, ways: int, routing: str) -> float:
    """Squared CV of the arrivals at one of several replicas.

    Source: study of load, section 5: thinning at random; dividing evenly, whoever does it.
    """
    return 1 + (arrival_scv - 1) / ways if routing == "random" else max(arrival_scv / ways, LEAST_SCV)


def simulate_plan(
    plan: GroupPlan, requests: pl.DataFrame, requests_per_s: float, count: int, routing: str, seed: int
) -> dict[str, float]:
    """Percentiles of simulated times of a plan's replicas; what an engine takes besides its steps is added.

    Args:
        plan: one group of it.
        requests: arrival_s, prompt_tokens, output_tokens.
        requests_per_s: of all replicas; arrivals are pressed together or drawn apart to it.
        count: replicas.
        routing: how requests are shared out among all groups.
        seed: of what is random in the routing.
    """
    mean_per_s = (requests.height - 1) / max(requests["arrival_s"][-1] - requests["arrival_s"][0], 1e-9)
    accepted = plan.row["accepted_tokens"]
    times = simulate_requests(
        plan.replica,
        (requests["arrival_s"] * (mean_per_s / requests_per_s)).to_list(),
        requests["prompt_tokens"],
        (1 + (requests["output_tokens"] - 1) / accepted).round().cast(pl.Int64),
        count * plan.groups,
        routing,
        seed,
    )
    later_s = plan.row["after_step_s"]
    told = times.with_columns(col("ttft_s") + later_s, col("e2e_s") + later_s, col("tpot_s") / accepted)
    return percentiles(told)


def closed_form_times(plan: GroupPlan, group_requests_per_s: float, arrival_cv: float) -> dict[str, Any]:
    """What the closed forms say of one group, by the names of `percentiles`; with the verdict."""
    given = {"arrivals_per_s": group_requests_per_s, "arrival_cv": arrival_cv}
    inputs = {name: value for name, value in plan.row.items() if name in INPUTS} | given
    row = under_load(pl.DataFrame([inputs])).row(0, named=True)
    names = {f"{time}_{rank}": f"{time[:-2]}_{rank}_s" for time in MEASURED for rank in ("p50", "p95", "p99")}
    told = {name: row.get(column) for name, column in (CLOSED | names).items()}
    accepted = plan.row["accepted_tokens"]
    later = accepted if plan.row["output_tokens"] > 1 else float("nan")
    told |= {name: value / later for name, value in told.items() if name.startswith("tpot") and value is not None}
    return told | {"utilisation_ratio": row["utilisation_ratio"], "load_verdict": row["load_verdict"]}


def times_side_by_side(plan: GroupPlan, seen: dict[str, float], said: dict[str, Any]) -> pl.DataFrame:
    """Simulated and closed-form times side by side, with the objective where there is one.

    Outputs of one token have no time per token, and miss no limit of it.
    """
    accepted = plan.row["accepted_tokens"]
    limits = {"ttft_s_p95": plan.row["ttft_slo_s"], "tpot_s_p95": plan.row["tpot_slo_s"] / accepted}
    is_met = {name: not value > limits[name] for name, value in seen.items() if name in limits}
    rows = [
        (name.replace("_s_", "_"), value, said.get(name), limits.get(name), is_met.get(name))
        for name, value in seen.items()
    ]
    known = pl.DataFrame(rows, schema=TIMES, orient="row").with_columns(pl.col(pl.Float64).fill_nan(None))
    return known.with_columns(difference_ratio=col("closed_form_s") / col("simulated_s") - 1)
