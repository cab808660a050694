"""The experiment on a machine: what a sweep keeps, rows and lines from it, entries that load; PyTorch where it is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

import pipeline
from pipeline.core.errors import CatalogError, PipelineError, UsageError
from pipeline.evidence.extras import library
from pipeline.evidence.measure.compare import fit_lines, predict_with_article, quantity_errors
from pipeline.evidence.measure.entries import device_blocks, put_entries
from pipeline.evidence.measure.experiment import memory_limit
from pipeline.evidence.measure.machine import MISSING, Machine, find_machine, memory_limited
from pipeline.evidence.measure.model import build_experiment, wake
from pipeline.evidence.measure.picture import draw
from pipeline.evidence.measure.probe import probe_device
from pipeline.evidence.measure.rows import tidy_rows
from pipeline.evidence.measure.shapes import SMALL, SMALL_ID, llama_config, resolve_shape
from pipeline.evidence.measure.sweep import OutOfMemory, Plan, Sweep, sweep
from pipeline.evidence.measurements import read_measurements
from pipeline.facts.config.counted import config_facts
from tests.conftest import AS_OF, invoke
from tests.support import catalogs

if TYPE_CHECKING:
    from collections.abc import Sequence

needs_torch = pytest.mark.skipif(
    find_spec("torch") is None or find_spec("transformers") is None, reason="the extra `measure` is not installed"
)
TTFT_S, TOKEN_S, SEQUENCE_BYTES, WEIGHT_BYTES = 0.001, 0.02, 10**6, 10**9
COMMON = {"model": "llama-7b", "engine": "transformers", "weights": "fp16", "kv": "fp16", "accelerator": "a100"}


@dataclass
class FakeRunner:
    """A device whose times and memory are straight lines, and that has room for so many sequences."""

    room: int = 10**9
    noise: Sequence[float] = (1.0,)
    stops_after: int = 10**9
    calls: list[tuple[str, int, int, int]] = field(default_factory=list)

    def note(self, what: str, batch: int, prompt: int, output: int) -> None:
        """Keep the call; end where a person would press Ctrl-C, or memory would."""
        self.calls.append((what, batch, prompt, output))
        if len(self.calls) > self.stops_after:
            raise KeyboardInterrupt
        if batch > self.room:
            raise OutOfMemory

    def token_s(self, batch: int, prompt_tokens: int, output_tokens: int) -> list[float]:
        """The first token after the prompts, the others at a steady pace."""
        self.note("time", batch, prompt_tokens, output_tokens)
        slow = self.noise[len(self.calls) % len(self.noise)]
        first = TTFT_S * batch * prompt_tokens * slow
        return [first + TOKEN_S * step * slow for step in range(output_tokens)]

    def peak_bytes(self, batch: int, prompt_tokens: int, output_tokens: int) -> int:
        """Weights and sequences."""
        self.note("memory", batch, prompt_tokens, output_tokens)
        return WEIGHT_BYTES + batch * SEQUENCE_BYTES


def run(runner: FakeRunner, **plan: Any) -> Sweep:
    """A sweep of a fake device, told to nobody."""
    usual: dict[str, Any] = {"batches": (1, 2, 4), "prompts": (10, 20), "output_tokens": 5, "repeats": 3}
    return sweep(runner, Plan(**(usual | plan)), lambda _: None)


def value(rows: pl.DataFrame, quantity: str, **where: Any) -> float:
    """One measured number."""
    return float(rows.filter(quantity=quantity, **where)["value"].item())


# ----- the sweep


def test_every_point_is_measured_and_told() -> None:
    """TTFT of a run of one token, TPOT of the tokens after the first, memory of both runs."""
    told: list[str] = []
    found = sweep(FakeRunner(), Plan((2, 1), (10,), output_tokens=5, repeats=2), told.append)
    assert (found.ended, [each.batch for each in found.points]) == ("done", [1, 2])
    rows = tidy_rows(found.points, COMMON)
    assert value(rows, "ttft_s", batch=2) == pytest.approx(TTFT_S * 2 * 10)
    assert value(rows, "itl_s", batch=2) == pytest.approx(TOKEN_S)
    assert value(rows, "memory_bytes", batch=2, output_tokens=5) == WEIGHT_BYTES + 2 * SEQUENCE_BYTES
    assert rows.filter(quantity="ttft_s")["output_tokens"].unique().to_list() == [1]
    assert "TTFT 20 ms, TPOT 20 ms" in told[-1]


def test_memory_is_measured_before_anything_is_timed() -> None:
    """A process that was timed keeps memory in pieces."""
    runner = FakeRunner()
    run(runner)
    kinds = [what for what, *_ in runner.calls]
    assert kinds == sorted(kinds)  # memory, then time
    assert kinds.count("memory") == 2 * 6
    assert kinds.count("time") == 6 * (1 + 2 * 3)


def test_a_batch_out_of_memory_is_a_row_and_larger_ones_are_left_out() -> None:
    """The article's last point; a device is not asked for what is known not to fit."""
    runner = FakeRunner(room=2)
    rows = tidy_rows(run(runner, batches=(1, 2, 4, 8)).points, COMMON)
    assert rows.filter(quantity="oom", value=1.0).select("batch", "prompt_tokens").rows() == [(4, 10)]
    assert sorted(set(rows.filter(quantity="oom", value=0.0)["batch"])) == [1, 2]
    assert max(batch for _, batch, *_ in runner.calls) == 4
    assert not set(rows.filter(quantity="ttft_s")["batch"]) & {4, 8}


