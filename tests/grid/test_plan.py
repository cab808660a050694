"""Crossing, grain, partitions, the census of plans, and inversion: each against the plain way."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

import polars as pl
import polars.selectors as cs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.estimators.feasible import RULES
from pipeline.grid.axes import axes_of
from pipeline.grid.invert import largest
from pipeline.grid.plan import by_grain, census, crossed_first
from pipeline.grid.schema import SHARED, keys, validated
from pipeline.grid.selection import read_grid
from pipeline.grid.tables import book_for, capacity_of, estimates_of
from pipeline.run.compute import count_plans
from pipeline.run.partitions import partitions
from tests.support import AS_OF, axes, catalogs, plan, rows, texts

if TYPE_CHECKING:
    from pipeline.grid.axes import Axes


@cache
def small() -> Axes:
    """The axes of the bundled grid `small`."""
    return axes_of(catalogs(), read_grid("small", catalogs()), AS_OF)


@cache
def small_estimates() -> pl.DataFrame:
    """The curves of the grid `small`, computed in one go."""
    return estimates_of(small())


@cache
def small_capacity() -> pl.DataFrame:
    """The answers of the grid `small`, computed in one go."""
    return capacity_of(small())


def of_models(models: list[str]) -> Axes:
    """The grid `small` with some of its models only."""
    return small() | {"model": small()["model"].filter(pl.col("model").cast(pl.String).is_in(models))}


# ----- grain


def test_by_grain_gives_what_crossing_first_gives() -> None:
    """Grain is for speed alone: it must not change one bit of one row, nor their order."""
    book, wanted = book_for(small()["model"]), list(SHARED)
    quick = by_grain(small(), book, wanted).collect()
    plain = crossed_first(small(), book, wanted).collect()
    assert quick.height > 1000
    assert_frame_equal(quick, plain, check_exact=True)


def test_the_streaming_engine_gives_the_same_rows_in_the_same_order() -> None:
    """Cross joins lose their order in Polars unless told to keep it; files and golden tables rely on it.

    Names and whole numbers are equal; sums of seconds may be added in another order, to the last bits.
    """
    grid = by_grain(small(), book_for(small()["model"]), list(SHARED))
    streamed, whole = grid.collect(engine="streaming"), grid.collect(engine="in-memory")
    assert_frame_equal(streamed.select(~cs.float()), whole.select(~cs.float()), check_exact=True)
    assert_frame_equal(streamed, whole, rel_tol=1e-14, abs_tol=0.0)


def test_rows_stand_in_the_order_of_the_axes() -> None:
    """The first axis is slowest: rows of a model stand together, which is what makes Parquet small."""
    of = axes(["llama-3.1-8b", "gemma-3-4b"], accelerators=["l4", "a10"], batches=[4, 1], engines=["vllm", "sglang"])
    found = texts(rows(of)).select("model", "accelerator", "engine", "batch").rows()
    wanted = [
        (model, accelerator, engine, batch)
        for model in ("llama-3.1-8b", "gemma-3-4b")
        for accelerator in ("l4", "a10")
        for engine in ("vllm", "sglang")
        for batch in (4, 1)
    ]
    assert found == wanted


def test_keys_tell_the_rows_of_both_tables_apart() -> None:
    """Two rows of one key would be counted twice in every answer."""
    assert small_estimates().select(keys("estimates")).is_duplicated().sum() == 0
    assert small_capacity().select(keys("capacity")).is_duplicated().sum() == 0


def test_every_row_of_the_small_grid_keeps_its_promises() -> None:
    """The schema holds on a grid with every kind of attention, three engines, and devices of three vendors."""
    assert validated(small_estimates(), "estimates").height == small_estimates().height
    assert validated(small_capacity(), "capacity").height == small_capacity().height


# ----- partitions


@pytest.mark.parametrize("model", read_grid("small", catalogs()).models)
def test_a_model_computed_alone_equals_its_slice_of_the_whole(model: str) -> None:
    """Partitions, workers and resumed runs may deal models out as they like only because of this."""
    alone = of_models([model])
    for whole, part in ((small_estimates(), estimates_of(alone)), (small_capacity(), capacity_of(alone))):
        of_model = pl.col("model").cast(pl.String) == model
        assert not part.is_empty()
        assert_frame_equal(texts(part), texts(whole.filter(of_model)), check_exact=True)


@pytest.mark.parametrize("most", [1, 10_000, 10**9])
def test_partitions_hold_every_model_once(most: int) -> None:
    """A model in no partition would be missing from the run; in two, its file would be written twice."""
    models = [model for part in partitions(small(), most) for model in part.models]
    assert sorted(models) == sorted(small()["model"]["model"])


# ----- census


def test_every_plan_is_kept_or_dropped_for_a_reason() -> None:
    """Crossed = kept + dropped, exactly, and kept is the number of plans that the tables hold."""
    found = count_plans(small())
    plans = math.prod(small()[name].height for name in ("model", "weights", "kv", "engine", "parallel", "accelerator"))
    cells = small()["workload"].height
    assert found.crossed == plans
    assert found.crossed == found.kept + sum(found.dropped.values())
    assert small_capacity().height == found.kept * cells
    assert small_estimates().height == found.kept * cells * small()["batch"].height


UNFIT: dict[str, tuple[str, dict[str, Any]]] = {
    # a plan that only this rule drops
    "format_suits_model": ("llama-7b", {"weights": ["mxfp4"]}),
    "tp_divides_heads": ("llama-7b", {"parallel": [plan(3)]}),
    "pp_splits_layers": ("llama-7b", {"parallel": [plan(1, 33)]}),
    "ep_splits_experts": ("mixtral-8x7b", {"parallel": [plan(2, 1, 4)]}),
    "dp_shares_experts": ("llama-7b", {"parallel": [plan(dp=2)]}),
    "device_runs_format": ("llama-7b", {"weights": ["fp8"], "accelerators": ["v100-sxm2-32gb"]}),
    "node_holds_ranks": ("llama-7b", {"parallel": [plan(16)]}),
    "engine_reads_format": ("llama-7b", {"weights": ["gguf-q4_0"]}),
    "engine_keeps_kv": ("llama-7b", {"kv": ["gguf-q8_0"]}),
    "engine_runs_on_device": ("llama-7b", {"engines": ["tensorrt-llm"], "accelerators": ["mi300x"]}),
}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_drops_what_it_is_for(rule: str) -> None:
    """A rule that drops nothing lets impossible plans win; one that drops for another's reason misleads."""
    model, unfit = UNFIT[rule]
    of = axes([model], **unfit)
    found = census(of, book_for(of["model"]))
    assert {name: n for name, n in found.dropped.items() if n} == {rule: 1}
    assert found.kept == 0
    assert rows(of).is_empty()


