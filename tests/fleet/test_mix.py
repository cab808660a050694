"""Several demands on several kinds of device under limits: exact, explained where impossible, and tried otherwise."""

from __future__ import annotations

import builtins
import ctypes
import json
import os
import random
from itertools import product
from math import ceil
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from click.testing import CliRunner

from pipeline.cli.main import cli
from pipeline.core.errors import PipelineError, UsageError
from pipeline.facts.entries import catalog_files
from pipeline.fleet.mix.cheapest import RATE, Mix, solve_mix
from pipeline.fleet.mix.file import read_mix
from pipeline.fleet.mix.limits import Limits, Quota
from pipeline.fleet.mix.model import silence_stdout
from pipeline.fleet.mix.options import demands_of, options_of, places_of
from pipeline.fleet.mix.sensitivity import FITTING, NONE, OTHER, SAME, at_bad_end, at_other_prices
from tests.support import AS_OF, catalogs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

pytest.importorskip("scipy")

CASES = 150
Case = tuple[pl.DataFrame, pl.DataFrame, Limits]


def option(demand: str, accelerator: str, count: int, usd: float, rate: float, **others: Any) -> dict[str, Any]:
    """One plan for a demand."""
    usual = {"price_cloud": "aws", "region": "us", "power_w": 100.0 * count, "node_devices": 8}
    return {
        "demand": demand, "accelerator": accelerator, "device_count": count, "device_usd_per_hour": usd, RATE: rate,
        "slo_requests_per_s_lo": 0.6 * rate, **usual, **others,
    }  # fmt: skip


def demand(name: str, rate: float, spares: int = 0, **others: Any) -> dict[str, Any]:
    """One demand without headroom."""
    return {"demand": name, "requests_per_s": rate, "spare_replicas": spares, **others}


def drawn(seed: int) -> Case:
    """A small case: one or two demands, spares, and limits that bind in about a third of all cases."""
    rng = random.Random(seed)  # noqa: S311
    names = [f"d{each}" for each in range(rng.randint(1, 2))]
    demands = [
        demand(name, rng.choice([1, 2.5, 4, 7, 9.5]), rng.randint(0, 2), headroom_ratio=rng.choice([0, 0.1]))
        for name in names
    ]
    options = [
        option(
            name, rng.choice("abc"), rng.choice([1, 2, 4]), rng.choice([0.7, 1.0, 1.5, 2.0, 3.0]),
            rng.choice([1.0, 1.7, 2.0, 3.3, 4.0, 8.0]), price_cloud=rng.choice("xy"),
            power_w=rng.choice([100.0, 250.0, 400.0]),
        )
        for name in names
        for _ in range(rng.randint(1, 3))
    ]  # fmt: skip
    quotas = [
        *([Quota(rng.randint(0, 12), (rng.choice("abc"),))] if rng.random() < 0.5 else []),
        *([Quota(rng.randint(0, 12), clouds=(rng.choice("xy"),))] if rng.random() < 0.3 else []),
        *([Quota(rng.randint(1, 25))] if rng.random() < 0.2 else []),
    ]
    budgets = {"usd_per_hour": rng.choice([None, None, 10.0, 20.0]), "power_w": rng.choice([None, None, 1500.0])}
    return pl.DataFrame(options), pl.DataFrame(demands), Limits(tuple(quotas), **budgets)


def serving(options: Sequence[dict[str, Any]], asked: dict[str, Any]) -> Iterator[dict[int, int]]:
    """Every fleet of one demand that carries it without its largest spares."""
    planned, spares = asked["requests_per_s"] * (1 + asked["headroom_ratio"]), asked["spare_replicas"]
    own = [place for place, each in enumerate(options) if each["demand"] == asked["demand"]]
    most = [range(ceil(planned / options[place][RATE] - 1e-9) + spares + 1) for place in own]
    for counts in product(*most):
        every = [options[place][RATE] for place, count in zip(own, counts, strict=True) for _ in range(count)]
        if sum(sorted(every, reverse=True)[spares:]) >= planned - 1e-9:
            yield dict(zip(own, counts, strict=True))