def test_a_batch_whose_memory_was_measured_is_not_out_of_memory_later() -> None:
    """Memory in pieces may keep it from being timed; its memory stays, and so do the other times."""

    class Broken(FakeRunner):
        """No room once things are timed."""

        def token_s(self, batch: int, prompt_tokens: int, output_tokens: int) -> list[float]:
            """Fail from batch 4 on."""
            self.room = 2
            return super().token_s(batch, prompt_tokens, output_tokens)

    rows = tidy_rows(run(Broken()).points, COMMON)
    assert set(rows.filter(quantity="oom")["value"]) == {0.0}
    assert set(rows.filter(quantity="memory_bytes")["batch"]) == {1, 2, 4}
    assert set(rows.filter(quantity="ttft_s")["batch"]) == {1, 2}


def test_ctrl_c_keeps_what_was_measured() -> None:
    """12 runs of memory, then 7 of the first point: the second point has no times."""
    found = run(FakeRunner(stops_after=12 + 7))
    rows = tidy_rows(found.points, COMMON)
    assert found.ended == "stopped"
    assert rows.filter(quantity="ttft_s").select("batch", "prompt_tokens").rows() == [(1, 10)]
    assert rows.filter(quantity="memory_bytes").height == 2 * 6


def test_a_time_that_is_over_ends_the_sweep() -> None:
    """Each look at this clock takes a second."""
    ticks = iter(range(10**6))
    found = sweep(FakeRunner(), Plan((1, 2, 4), (10, 20), 5, budget_s=30), lambda _: None, lambda: next(ticks))
    assert found.ended == "budget"
    timed = [each for each in found.points if each.ttft_s]
    assert 0 < len(timed) < 6


def test_a_row_says_how_far_its_repeats_lie_apart() -> None:
    """A median alone hides a machine that others use."""
    quiet, noisy = (tidy_rows(run(FakeRunner(noise=noise)).points, COMMON) for noise in ((1.0,), (1.0, 1.2, 1.5)))
    assert quiet["spread_ratio"].drop_nulls().max() == 0.0
    assert noisy.filter(quantity="ttft_s")["spread_ratio"].max() > 0.1
    assert set(noisy.filter(quantity="ttft_s")["repeats"]) == {3}


