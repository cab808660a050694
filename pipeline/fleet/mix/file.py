"""A mix file: the demands, the regions, the quotas and the budgets that one fleet must answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import CatalogError, PipelineError, UnknownNameError, nearest
from pipeline.core.money import DEFAULT_SITE, MARKETS
from pipeline.facts.names import is_id
from pipeline.facts.owned import site_of
from pipeline.facts.prices import OWNED
from pipeline.facts.tomlfile import read_toml
from pipeline.fleet.mix.limits import Limits, Quota
from pipeline.fleet.options import BASE_WORKLOAD, Choice, Demand
from pipeline.grid.demands import FIELDS, LENGTHS, NUMBERS, wrong_demand
from pipeline.grid.replicas import Variation
from pipeline.grid.selection import KIND_OF, SUFFIX, parallel_plans, select

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline.facts.catalog import Catalogs

TABLES = ("mix", "demand", "quota", "region")
"""What a file may hold: one [mix], and any number of the others."""
PLANS = ("accelerators", "weights", "kv", "engines")
"""Lists of names, patterns and groups that say which plans are considered."""
PLACES = ("clouds", "regions")
RANGES: dict[str, tuple[float, float, bool]] = {
    # numbers of every table: least, most, and whether whole
    "headroom_ratio": (0, 100, False),
    "spare_replicas": (0, 10**4, True),
    "usd_per_hour": (0, 1e12, False),
    "power_w": (0, 1e12, False),
    "devices": (0, 10**9, True),
    "price_ratio": (0, 100, False),
}
SHARED = ("headroom_ratio", "spare_replicas", *PLANS, "parallel", *PLACES)
"""What [mix] may say for every demand, and a demand for itself."""
KNOWN = {
    "mix": ("market", "site", "usd_per_hour", "power_w", *SHARED),
    "demand": ("demand", *(name for name in FIELDS if name != "arrival_cv"), *SHARED),
    "quota": ("devices", "accelerators", *PLACES),
    "region": ("region", "price_ratio", "accelerators", "clouds"),
}
HEADROOM_RATIO = 0.1
"""What is added to a rate where nothing is said, as `capgrid fleet` does."""
SPARE_REPLICAS = 1


@dataclass(frozen=True)
class Region:
    """Where devices stand, which of them, whose, and what they cost there, as a ratio of the catalog's price."""

    region: str
    price_ratio: float = 1.0
    accelerators: tuple[str, ...] = ()
    clouds: tuple[str, ...] = ()


@dataclass(frozen=True)
class MixDemand:
    """One demand, the plans that may serve it, and where."""

    name: str
    demand: Demand
    choice: Choice
    requests_per_s: float
    headroom_ratio: float = HEADROOM_RATIO
    spare_replicas: int = SPARE_REPLICAS
    clouds: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()


@dataclass(frozen=True)
class MixPlan:
    """Everything that a file says, its names resolved."""

    demands: tuple[MixDemand, ...]
    limits: Limits = field(default_factory=Limits)
    regions: tuple[Region, ...] = ()
    market: str = "on-demand"
    site: str = DEFAULT_SITE


def read_mix(name: str, catalogs: Catalogs) -> MixPlan:
    """A bundled mix by name, or any mix file by path, its names resolved.

    Raises:
        UnknownNameError: no such file.
        PipelineError: the file says what cannot be; everything wrong, a line each.
    """
    path = mix_path(name, catalogs.folder)
    said = read_toml(path, str(path))
    problems = [f"{path}: {problem}" for problem in wrong_file(said, catalogs)]
    if problems:
        raise PipelineError("\n".join(dict.fromkeys(problems)))
    return as_plan(said, catalogs)


def mix_path(name: str, folder: Path) -> Path:
    """Where a mix stands."""
    bundled = folder / "mixes"
    for path in (Path(name), bundled / f"{name}{SUFFIX}"):
        if path.suffix == SUFFIX and path.is_file():
            return path
    known = sorted(path.stem for path in bundled.glob(f"*{SUFFIX}"))
    raise UnknownNameError("mix", name, known, hint=f"Bundled: {', '.join(known) or 'none'}; or give a .toml file.")


