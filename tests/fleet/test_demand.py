"""Traffic, traces and spare replicas: the study's tables, laws, and files that cannot be traces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from pipeline.core.errors import CatalogError, PipelineError, UnknownNameError, UsageError
from pipeline.fleet.autoscaling import autoscale, replica_arrival_cv, replicas_for_rate
from pipeline.fleet.availability import Redundancy, availability_ratio, losses_of, redundant, smallest_fleet
from pipeline.fleet.demand import at_share, by_hand, demands, of_catalogs, of_trace, scale_to_rate, week
from pipeline.fleet.trace import lag_margin_ratio, read_trace, seen_per_s, statistics_of, windows
from tests.support import catalogs, every

if TYPE_CHECKING:
    from pathlib import Path

SIZES = [1, 2, 4, 8, 16, 32, 64, 128]
STUDY = {
    # load study, section 5: availability of a unit -> the smallest fleets for .999
    0.99: [2, 3, 5, 10, 18, 35, 68, 134],
    0.995: [2, 3, 5, 9, 18, 34, 67, 132],
    0.999: [1, 3, 5, 9, 17, 33, 66, 130],
}
HEADER = "arrival_s,prompt_tokens,output_tokens\n"


def up_at_least(needed_count: int, fleet: int, available: float) -> float:
    """P(Binomial(fleet, A) >= needed), by another's library."""
    return float(binom.sf(needed_count - 1, fleet, available))


