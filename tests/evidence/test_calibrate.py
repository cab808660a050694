"""Constants fitted to measurements: known ones are found again, doubtful ones refused, and the file holds."""

from __future__ import annotations

import json
import math
import random
import sys
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from click.testing import CliRunner
from polars import col

import pipeline
from pipeline.cli.main import cli
from pipeline.evidence.measurements import read_measurements
from pipeline.evidence.predict import predict_rows
from pipeline.grid.calibrated import setting, with_calibrations
from tests.conftest import AS_OF, invoke
from tests.system.test_cli import SMALL_LLAMA

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BATCHES = (1, 4, 16, 64)
TRUE_LAYER_S, TRUE_BYTES_RATIO = 5.43e-5, 0.8
NOISE = 0.01


def block(**said: Any) -> str:
    """One [[calibration]] block."""
    usual = {"calibration": "other", "rows": 10, "fitted_on": date(2026, 11, 1), "source": "measured-here"}
    lines = (
        f"{name} = {each if isinstance(each, date) else json.dumps(each)}" for name, each in (usual | said).items()
    )
    return "\n".join(["[[calibration]]", *lines, ""])


def overlay(folder: Path, *blocks: str) -> Path:
    """A folder of calibrations, to be read beside the bundled catalogs."""
    folder.mkdir(exist_ok=True)
    (folder / "calibration.toml").write_text("\n".join(blocks), encoding="utf-8")
    return folder


def plans(
    quantities: Sequence[str], *, models: Sequence[str] = ("llama-3.1-8b",), **others: Any
) -> list[dict[str, Any]]:
    """What was run: a row for each quantity, model, prompt and batch."""
    usual = {"accelerator": "h100", "engine": "vllm", "kind": "closed_loop", "output_tokens": 256, "value": 1.0}
    return [
        {**usual, "model": model, "quantity": quantity, "prompt_tokens": prompt, "batch": batch, **others}
        for quantity in quantities
        for model in models
        for prompt in (512, 1024, 2048, 4096)
        for batch in BATCHES
    ]


def measured(folder: Path, rows: list[dict[str, Any]], *blocks: str, name: str = "runs.csv") -> Path:
    """The rows with the values that other constants than the catalogs' would give, and a little noise."""
    path = folder / name
    pl.DataFrame(rows).write_csv(path)
    truth = pipeline.catalogs(overlay(folder / "truth", *blocks)) if blocks else pipeline.catalogs()
    values = predict_rows(read_measurements([path]), truth, AS_OF)["predicted"].to_list()
    dice = random.Random(7)  # noqa: S311
    noisy = [value * math.exp(dice.gauss(0, NOISE)) for value in values]
    pl.DataFrame(rows).with_columns(value=pl.Series(noisy)).write_csv(path)
    return path


SLOW = block(engine="vllm", engine_layer_s=TRUE_LAYER_S, engine_bytes_ratio=TRUE_BYTES_RATIO)
MODELS = ("llama-3.1-8b", "llama-3.2-3b", "qwen3-14b")