# ----- what can be wrong


def wrong_file(said: Mapping[str, Any], catalogs: Catalogs) -> Iterator[str]:
    """Everything that is wrong about a file."""
    for name in said.keys() - {*TABLES}:
        yield f"no table named '{name}'. {nearest(name, TABLES)}".rstrip()
    shaped = {name: dict if name == "mix" else list for name in TABLES}
    wrong = [name for name, shape in shaped.items() if not isinstance(said.get(name, shape()), shape)]
    yield from (f"'{name}' is written {'[mix]' if name == 'mix' else f'[[{name}]]'}" for name in wrong)
    if wrong:
        return
    regions = [each.get("region") for each in said.get("region", []) if isinstance(each, dict)]
    yield from wrong_mix(said.get("mix", {}), catalogs, regions)
    if not said.get("demand"):
        yield "has no [[demand]]"
    for kind in ("demand", "quota", "region"):
        for place, each in enumerate(said.get(kind, []), start=1):
            who = f"{kind} '{each[kind]}'" if isinstance(each, dict) and kind in each else f"{kind} {place}"
            yield from (f"{who}: {problem}" for problem in wrong_table(kind, each, catalogs, regions))
        yield from repeats(kind, said.get(kind, []))


def repeats(kind: str, tables: Sequence[Any]) -> Iterator[str]:
    """Names that stand twice."""
    names = [each.get(kind) for each in tables if isinstance(each, dict) and isinstance(each.get(kind), str)]
    yield from (f"{kind} '{name}' stands twice" for name in dict.fromkeys(names) if names.count(name) > 1)


def wrong_mix(said: Mapping[str, Any], catalogs: Catalogs, regions: Sequence[Any]) -> Iterator[str]:
    """What is wrong about [mix]."""
    market = said.get("market", "on-demand")
    if market not in MARKETS:
        yield f"mix: market = {market!r} is not one of {', '.join(MARKETS)}"
    try:
        site_of(catalogs.frames, str(said.get("site", DEFAULT_SITE)))
    except UnknownNameError as error:
        yield f"mix: {error}"
    yield from (f"mix: {problem}" for problem in wrong_fields("mix", said, catalogs, regions))


def wrong_table(kind: str, said: Any, catalogs: Catalogs, regions: Sequence[Any]) -> Iterator[str]:
    """What is wrong about one demand, quota or region."""
    if not isinstance(said, dict):
        yield "not a table"
        return
    if kind in KNOWN[kind] and not (isinstance(said.get(kind), str) and is_id(said[kind])):
        yield f"'{kind}' is missing, or no id: lower case letters, digits, dots, dashes and underscores"
    if kind == "quota" and "devices" not in said:
        yield "'devices' is missing"
    yield from wrong_fields(kind, said, catalogs, regions)
    if kind == "demand":
        yield from wrong_demand(
            {name: said[name] for name in KNOWN["demand"] if name in FIELDS and name in said}, catalogs
        )


def wrong_fields(kind: str, said: Mapping[str, Any], catalogs: Catalogs, regions: Sequence[Any]) -> Iterator[str]:
    """Unknown fields of a table, and numbers, lists and names that cannot be."""
    for name in sorted(said.keys() - {*KNOWN[kind]}):
        yield BURSTS if name == "arrival_cv" else f"no field named '{name}'. {nearest(name, KNOWN[kind])}".rstrip()
    for name, (least, most, whole) in RANGES.items():
        if name in said and name in KNOWN[kind] and not in_range(said[name], least, most, whole=whole):
            word = "a whole number" if whole else "a number"
            yield f"{name} = {said[name]!r} is not {word} from {least:g} to {most:g}"
    if said.get("price_ratio") == 0:
        yield "price_ratio = 0 makes devices free"
    for name in (*PLANS, *PLACES):
        if name in said and name in KNOWN[kind]:
            yield from wrong_names(name, said[name], catalogs, regions)
    problems: list[str] = []
    if "parallel" in said and "parallel" in KNOWN[kind]:
        parallel_plans(Path(), said["parallel"], problems)
    yield from (problem.partition(": ")[2] for problem in problems)


