"""Results of load generators as plain numbers: vllm bench serve, GuideLLM, AIPerf and GenAI-Perf.

Each reader answers runs: what was offered, and numbers in base units under the names of
measurements. `itl_s` is the mean time between output tokens after the first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ENGINES = ("vllm", "sglang", "tensorrt-llm", "lmdeploy", "tgi")
"""Backends of vllm bench that are an engine of ours; `openai` may be any."""
SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0}
MILLI = 1e-3


@dataclass
class Found:
    """One run of a load generator."""

    model: str | None = None
    engine: str | None = None
    clients: float | None = None
    requests_per_s: float | None = None
    """Rate that was offered; nothing where clients wait for their answers, or all came at once."""
    prompt_tokens: float | None = None
    output_tokens: float | None = None
    numbers: dict[str, float] = field(default_factory=dict)

    def keep(self, name: str, value: Any, factor: float = 1.0) -> None:
        """Keep a number; what is missing, endless or not positive is not one."""
        known = finite_number(value)
        if known is not None and known > 0:
            self.numbers[name] = known * factor


def finite_number(value: Any) -> float | None:
    """A finite number, or nothing; "inf" is nothing.

    >>> finite_number("16"), finite_number("inf"), finite_number(None), finite_number(True)
    (16.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if isfinite(found) else None


def value_at(value: Any, *path: str) -> Any:
    """What stands at a path of nested objects; nothing where it ends."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def anywhere(value: Any, *names: str) -> Any:
    """The first value that stands under one of some names, at any depth; tools move their settings about.

    >>> anywhere({"a": {"stimulus": {"concurrency": 8}}}, "concurrency")
    8
    """
    if isinstance(value, list):
        return next((found for each in value if (found := anywhere(each, *names)) is not None), None)
    if not isinstance(value, dict):
        return None
    own = next((value[name] for name in names if isinstance(value.get(name), str | int | float | list)), None)
    return own if own is not None else anywhere(list(value.values()), *names)


def text(value: Any) -> str | None:
    """A text, or the first of a list of texts."""
    first = value[0] if isinstance(value, list) and value else value
    return first if isinstance(first, str) and first else None


# ----- vllm bench serve


def is_vllm(said: Mapping[str, Any]) -> bool:
    """Whether this is a result of `vllm bench serve` (or of benchmark_serving.py before it)."""
    return (
        "mean_ttft_ms" in said or "mean_tpot_ms" in said or {"output_throughput", "total_input_tokens"} <= said.keys()
    )


def from_vllm(said: Mapping[str, Any]) -> Iterator[Found]:
    """One run. Times are milliseconds; TPOT leaves the first token out, as ours does.

    Source: vLLM benchmarks/serve.py: tpot = (latency - ttft) / (output_len - 1).
    """
    backend = str(said.get("backend") or said.get("endpoint_type") or "")
    found = Found(
        text(said.get("model_id")),
        backend if backend in ENGINES else None,
        finite_number(said.get("max_concurrency")),
        finite_number(said.get("request_rate")),
        prompt_tokens=mean_tokens(said, "input"),
        output_tokens=mean_tokens(said, "output"),
    )
    for ours, theirs in (("ttft", "ttft"), ("itl", "tpot"), ("e2e", "e2el")):
        found.keep(f"{ours}_s", said.get(f"mean_{theirs}_ms"), MILLI)
        found.keep(f"{ours}_p50_s", said.get(f"median_{theirs}_ms"), MILLI)
        found.keep(f"{ours}_p99_s", said.get(f"p99_{theirs}_ms"), MILLI)
    found.keep("requests_per_s", said.get("request_throughput"))
    found.keep("output_tokens_per_s", said.get("output_throughput"))
    found.keep("total_tokens_per_s", said.get("total_token_throughput"))
    yield found


def mean_tokens(said: Mapping[str, Any], which: str) -> float | None:
    """Mean length of prompts (`input`) or outputs (`output`) of a run; nothing where no request completed."""
    completed = finite_number(said.get("completed"))
    return (finite_number(said.get(f"total_{which}_tokens")) or 0.0) / completed if completed else None


# ----- GuideLLM


def is_guidellm(said: Mapping[str, Any]) -> bool:
    """Whether this is a report of GuideLLM."""
    runs = said.get("benchmarks")
    return isinstance(runs, list) and any(value_at(run, "metrics", "time_to_first_token_ms") for run in runs)


def from_guidellm(said: Mapping[str, Any]) -> Iterator[Found]:
    """A run for each strategy of the report, successful requests only; times are milliseconds, latency seconds."""
    for run in (each for each in said["benchmarks"] if isinstance(each, dict)):
        places = [value_at(run, place, "strategy") for place in ("config", "scheduler", "args")]
        strategy: Any = next(filter(None, places), None)
        kind = str(value_at(strategy, "type_") or strategy)
        rate = value_at(strategy, "rate") or value_at(strategy, "initial_rate")
        clients = 1.0 if kind == "synchronous" else finite_number(value_at(strategy, "streams"))
        found = Found(
            text(anywhere(run.get("config"), "model") or anywhere(run, "backend_model", "model"))
            or text(anywhere(said.get("args"), "model")),
            clients=clients,
            requests_per_s=None if clients else finite_number(rate),
            prompt_tokens=statistic(run, "prompt_token_count"),
            output_tokens=statistic(run, "output_token_count"),
        )
        for name, which in (("", "mean"), ("_p50", "median"), ("_p99", "p99")):
            found.keep(f"ttft{name}_s", statistic(run, "time_to_first_token_ms", which), MILLI)
            found.keep(f"itl{name}_s", statistic(run, "inter_token_latency_ms", which), MILLI)
            found.keep(f"e2e{name}_s", statistic(run, "request_latency", which))
        if "itl_s" not in found.numbers:
            found.keep("itl_s", itl_without_first(run, found.output_tokens), MILLI)
        found.keep("requests_per_s", statistic(run, "requests_per_second"))
        found.keep("output_tokens_per_s", statistic(run, "output_tokens_per_second"))
        found.keep("total_tokens_per_s", statistic(run, "tokens_per_second"))
        yield found


def statistic(run: Mapping[str, Any], metric: str, which: str = "mean") -> float | None:
    """A statistic of the successful requests of a run."""
    told = value_at(run, "metrics", metric, "successful")
    return finite_number(value_at(told, which) if which in ("mean", "median") else value_at(told, "percentiles", which))


def itl_without_first(run: Mapping[str, Any], tokens: float | None) -> float | None:
    """Mean time between tokens after the first, from a time per output token that includes it.

    Source: GuideLLM request statistics: time_per_output_token_ms = (last token - start) / tokens.

    >>> told = {"time_per_output_token_ms": 30.0, "time_to_first_token_ms": 1020.0}
    >>> itl_without_first({"metrics": {name: {"successful": {"mean": ms}} for name, ms in told.items()}}, 101.0)
    20.1
    """
    whole, first = (statistic(run, name) for name in ("time_per_output_token_ms", "time_to_first_token_ms"))
    if whole is None or first is None or tokens is None or tokens <= 1:
        return None
    return (whole * tokens - first) / (tokens - 1)


# ----- AIPerf, GenAI-Perf


def is_aiperf(said: Mapping[str, Any]) -> bool:
    """Whether this is a summary of AIPerf, or of GenAI-Perf before it."""
    return any(isinstance(value_at(said, name, "unit"), str) for name in ("request_throughput", "time_to_first_token"))


def from_aiperf(said: Mapping[str, Any]) -> Iterator[Found]:
    """One run. Every metric states its unit; the latency between tokens leaves the first one out.

    Source: AIPerf, JSON export schema and metrics reference.
    """
    asked = said.get("input_config") or {key: each for key, each in said.items() if not value_at(each, "unit")}
    found = Found(
        text(anywhere(asked, "model_names", "model_name", "model")),
        clients=finite_number(anywhere(asked, "concurrency")),
        requests_per_s=finite_number(anywhere(asked, "request_rate")),
        prompt_tokens=finite_number(value_at(said, "input_sequence_length", "avg")),
        output_tokens=finite_number(value_at(said, "output_sequence_length", "avg")),
    )
    for ours, theirs in (("ttft", "time_to_first_token"), ("itl", "inter_token_latency"), ("e2e", "request_latency")):
        factor = SECONDS.get(str(value_at(said, theirs, "unit")).casefold())
        for name, which in (("", "avg"), ("_p50", "p50"), ("_p99", "p99")) if factor else ():
            found.keep(f"{ours}{name}_s", value_at(said, theirs, which), factor or 1.0)
    found.keep("requests_per_s", value_at(said, "request_throughput", "avg"))
    found.keep("output_tokens_per_s", value_at(said, "output_token_throughput", "avg"))
    found.keep("total_tokens_per_s", value_at(said, "total_token_throughput", "avg"))
    yield found


READERS: tuple[tuple[str, Callable[[Mapping[str, Any]], bool], Callable[[Mapping[str, Any]], Iterator[Found]]], ...] = (
    ("guidellm", is_guidellm, from_guidellm),
    ("aiperf", is_aiperf, from_aiperf),
    ("vllm bench", is_vllm, from_vllm),
)
"""Names, how to know a file, and how to read it."""