def by_trying(options: Sequence[dict[str, Any]], demands: Sequence[dict[str, Any]], limits: Limits) -> Any:
    """Cost and devices of the cheapest fleet of all, tried one by one; nothing where no limit allows one."""
    smallest = [least_of(list(serving(options, each))) for each in demands]
    fleets = ({place: n for part in parts for place, n in part.items()} for parts in product(*smallest))
    return min((told for each in fleets if (told := within(options, each, limits))), default=None)


def least_of(fleets: Sequence[dict[int, int]]) -> list[dict[int, int]]:
    """The fleets that hold with no replica less."""
    counts = {tuple(each.values()) for each in fleets}
    return [
        each for each in fleets
        if not any(
            tuple(n - (at == place) for at, n in enumerate(each.values())) in counts for place in range(len(each))
        )
    ]  # fmt: skip


def within(options: Sequence[dict[str, Any]], fleet: dict[int, int], limits: Limits) -> tuple[float, int] | None:
    """Cost and devices of a fleet, if every limit allows it."""

    def total(field: str, count: Callable[[dict[str, Any]], bool] = lambda _: True) -> float:
        each = {"usd": lambda o: o["device_usd_per_hour"] * o["device_count"], "devices": lambda o: o["device_count"],
                "power": lambda o: o["power_w"]}[field]  # fmt: skip
        return sum(each(options[place]) * n for place, n in fleet.items() if count(options[place]))

    for quota in limits.quotas:
        held = total(
            "devices",
            lambda o, q=quota: (
                (not q.accelerators or o["accelerator"] in q.accelerators)
                and (not q.clouds or o["price_cloud"] in q.clouds)
            ),
        )
        if held > quota.devices:
            return None
    if limits.usd_per_hour is not None and total("usd") > limits.usd_per_hour + 1e-9:
        return None
    if limits.power_w is not None and total("power") > limits.power_w + 1e-9:
        return None
    return round(total("usd"), 6), int(total("devices"))


def cost(mix: Mix) -> tuple[float, int] | None:
    """Cost and devices of an answer."""
    return (round(mix.usd_per_hour, 6), int(mix.fleet["devices"].sum())) if mix.is_feasible else None


# ----- the optimum


@pytest.mark.parametrize("seed", range(CASES))
def test_the_answer_is_that_of_trying_all_fleets(seed: int) -> None:
    """Cost and, at one cost, devices are those of the best of all fleets; where there is none, a limit is named."""
    options, demands, limits = drawn(seed)
    mix = solve_mix(options, demands, limits)
    assert cost(mix) == by_trying(options.rows(named=True), demands.rows(named=True), limits)
    assert mix.gap_ratio == 0


def test_the_cases_are_of_every_kind() -> None:
    """A test of cases that are all alike would hold nothing true."""
    answers = [solve_mix(*drawn(seed)) for seed in range(40)]
    feasible = sum(each.is_feasible for each in answers)
    assert 10 <= feasible <= 35


@pytest.mark.parametrize("seed", range(25))
def test_what_is_told_of_a_fleet_adds_up(seed: int) -> None:
    """Demands are carried without their spares, limits kept, and parts sum to the whole."""
    options, demands, limits = drawn(seed)
    mix = solve_mix(options, demands, limits)
    if not mix.is_feasible:
        return
    told = mix.demands
    assert (told["reserve_requests_per_s"] >= told["planned_requests_per_s"] - 1e-6).all()
    assert (told["capacity_requests_per_s"] >= told["reserve_requests_per_s"]).all()
    assert told["usd_per_hour"].sum() == pytest.approx(mix.usd_per_hour)
    assert told["devices"].sum() == mix.fleet["devices"].sum()
    assert (mix.limits["left"] >= -1e-6).all()


def test_spares_are_the_largest_replicas() -> None:
    """Ten small replicas and one large one hold without the large one, not without a small one only."""
    options = pl.DataFrame([option("d", "a", 8, 1.0, 10.0), option("d", "b", 1, 1.1, 1.0)])
    mix = solve_mix(options, pl.DataFrame([demand("d", 10.0, 1)]), Limits())
    assert dict(mix.fleet.select("accelerator", "replicas").iter_rows()) == {"b": 11}
    assert mix.demands["reserve_requests_per_s"].item() == pytest.approx(10.0)