# ----- lines


def measured(tmp_path: Path, runner: FakeRunner, **plan: Any) -> pl.DataFrame:
    """Rows as backtest reads them."""
    path = tmp_path / "rows.csv"
    tidy_rows(run(runner, **plan).points, COMMON).write_csv(path)
    return read_measurements([path])


def test_lines_are_those_of_the_device_the_article_and_the_estimate(tmp_path: Path) -> None:
    """Slope and intercept as put in; the article's slope is its formula's."""
    told = fit_lines(predict_with_article(measured(tmp_path, FakeRunner(), prompts=(100,)), catalogs(), AS_OF))
    ttft = told.filter(quantity="ttft_s").row(0, named=True)
    assert ttft["measured_slope"] == pytest.approx(TTFT_S * 100)
    assert ttft["measured_r2"] == pytest.approx(1.0)
    device = catalogs().frames["accelerator"].filter(accelerator="a100-sxm-80gb").row(0, named=True)
    assert ttft["article_slope"] == pytest.approx(2 * 6_738_415_616 * 100 / device["bf16_flop_per_s"])
    memory = told.filter(quantity="memory_bytes", output_tokens=5).row(0, named=True)
    assert (memory["measured_slope"], memory["measured_intercept"]) == (
        pytest.approx(SEQUENCE_BYTES), pytest.approx(WEIGHT_BYTES)
    )  # fmt: skip
    assert memory["article_slope"] == pytest.approx(4 * 4096 * 32 * 105)
    assert ttft["estimated_slope_error_ratio"] == pytest.approx(
        abs(ttft["estimated_slope"] / ttft["measured_slope"] - 1)
    )


def test_one_batch_makes_no_line(tmp_path: Path) -> None:
    """Nor does it fail."""
    told = predict_with_article(measured(tmp_path, FakeRunner(), batches=(2,)), catalogs(), AS_OF)
    assert fit_lines(told).is_empty()
    assert set(quantity_errors(told)["quantity"]) == {"ttft_s", "itl_s", "memory_bytes"}


def test_rows_that_cannot_be_estimated_say_why(tmp_path: Path) -> None:
    """An unknown device is the usual reason."""
    rows = measured(tmp_path, FakeRunner()).with_columns(accelerator=pl.lit("abacus"))
    with pytest.raises(PipelineError, match="accelerator"):
        predict_with_article(rows, catalogs(), AS_OF)
    with pytest.raises(PipelineError, match="no row of ttft_s"):
        predict_with_article(rows.filter(quantity="oom"), catalogs(), AS_OF)


@pytest.mark.parametrize("ending", ["svg", "html", "png"])
def test_the_picture_shows_measured_and_estimated(tmp_path: Path, ending: str) -> None:
    """A panel for each quantity; HTML works without a network."""
    pytest.importorskip("altair", reason="the extra `report` is not installed")
    pytest.importorskip("vl_convert", reason="the extra `report` is not installed")
    path = tmp_path / f"picture.{ending}"
    draw(predict_with_article(measured(tmp_path, FakeRunner()), catalogs(), AS_OF), path, "A fake device")
    made = path.read_bytes()
    if ending == "png":
        assert made.startswith(b"\x89PNG")
        return
    text = made.decode()
    assert all(words in text for words in ("A fake device", "time to first token", "peak memory"))
    assert "https://cdn" not in text


# ----- entries