@cache
def told(folder: Path) -> tuple[Path, dict[str, Any]]:
    """A finished calibration to decode steps of three models: its file, and what it said."""
    path = measured(folder, plans(["itl_s"], models=MODELS), SLOW)
    out = folder / "mine" / "calibration.toml"
    return out, json.loads(invoke("calibrate", path, "--out", out, "--json").stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the tests of one finished calibration share."""
    return tmp_path_factory.mktemp("calibrated")


# ----- the fit


def test_known_constants_are_found_again(folder: Path) -> None:
    """Three times the launch overhead, four fifths of the bandwidth: found within a few standard errors."""
    fits = {fit["constant"]: fit for fit in told(folder)[1]["fits"]}
    assert fits.keys() == {"engine_layer_s", "engine_bytes_ratio"}
    for name, truth in (("engine_layer_s", TRUE_LAYER_S), ("engine_bytes_ratio", TRUE_BYTES_RATIO)):
        fit = fits[name]
        assert abs(fit["after"] - truth) < 4 * fit["standard_error"]
        assert fit["standard_error"] < 0.1 * truth
        assert fit["n"] == len(MODELS) * 16
    assert fits["engine_layer_s"]["before"] == pipeline.point("llama-3.1-8b", "h100")["engine_layer_s"]
    assert fits["engine_layer_s"]["correlations"].keys() == {"engine_bytes_ratio"}


def test_errors_are_those_of_rows_left_out(folder: Path) -> None:
    """Whole configurations, then whole models; devices are too few here."""
    held = {each["left_out"]: each for each in told(folder)[1]["held_out"]}
    assert held.keys() == {"configurations", "models"}
    assert (held["configurations"]["groups"], held["models"]["groups"]) == (12, 3)
    for each in held.values():
        assert each["n"] == 48
        assert each["median_after"] < 1.5 * NOISE < 0.1 < each["median_before"]
        assert each["p90_after"] < each["p90_before"]


def test_first_tokens_set_what_only_they_show(tmp_path: Path) -> None:
    """Steps before the first token and the burst come from TTFT, the launch overhead from decode steps."""
    truth = block(engine="vllm", engine_first_token_steps=12.0, engine_burst_ratio=0.2)
    path = measured(tmp_path, plans(["itl_s", "ttft_s"]), truth)
    said = json.loads(invoke("calibrate", path, "--dry-run", "--json").stdout)
    fits = {fit["constant"]: fit for fit in said["fits"]}
    assert abs(fits["engine_first_token_steps"]["after"] - 12) < 4 * fits["engine_first_token_steps"]["standard_error"]
    assert abs(fits["engine_burst_ratio"]["after"] - 0.2) < 4 * fits["engine_burst_ratio"]["standard_error"]


def test_a_device_is_fitted_where_it_is_named(tmp_path: Path) -> None:
    """A card that reaches 0.7 of what its architecture usually does: no engine is blamed."""
    path = measured(tmp_path, plans(["itl_s"]), block(accelerator="h100-sxm-80gb", achieved_bytes_ratio=0.7))
    out = tmp_path / "mine" / "calibration.toml"
    said = json.loads(invoke("calibrate", path, "--fit", "achieved_bytes_ratio", "--out", out, "--json").stdout)
    fit = said["fits"][0]
    assert (fit["accelerator"], fit["constant"]) == ("h100-sxm-80gb", "achieved_bytes_ratio")
    assert abs(fit["after"] - 0.7) < 4 * fit["standard_error"]
    slower = pipeline.point("llama-3.1-8b", "h100", folder=out.parent)
    assert slower["decode_step_s"] > 1.2 * pipeline.point("llama-3.1-8b", "h100")["decode_step_s"]


def test_a_constant_of_a_step_is_fitted_for_a_device_where_it_is_named(tmp_path: Path) -> None:
    """Scans of recurrent layers that take five times as long: a fact of a step like any other."""
    rows = plans(["itl_s"], models=("qwen3-next-80b-a3b",), tp=4)
    path = measured(tmp_path, rows, block(accelerator="h100-sxm-80gb", linear_scan_s=1e-4))
    said = json.loads(invoke("calibrate", path, "--fit", "linear_scan_s", "--dry-run", "--json").stdout)
    fit = said["fits"][0]
    assert (fit["accelerator"], fit["constant"], fit["before"]) == ("h100-sxm-80gb", "linear_scan_s", 2e-5)
    assert abs(fit["after"] - 1e-4) < 4 * fit["standard_error"]


@pytest.mark.parametrize(
    ("quantity", "named", "words"),
    [
        ("ttft_s", "engine_first_token_steps,engine_layer_s,engine_bytes_ratio", "cannot be told apart"),
        ("itl_s", "engine_layer_s,engine_first_token_steps", "depend on engine_first_token_steps"),
    ],
)
def test_constants_that_rows_do_not_tell_are_dropped(tmp_path: Path, quantity: str, named: str, words: str) -> None:
    """Launch overhead, bandwidth and steps cannot all come from first tokens; decode steps show none of those."""
    path = measured(tmp_path, plans([quantity], models=MODELS[:2]), SLOW)
    said = json.loads(invoke("calibrate", path, "--fit", named, "--dry-run", "--json").stdout)
    assert any(words in warning and "stays as it was" in warning for warning in said["warnings"])
    assert len(said["fits"]) < len(named.split(","))


def test_a_constant_that_runs_to_its_bound_is_dropped(tmp_path: Path) -> None:
    """Steps four times as fast as any engine's are not the bandwidth's doing."""
    path = measured(tmp_path, plans(["itl_s"]))
    fast = pl.read_csv(path).with_columns(col("value") / 4)
    fast.write_csv(path)
    said = invoke("calibrate", path, "--fit", "engine_bytes_ratio", code=1).stderr
    assert "engine_bytes_ratio runs to its bound, 2" in said
    assert "tell no constant" in said


@pytest.mark.parametrize(
    ("count", "named", "words"),
    [(9, "", "9 usable rows"), (16, "engine_layer_s,engine_bytes_ratio", "16 usable rows bear 1 constants, not 2")],
)
def test_too_few_rows_are_refused(tmp_path: Path, count: int, named: str, words: str) -> None:
    """Ten rows for each constant."""
    path = measured(tmp_path, plans(["itl_s"])[:count])
    assert words in invoke("calibrate", path, "--fit", named, code=1).stderr


def test_rows_without_an_estimate_are_told(tmp_path: Path) -> None:
    """Memory is not fitted, and an unknown model is not guessed."""
    rows = [{**row, "quantity": "weight_bytes"} for row in plans(["itl_s"])]
    path = measured(tmp_path, rows)
    said = invoke("calibrate", path, code=1).stderr
    assert "no row can be used" in said
    assert "16 rows: no speed: constants of memory are not fitted" in said


# ----- the file


def test_the_file_changes_every_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named or in the environment, the folder is read beside the bundled catalogs; explain names the fit."""
    out, said = told(folder)
    after = {fit["constant"]: fit["after"] for fit in said["fits"]}
    plan = ("--model", "llama-3.1-8b", "--accelerator", "h100")
    row = json.loads(invoke("point", *plan, "--catalogs", out.parent, "--json").stdout)
    plain = json.loads(invoke("point", *plan, "--json").stdout)
    assert row["tpot_s"] > 1.1 * plain["tpot_s"]
    assert row["kv_pool_bytes"] == plain["kv_pool_bytes"]
    monkeypatch.setenv("CAPGRID_CATALOGS", str(out.parent))
    tree = invoke("explain", "step_overhead_s", *plan, "--depth", 9).stdout
    line = next(line for line in tree.splitlines() if line.strip().startswith("engine_layer_s"))
    assert f"{after['engine_layer_s'] * 1e6:.4g} us" in line
    assert "fitted by capgrid calibrate (docs/measure.md); mine/calibration.toml: measured-vllm" in line
    assert "catalogs/engines/vllm.toml" in next(line for line in tree.splitlines() if "engine_step_s" in line)


def test_the_file_says_where_its_constants_come_from(folder: Path) -> None:
    """Rows, error, day, and the files that were read."""
    catalogs = pipeline.catalogs(told(folder)[0].parent)
    row = catalogs.frames["calibration"].row(0, named=True)
    assert (row["calibration"], row["engine"], row["accelerator"]) == ("measured-vllm", "vllm", None)
    assert row["rows"] == 48
    assert row["error_ratio"] == pytest.approx(told(folder)[1]["held_out"][0]["median_after"], abs=1e-4)
    assert "runs.csv" in row["note"]
    facts = catalogs.facts.filter(kind="calibration", field="engine_layer_s")
    assert facts["source_kind"].to_list() == ["measurement"]


def test_a_second_fit_replaces_its_own_block_only(tmp_path: Path) -> None:
    """Other blocks, and comments, stay."""
    out = overlay(tmp_path / "mine", "# ours", block(accelerator="l4", achieved_bytes_ratio=0.9)) / "calibration.toml"
    for layer_s in (4e-5, 8e-5):
        path = measured(tmp_path, plans(["itl_s"]), block(engine="vllm", engine_layer_s=layer_s))
        invoke("calibrate", path, "--fit", "engine_layer_s", "--out", out)
    frame = pipeline.catalogs(out.parent).frames["calibration"]
    assert frame["calibration"].to_list() == ["other", "measured-vllm"]
    assert frame["engine_layer_s"].to_list()[1] == pytest.approx(8e-5, rel=0.1)
    assert out.read_text(encoding="utf-8").startswith("# ours")


def test_what_does_not_improve_is_not_written(tmp_path: Path) -> None:
    """Rows that the catalogs meet already: it says so; --force writes all the same."""
    path, out = tmp_path / "runs.csv", tmp_path / "mine" / "calibration.toml"
    rows = plans(["itl_s"])
    pl.DataFrame(rows).write_csv(path)
    values = predict_rows(read_measurements([path]), pipeline.catalogs(), AS_OF)["predicted"]
    pl.DataFrame(rows).with_columns(value=values).write_csv(path)
    said = invoke("calibrate", path, "--out", out)
    assert "does not improve" in said.stderr
    assert "nothing written" in said.stderr
    assert not out.exists()
    assert "--catalogs" in invoke("calibrate", path, "--out", out, "--force").stderr.splitlines()[-1]
    assert out.exists()


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    """Fits and errors are shown, and that is all."""
    path, out = measured(tmp_path, plans(["itl_s"]), SLOW), tmp_path / "mine.toml"
    said = invoke("calibrate", path, "--out", out, "--dry-run")
    assert "engine_layer_s" in said.stdout
    assert "configurations" in said.stdout
    assert not out.exists()


# ----- what goes wrong


def test_an_unknown_constant_is_met_with_the_nearest(tmp_path: Path) -> None:
    """Nothing is read for a name that nobody knows."""
    said = invoke("calibrate", tmp_path / "runs.csv", "--fit", "engine_layers", code=2).stderr
    assert "no constant named 'engine_layers'. Did you mean engine_layer_s" in said


def test_without_scipy_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of capgrid does without it."""
    path = measured(tmp_path, plans(["itl_s"]))
    monkeypatch.setitem(sys.modules, "scipy", None)
    assert "pip install 'capgrid[opt]'" in invoke("calibrate", path, code=1).stderr


def test_an_interrupted_fit_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends it without a trace on disk, and without a traceback."""
    from scipy import optimize

    def interrupted(*_args: object, **_others: object) -> None:
        raise KeyboardInterrupt

    path, out = measured(tmp_path, plans(["itl_s"])), tmp_path / "mine.toml"
    monkeypatch.setattr(optimize, "least_squares", interrupted)
    said = CliRunner().invoke(cli, ["calibrate", str(path), "--out", str(out)])
    assert said.exit_code == 130
    assert "Interrupted" in said.output
    assert not out.exists()


@pytest.mark.parametrize("text", ["[calibration]\nx = 1\n", "calibration = 5\n", "[[calibration]\n", "[[engine]]\n"])
def test_a_file_that_is_something_else_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    """A file of something else is not overwritten, broken or not."""
    path = measured(tmp_path, plans(["itl_s"]), SLOW)
    (tmp_path / "mine").mkdir()
    out = tmp_path / "mine" / "own.toml"
    out.write_text(text, encoding="utf-8")
    assert "own.toml" in invoke("calibrate", path, "--out", out, code=1).stderr
    assert out.read_text(encoding="utf-8") == text


# ----- calibrations as catalogs


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"engine": "vllm", "accelerator": "l4"}, "calibrates an engine or a device does not hold"),
        ({"engine_layer_s": 1e-5}, "calibrates an engine or a device does not hold"),
        ({"engine": "steam"}, "engine names no engine 'steam'"),
        ({"accelerator": "l4", "achieved_bytes_ratio": 90}, "achieved_bytes_ratio = 90"),
    ],
)
def test_a_calibration_that_cannot_be_true_is_refused(tmp_path: Path, said: dict[str, Any], words: str) -> None:
    """It names one thing that exists, and its constants are within bounds."""
    refused = invoke("engines", "--catalogs", overlay(tmp_path / "mine", block(**said)), code=1).stderr
    assert words in refused
    assert "it is read beside" in refused