def test_of_two_fleets_at_one_price_the_smaller_is_chosen() -> None:
    """One device at 4 and four at 1 cost the same."""
    options = pl.DataFrame([option("d", "a", 4, 1.0, 5.0), option("d", "b", 1, 4.0, 5.0)])
    mix = solve_mix(options, pl.DataFrame([demand("d", 5.0)]), Limits())
    assert mix.fleet["accelerator"].to_list() == ["b"]


# ----- laws


@pytest.mark.parametrize("seed", range(30))
def test_more_traffic_is_never_cheaper(seed: int) -> None:
    """What carries more carries less."""
    options, demands, limits = drawn(seed)
    more = demands.with_columns(pl.col("requests_per_s") * 1.3)
    before, after = cost(solve_mix(options, demands, limits)), cost(solve_mix(options, more, limits))
    assert after is None or (before is not None and before[0] <= after[0] + 1e-6)


@pytest.mark.parametrize("seed", range(30))
def test_a_looser_quota_is_never_dearer(seed: int) -> None:
    """What fits a quota fits a larger one."""
    options, demands, limits = drawn(seed)
    wider = tuple(Quota(each.devices + 3, each.accelerators, each.clouds) for each in limits.quotas)
    before = cost(solve_mix(options, demands, limits))
    after = cost(solve_mix(options, demands, Limits(wider, limits.usd_per_hour, limits.power_w)))
    assert before is None or (after is not None and after[0] <= before[0] + 1e-6)


@pytest.mark.parametrize("seed", range(30))
def test_a_dearer_price_never_changes_what_is_possible(seed: int) -> None:
    """Without a budget of money, prices choose among fleets and allow or forbid none."""
    options, demands, limits = drawn(seed)
    free = Limits(limits.quotas, None, limits.power_w)
    dearer = options.with_columns(pl.col("device_usd_per_hour") * 7)
    before, after = cost(solve_mix(options, demands, free)), cost(solve_mix(dearer, demands, free))
    assert (before is None) == (after is None)
    assert before is None or after is None or after[0] == pytest.approx(7 * before[0])


# ----- no fleet


@pytest.mark.parametrize("seed", range(60))
def test_what_would_have_to_give_way_does(seed: int) -> None:
    """A limit that grows by what is said makes a fleet possible, and one that grows by less does not."""
    options, demands, limits = drawn(seed)
    mix = solve_mix(options, demands, limits)
    if mix.is_feasible:
        return
    asked = options.rows(named=True), demands.rows(named=True)
    needed = mix.limits["needed_alone"].to_list()
    for place, size in enumerate(needed):
        if size is not None:
            assert by_trying(*asked, grown(limits, place, size + 1e-4)) is not None
            step = 1 if place < len(limits.quotas) else 0.01
            assert by_trying(*asked, grown(limits, place, size - step)) is None
    together = mix.limits["needed_together"].to_list()
    assert any(each is not None for each in [*needed, *together])
    wider = limits
    for place, size in enumerate(together):
        wider = wider if size is None else grown(wider, place, size + 1e-4)
    assert any(each is not None for each in needed) or by_trying(*asked, wider) is not None


def grown(limits: Limits, place: int, size: float) -> Limits:
    """Limits, one of which has another size."""
    quotas = list(limits.quotas)
    if place < len(quotas):
        old = quotas[place]
        quotas[place] = Quota(int(size + 1e-3), old.accelerators, old.clouds)
        return Limits(tuple(quotas), limits.usd_per_hour, limits.power_w)
    is_money = place == len(quotas) and limits.usd_per_hour is not None
    return Limits(limits.quotas, size if is_money else limits.usd_per_hour, limits.power_w if is_money else size)


