"""Demands of a grid: what a run's fleets must carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.core.errors import UnknownNameError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.facts.catalog import Catalogs

NEEDED = ("model", "requests_per_s")
LENGTHS = ("prompt_tokens", "output_tokens")
NUMBERS = ("requests_per_s", "ttft_p95_s", "tpot_p95_s")
SPREADS = ("prompt_cv", "output_cv", "arrival_cv")
FIELDS = (*NEEDED, "workload", *LENGTHS, *NUMBERS[1:], *SPREADS)
MOST, MOST_SPREAD = 1e8, 20


def chosen_demands(path: Path, said: object, catalogs: Catalogs, problems: list[str]) -> tuple[dict[str, Any], ...]:
    """The demands of a grid, names made ids; what is wrong about them is added to the problems."""
    if not isinstance(said, list):
        problems.append(f"{path}: 'fleets' is not a list of tables, such as {{ model = ..., requests_per_s = 20 }}")
        return ()
    demands = []
    for each in said:
        wrong = list(wrong_demand(each, catalogs))
        problems += [f"{path}: fleets: {each}: {problem}" for problem in wrong]
        if not wrong:
            ids = {kind: catalogs.resolve(kind, each[kind]) for kind in ("model", "workload") if kind in each}
            demands.append(each | ids)
    return tuple(demands)


def wrong_demand(demand: object, catalogs: Catalogs) -> Iterator[str]:
    """What is wrong about one demand."""
    if not isinstance(demand, dict):
        yield "not a table"
        return
    for name in demand.keys() - {*FIELDS}:
        yield f"no field named '{name}'. {nearest(name, FIELDS)}".rstrip()
    for name in NEEDED:
        if name not in demand:
            yield f"'{name}' is missing"
    for kind in ("model", "workload"):
        try:
            catalogs.resolve(kind, str(demand.get(kind, "chat"))) if kind in demand else None
        except UnknownNameError as error:
            yield str(error)
    for name in (*LENGTHS, *NUMBERS, *SPREADS):
        if name in demand and not demand_is_allowed(name, demand[name]):
            yield f"{name} = {demand[name]!r} is not {'a whole number' if name in LENGTHS else 'a number'} in its range"


def demand_is_allowed(name: str, value: object) -> bool:
    """Whether a field of a demand may be so.

    >>> demand_is_allowed("requests_per_s", 20), demand_is_allowed("prompt_tokens", 0.5)
    (True, False)
    """
    if type(value) not in ((int,) if name in LENGTHS else (int, float)):
        return False
    number = float(value)  # type: ignore[arg-type]
    return 0 <= number <= MOST_SPREAD if name in SPREADS else 0 < number <= MOST