BURSTS = (
    "arrival_cv is not read: replicas of several kinds share bursts unevenly. State the rate to plan for, which "
    "`capgrid fleet --traffic` tells, and more headroom_ratio"
)


def in_range(value: Any, least: float, most: float, *, whole: bool) -> bool:
    """Whether a number is one, and from least to most.

    >>> in_range(0.5, 0, 1, whole=False), in_range(0.5, 0, 1, whole=True), in_range(True, 0, 1, whole=True)
    (True, False, False)
    """
    return type(value) in ((int,) if whole else (int, float)) and least <= value <= most


def wrong_names(name: str, said: Any, catalogs: Catalogs, regions: Sequence[Any]) -> Iterator[str]:
    """What is wrong about a list of names."""
    if not isinstance(said, list) or not said or not all(isinstance(each, str) for each in said):
        yield f"'{name}' is empty, or not a list of names"
    elif name in PLACES:
        known = regions if name == "regions" else [*catalogs.frames["price"]["cloud"].unique(), OWNED]
        texts = [each for each in known if isinstance(each, str)]
        yield from (
            f"no {name[:-1]} named '{each}'. {nearest(each, texts)}".rstrip() for each in said if each not in texts
        )
    else:
        try:
            if not select(catalogs, KIND_OF[name], said):
                yield f"'{name}' chooses nothing"
        except CatalogError as error:
            yield from error.problems


# ----- what was said


def as_plan(said: Mapping[str, Any], catalogs: Catalogs) -> MixPlan:
    """What a file says, where nothing is wrong about it."""
    mix = said.get("mix", {})
    quotas = tuple(Quota(each["devices"], *places_in(each, catalogs, *PLACES)) for each in said.get("quota", []))
    regions = tuple(
        Region(each["region"], float(each.get("price_ratio", 1.0)), *places_in(each, catalogs, "clouds"))
        for each in said.get("region", [])
    )
    budget = {name: float(mix[name]) for name in ("usd_per_hour", "power_w") if name in mix}
    market, site = mix.get("market", "on-demand"), mix.get("site", DEFAULT_SITE)
    shared = {name: mix[name] for name in SHARED if name in mix}
    demands = tuple(demand_of(shared | each, market, site, catalogs) for each in said["demand"])
    return MixPlan(demands, Limits(quotas, **budget), regions, market, site)


def places_in(said: Mapping[str, Any], catalogs: Catalogs, *places: str) -> Iterator[tuple[str, ...]]:
    """The ids of a table's accelerators, then its places."""
    yield select(catalogs, "accelerator", said["accelerators"]) if "accelerators" in said else ()
    yield from (tuple(said.get(each, ())) for each in places)


def demand_of(said: Mapping[str, Any], market: str, site: str, catalogs: Catalogs) -> MixDemand:
    """One demand, with what [mix] says for all."""
    lengths: dict[str, Any] = {name: said.get(name) for name in (*LENGTHS, *NUMBERS[1:])}
    spread = Variation(**{name: float(said[name]) for name in ("prompt_cv", "output_cv") if name in said})
    workload = catalogs.resolve("workload", said.get("workload", BASE_WORKLOAD))
    demand = Demand(catalogs.resolve("model", said["model"]), **lengths, workload=workload, variation=spread)
    plans: dict[str, Any] = {name: tuple(said[name]) for name in (*PLANS, "parallel") if name in said}
    own: dict[str, Any] = {name: said[name] for name in ("headroom_ratio", "spare_replicas") if name in said}
    own |= {name: tuple(said[name]) for name in PLACES if name in said}
    choice = Choice(**plans, market=market, site=site)
    return MixDemand(said["demand"], demand, choice, float(said["requests_per_s"]), **own)