def test_the_limit_that_binds_is_named() -> None:
    """Four devices where six are needed; the budget is wide, and growing it does not help."""
    options = pl.DataFrame([option("chat", "h100", 2, 3.0, 5.0)])
    limits = Limits((Quota(4, ("h100",)),), usd_per_hour=1000.0)
    mix = solve_mix(options, pl.DataFrame([demand("chat", 12.0)]), limits)
    assert mix.problems[0] == "'devices: h100' binds: 6 devices in place of 4 would do, all else as it is"
    assert "'chat' is cut from 12 to 10 requests/s" in mix.problems[1]
    assert mix.limits["needed_alone"].to_list() == [6, None]


def test_two_limits_that_bind_together_are_named_together() -> None:
    """Neither is enough alone."""
    options = pl.DataFrame([option("chat", "h100", 2, 3.0, 5.0)])
    limits = Limits((Quota(4, ("h100",)),), usd_per_hour=12.0)
    mix = solve_mix(options, pl.DataFrame([demand("chat", 12.0)]), limits)
    assert mix.limits["needed_alone"].to_list() == [None, None]
    assert mix.limits["needed_together"].to_list() == pytest.approx([6, 18])
    assert mix.problems[0].startswith("no limit is enough alone; together 'devices: h100' 6 devices")


def test_a_demand_without_options_is_named() -> None:
    """Each with its reason."""
    options = pl.DataFrame(
        [option("a", "h100", 1, 1.0, 1.0), option("b", "h100", 1, None, 1.0), option("c", "h100", 1, 1.0, 0.0)]  # type: ignore[arg-type]
    )
    asked = pl.DataFrame([demand(name, 1.0, accelerators=["l4"] if name == "a" else None) for name in "abcd"])
    problems = solve_mix(options, asked, Limits()).problems
    assert [problem[:3] for problem in problems] == ["'a'", "'b'", "'c'", "'d'"]
    assert [word in problem for word, problem in zip(["allow", "price", "band", "no plan"], problems, strict=True)] == [
        False, True, True, True,
    ]  # fmt: skip


def test_a_demand_keeps_to_its_places() -> None:
    """Accelerators, clouds and regions that it names, and no others."""
    options = pl.DataFrame(
        [option("d", name, 1, usd, 1.0, region=where) for name, usd, where in
         [("l4", 1.0, "us"), ("l4", 2.0, "eu"), ("h100", 0.5, "eu"), ("a100", 0.1, "us")]]
    )  # fmt: skip
    asked = pl.DataFrame([demand("d", 3.0, accelerators=["l4", "h100"], regions=["eu"])])
    mix = solve_mix(options, asked, Limits())
    assert mix.fleet.select("accelerator", "region", "replicas").rows() == [("h100", "eu", 3)]


# ----- prices and the band


def three() -> Case:
    """One demand on three kinds of device: the first is cheapest, the second close, the third far."""
    options = [option("d", "a", 1, 1.0, 1.0), option("d", "b", 1, 1.1, 1.0), option("d", "c", 1, 9.0, 1.0)]
    return pl.DataFrame(options), pl.DataFrame([demand("d", 4.0, 1)]), Limits()


def test_other_prices_tell_whether_the_choice_stands() -> None:
    """A dearer first or a cheaper second changes it; the third never does."""
    rows = at_other_prices(solve_mix(*three()), *three())
    said = {(row["accelerator"], row["price_ratio"]): row for row in rows.iter_rows(named=True)}
    changed = {key for key, row in said.items() if row["choice"] != SAME}
    assert changed == {("a", 1.2), ("b", 0.8)}
    assert said["a", 1.2]["choice"] == OTHER
    assert said["a", 1.2]["kept_usd_per_hour"] == pytest.approx(6.0)
    assert said["a", 1.2]["usd_per_hour"] == pytest.approx(5.5)
    assert (said["a", 1.2]["devices"], said["a", 1.2]["devices_then"]) == (5, 0)
    assert said["a", 0.8]["usd_per_hour"] == pytest.approx(4.0)


def test_a_dearer_device_may_break_the_budget() -> None:
    """Another fleet may keep it, or none."""
    options, demands, _ = three()
    words = []
    for budget in (5.5, 5.2):
        limits = Limits(usd_per_hour=budget)
        rows = at_other_prices(solve_mix(options, demands, limits), options, demands, limits)
        words.append(rows.filter(accelerator="a", price_ratio=1.2)["choice"].item())
    assert words == [FITTING, NONE]


