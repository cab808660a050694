"""The article that this project started from: its numbers, recomputed by the same expressions as any run.

Source: J. Chen, "Estimate LLM inference speed and VRAM usage quickly: with a Llama-7B case study".
"""

from __future__ import annotations

import json
from functools import cache

import polars as pl
import pytest
from click.testing import CliRunner

from pipeline.cli.main import cli
from pipeline.grid.axes import axes_of
from pipeline.grid.schema import SHARED
from pipeline.grid.selection import read_grid
from tests.support import AS_OF, catalogs, rows

ARTICLE = [name for name in SHARED if name.startswith("simple_")]


@cache
def curve() -> pl.DataFrame:
    """The article's closed forms on its own grid."""
    grid = axes_of(catalogs(), read_grid("case-study", catalogs()), AS_OF)
    return rows(grid, *ARTICLE, "device_memory_bytes", "fits")


def line(quantity: str) -> tuple[float, float]:
    """Slope and intercept of a quantity over the batch, as the article fits its measurements."""
    fit = curve().select(slope=pl.cov("batch", quantity) / pl.var("batch"), x=pl.mean("batch"), y=pl.mean(quantity))
    slope, x, y = fit.row(0)
    return slope, y - slope * x


@cache
def answer() -> dict[str, dict[str, str | None]]:
    """What `capgrid ask case_study --json` says, by quantity."""
    told = CliRunner().invoke(cli, ["ask", "case_study", "--json"])
    assert told.exit_code == 0, told.output
    return {row["quantity"]: row for row in json.loads(told.stdout)}


def test_memory_grows_by_400_6_megabytes_a_sequence() -> None:
    """4 x 4096 x 32 x 764 bytes, on 14 GB of weights; the article measured about 350 MB."""
    slope, intercept = line("simple_vram_bytes")
    assert slope / 1e6 == pytest.approx(400.6, abs=0.05)
    assert intercept / 1e9 == pytest.approx(14.0, rel=1e-9)


def test_the_first_token_waits_20_82_milliseconds_a_sequence() -> None:
    """2 x 7e9 x 464 / 312e12; the article measured 19.68 ms."""
    slope, intercept = line("simple_ttft_s")
    assert slope * 1e3 == pytest.approx(20.82, abs=0.005)
    assert intercept * 1e3 == pytest.approx(9.33, abs=0.005)


def test_a_token_takes_9_38_milliseconds_alone() -> None:
    """Reading 14 GB at 1.5 TB/s, and next to no arithmetic."""
    slope, intercept = line("simple_tpot_s")
    assert curve().filter(batch=1)["simple_tpot_s"].item() * 1e3 == pytest.approx(9.38, abs=0.005)
    assert intercept / slope == pytest.approx(208, rel=1e-6)


def test_the_largest_batch_is_177_and_200_runs_out_of_memory() -> None:
    """(85.09 - 14) GB / 400.6 MB; the article ran out of memory at 200."""
    assert curve()["simple_batch_max"].unique().to_list() == [177]
    short = curve().with_columns(short=pl.col("simple_vram_bytes") > pl.col("device_memory_bytes"))
    assert short.filter(batch=176)["short"].item() is False
    assert short.filter(batch=200)["short"].item() is True
    assert short.filter(batch=200)["fits"].item() is False


@pytest.mark.parametrize(
    ("quantity", "predicted", "measured"),
    [
        ("VRAM slope", "400.6", "350"),
        ("TTFT slope", "20.82", "19.68"),
        ("TTFT intercept", "9.333", "109.8"),
        ("TPOT at batch 1", "9.378", None),
        ("largest batch", "177", "below 200"),
        ("out of memory at batch 200", "yes", "yes"),
    ],
)
def test_asking_for_the_case_study_gives_the_articles_numbers(
    quantity: str, predicted: str, measured: str | None
) -> None:
    """The front door, no run needed: the first question that a reader of the article asks."""
    assert answer()[quantity]["predicted_by_article"] == predicted
    assert answer()[quantity]["measured"] == measured


def test_the_answer_has_an_estimate_of_ours_for_every_number_of_the_article() -> None:
    """And our own verdict at batch 200 is the measured one."""
    assert len(answer()) == 6
    assert all(row["estimated"] for row in answer().values())
    assert answer()["out of memory at batch 200"]["estimated"] == "yes"