@dataclass
class FakeOps:
    """A device of known rates."""

    forms: tuple[str, ...] = ("bf16", "fp32")

    def product_s(self, form: str, tokens: int, width: int, depth: int) -> float:
        """100 GFLOP/s on large products, 10 GB/s on a row; half that in 32 bits."""
        if form not in self.forms:
            raise RuntimeError("not implemented for 'Half'")
        rate = 1e11 * (0.5 if form == "fp32" else 1.0)
        return max(2 * tokens * width * depth / rate * (1.2 if width < 1024 else 1.0), 2 * width * depth / 1e10)

    def copy_s(self, size_bytes: int) -> float:
        """20 GB/s."""
        return 2 * size_bytes / 2e10

    def launch_s(self) -> float:
        """3 microseconds."""
        return 3e-6

    def decode_s(self, _form: str, sequences: int, heads: int, keys: int, width: int) -> float:
        """The cache five times at 5 GB/s."""
        return 5 * 4 * sequences * heads * keys * width / 5e9

    def prompt_s(self, _form: str, sequences: int, heads: int, keys: int, width: int) -> float:
        """20 GFLOP/s."""
        return 2 * sequences * heads * keys * keys * width / 2e10


FAKE = SimpleNamespace(name="Acme Abacus, 2 threads", architecture="cpu", is_cpu=True, total_bytes=16 * 10**9)


def entered(folder: Path, device: str = "abacus", **machine: Any) -> Path:
    """The folder with a fake machine's entries."""
    here: Any = SimpleNamespace(**(vars(FAKE) | machine))
    kind = "cpu" if here.is_cpu else "cuda"
    blocks = device_blocks(here, probe_device(FakeOps(), kind, lambda _: None), catalogs(), device)
    return put_entries(folder, blocks, AS_OF, pipeline.catalogs)


def test_a_measured_device_stands_in_the_catalogs(tmp_path: Path) -> None:
    """The rates that were reached, by a source that says so, and a day."""
    path = entered(tmp_path / "mine")
    assert f"measured here, {AS_OF}" in path.read_text("utf-8")
    found = pipeline.catalogs(tmp_path / "mine")
    device = found.frames["accelerator"].filter(accelerator="abacus").row(0, named=True)
    assert device["bf16_flop_per_s"] == 1e11
    assert device["fp16_flop_per_s"] is None
    assert device["memory_bytes_per_s"] == 2e10
    facts = found.facts.filter(kind="accelerator", name="abacus", field="bf16_flop_per_s")
    assert facts["source"].to_list() == ["measured-here"]


def test_an_architecture_that_nobody_knows_is_described_by_its_device(tmp_path: Path) -> None:
    """What one device tells, and assumptions that say so."""
    entered(tmp_path / "mine", architecture="")
    found = pipeline.catalogs(tmp_path / "mine")
    made = found.frames["architecture"].filter(architecture="abacus-architecture").row(0, named=True)
    assert made["attention_bytes_ratio"] == pytest.approx(0.4)
    assert made["attention_flop_ratio"] == pytest.approx(0.152)
    facts = found.facts.filter(kind="architecture", name="abacus-architecture")
    assert dict(facts.select("field", "source").iter_rows())["link_ratio"] == "assumption"


def test_estimates_of_a_measured_device_take_the_measured_rates(tmp_path: Path) -> None:
    """Shares that kernels usually achieve are undone: a large product runs at what was measured."""
    entered(tmp_path / "mine")
    told = pipeline.point("llama-7b", "abacus", folder=tmp_path / "mine", engine="transformers")
    assert told["half_flop_per_s"] == pytest.approx(1e11, rel=1e-3)
    assert told["half_bytes_per_s"] == pytest.approx(1e10, rel=1e-3)


def test_a_second_measurement_replaces_the_first_and_keeps_others(tmp_path: Path) -> None:
    """Of each id one entry stands."""
    for name in ("abacus", "slide-rule", "abacus"):
        entered(tmp_path / "mine", name, name=f"Acme {name}")
    names = pipeline.catalogs(tmp_path / "mine").frames["accelerator"]["accelerator"].to_list()
    assert (names.count("abacus"), names.count("slide-rule")) == (1, 1)