@pytest.mark.parametrize("seed", range(15))
def test_at_other_prices_the_cheapest_is_never_dearer_than_the_fleet_kept(seed: int) -> None:
    """And is what solving anew at that price says."""
    options, demands, limits = drawn(seed)
    mix = solve_mix(options, demands, limits)
    if not mix.is_feasible:
        return
    for row in at_other_prices(mix, options, demands, limits).iter_rows(named=True):
        factor = pl.when(accelerator=row["accelerator"]).then(row["price_ratio"]).otherwise(1.0)
        anew = solve_mix(options.with_columns(pl.col("device_usd_per_hour") * factor), demands, limits)
        assert (row["usd_per_hour"] is None) == (not anew.is_feasible)
        if anew.is_feasible:
            assert row["usd_per_hour"] == pytest.approx(anew.usd_per_hour, rel=2e-6)
            assert row["usd_per_hour"] <= row["kept_usd_per_hour"] + 1e-6


def test_the_bad_end_of_the_band_asks_demand_by_demand() -> None:
    """Rates at 0.6: five of them carry 3 of 4, three of two 1.8 of 1.5; the money budget does not hold there."""
    options = pl.DataFrame([option("d", "a", 1, 1.0, 1.0), option("e", "a", 1, 1.0, 1.0)])
    demands = pl.DataFrame([demand("d", 4.0, 1), demand("e", 1.5, 1)])
    limits = Limits(usd_per_hour=8.0)
    end = at_bad_end(solve_mix(options, demands, limits), options, demands, limits)
    assert end.demands["capacity_requests_per_s_lo"].to_list() == pytest.approx([3.0, 1.8])
    assert end.demands["holds_at_lo"].to_list() == [False, True]
    assert end.demands["holds_at_lo_without_spares"].to_list() == [False, False]
    assert end.demands["usd_per_hour_lo"].to_list() == pytest.approx([8.0, 4.0])
    assert end.mix.usd_per_hour == pytest.approx(12.0)


# ----- what cannot be asked


@pytest.mark.parametrize(
    ("options", "demands", "words"),
    [
        ({}, {"requests_per_s": -1.0}, "rates are above 0"),
        ({}, {"requests_per_s": float("nan")}, "rates are above 0"),
        ({}, {"spare_replicas": -1}, "spares from 0"),
        ({"drop": "demand"}, {}, "options: no column 'demand'"),
        ({"drop": "region"}, {}, "options: no column 'region'"),
    ],
)
def test_wrong_frames_are_refused(options: dict[str, Any], demands: dict[str, Any], words: str) -> None:
    """With what is wrong."""
    rows = pl.DataFrame([option("d", "a", 1, 1.0, 1.0)]).drop(options.get("drop", []))
    with pytest.raises(UsageError, match=words):
        solve_mix(rows, pl.DataFrame([demand("d", 1.0) | demands]), Limits((Quota(3, regions=("us",)),)))