def test_the_later_calibration_holds(tmp_path: Path) -> None:
    """Whatever their order in the file; what it does not set stays with the earlier one, or the catalogs."""
    early, late = date(2026, 1, 1), date(2026, 2, 1)
    both = overlay(
        tmp_path / "mine",
        block(calibration="b", engine="vllm", fitted_on=late, engine_layer_s=3e-5),
        block(calibration="a", engine="vllm", fitted_on=early, engine_layer_s=2e-5, engine_step_s=1e-3),
    )
    row = pipeline.point("llama-3.1-8b", "h100", folder=both)
    assert (row["engine_layer_s"], row["engine_step_s"]) == (3e-5, 1e-3)
    other = pipeline.point("llama-3.1-8b", "h100", engine="sglang", folder=both)
    assert other["engine_layer_s"] == pipeline.point("llama-3.1-8b", "h100", engine="sglang")["engine_layer_s"]
    calibrations = pipeline.catalogs(both).frames["calibration"]
    assert setting(calibrations, "engine", "vllm", "engine_layer_s") == ["b", "a"]


def test_no_calibration_changes_nothing() -> None:
    """The axes of the bundled catalogs are what they were."""
    frames = pipeline.catalogs().frames
    for kind in ("engine", "accelerator"):
        assert with_calibrations(frames[kind], kind, frames["calibration"]).equals(frames[kind])


def test_a_model_added_to_such_a_folder_stays_there(tmp_path: Path) -> None:
    """The bundled catalogs are not written to, and both are read together."""
    mine = overlay(tmp_path / "mine", block(engine="vllm", engine_layer_s=3e-5))
    config = tmp_path / "config.json"
    config.write_text(json.dumps(SMALL_LLAMA), encoding="utf-8")
    invoke("model", "add", config, "--name", "small-llama", "--catalogs", mine)
    assert "small-llama" in (mine / "models" / "added.toml").read_text(encoding="utf-8")
    row = pipeline.point("small-llama", "h100", folder=mine)
    assert row["engine_layer_s"] == 3e-5
    assert "small-llama" not in pipeline.catalogs().names("model").ids