def test_a_plan_that_nothing_speaks_against_is_kept() -> None:
    """The census drops nothing that can run: the grids above are unfit for their one reason alone."""
    of = axes(["llama-7b", "mixtral-8x7b"], parallel=[plan(), plan(2), plan(2, 1, 2)])
    found = census(of, book_for(of["model"]))
    assert (found.crossed, found.kept) == (6, 5)
    assert found.dropped["ep_splits_experts"] == 1
    assert rows(of).height == found.kept


# ----- inversion

steps = st.one_of(
    st.just(0.0), st.floats(0, 1e-3), st.floats(0, 0.5), st.floats(0.9, 1.1), st.floats(1, 1e6), st.just(math.inf)
)
climbs = st.lists(st.lists(steps, max_size=60), min_size=1, max_size=12)
INVERSION = settings(max_examples=100, deadline=None)


def loads_of(climb: list[float]) -> list[float]:
    """Loads that grow by these steps."""
    total = 0.0
    return [total := total + step for step in climb]


@INVERSION
@given(climbs)
def test_the_largest_within_is_that_of_the_scan_on_any_load_that_only_grows(climb: list[list[float]]) -> None:
    """Flat, steep, all within, none within, nothing to try: the answer is exact, or batch_slo means nothing."""
    tables = [loads_of(each) for each in climb]
    frame = pl.DataFrame({"loads": tables, "top": [len(each) for each in tables]}, schema_overrides={
        "loads": pl.List(pl.Float64)
    })  # fmt: skip

    def load(probes: pl.DataFrame) -> pl.Series:
        assert probes.select(pl.col("probe").is_between(1, "top")).to_series().all()
        return probes.select(pl.col("loads").list.get(pl.col("probe") - 1)).to_series()

    found = largest(frame, pl.col("top"), load)
    assert found.dtype == pl.Int64
    assert found.to_list() == [sum(load <= 1 for load in each) for each in tables]


@INVERSION
@given(st.lists(
    st.tuples(st.integers(0, 10**7), st.floats(1e-9, 2), st.floats(0, 1.5), st.floats(0.1, 3)), min_size=1, max_size=12
))  # fmt: skip
def test_the_largest_within_of_a_long_range_is_where_the_load_passes_one(
    curves: list[tuple[int, float, float, float]],
) -> None:
    """On ranges too long to scan, the answer is within and the next one is not."""
    frame = pl.DataFrame(curves, schema=["top", "slope", "start", "power"], orient="row")
    curve = pl.col("start") + pl.col("slope") * pl.col("probe").cast(pl.Float64).pow(pl.col("power"))
    found = frame.with_columns(probe=largest(frame, pl.col("top"), lambda probes: probes.select(curve).to_series()))
    within = (found["probe"] == 0) | found.select(curve <= 1).to_series()
    beyond = found.with_columns(pl.col("probe") + 1).select((pl.col("probe") > pl.col("top")) | (curve > 1)).to_series()
    assert within.all()
    assert beyond.all()


def test_an_inversion_takes_few_turns() -> None:
    """A turn is a pass over all open rows: with bisection alone a night's run would take thrice as long."""
    turns = 0

    def load(probes: pl.DataFrame) -> pl.Series:
        nonlocal turns
        turns += 1
        return probes.select(pl.col("probe") * pl.col("slope")).to_series()

    frame = pl.DataFrame({"slope": [1 / (n + 0.5) for n in range(1, 4000)]})
    assert largest(frame, pl.lit(10**6), load).to_list() == list(range(1, 4000))
    assert turns <= 11
