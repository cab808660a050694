"""Requests sent through simulated replicas, and the times that they meet."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.core.errors import PipelineError, UnknownNameError, UsageError
from pipeline.evidence.extras import library
from pipeline.evidence.simulation.steps import Requests, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.evidence.simulation.replica import Replica

MISSING = "simulation needs simpy: pip install 'capgrid[sim]'"
ROUTINGS = ("random", "round-robin", "least-outstanding")
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
MEASURED = ("ttft_s", "tpot_s", "e2e_s")


def simulate_requests(
    replica: Replica,
    arrivals_s: Sequence[float],
    prompt_tokens: Sequence[int] | pl.Series,
    output_tokens: Sequence[int] | pl.Series,
    replicas: int = 1,
    routing: str = "random",
    seed: int = 1,
) -> pl.DataFrame:
    """What every request meets on one or more replicas: a row each, in the order of arrival.

    Args:
        replica: what each of them is.
        arrivals_s: times of arrival, not falling [s].
        prompt_tokens: lengths of prompts.
        output_tokens: lengths of outputs.
        replicas: how many share the requests.
        routing: one of ROUTINGS.
        seed: of what is random in the routing.

    Returns:
        arrival_s; ttft_s, time from there to the first token; tpot_s, mean time of the tokens after it (null where
        there are none); e2e_s, time to the last; replica, counted from 0.

    Raises:
        UsageError: no replica, an unknown routing, or requests that cannot be.
        PipelineError: simpy is not installed, or a request that no cache holds.
    """
    asked = pl.DataFrame(
        {"arrival_s": arrivals_s, "prompt_tokens": prompt_tokens, "output_tokens": output_tokens},
        schema={"arrival_s": pl.Float64, "prompt_tokens": pl.Int64, "output_tokens": pl.Int64},
    )
    check_requests(replica, asked, replicas, routing)
    simpy = library("simpy", MISSING)

    requests = Requests(asked["prompt_tokens"].to_list(), asked["output_tokens"].to_list())
    environment = simpy.Environment()
    servers = [Server(environment, simpy.Interrupt, replica, requests) for _ in range(replicas)]
    chosen = [0] * asked.height
    choose = router(servers, routing, seed)

    def arrive() -> Any:
        for request, at_s in enumerate(asked["arrival_s"].to_list()):
            yield environment.timeout(max(at_s - environment.now, 0.0))
            chosen[request] = choose()
            servers[chosen[request]].take(request)

    environment.process(arrive())
    environment.run()
    return request_times(asked, requests.first_s, requests.last_s, chosen)


def request_times(asked: pl.DataFrame, first_s: list[float], last_s: list[float], chosen: list[int]) -> pl.DataFrame:
    """The times of requests as a frame."""
    later = pl.col("output_tokens") - 1
    times = asked.with_columns(
        first_s=pl.Series(first_s, dtype=pl.Float64),
        last_s=pl.Series(last_s, dtype=pl.Float64),
        replica=pl.Series(chosen, dtype=pl.Int64),
    )
    return times.select(
        "arrival_s",
        ttft_s=pl.col("first_s") - pl.col("arrival_s"),
        tpot_s=pl.when(later > 0).then((pl.col("last_s") - pl.col("first_s")) / later),
        e2e_s=pl.col("last_s") - pl.col("arrival_s"),
        replica="replica",
    )


def check_requests(replica: Replica, asked: pl.DataFrame, replicas: int, routing: str) -> None:
    """Refuse what cannot be simulated.

    Raises:
        UsageError: no replica, an unknown routing, or requests that cannot be.
        PipelineError: a request that no cache holds.
    """
    if replicas < 1:
        raise UsageError(f"replicas = {replicas} is not a whole number from 1")
    if routing not in ROUTINGS:
        raise UnknownNameError("routing", routing, ROUTINGS)
    times, lengths = asked["arrival_s"], asked.select("prompt_tokens", "output_tokens")
    if not (times.is_finite().all() and times.is_sorted() and (times >= 0).all()):
        raise UsageError("times of arrival are seconds from 0 that do not fall")
    if asked.height and (lengths.null_count().row(0) != (0, 0) or min(lengths.min().row(0)) < 1):
        raise UsageError("every request has one prompt token and one output token at least")
    block = replica.block_tokens
    needed = (pl.col("prompt_tokens") + pl.col("output_tokens") + block - 1) // block
    longest = asked.with_row_index("request").filter(needed > replica.blocks)
    if longest.height:
        row = longest.row(0, named=True)
        raise PipelineError(
            f"request {row['request'] + 1} of {asked.height}: {row['prompt_tokens']} prompt and {row['output_tokens']} "
            f"output tokens do not fit the cache of {replica.kv_tokens} tokens; {longest.height} requests do not"
        )


def router(servers: Sequence[Server], routing: str, seed: int) -> Callable[[], int]:
    """A function that says which replica takes the next request."""
    count, draw = len(servers), Random(seed)  # noqa: S311 (which replica, no secret)
    if count == 1:
        return lambda: 0
    if routing == "random":
        return lambda: draw.randrange(count)
    if routing == "round-robin":
        turns = iter(range(2**62))
        return lambda: next(turns) % count
    return lambda: min(range(count), key=lambda place: (servers[place].outstanding, draw.random()))


def percentiles(times: pl.DataFrame, skip_ratio: float = 0.1) -> dict[str, float]:
    """Mean and quantiles of every time, without the first requests, which find the replica empty.

    Returns:
        `ttft_s_mean`, `ttft_s_p50`, ... by the names of MEASURED and QUANTILES; NaN where no request has such a time.
    """
    late = times.slice(int(times.height * skip_ratio))
    means = [pl.col(name).mean().alias(f"{name}_mean") for name in MEASURED]
    ranks = [pl.col(n).quantile(q, "linear").alias(f"{n}_{p}") for n in MEASURED for p, q in QUANTILES.items()]
    row = late.select(*means, *ranks).row(0, named=True)
    return {name: float("nan") if value is None else value for name, value in row.items()}
