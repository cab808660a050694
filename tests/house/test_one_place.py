"""To add one thing is to change one place: a block of TOML, a function, or a file of SQL."""

from __future__ import annotations

import json
import shutil
from datetime import date, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest
from click.testing import CliRunner
from polars import Expr

import pipeline
from pipeline.answers import store
from pipeline.cli.main import cli
from pipeline.core.errors import CatalogError, UnknownNameError
from pipeline.core.places import bundled
from pipeline.core.quantity import QUANTITIES, quantity
from pipeline.estimators.attention import KINDS, PROJECTIONS, Kept, kind, kv_heads_on_rank
from pipeline.estimators.book import book
from pipeline.facts.schema.engines import Engine
from pipeline.facts.schema.fields import option
from pipeline.facts.schema.kinds import DEFAULTS, SCHEMAS
from tests.support import AS_OF, facts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GPU = """
[[accelerator]]
accelerator         = "test-gpu-100gb"
name                = "A device that exists in this test"
aliases             = ["TestGPU"]
vendor              = "nvidia"
architecture        = "hopper"
device_class        = "datacenter"
badge_memory_bytes  = 100_000_000_000
device_memory_bytes = 100_000_000_000
memory_bytes_per_s  = 4e12
bf16_flop_per_s     = 1000e12
pcie_bytes_per_s    = 64e9
node_devices        = 8
verdict             = "unconfirmed"
source              = "assumption"
"""

MODEL = """
[[model]]
model                     = "test-1b"
name                      = "A model that exists in this test"
aliases                   = ["example/Test-1B"]
family                    = "test"
parameter_count           = 1_000_000_000
embedding_parameter_count = 65_536_000
tied_embeddings           = true
vocab                     = 32_000
context_tokens_max        = 8_192
hidden                    = 2_048
heads                     = 16
kv_heads                  = 4
head_dim                  = 128
layer_count               = 16
layers                    = { full = 16 }
dense_layers              = 16
ffn_width                 = 8_192
gated_ffn                 = true
source                    = "assumption"
"""

PRICE = """
[[price]]
accelerator  = "{accelerator}"
cloud        = "test-cloud"
instance     = "test-instance"
devices      = 2
market       = "on-demand"
usd_per_hour = {usd_per_hour}
from_date    = {from_date}
source       = "assumption"
"""

SQL = """-- How many plans has each device?
-- grid: case-study
-- $least: smallest number of plans shown (default: 1)
SELECT accelerator, count(*) AS plans
FROM capacity
GROUP BY accelerator
HAVING count(*) >= $least
ORDER BY accelerator
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the catalogs, to add to."""
    return shutil.copytree(bundled("catalogs"), tmp_path / "catalogs")


def add(folder: Path, file: str, block: str) -> None:
    """Append a block to a catalog file, as a person would."""
    with (folder / file).open("a", encoding="utf-8") as catalog:
        catalog.write(block)


def price(folder: Path, accelerator: str, usd_per_hour: float, from_date: date) -> None:
    """Append a price of a pair of devices."""
    block = PRICE.format(accelerator=accelerator, usd_per_hour=usd_per_hour, from_date=from_date)
    add(folder, "prices/lambda.toml", block)


def test_a_device_is_one_block(folder: Path) -> None:
    """It is found by id and alias, and every quantity but the unknown ones is there at once."""
    with pytest.raises(UnknownNameError):
        pipeline.point("llama-3.1-8b", "testgpu", folder=folder)
    add(folder, "accelerators/nvidia-datacenter.toml", GPU)
    row = pipeline.point("llama-3.1-8b", "testgpu", folder=folder, as_of=AS_OF)
    assert row["accelerator"] == "test-gpu-100gb"
    assert row["device_memory_bytes"] == 10**11
    assert row["fits"]
    assert row["batch_slo"] > 0
    assert row["simple_tpot_s"] == pytest.approx(2 * 8_030_261_248 * (1 / 4e12 + 1 / 1e15))
    assert row["usd_per_hour"] is None
    assert row["power_w"] is None


def test_a_device_in_a_file_of_its_own_is_found_too(folder: Path) -> None:
    """Which file a block stands in is for people; a new vendor needs no line of code."""
    (folder / "accelerators" / "new-vendor.toml").write_text(GPU, encoding="utf-8")
    assert pipeline.catalogs(folder).resolve("accelerator", "TestGPU") == "test-gpu-100gb"