def test_without_scipy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra by name."""
    real = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(PipelineError, match=r'pip install "capgrid\[opt\]"'):
        solve_mix(*three())


def test_what_the_solver_prints_stays_out_of_the_data(capfd: pytest.CaptureFixture[str]) -> None:
    """From Python's own writes to C's buffered ones."""
    with silence_stdout():
        os.write(1, b"noise")
        ctypes.CDLL(None).printf(b"more noise")
    os.write(1, b"data")
    assert capfd.readouterr().out == "data"


# ----- files

SMALL: dict[str, str] = {
    "mix": 'accelerators = ["l4"]\nengines = ["vllm"]\nparallel = [{ tp = 1 }]\nweights = ["fp8"]',
    "demand": 'demand = "chat"\nmodel = "llama-3.1-8b"\nrequests_per_s = 1\nttft_p95_s = 3.0\ntpot_p95_s = 0.2',
}


def written(path: Path, **tables: str) -> Path:
    """A mix file of one small demand, with other tables or more lines."""
    said = SMALL | tables
    text = [f"[mix]\n{said.pop('mix')}", *(f"[[{kind}]]\n{lines}" for kind, lines in said.items())]
    file = path / "mine.toml"
    file.write_text("\n".join(text), encoding="utf-8")
    return file


def run(*args: object) -> Any:
    """The command."""
    return CliRunner().invoke(cli, ["mix", *map(str, args), "--as-of", AS_OF.isoformat()])


WRONG = {
    "unknown table": ({"demands": "x = 1"}, ["no table named 'demands'", "demand"]),
    "unknown field": ({"mix": "budget_w = 3"}, ["mix: no field named 'budget_w'"]),
    "misspelt field": ({"demand": SMALL["demand"] + "\nrequest_per_s = 2"}, ["demand 'chat'", "requests_per_s"]),
    "negative rate": ({"demand": 'demand = "a"\nmodel = "llama-7b"\nrequests_per_s = -1'}, ["requests_per_s = -1"]),
    "no rate": ({"demand": 'demand = "a"\nmodel = "llama-7b"'}, ["demand 'a': 'requests_per_s' is missing"]),
    "unknown model": ({"demand": 'demand = "a"\nmodel = "lama-7b"\nrequests_per_s = 1'}, ["'lama-7b'", "llama-7b"]),
    "no name": ({"demand": 'model = "llama-7b"\nrequests_per_s = 1'}, ["demand 1: 'demand' is missing"]),
    "bursts": ({"demand": SMALL["demand"] + "\narrival_cv = 2"}, ["arrival_cv is not read", "--traffic"]),
    "negative quota": ({"quota": "devices = -3"}, ["quota 1: devices = -3"]),
    "half a device": ({"quota": "devices = 1.5"}, ["devices = 1.5 is not a whole number"]),
    "no devices": ({"quota": 'accelerators = ["l4"]'}, ["'devices' is missing"]),
    "unknown accelerator": ({"quota": 'devices = 1\naccelerators = ["h10"]'}, ["'h10'", "h100"]),
    "unknown cloud": ({"quota": 'devices = 1\nclouds = ["lamda"]'}, ["no cloud named 'lamda'", "lambda"]),
    "unknown region": (
        {"quota": 'devices = 1\nregions = ["uk"]', "region": 'region = "us"'}, ["no region named 'uk'", "us"],
    ),
    "empty list": ({"quota": "devices = 1\nclouds = []"}, ["'clouds' is empty"]),
    "text for a list": ({"mix": 'engines = "vllm"'}, ["'engines'", "not a list"]),
    "numbers for names": ({"mix": "engines = [7]"}, ["'engines'", "not a list"]),
    "unknown market": ({"mix": 'market = "black"'}, ["'black'", "spot"]),
    "unknown site": ({"mix": 'site = "moon"'}, ["'moon'"]),
    "truth for a budget": ({"mix": "usd_per_hour = true"}, ["usd_per_hour = True is not a number"]),
    "infinite budget": ({"mix": "power_w = inf"}, ["power_w = inf"]),
    "not a number": ({"mix": "headroom_ratio = nan"}, ["headroom_ratio = nan"]),
    "free region": ({"region": 'region = "us"\nprice_ratio = 0'}, ["makes devices free"]),
    "parallel 0": ({"mix": "parallel = [{ tp = 0 }]"}, ["parallel", "from 1 to 4096"]),
    "a number for a demand": ({"mix": "demand = 3"}, ["no field named 'demand'"]),
}  # fmt: skip


@pytest.mark.parametrize(("tables", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_says_file_and_what(tables: dict[str, str], words: list[str], tmp_path: Path) -> None:
    """Exit code 1, the file, and everything that is wrong with it."""
    file = written(tmp_path, **tables)
    result = run(file)
    assert isinstance(result.exception, SystemExit)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{file}: " in result.stderr
    assert [word for word in words if word not in result.stderr] == []


@pytest.mark.parametrize("text", ["", "mix = 5", "[mix]\n", "demand = [3]", "[demand]\nx = 1", "[mix\n", "\xff"])
def test_what_is_no_mix_is_refused(text: str, tmp_path: Path) -> None:
    """Files of another shape, and broken ones."""
    file = tmp_path / "mine.toml"
    file.write_bytes(text.encode("latin-1"))
    result = run(file)
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 1
    assert str(file) in result.stderr


def test_a_demand_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """A row could mean either."""
    file = written(tmp_path)
    file.write_text(file.read_text("utf-8") + f"\n[[demand]]\n{SMALL['demand']}\n", encoding="utf-8")
    assert "demand 'chat' stands twice" in run(file).stderr


@pytest.mark.parametrize("name", ["exampel", "nowhere.toml", "", "../example"])
def test_an_unknown_file_is_met_with_those_that_there_are(name: str) -> None:
    """Exit code 2."""
    result = run(name)
    assert result.exit_code == 2
    assert "Bundled: example" in result.stderr


# ----- from a file to a fleet


def test_mixes_are_no_catalog_entries() -> None:
    """The catalogs are read without them; the example stands among them, so that the wheel has it."""
    folder = catalogs().folder
    assert (folder / "mixes" / "example.toml").is_file()
    assert not [path for path in catalog_files(folder) if "mixes" in path.parts]


def test_a_region_has_its_prices_and_its_clouds() -> None:
    """Only those of its clouds, times its ratio."""
    plan = read_mix("example", catalogs())
    places = places_of(plan, catalogs(), AS_OF)
    by_region = {name: places.filter(region=name) for name in ("us", "europe")}
    assert set(by_region["europe"]["price_cloud"]) <= {"aws", "gcp", "nebius"}
    both = by_region["us"].join(by_region["europe"], on=["accelerator", "price_cloud"])
    assert (both["device_usd_per_hour_right"] / both["device_usd_per_hour"]).to_list() == pytest.approx(
        [1.1] * both.height
    )


def test_a_market_that_takes_devices_away_keeps_some_besides(tmp_path: Path) -> None:
    """Spot: the interruption ratio goes into the headroom."""
    plan = read_mix(str(written(tmp_path, mix=SMALL["mix"] + '\nmarket = "spot"')), catalogs())
    options = options_of(plan, catalogs(), AS_OF)
    assert demands_of(plan, options, catalogs())["headroom_ratio"].item() == pytest.approx(1.1 * 1.1 - 1)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of one small demand with a quota."""
    return written(tmp_path_factory.mktemp("mix"), quota="devices = 50")


