"""A grid file: what to cross, by names, patterns and groups."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.core.errors import CatalogError, GridError, UnknownNameError, nearest
from pipeline.core.money import MARKETS
from pipeline.estimators.settings import SETTINGS
from pipeline.facts.names import is_id
from pipeline.facts.tomlfile import read_toml
from pipeline.facts.values import WORDS, fits_dtype
from pipeline.grid.demands import chosen_demands

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeline.facts.catalog import Catalogs

SUFFIX = ".toml"
PARALLEL = ("tp", "pp", "ep", "dp")
"""How a replica is spread over devices."""
KIND_OF = {
    "models": "model",
    "weights": "format",
    "kv": "format",
    "engines": "engine",
    "accelerators": "accelerator",
    "workloads": "workload",
}
"""The list of a grid, and the catalog that its names come from."""


@dataclass(frozen=True)
class Grid:
    """What to cross: ids of each catalog, parallel plans, batches, and how to price devices."""

    name: str
    models: tuple[str, ...]
    weights: tuple[str, ...]
    kv: tuple[str, ...]
    engines: tuple[str, ...]
    accelerators: tuple[str, ...]
    workloads: tuple[str, ...]
    parallel: tuple[dict[str, int], ...]
    batches: tuple[int, ...]
    market: str = "on-demand"
    clouds: tuple[str, ...] = field(default=())
    setups: tuple[dict[str, Any], ...] = field(default=())
    """Engines set up otherwise than they come: `engine`, a `name` of its own, and settings."""
    fleets: tuple[dict[str, Any], ...] = field(default=())
    """Demands that the run sizes fleets for: `model`, `requests_per_s`, lengths and objectives."""


def grids_in(folder: Path) -> list[str]:
    """Names of the grids that come with the catalogs."""
    return sorted(path.stem for path in (folder / "grids").glob(f"*{SUFFIX}"))


def read_grid(name: str, catalogs: Catalogs) -> Grid:
    """A bundled grid by name, or any grid file by path, its names resolved.

    Raises:
        UnknownNameError: no such grid.
        GridError: the file says something that cannot be crossed; everything wrong, a line each.
    """
    path = grid_path(name, catalogs.folder)
    said = read_toml(path, str(path)).get("grid")
    if not isinstance(said, dict):
        raise GridError(f"{path}: has no [grid] table")
    return check_grid(path, said, catalogs)


def grid_path(name: str, folder: Path) -> Path:
    """Where a grid stands."""
    bundled = folder / "grids" / f"{name}{SUFFIX}"
    for path in (Path(name), bundled):
        if path.suffix == SUFFIX and path.is_file():
            return path
    raise UnknownNameError(
        "grid", name, grids_in(folder), hint=f"Bundled: {', '.join(grids_in(folder))}; or give a file."
    )


def check_grid(path: Path, said: dict[str, Any], catalogs: Catalogs) -> Grid:
    """The grid, if every list names something and every name is known."""
    if long := [name for name, each in said.items() if isinstance(each, list) and len(each) > MOST_LISTED]:
        raise GridError(f"{path}: more than {MOST_LISTED} entries: {', '.join(long)}; choose by patterns or groups")
    problems: list[str] = [] if is_id(path.stem) else [f"{path}: a grid's file name is an id: lower case, no spaces"]
    known = {each.name for each in fields(Grid)} - {"name"}
    problems += [f"{path}: no field named '{each}'. {nearest(each, known)}".rstrip() for each in said.keys() - known]
    setups = chosen_setups(path, said.get("engines"), catalogs, problems)
    said = said | {"engines": plain_engines(said.get("engines"))}
    wanted = [each for each in KIND_OF if said.get(each) or each != "engines" or not setups]
    chosen: dict[str, Any] = {"engines": ()}
    chosen |= {each: chosen_ids(path, each, said.get(each), catalogs, problems) for each in wanted}
    batches = whole_numbers(path, "batches", said.get("batches"), problems)
    parallel = parallel_plans(path, said.get("parallel"), problems)
    market = said.get("market", "on-demand")
    if market not in MARKETS:
        problems.append(f"{path}: market = {market!r} is not one of {', '.join(MARKETS)}")
    clouds = chosen_clouds(path, said.get("clouds", []), catalogs, problems)
    fleets = chosen_demands(path, said.get("fleets", []), catalogs, problems)
    if problems:
        raise GridError("\n".join(problems))
    chosen |= {"batches": batches, "parallel": parallel, "clouds": clouds, "setups": setups, "fleets": fleets}
    return Grid(path.stem, market=market, **chosen)


def chosen_ids(path: Path, name: str, said: object, catalogs: Catalogs, problems: list[str]) -> tuple[str, ...]:
    """The ids that one list of a grid chooses, in catalog order where a pattern chooses several."""
    if not isinstance(said, list) or not said or not all(isinstance(each, str) for each in said):
        problems.append(f"{path}: '{name}' is missing, empty, or not a list of names")
        return ()
    try:
        ids = select(catalogs, KIND_OF[name], said)
    except CatalogError as error:
        problems += [f"{path}: {name}: {problem}" for problem in error.problems]
        return ()
    if not ids:
        problems.append(f"{path}: '{name}' chooses nothing")
    return ids


def plain_engines(said: object) -> object:
    """The engines of a list that come as they are."""
    return [each for each in said if not isinstance(each, dict)] if isinstance(said, list) else said


def chosen_setups(path: Path, said: object, catalogs: Catalogs, problems: list[str]) -> tuple[dict[str, Any], ...]:
    """Engines of a list that are set up otherwise than they come: tables of engine, name and settings."""
    setups: list[dict[str, Any]] = []
    for each in said if isinstance(said, list) else []:
        if isinstance(each, dict):
            wrong = list(wrong_setup(each, catalogs, [setup["name"] for setup in setups]))
            problems += [f"{path}: engines: {each}: {problem}" for problem in wrong]
            setups += [] if wrong else [each | {"engine": catalogs.resolve("engine", each["engine"])}]
    return tuple(setups)


def wrong_setup(setup: dict[str, Any], catalogs: Catalogs, taken: Sequence[str]) -> Iterator[str]:
    """What is wrong about one engine that is set up otherwise."""
    name, known = setup.get("name"), {"engine", "name", *SETTINGS}
    for field_name in setup.keys() - known:
        yield f"no setting named '{field_name}'. {nearest(field_name, known)}".rstrip()
    if not isinstance(name, str) or not is_id(name) or name in {*taken, *catalogs.names("engine").ids}:
        yield "'name' is missing, taken, or no id: lower case letters, digits, dots, dashes and underscores"
    try:
        catalogs.resolve("engine", str(setup.get("engine")))
    except UnknownNameError as error:
        yield str(error)
    for field_name, dtype in SETTINGS.items():
        if field_name in setup and not setting_is_allowed(field_name, setup[field_name]):
            yield f"{field_name} = {setup[field_name]!r} is not {WORDS[dtype.base_type()]} that an engine takes"


def setting_is_allowed(setting: str, value: Any) -> bool:
    """Whether an engine could be set so: shares are above 0 and at most 1, counts from 1.

    >>> [setting_is_allowed("memory_utilization_ratio", share) for share in (0.95, 95)]
    [True, False]
    """
    dtype = SETTINGS[setting]
    if not fits_dtype(value, dtype):
        return False
    return dtype == pl.Boolean or (0 < value <= (1 if dtype == pl.Float64 else MOST_SETTING))


def chosen_clouds(path: Path, said: object, catalogs: Catalogs, problems: list[str]) -> tuple[str, ...]:
    """The clouds whose prices count; all where the list is empty or left out."""
    if not isinstance(said, list) or not all(isinstance(each, str) for each in said):
        problems.append(f"{path}: 'clouds' is not a list of names")
        return ()
    known = catalogs.frames["price"]["cloud"].unique()
    problems += [f"{path}: no cloud named '{each}'. {nearest(each, known)}" for each in said if each not in known]
    return tuple(said)


def select(catalogs: Catalogs, kind: str, patterns: Sequence[str]) -> tuple[str, ...]:
    """Ids that a list of names, patterns and groups chooses.

    `llama-7b` is an id or alias, `llama-*` a pattern of ids, `family:llama` (any text field)
    a group; a leading `!` takes out.

    Raises:
        CatalogError: names that mean nothing, all of them.
    """
    taken: dict[str, None] = {}
    dropped: set[str] = set()
    problems = []
    for pattern in patterns:
        try:
            ids = matching(catalogs, kind, pattern.removeprefix("!"))
        except UnknownNameError as error:
            problems.append(str(error))
            if len(problems) > MOST_UNKNOWN:
                problems.append("and there is more")
                break
            continue
        if pattern.startswith("!"):
            dropped |= set(ids)
        else:
            taken |= dict.fromkeys(ids)
    if problems:
        raise CatalogError(problems)
    return tuple(each for each in taken if each not in dropped)


def matching(catalogs: Catalogs, kind: str, pattern: str) -> list[str]:
    """Ids that one name, pattern or group means.

    Raises:
        UnknownNameError: it means none.
    """
    frame = catalogs.frames[kind]
    group, colon, value = pattern.partition(":")
    if colon and frame.schema.get(group) == pl.String:
        ids = frame.filter(pl.col(group) == value)[kind].to_list()
        if not ids:
            raise UnknownNameError(f"{kind} of {group}", value, frame[group].drop_nulls().unique())
        return ids
    if "*" in pattern or "?" in pattern:
        ids = [each for each in frame[kind] if fnmatchcase(each, pattern)]
        if not ids:
            raise UnknownNameError(kind, pattern, frame[kind])
        return ids
    return [catalogs.resolve(kind, pattern)]


MOST_BATCH = 10**7
MOST_LISTED = 2000
"""Entries of a list."""
MOST_UNKNOWN = 100
"""Names that are met with the nearest."""
MOST_SETTING = 10**8


def whole_numbers(path: Path, name: str, said: object, problems: list[str]) -> tuple[int, ...]:
    """A list of batches: whole numbers from 1, each once, in order."""
    if not isinstance(said, list) or not said or not all(type(n) is int and 1 <= n <= MOST_BATCH for n in said):
        problems.append(f"{path}: '{name}' is missing, or not a list of whole numbers from 1 to {MOST_BATCH}")
        return ()
    return tuple(sorted(set(said)))


def parallel_plans(path: Path, said: object, problems: list[str]) -> tuple[dict[str, int], ...]:
    """A list of tables such as { tp = 4, pp = 2 }; what is left out is 1."""
    plans = []
    for plan in said if isinstance(said, list) else []:
        unknown = plan.keys() - {*PARALLEL} if isinstance(plan, dict) else {str(plan)}
        if unknown or not all(type(n) is int and 1 <= n <= 4096 for n in plan.values()):  # noqa: PLR2004
            problems.append(f"{path}: parallel: {plan} is not a table of {', '.join(PARALLEL)} from 1 to 4096")
        else:
            plans.append({each: plan.get(each, 1) for each in PARALLEL})
    plans = list({tuple(plan.values()): plan for plan in plans}.values())
    if not plans:
        problems.append(f"{path}: 'parallel' is missing or empty")
    return tuple(plans)