def test_a_model_is_one_block(folder: Path) -> None:
    """It is found by its Hugging Face alias, and its numbers follow from its shape."""
    add(folder, "models/others.toml", MODEL)
    row = pipeline.point("Example/test-1B", "l4", folder=folder, as_of=AS_OF)
    assert row["model"] == "test-1b"
    rotary, rounding = 2 * 8_192 * 128, 2**20  # the token table of 125 MiB takes whole segments of 2 MiB
    assert row["weight_bytes"] == 2_000_000_000 + rotary + rounding
    assert row["kv_bytes_per_token"] == 2 * 2 * 16 * 4 * 128
    assert row["batch_max"] > 0


def test_a_price_is_one_block_and_holds_from_its_day_on(folder: Path) -> None:
    """The later price wins from its day; yesterday's report can still be made with yesterday's price."""
    add(folder, "accelerators/nvidia-datacenter.toml", GPU)
    price(folder, "test-gpu-100gb", 7.0, AS_OF)
    price(folder, "test-gpu-100gb", 5.0, AS_OF + timedelta(days=10))
    asked = {days: AS_OF + timedelta(days=days) for days in (-1, 0, 9, 10, 100)}
    found = {
        days: pipeline.point("llama-7b", "test-gpu-100gb", folder=folder, as_of=day) for days, day in asked.items()
    }
    assert {days: row["usd_per_hour"] for days, row in found.items()} == {-1: None, 0: 3.5, 9: 3.5, 10: 2.5, 100: 2.5}
    assert found[10]["price_cloud"] == "test-cloud"
    assert found[10]["price_date"] == AS_OF + timedelta(days=10)


def test_a_later_price_wins_though_it_is_higher(folder: Path) -> None:
    """An offer's newest price is what it costs; its cheaper past is not on sale."""
    add(folder, "accelerators/nvidia-datacenter.toml", GPU)
    price(folder, "test-gpu-100gb", 9.0, date(2026, 11, 1))
    price(folder, "test-gpu-100gb", 4.0, date(2026, 10, 1))
    assert pipeline.point("llama-7b", "test-gpu-100gb", folder=folder, as_of=AS_OF)["usd_per_hour"] == 4.5


# ----- an engine's fact


def test_an_engine_fact_with_a_default_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine need state it, and each has it with the schema's reason; one that differs states it with its source."""

    class Wider(Engine):
        engine_naps: pl.Boolean = option("Whether it naps.", default=False, why="no engine is known to")

    monkeypatch.setitem(SCHEMAS, "engine", Wider)
    monkeypatch.setitem(DEFAULTS, "engine", {**DEFAULTS["engine"], "engine_naps": False})
    tgi = folder / "engines" / "tgi.toml"
    tgi.write_text(
        tgi.read_text(encoding="utf-8").replace("source  ", "engine_naps = true\nsource  "), encoding="utf-8"
    )
    known = pipeline.catalogs(folder)
    assert known.frames["engine"].filter("engine_naps")["engine"].to_list() == ["tgi"]
    naps = known.facts.filter(field="engine_naps").select("name", "value", "source", "source_title")
    assert naps.filter(name="tgi").row(0)[1:3] == ("true", "assumption")
    said = ("false", "default", "default of the schema: no engine is known to")
    assert naps.filter(name="vllm").row(0)[1:] == naps.filter(name="vllm@0.6.0").row(0)[1:] == said


# ----- a kind of attention