def loads(replicas: int, nodes: int) -> list[int]:
    """Replicas of each node where they are dealt out evenly."""
    return [replicas // nodes + (each < replicas % nodes) for each in range(nodes)]


def fleet(replicas_needed: int, redundancy: Redundancy, device_count: int = 1, node_devices: int = 8) -> dict[str, int]:
    """One fleet."""
    said = {"replicas_needed": replicas_needed, "device_count": device_count, "node_devices": node_devices}
    return redundant(pl.DataFrame([said]), redundancy).row(0, named=True)


def requests(*arrivals: float) -> pl.DataFrame:
    """A trace of equal requests."""
    return pl.DataFrame({"arrival_s": [float(each) for each in arrivals]}).with_columns(
        prompt_tokens=pl.lit(100, pl.Int64), output_tokens=pl.lit(10, pl.Int64)
    )


# ----- availability


@pytest.mark.parametrize("available", STUDY)
def test_the_smallest_fleets_are_those_of_the_study(available: float) -> None:
    """The table of the load study, every entry of it."""
    assert smallest_fleet(pl.Series(SIZES), available, 0.999).to_list() == STUDY[available]


@given(st.integers(1, 60), st.floats(0.5, 0.9999), st.floats(0.5, 0.99999))
def test_a_fleet_is_enough_and_one_fewer_is_not(count: int, available: float, target: float) -> None:
    """The answer is the smallest, by another's binomial."""
    found = int(smallest_fleet(pl.Series([count]), available, target)[0])
    assert up_at_least(count, found, available) >= target * (1 - 1e-9)
    assert found == count or up_at_least(count, found - 1, available) < target * (1 + 1e-9)


@given(st.integers(1, 60), st.floats(0.5, 0.9999), st.floats(0.5, 0.99999))
def test_losses_to_expect_are_the_fewest(kept: int, available: float, target: float) -> None:
    """With that many lost, what is left is up with the wished probability; with one loss fewer it is not."""
    lost = losses_of(kept, available, target)
    assert up_at_least(kept - lost, kept, available) >= target * (1 - 1e-9)
    assert lost == 0 or up_at_least(kept - lost + 1, kept, available) < target * (1 + 1e-9)


def test_distinct_counts_are_answered_in_their_rows() -> None:
    """Order and unknowns stay."""
    assert smallest_fleet(pl.Series([8, None, 1, 8]), 0.99, 0.999).to_list() == [10, None, 2, 10]


@pytest.mark.parametrize(("count", "available"), [(10**6, 0.95), (10**5, 0.5), (10**7, 0.99), (10**13, 0.9)])
def test_a_large_fleet_ends(count: int, available: float) -> None:
    """Sums of a million terms end, near the smallest fleet; beyond, the number that is down is normal."""
    found = int(smallest_fleet(pl.Series([count]), available, 0.999)[0])
    enough, fewer = (up_at_least(count, size, available) for size in (found, found - 5))
    assert enough >= 0.999 * (1 - 1e-6) > fewer or count > 10**9


@settings(max_examples=200)
@given(
    st.integers(1, 40), st.integers(1, 20), st.sampled_from([1, 4, 8]), st.integers(1, 4), st.floats(0.8, 0.9999),
    st.sampled_from([0.9, 0.99, 0.999, 0.99999]), st.integers(0, 2),
)  # fmt: skip
def test_what_is_left_is_enough(
    count: int, devices: int, node: int, zones: int, available: float, target: float, spares: int
) -> None:
    """Over the real layout: the target is met, k nodes may fall, and any zone may fall."""
    redundancy = Redundancy(spare_nodes=spares, target_ratio=target, availability_ratio=available, zones=zones)
    found = fleet(count, redundancy, devices, node)
    span = -(-devices // node)
    units = found["nodes"] // span
    by_unit = [each for _ in range(zones) for each in loads(found["replicas"] // zones, units // zones)]
    assert max(by_unit) == found["node_replicas"] <= max(node // devices, 1)
    assert min(by_unit) >= 1
    left = [sum(sorted(by_unit)[:up]) for up in range(units + 1)]  # the fullest fall first
    fewest = next(up for up, held in enumerate(left) if held >= count)
    assert up_at_least(fewest, units, available**span) >= target * (1 - 1e-9)
    assert left[units - spares] >= count
    assert zones == 1 or found["replicas"] // zones * (zones - 1) >= count


@given(st.integers(1, 200), st.sampled_from([1, 2, 3, 8, 16]), st.integers(1, 4), st.integers(0, 2), st.booleans())
def test_more_traffic_never_needs_less(count: int, devices: int, zones: int, spares: int, has_target: bool) -> None:  # noqa: FBT001
    """One replica more is never fewer replicas, devices or nodes."""
    target = {"target_ratio": 0.999, "availability_ratio": 0.99} if has_target else {}
    redundancy = Redundancy(spare_nodes=spares, zones=zones, **target)
    one, more = (fleet(each, redundancy, devices) for each in (count, count + 1))
    assert all(one[name] <= more[name] for name in ("replicas", "devices", "nodes"))


def test_no_redundancy_is_what_is_needed() -> None:
    """Nodes are counted without splitting a replica that fits one."""
    found = [fleet(5, Redundancy(), devices) for devices in (1, 3, 8, 16)]
    assert [each["replicas"] for each in found] == [5] * 4
    assert [each["nodes"] for each in found] == [1, 3, 5, 10]
    assert [each["devices"] for each in found] == [5, 15, 40, 80]


def test_a_node_takes_its_replicas_along() -> None:
    """One spare node carries as many replicas as a node may take down; a zone as many as the others lack."""
    spare = Redundancy(spare_nodes=1)
    assert [fleet(each, spare)["replicas"] for each in (1, 5, 8, 9, 16)] == [2, 10, 16, 17, 24]
    assert [fleet(each, spare)["nodes"] for each in (1, 5, 8, 9, 16)] == [2, 2, 2, 3, 3]
    assert [fleet(each, Redundancy(zones=3))["replicas"] for each in (1, 2, 3, 7)] == [3, 3, 6, 12]
    assert fleet(9, Redundancy(zones=3), 8)["nodes"] == 15


def test_nothing_needed_and_nothing_known_stay_so() -> None:
    """0 replicas need no spare; an unknown count makes no number."""
    rows = pl.DataFrame({"replicas_needed": [0, None], "device_count": [1, 1], "node_devices": [8, 8]})
    found = redundant(rows, Redundancy(spare_nodes=1, zones=3, target_ratio=0.99, availability_ratio=0.99))
    assert found["replicas"].to_list() == [0, None]
    assert found["nodes"].to_list() == [0, None]


@pytest.mark.parametrize(
    "said",
    [
        {"spare_nodes": -1}, {"zones": 0}, {"zones": 1000}, {"target_ratio": 1.0, "availability_ratio": 0.9},
        {"target_ratio": 0.999}, {"target_ratio": float("nan"), "availability_ratio": 0.9},
        {"target_ratio": 0.9, "availability_ratio": 0.3}, {"target_ratio": 0.9, "availability_ratio": float("nan")},
    ],
)  # fmt: skip
def test_promises_that_no_fleet_keeps_are_refused(said: dict[str, float]) -> None:
    """A usage error, not an endless sum."""
    with pytest.raises(UsageError):
        Redundancy(**said)  # type: ignore[arg-type]


def test_availability_from_failures_and_repairs() -> None:
    """A node that fails every 264 days and is back after a day."""
    assert availability_ratio(264 * 86_400, 86_400) == pytest.approx(264 / 265)
    for mtbf_s, mttr_s in ((0, 1), (1, -1), (float("inf"), 1), (float("nan"), 1)):
        with pytest.raises(UsageError):
            availability_ratio(mtbf_s, mttr_s)


# ----- traces


def test_windows_of_a_trace_made_by_hand() -> None:
    """Nine requests in the first second of ten, one in the last: nine of ten requests see nine per second."""
    trace = requests(*(each / 10 for each in range(9)), 10.0)
    found = windows(trace, [1.0, 5.0, 10.0])
    assert found["requests_per_s_max"].to_list() == [9.0, 1.8, 0.9]
    assert found["requests_per_s_p50"].to_list() == [0.0, 0.2, 0.1]
    assert found["requests_per_s_seen"].to_list() == [9.0, 1.8, 0.9]
    assert found["peak_factor_ratio"].to_list() == pytest.approx([9.0 / 0.9, 2.0, 1.0])


def test_the_percentile_is_one_of_requests() -> None:
    """Of 100 requests, 5 stand in one busy window: 95 % see the others' rate, 96 % the busy one's."""
    trace = requests(*(float(each) for each in range(95)), *(95 + each / 10 for each in range(5)))
    assert seen_per_s(trace, 1.0, 0.95) == 1.0
    assert seen_per_s(trace, 1.0, 0.96) == 5.0


def test_minutes_count_empty_ones() -> None:
    """60 requests in the first of 10 minutes, one at the end: the median minute has none."""
    found = windows(requests(*range(60), 599.0), [60.0]).row(0, named=True)
    assert (found["requests_per_s_p50"], found["requests_per_s_max"]) == (0.0, 1.0)
    assert found["requests_per_s_p95"] == 1.0


def test_numbers_of_a_trace() -> None:
    """Means, spread and ties, by hand."""
    trace = pl.DataFrame(
        {"arrival_s": [0.0, 1.0, 1.0, 4.0], "prompt_tokens": [10, 20, 30, 40], "output_tokens": [8, 6, 4, 2]}
    )
    found = statistics_of(trace).row(0, named=True)
    assert (found["requests"], found["span_s"], found["requests_per_s_mean"]) == (4, 4.0, 0.75)
    assert found["tied_ratio"] == pytest.approx(1 / 3)
    assert found["arrival_cv"] == pytest.approx((14 / 9) ** 0.5 / (4 / 3))
    assert found["prompt_cv"] == pytest.approx(125**0.5 / 25)
    assert found["length_correlation_ratio"] == pytest.approx(-1.0)


def test_equal_requests_have_no_spread() -> None:
    """A correlation that does not exist is 0, not an unnumber."""
    found = statistics_of(requests(0, 1, 2, 3)).row(0, named=True)
    assert (found["arrival_cv"], found["prompt_cv"], found["length_correlation_ratio"]) == (0.0, 0.0, 0.0)


def test_a_load_that_doubles_asks_for_twice_the_fleet() -> None:
    """One request a minute, then two: the margin is what the next minutes bring. A short trace does not tell."""
    slow, fast = [60.0 * each for each in range(30)], [1800 + 30.0 * each for each in range(60)]
    assert lag_margin_ratio(requests(*slow, *fast), 60.0, share=0.5) == 1.0
    assert lag_margin_ratio(requests(*slow, *fast), 1500.0, share=0.7) == 2.0
    assert lag_margin_ratio(requests(0, 100), 600.0) is None


FORMS = {
    "own": (".csv", "arrival_s,prompt_tokens,output_tokens\n10,100,10\n12.5,100,10\n"),
    "comments": (".csv", "# drawn by us\narrival_s,prompt_tokens,output_tokens\n0,100,10\n2.5,100,10\n"),
    "milliseconds": (".csv", "arrival_ms,prompt_tokens,output_tokens\n0,100,10\n2500,100,10\n"),
    "unordered": (".csv", "arrival_s,prompt_tokens,output_tokens\n2.5,100,10\n0,100,10\n"),
    "azure": (
        ".csv",
        """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,100,10
2023-11-16 18:15:49.1805900,100,10
""",
    ),
    "offsets": (
        ".csv",
        "timestamp,prompt_tokens,output_tokens\n2024-05-10T00:00:00Z,100,10\n2024-05-10T02:00:02.5+02:00,100,10\n",
    ),
    "mooncake": (
        ".jsonl",
        """{"timestamp": 0, "input_length": 100, "output_length": 10, "hash_ids": [1, 2]}
{"timestamp": 2500, "input_length": 100, "output_length": 10, "hash_ids": [1, 3]}
""",
    ),
    "burstgpt": (
        ".csv",
        "Timestamp,Model,Request tokens,Response tokens,Total tokens\n5,ChatGPT,100,10,110\n7.5,ChatGPT,100,10,110\n",
    ),
    "vidur": (".csv", "arrived_at,num_prefill_tokens,num_decode_tokens\n0,100,10\n2.5,100,10\n"),
}


@pytest.mark.parametrize("form", FORMS)
def test_traces_of_several_makers_are_read(form: str, tmp_path: Path) -> None:
    """Names and units of columns as they are published; arrivals begin at 0."""
    suffix, text = FORMS[form]
    path = tmp_path / f"trace{suffix}"
    path.write_text(text, encoding="utf-8")
    assert read_trace(path).rows() == [(0.0, 100, 10), (pytest.approx(2.5), 100, 10)]


def test_parquet_with_moments_is_read(tmp_path: Path) -> None:
    """A column of moments, in any resolution."""
    frame = requests(0.0, 2.5).with_columns(timestamp=pl.from_epoch(pl.col("arrival_s") * 1e3, "ms")).drop("arrival_s")
    frame.write_parquet(tmp_path / "trace.parquet")
    assert read_trace(tmp_path / "trace.parquet")["arrival_s"].to_list() == [0.0, 2.5]


HOSTILE = {
    "empty": ("", "cannot be read"),
    "header only": (HEADER, "two requests"),
    "one request": (f"{HEADER}0,100,10\n", "two requests"),
    "one moment": (f"{HEADER}5,100,10\n5,100,10\n", "same moment"),
    "no arrivals": ("arrivals,prompt_tokens,output_tokens\n0,1,1\n1,1,1\n", "Did you mean arrivals?"),
    "no outputs": ("arrival_s,prompt_tokens,out_tokens\n0,1,1\n1,1,1\n", "Did you mean"),
    "text": (f"{HEADER}0,100,10\n1,many,10\n", "row 2: prompt_tokens = 'many' is not a whole number"),
    "fraction": (f"{HEADER}0,100.5,10\n1,100,10\n", "row 1: prompt_tokens = '100.5'"),
    "blank": (f"{HEADER}0,100,10\n1,,10\n", "row 2: prompt_tokens = 'None'"),
    "failed": (f"{HEADER}0,100,0\n1,100,10\n", "leave failed requests out"),
    "huge": (f"{HEADER}0,100,1e300\n1,100,10\n", "is not between"),
    "endless": (f"{HEADER}0,100,inf\n1,100,10\n", "is not a whole number"),
    "no number": (f"{HEADER}0,100,nan\n1,100,10\n", "is not a whole number"),
    "no time": (f"{HEADER}0,100,10\nnan,100,10\n", "row 2: arrival_s = 'nan' is not a time"),
    "another time": (f"{HEADER}0,100,10\nlater,100,10\n", "row 2: arrival_s = 'later'"),
    "not a date": (f"{HEADER}Friday,100,10\nSaturday,100,10\n", "neither a number nor a date"),
    "nanoseconds": (f"{HEADER}1.7e18,100,10\n1.8e18,100,10\n", "is the unit right?"),
    "unit unknown": ("timestamp,prompt_tokens,output_tokens\n0,1,1\n1,1,1\n", "seconds or milliseconds?"),
    "ragged": (f"{HEADER}0,100,10\n1,100,10,7,7\n", "cannot be read"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_no_trace_is_refused_with_its_row(case: str, tmp_path: Path) -> None:
    """The file, the row, the value, and a way out."""
    text, said = HOSTILE[case]
    path = tmp_path / "trace.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PipelineError) as error:
        read_trace(path)
    assert str(path) in str(error.value)
    assert said in str(error.value)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    """Missing, a folder, bytes of something else, and lists where numbers belong."""
    (tmp_path / "noise.csv").write_bytes(bytes(range(128, 256)) * 9)
    (tmp_path / "noise.parquet").write_bytes(b"PAR1 and nothing else")
    (tmp_path / "noise.jsonl").write_text("[1, 2", encoding="utf-8")
    requests(0, 1).with_columns(prompt_tokens=pl.lit([[1, 2]])).write_parquet(tmp_path / "lists.parquet")
    for name in ("missing.csv", ".", "noise.csv", "noise.parquet", "noise.jsonl", "lists.parquet"):
        with pytest.raises(PipelineError):
            read_trace(tmp_path / name)


# ----- demand


def test_every_bundled_entry_makes_a_demand() -> None:
    """Traces that are named are there; the plan is never below the mean, the peak never either."""
    traffic = of_catalogs(catalogs(), every("traffic"))
    found = demands(traffic)
    assert found.height == len(every("traffic")) > 7
    assert (found["requests_per_s_plan"] >= found["requests_per_s_mean"] * (1 - 1e-12)).all()
    assert (found["requests_per_s_peak"] >= found["requests_per_s_mean"] * (1 - 1e-12)).all()
    assert found.drop("lag_margin_ratio").null_count().sum_horizontal().item() == 0
    hours = week(traffic).group_by("traffic", maintain_order=True).agg(pl.len(), pl.col("requests_per_s").mean())
    assert hours["len"].to_list() == [168] * found.height
    assert hours["requests_per_s"].to_list() == pytest.approx(found["requests_per_s_mean"].to_list())


def test_a_profile_is_planned_for_its_busiest_hour() -> None:
    """Twice the rate in half of the hours, on days of which one is double: by hand."""
    traffic = by_hand(8.0, 100, 10, peak_factor_ratio=1.5).with_columns(
        hour_ratio=pl.lit([1.0] * 12 + [3.0] * 12, pl.List(pl.Float64)),
        day_ratio=pl.lit([2.0] + [1.0] * 6, pl.List(pl.Float64)),
    )
    found = demands(traffic).row(0, named=True)
    assert found["requests_per_s_peak"] == pytest.approx(8 * 1.5 * 1.75)
    assert found["requests_per_s_plan"] == pytest.approx(8 * 1.5 * 1.75 * 1.5)
    busiest = week(traffic).sort("requests_per_s", maintain_order=True).tail(12)
    assert set(busiest["day"]) == {0}
    assert set(busiest["hour"]) == set(range(12, 24))
    # Monday's busy half has 36 of 192 parts of the week's requests
    assert demands(traffic, hours_share=1 - 36 / 192)["requests_per_s_plan"][0] == pytest.approx(8 * 1.5 * 0.875 * 1.5)


def test_growth_compounds_and_is_told() -> None:
    """Twelve months at 5 %."""
    traffic = by_hand(10.0, 100, 10, growth_per_month_ratio=0.05)
    now, later = demands(traffic).row(0, named=True), demands(traffic, months=12).row(0, named=True)
    assert later["requests_per_s_mean"] == pytest.approx(10 * 1.05**12)
    assert later["requests_per_s_plan"] == pytest.approx(now["requests_per_s_plan"] * 1.05**12)
    assert "12 months of growth at 5.0 %" in later["plan_note"]
    assert "growth" not in now["plan_note"]


def test_a_bare_mean_says_that_its_peak_is_assumed() -> None:
    """A number that nobody gave is named as such; one that was given is taken as it is."""
    assumed, given_peak = by_hand(10.0, 100, 10), by_hand(10.0, 100, 10, peak_factor_ratio=1.0)
    assert "assumed" in demands(assumed)["plan_note"][0]
    assert demands(assumed)["requests_per_s_plan"][0] == 16.0
    assert "assumed" not in demands(given_peak)["plan_note"][0]
    assert demands(given_peak)["requests_per_s_plan"][0] == 10.0


def test_a_trace_is_planned_for_by_its_windows() -> None:
    """The plan is the windows' own percentile, and grows with the rate that it is scaled to."""
    trace = requests(*(each / 10 for each in range(50)), *range(10, 61))
    traffic = of_trace(trace, "mine")
    found = demands(traffic).row(0, named=True)
    assert found["requests_per_s_plan"] == pytest.approx(seen_per_s(trace, 5.0, 0.95))
    assert found["requests_per_s_plan"] == pytest.approx(10.0)
    assert (found["prompt_tokens"], found["output_tokens"]) == (100, 10)
    assert demands(scale_to_rate(traffic, 100.0))["requests_per_s_plan"][0] == pytest.approx(
        100 * 10.0 / found["requests_per_s_mean"]
    )


def test_a_long_trace_shows_its_hours_and_days() -> None:
    """Two requests an hour, twenty in every tenth hour of the first day of eight."""
    base = [1800.0 * each for each in range(48 * 8)]
    trace = requests(*sorted([*base, *(36_000.0 + each for each in range(1, 19))]))
    traffic = of_trace(trace, "mine")
    assert traffic["hour_ratio"][0].to_list() == [14.0] * 10 + [32.0] + [14.0] * 13
    assert traffic["day_ratio"][0].to_list() == [66.0] + [48.0] * 6
    assert demands(traffic)["requests_per_s_peak"][0] > demands(traffic)["requests_per_s_mean"][0]


@given(st.floats(1, 50), st.floats(0.5, 0.999), st.floats(0.5, 0.999))
def test_a_larger_share_is_never_a_smaller_plan(factor: float, one: float, other: float) -> None:
    """Peak factors grow with the share of requests, and are 1 or more."""
    low, high = sorted((one, other))
    assert 1 <= at_share(factor, low) <= at_share(factor, high) * (1 + 1e-12)
    assert at_share(factor, 0.95) == factor


@given(st.floats(0.1, 1e4), st.floats(1, 3), st.floats(0, 24), st.floats(0.01, 50))
def test_more_traffic_never_plans_for_less(rate: float, more: float, months: float, slo: float) -> None:
    """Rate, months of growth: neither shrinks the plan or the fleet."""
    row = by_hand(rate, 100, 10, growth_per_month_ratio=0.03)
    one, two = demands(row), demands(scale_to_rate(row, min(rate * more, 1e7)), months=months)
    assert one["requests_per_s_plan"][0] <= two["requests_per_s_plan"][0] * (1 + 1e-12)
    counts = [each.select(replicas_for_rate(pl.col("requests_per_s_plan"), pl.lit(slo))).item() for each in (one, two)]
    assert 1 <= counts[0] <= counts[1]


def test_what_no_traffic_has_is_refused() -> None:
    """Rates, factors, shares and months outside their ranges; names that nobody knows."""
    wrong = [
        lambda: by_hand(0, 1, 1),
        lambda: by_hand(float("nan"), 1, 1),
        lambda: by_hand(1, 1, 1, peak_factor_ratio=0.5),
        lambda: by_hand(1, 1, 1, peak_factor_ratio=float("inf")),
        lambda: by_hand(1, 1, 1, share=1.0),
        lambda: scale_to_rate(by_hand(1, 1, 1), -1),
        lambda: demands(by_hand(1, 1, 1), months=-1),
        lambda: demands(by_hand(1, 1, 1), hours_share=0),
        lambda: week(by_hand(1, 1, 1), months=1e9),
        lambda: of_catalogs(catalogs(), ["chat-steady"], share=0.1),
    ]
    for call in wrong:
        with pytest.raises(UsageError):
            call()
    with pytest.raises(UnknownNameError, match="chat-steady"):
        of_catalogs(catalogs(), ["chat-stedy"])


# ----- following the load


def following(**said: float | None) -> dict[str, float]:
    """The autoscaled fleet of an office day: 9 of 24 hours at 10 per second, the rest at 1."""
    hours = pl.DataFrame({"traffic": "office", "requests_per_s": [1.0] * 15 * 7 + [10.0] * 9 * 7})
    usual: dict[str, float | None] = {"slo_requests_per_s": 1.0, "replicas": 16, "spare_replicas": 1,
                                      "window_factor_ratio": 1.5, "lag_margin_ratio": 1.2}  # fmt: skip
    row = pl.DataFrame([{"traffic": "office", **usual, **said}], schema_overrides={"lag_margin_ratio": pl.Float64})
    return autoscale(row, hours).row(0, named=True)


def test_a_fleet_that_follows_by_hand() -> None:
    """1.8 per second need 2 and a spare one; 18 would need 19, and the fixed fleet has 16."""
    found = following()
    assert found["fixed_replica_hours"] == 16 * 168
    assert found["autoscaled_replica_hours"] == 3 * 15 * 7 + 16 * 9 * 7
    assert found["autoscaled_ratio"] == pytest.approx((3 * 15 + 16 * 9) / (16 * 24))
    assert found["autoscaled_replicas_min"] == 3


def test_bursts_out_of_nothing_are_not_followed() -> None:
    """Without a lag margin the fleet stands; without a rate of a replica there is none."""
    assert following(lag_margin_ratio=None)["autoscaled_ratio"] == 1.0
    assert following(slo_requests_per_s=0.0)["autoscaled_replica_hours"] is None


@given(st.floats(0.05, 20), st.integers(1, 400), st.floats(1, 5), st.floats(1, 5))
def test_following_never_costs_more_and_a_longer_lag_never_less(
    slo: float, replicas: int, lag: float, more: float
) -> None:
    """The fixed fleet is the most that ever runs."""
    said = {"slo_requests_per_s": slo, "replicas": replicas, "spare_replicas": 0}
    one, two = following(**said, lag_margin_ratio=lag), following(**said, lag_margin_ratio=lag * more)
    assert one["autoscaled_replica_hours"] <= two["autoscaled_replica_hours"] <= two["fixed_replica_hours"]


def test_split_arrivals_are_calmer() -> None:
    """The study's three routings: at random towards Poisson, in turn towards regular."""
    cv = pl.select(
        at_random=replica_arrival_cv(pl.lit(4.0), pl.lit(16)) ** 2,
        in_turn=replica_arrival_cv(pl.lit(4.0), pl.lit(16), "round-robin") ** 2,
        calm=replica_arrival_cv(pl.lit(1.0), pl.lit(100), "least-outstanding") ** 2,
    )
    assert cv.row(0) == pytest.approx((1 + 15 / 16, 1.0, 0.05))
    with pytest.raises(UsageError, match="least-outstanding"):
        replica_arrival_cv(pl.lit(1.0), pl.lit(1), "best")


# ----- the catalog

ENTRY = """
[[traffic]]
traffic           = "mine"
name              = "Traffic of this test"
workload          = "chat"
requests_per_s    = 10.0
peak_factor_ratio = 2
source            = "assumption"
"""
WRONG = {
    "23 hours": ("hour_ratio = [1.0, 1, 1]", "hour ratio is 24 numbers above 0"),
    "no hours": (f"hour_ratio = {[0] * 24}", "hour ratio is 24 numbers above 0"),
    "negative day": ("day_ratio = [1, 1, 1, 1, 1, 1, -1]", "day ratio is 7 numbers above 0"),
    "endless day": ("day_ratio = [1, 1, 1, 1, 1, 1, inf]", "day ratio is 7 numbers above 0"),
    "words": ('day_ratio = ["Monday"]', "is not a list of numbers"),
    "another folder": ('trace = "../../etc/passwd"', "trace is a file name without a folder"),
    "unknown field": ("peak_factor = 3.0", "Did you mean peak_factor_ratio"),
}


@pytest.mark.parametrize("case", WRONG)
def test_entries_that_cannot_be_true_are_refused(case: str, tmp_path: Path) -> None:
    """File, entry, what."""
    import pipeline

    line, said = WRONG[case]
    (tmp_path / "mine.toml").write_text(f"{ENTRY}{line}\n", encoding="utf-8")
    with pytest.raises(CatalogError, match=said) as error:
        pipeline.catalogs(tmp_path)
    assert "mine.toml" in str(error.value)


def test_own_traffic_stands_beside_the_bundled(tmp_path: Path) -> None:
    """Whole numbers may stand in a list of ratios; a trace is looked for beside the entry."""
    import pipeline

    hours = f"hour_ratio = {[1] * 12 + [2.5] * 12}\n"
    traced = ENTRY.replace("mine", "traced").replace("peak_factor_ratio = 2", 'trace = "mine.csv"')
    (tmp_path / "mine.toml").write_text(f"{ENTRY}{hours}{traced}", encoding="utf-8")
    own = pipeline.catalogs(tmp_path)
    assert demands(of_catalogs(own, ["mine"]))["requests_per_s_peak"][0] == pytest.approx(10 * 2.5 / 1.75)
    with pytest.raises(CatalogError, match=r"mine\.csv"):
        of_catalogs(own, ["traced"])
    (tmp_path / "traffic").mkdir()
    (tmp_path / "traffic" / "mine.csv").write_text(f"{HEADER}0,100,10\n1,300,10\n2,200,10\n", encoding="utf-8")
    found = demands(of_catalogs(own, ["traced"])).row(0, named=True)
    assert (found["requests_per_s_mean"], found["prompt_tokens"]) == (10.0, 1155)
    assert found["prompt_cv"] == pytest.approx((2 / 3) ** 0.5 / 2)