def test_a_gpu_of_a_known_architecture_brings_none_of_its_own(tmp_path: Path) -> None:
    """What kernels achieve on Hopper was fitted to more than one device. Its peak in GFLOP/s is refused."""
    with pytest.raises(CatalogError, match="tera flop"):
        entered(tmp_path / "mine", is_cpu=False, architecture="hopper")
    assert not (tmp_path / "mine" / "measured.toml").exists()


def test_a_device_without_16_bit_products_is_refused() -> None:
    """Estimates have nothing to go by."""
    with pytest.raises(PipelineError, match="16-bit"):
        probe_device(FakeOps(forms=("fp32",)), "cpu", lambda _: None)


# ----- shapes


def test_the_small_shape_is_counted_and_entered_once(tmp_path: Path) -> None:
    """134 million parameters; a second call finds it."""
    folder = tmp_path / "mine"
    assert config_facts(SMALL)["parameter_count"] == 134_105_856
    name, config = resolve_shape("small", None, catalogs(), folder, AS_OF, pipeline.catalogs)
    assert (name, config) == (SMALL_ID, SMALL)
    text = (folder / "measured.toml").read_text("utf-8")
    resolve_shape("small", None, pipeline.catalogs(folder), folder, AS_OF, pipeline.catalogs)
    assert (folder / "measured.toml").read_text("utf-8") == text


def test_a_plain_llama_of_the_catalogs_can_be_built(tmp_path: Path) -> None:
    """Its config counts as many parameters as its entry; nothing is written."""
    name, config = resolve_shape("meta-llama/Llama-2-7b-hf", None, catalogs(), tmp_path / "x", AS_OF, pipeline.catalogs)
    assert name == "llama-2-7b"
    assert config_facts(dict(config))["parameter_count"] == 6_738_415_616
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("model", ["deepseek-v3", "gemma-3-4b", "mixtral-8x7b"])
def test_other_shapes_need_their_config(model: str) -> None:
    """The catalog has no switch for every detail of a class."""
    with pytest.raises(PipelineError, match="--config"):
        llama_config(catalogs().frames["model"].filter(model=model).row(0, named=True))