@pytest.fixture
def every_fourth() -> Iterator[str]:
    """A kind of attention that keeps every fourth token and a window, for the time of a test."""

    @kind("gqa")
    def every_fourth(context_tokens: Expr, tp: Expr, window_tokens: Expr, kv_heads: Expr, head_dim: Expr) -> Kept:
        """As full, of every fourth token before a window. Source: this test."""
        heads = kv_heads_on_rank(kv_heads, tp)
        recent = pl.min_horizontal(context_tokens, window_tokens)
        return Kept(recent + (context_tokens - recent) // 4, heads * 2 * head_dim, heads)

    yield "every_fourth"
    del KINDS["every_fourth"], PROJECTIONS["every_fourth"]


MIXED = MODEL.replace("{ full = 16 }", "{ full = 4, every_fourth = 12 }")


@pytest.mark.parametrize("tp", [1, 2])
def test_a_kind_of_attention_is_one_function(folder: Path, every_fourth: str, tp: int) -> None:
    """Its cache, its reads and its prefill follow from what it keeps; a model names it and has numbers."""
    add(folder, "models/others.toml", MIXED.replace("gated_ffn ", "window_tokens = 512\ngated_ffn "))
    lengths = {"prompt_tokens": 4096, "output_tokens": 512}
    row = pipeline.point("test-1b", "l4", folder=folder, tp=tp, facts=lengths)
    per_token = 2 * 2 * 4 * 128 // tp
    kept = 512 + 4096 // 4
    assert row["kv_ideal_bytes_per_sequence"] == per_token * (4 * 4608 + 12 * kept)
    assert row["kv_bytes_per_sequence"] == per_token * (4 * 4608 + 12 * (kept + 16))
    assert row["group_layers"] == 4
    assert row[f"{every_fourth}_layers"] == 12
    assert row["gqa_layers"] == 16
    assert row["prompt_score_s"] > 4 * row["full_score_s"] > 0
    assert row["batch_max"] == row["kv_pool_bytes"] // row["sequence_bytes"]


def test_a_model_must_give_what_its_kind_of_attention_needs(folder: Path, every_fourth: str) -> None:
    """The parameters of the function are the required fields: without the window there is no number."""
    add(folder, "models/others.toml", MIXED)
    with pytest.raises(CatalogError) as refused:
        pipeline.catalogs(folder)
    assert str(refused.value) == (
        f"catalogs/models/others.toml: 'test-1b': layers of kind '{every_fourth}' need field 'window_tokens'"
    )


def test_a_kind_that_nobody_entered_is_refused(folder: Path) -> None:
    """The fixture above leaves nothing behind, and a misspelt kind is not a layer without cache."""
    add(folder, "models/others.toml", MIXED)
    with pytest.raises(CatalogError, match="'test-1b': no attention named 'every_fourth'"):
        pipeline.catalogs(folder)


# ----- an estimator


@pytest.fixture
def weight_read_s() -> Iterator[str]:
    """An estimator of one function, for the time of a test."""

    @quantity
    def weight_read_s(weight_bytes: Expr, memory_bytes_per_s: Expr) -> Expr:
        """Seconds to read all weights once.

        Definition.
        """
        return weight_bytes / memory_bytes_per_s

    yield weight_read_s.__name__
    del QUANTITIES["weight_read_s"]


def test_an_estimator_is_one_function(weight_read_s: str) -> None:
    """It stands in every book made from then on, with its unit, and reads given and made columns alike."""
    frame = pl.DataFrame({"weight_bytes": [3 * 10**12, 15 * 10**11], "memory_bytes_per_s": 3e12})
    assert pipeline.estimate(frame, [weight_read_s])[weight_read_s].to_list() == [1.0, 0.5]
    entered = book()[weight_read_s]
    assert (entered.unit, entered.summary) == ("s", "Seconds to read all weights once.")


def test_an_estimator_takes_its_inputs_from_the_formulas(weight_read_s: str) -> None:
    """What it reads need not be given: the weights follow from the model, the format and the plan."""
    frame = facts("llama-7b", tp=[1, 2], memory_bytes_per_s=1e12)
    alone, of_two = pipeline.estimate(frame, [weight_read_s])[weight_read_s]
    assert alone == pytest.approx(2 * 6_738_415_616 / 1e12, rel=1e-3)
    assert of_two == pytest.approx(alone / 2, rel=1e-2)


def test_an_estimator_that_is_gone_is_unknown() -> None:
    """The fixture above leaves nothing behind."""
    with pytest.raises(UnknownNameError, match="no quantity named 'weight_read_s'"):
        pipeline.estimate(pl.DataFrame({"weight_bytes": [1]}), ["weight_read_s"])


# ----- an answer


@pytest.fixture
def plans_per_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A copy of the SQL folder with one question more."""
    folder = shutil.copytree(bundled("sql"), tmp_path / "sql")
    (folder / "answers" / "plans_per_device.sql").write_text(SQL, encoding="utf-8")
    monkeypatch.setattr(store, "bundled", lambda name: tmp_path / name)
    return "plans_per_device"


def asked(*arguments: str) -> list[dict[str, object]]:
    """What `capgrid ask` prints as JSON."""
    told = CliRunner().invoke(cli, ["ask", *arguments, "--json"])
    assert told.exit_code == 0, told.output
    rows: list[dict[str, object]] = json.loads(told.stdout)
    return rows


def test_an_answer_is_one_file(plans_per_device: str) -> None:
    """Its first line is the question in the list, its parameters are settings, and its rows are the answer."""
    listed = {row["name"]: row for row in asked()}
    assert listed[plans_per_device]["question"] == "How many plans has each device?"
    assert listed[plans_per_device]["settings"] == "least"
    assert len(listed) == len(list((bundled("sql") / "answers").glob("*.sql"))) + 1
    assert asked(plans_per_device) == [{"accelerator": "a100-article", "plans": 1}]
    assert asked(plans_per_device, "--set", "least=2") == []


def test_a_setting_that_the_answer_does_not_have_is_refused(plans_per_device: str) -> None:
    """The comment lines are the whole declaration: what they do not name cannot be set."""
    told = CliRunner().invoke(cli, ["ask", plans_per_device, "--set", "most=2"])
    assert told.exit_code == 2
    assert "no setting of plans_per_device named 'most'" in told.output