def test_the_command_prints_every_part(small: Path) -> None:
    """As one JSON object, and as tables under their titles."""
    told = json.loads(run(small, "--json").stdout)
    assert list(told) == ["fleet", "demands", "limits", "prices", "slow"]
    assert told["demands"][0]["reserve_requests_per_s"] >= told["demands"][0]["planned_requests_per_s"] == 1.1
    assert {each["accelerator"] for each in told["fleet"]} == {"l4"}
    text = run(small)
    assert text.exit_code == 0
    assert [line.split(":")[0] for line in text.stdout.splitlines() if ": " in line][:2] == ["Fleet", "Demands"]
    assert "none is cheaper" in text.stderr


def test_one_part_is_a_table_of_its_own(small: Path) -> None:
    """The fleet where csv is asked for; another where it is named."""
    assert run(small, "--format", "csv").stdout.startswith("demand,accelerator,")
    assert json.loads(run(small, "--part", "limits", "--json").stdout)[0]["allowed"] == 50


def test_a_file_that_no_fleet_answers_says_which_limit_binds(tmp_path: Path) -> None:
    """Exit code 1, and how far it would have to grow."""
    result = run(written(tmp_path, quota="devices = 1"))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "'devices' binds: " in result.stderr


def test_a_demand_that_no_plan_meets_is_named(tmp_path: Path) -> None:
    """With the words of the options."""
    lines = SMALL["demand"].replace("tpot_p95_s = 0.2", "tpot_p95_s = 0.0001")
    result = run(written(tmp_path, demand=lines))
    assert result.exit_code == 1
    assert "'chat': no plan for llama-3.1-8b meets" in result.stderr