def test_a_config_needs_a_name_of_its_own(tmp_path: Path) -> None:
    """And not one that a model has."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(SMALL), encoding="utf-8")
    with pytest.raises(UsageError, match="--shape ID"):
        resolve_shape("small", path, catalogs(), tmp_path / "mine", AS_OF, pipeline.catalogs)
    with pytest.raises(CatalogError, match="taken"):
        resolve_shape("llama-7b", path, catalogs(), tmp_path / "mine", AS_OF, pipeline.catalogs)


# ----- the machine


def test_without_pytorch_the_way_to_get_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback, exit 1."""
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    for command in (["device"], ["model"]):
        assert 'pip install "capgrid[measure]"' in invoke("measure", *command, code=1).output


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--picture", "x.gif"], ".svg"),
        (["--budget", "soon"], "10min"),
        (["--batches", "1,-2"], "list of sizes"),
        (["--batches", ""], "list of sizes"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_runs(args: list[str], words: str) -> None:
    """Exit 2."""
    assert words in invoke("measure", "model", *args, code=2).output


class FakeCuda:
    """torch.cuda as far as it is used."""

    def __init__(self) -> None:
        """Note the calls."""
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        """Any function of it."""

        def call(*_: object) -> int:
            self.calls.append(name)
            return {"max_memory_allocated": 7 * 10**9, "memory_allocated": 10**9}.get(name, 0)

        return call


class FakeOutOfMemoryError(RuntimeError):
    """torch.OutOfMemoryError."""


def fake_machine(device: str = "cuda") -> Machine:
    """A machine without PyTorch."""
    torch = SimpleNamespace(cuda=FakeCuda(), OutOfMemoryError=FakeOutOfMemoryError)
    return Machine(torch, device, lambda: 0.0)


def test_a_gpu_is_waited_for_and_its_own_peak_is_read() -> None:
    """Kernels run behind the host's back."""
    here = fake_machine()
    here.now()
    assert here.torch.cuda.calls == ["synchronize"]
    here.reset_peak()
    assert here.peak_bytes() == 7 * 10**9
    assert here.torch.cuda.calls[1:] == ["reset_peak_memory_stats", "max_memory_allocated"]


@pytest.mark.parametrize(
    "error",
    [
        FakeOutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_running_out_of_memory_is_known_by_its_many_names(error: Exception) -> None:
    """And nothing else is taken for it."""
    with pytest.raises(OutOfMemory), fake_machine().watched():
        raise error
    with pytest.raises(RuntimeError, match="shapes"), fake_machine().watched():
        raise RuntimeError("shapes cannot be multiplied")


def test_a_gpu_keeps_the_memory_that_it_has() -> None:
    """--memory is for a processor, and must be a size."""
    with pytest.raises(UsageError, match="GPU"):
        memory_limit(fake_machine(), "4GB")
    with pytest.raises(UsageError, match="no size"):
        memory_limit(fake_machine("cpu"), "much")
    assert memory_limit(fake_machine("cpu"), "4GB") == 4 * 10**9


# ----- with PyTorch


@needs_torch
def test_a_small_model_runs_from_end_to_end(tmp_path: Path) -> None:
    """Device, model, rows of both files, and estimates beside them."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(SMALL | {"hidden_size": 64, "head_dim": 16, "num_attention_heads": 4,
                                          "num_key_value_heads": 4, "intermediate_size": 128, "num_hidden_layers": 2,
                                          "vocab_size": 9000}), encoding="utf-8")  # fmt: skip
    folder, out = tmp_path / "mine", tmp_path / "runs.csv"
    entered(folder)
    same = ["--device", "cpu", "--threads", "1", "--catalogs", folder, "--accelerator", "abacus"]
    invoke("measure", "model", "--config", config, "--shape", "tiny-1m", "--batches", "1,2,3,4", "--prompts", "8",
           "--output-tokens", "3", "--repeats", "1", "--held-out", "3", "--out", out, *same)  # fmt: skip
    rows, apart = pl.read_csv(out), pl.read_csv(out.with_suffix(".held-out.csv"))
    assert set(rows["batch"]) == {1, 2, 4}
    assert set(apart["batch"]) == {3}
    assert set(rows["quantity"]) == {"ttft_s", "itl_s", "memory_bytes", "oom"}
    told = json.loads(invoke("backtest", out, "--json", "--catalogs", folder).stdout)
    assert told["answered"] == told["rows"]
    files = (out, out.with_suffix(".held-out.csv"))
    assert "slope" in invoke("measure", "compare", *files, "--catalogs", folder).stdout


@needs_torch
def test_each_token_is_timed_and_memory_grows_with_the_batch() -> None:
    """As many stamps as tokens, in order."""
    here = find_machine("cpu", 1, "process")
    wake(here, "fp32")
    runner = build_experiment(here, SMALL | {"num_hidden_layers": 1}, "fp32")
    small, large = runner.peak_bytes(1, 64, 2), runner.peak_bytes(32, 64, 2)
    assert large > small > runner.weight_bytes > 0
    stamps = runner.token_s(2, 8, 4)
    assert len(stamps) == 4
    assert sorted(stamps) == stamps


@needs_torch
def test_a_processors_memory_can_be_bounded() -> None:
    """A batch beyond the limit fails, and not the machine; afterwards there is room again."""
    torch, here = library("torch", MISSING), find_machine("cpu", 1, "wall")
    with memory_limited(200 * 10**6), pytest.raises(OutOfMemory), here.watched():
        torch.ones(10**9)
    assert torch.ones(10**8).numel() == 10**8


@needs_torch
def test_processor_time_is_for_one_thread() -> None:
    """Of two, the sum is no time that anybody waits."""
    with pytest.raises(UsageError, match="--threads 1"):
        find_machine("cpu", 2, "process")
