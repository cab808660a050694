"""The report's page and its Markdown twin: they say what the run says, and nothing in them runs or asks for more."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import string
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from click.testing import CliRunner
from polars import col

from pipeline.answers.diff.difference import CAUSES, Difference
from pipeline.answers.diff.effects import EFFECTS
from pipeline.cli.main import Capgrid
from pipeline.cli.report import report
from pipeline.core.errors import PipelineError, UnknownNameError, UsageError
from pipeline.publish.report.build import write_report
from pipeline.publish.report.data import PageData
from pipeline.publish.report.numbers import overview
from pipeline.publish.report.page import MOST_BYTES
from pipeline.publish.report.plans import best_plans, fronts
from pipeline.publish.words import LANGUAGES, texts_of, words_in
from tests.support import catalogs
from tests.system.hostile import HOSTILE, hostile_run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Finished

pytest.importorskip("altair", reason="the report's charts need capgrid[report]")
pytest.importorskip("vl_convert", reason="the report's charts need capgrid[report]")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Tests leave the user's cache alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def written(small: Finished, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The report of the small run in each language."""
    folder = tmp_path_factory.mktemp("reports")
    return {lang: write_report(small.folder, lang, folder / f"{lang}.html", catalogs=catalogs()) for lang in LANGUAGES}


class Page(HTMLParser):
    """A page taken apart: its elements with their attributes, and the texts of scripts and styles."""

    def __init__(self, text: str) -> None:
        """Parse."""
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the element."""
        self.tags.append((tag, dict(attrs)))
        if tag in {"script", "style"}:
            self.inside.append("")

    def handle_data(self, data: str) -> None:
        """Keep the text where it is of a script or style."""
        if self.cdata_elem in {"script", "style"}:
            self.inside[-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]

    def json(self, name: str) -> Any:
        """The data of a script element."""
        kinds = [attributes for tag, attributes in self.tags if tag in {"script", "style"}]
        return json.loads(self.inside[[each.get("id") for each in kinds].index(name)])


def page_of(path: Path) -> Page:
    """A page that was written."""
    return Page(path.read_text(encoding="utf-8"))


# ----- the page as a file


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_page_is_small_and_stands_alone(written: dict[str, Path], lang: str) -> None:
    """One file below the limit, in the language that it says, and nothing in it is fetched."""
    page = page_of(written[lang])
    assert written[lang].stat().st_size <= MOST_BYTES
    assert page.all("html")[0]["lang"] == {"en": "en", "zh": "zh-CN"}[lang]
    assert not {"link", "img", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    assert not [attributes for _, attributes in page.tags if {"src", "srcset", "data", "action"} & attributes.keys()]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]
    assert all((each.get("href") or "").startswith("#") for each in page.all("a"))


def test_the_policy_allows_the_pages_own_scripts_and_style_by_hash_only(written: dict[str, Path]) -> None:
    """Every script that runs and the style have their hash in the policy, and the policy allows nothing else."""
    page = page_of(written["en"])
    policy = next(each["content"] or "" for each in page.all("meta") if each.get("http-equiv"))
    assert policy.startswith("default-src 'none'; ")
    assert not re.search(r"unsafe|\*|https?:|data:|blob:", policy)
    elements = [(tag, attributes) for tag, attributes in page.tags if tag in {"script", "style"}]
    run = [text for (_, attributes), text in zip(elements, page.inside, strict=True) if "json" not in str(attributes)]
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run}
    assert hashes == set(re.findall(r"'sha256-([^']+)'", policy))


def test_the_same_run_gives_the_same_bytes(small: Finished, written: dict[str, Path], tmp_path: Path) -> None:
    """There is no clock in the report and no chance."""
    again = write_report(small.folder, "en", tmp_path / "again.html", catalogs=catalogs())
    assert again.read_bytes() == written["en"].read_bytes()
    assert again.with_suffix(".md").read_bytes() == written["en"].with_suffix(".md").read_bytes()


def test_parts_of_the_page_have_names_and_heads(written: dict[str, Path]) -> None:
    """What a screen reader needs: title, landmarks, one first heading, labels, heads with a scope, captions."""
    page = page_of(written["en"])
    names = [tag for tag, _ in page.tags]
    assert all(names.count(each) == 1 for each in ("title", "main", "header", "footer", "h1"))
    assert names.count("caption") == names.count("table")
    assert all(each.get("scope") for each in page.all("th"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(each.get("aria-labelledby") in ids for each in page.all("section"))
    assert names.count("label") == names.count("select") + names.count("input")


# ----- what it says


def test_the_page_shows_the_best_plan_of_every_case(small: Finished, written: dict[str, Path]) -> None:
    """Of a model, workload, precision and accelerator no plan within the objectives is cheaper than the one shown."""
    data = page_of(written["en"]).json("data")
    axes, plans = data["axes"], data["plans"]
    shown = {
        (axes["model"][m], axes["workload"][w], axes["weights"][k], axes["accelerator"][a]): (usd, meets)
        for m, w, k, a, usd, meets in zip(
            *(plans[name] for name in ("model", "workload", "weights", "accelerator", "usd", "meets")), strict=True
        )
    }
    rows = pl.read_parquet(small.folder / "capacity.parquet").with_columns(col(pl.Enum).cast(pl.String))
    case = ["model", "workload", "weights", "accelerator"]
    within = rows.filter(col("batch_slo") > 0).group_by(case).agg(usd=col("usd_per_mtok_output").min())
    assert within.height > 20
    for *key, usd in within.iter_rows():
        got, meets = shown.pop(tuple(key))
        assert meets
        assert (got is None) == (usd is None)
        assert got is None or got == pytest.approx(usd, rel=1e-3)
    assert not any(meets for _, meets in shown.values())


def test_the_heat_map_holds_the_largest_batch(small: Finished, written: dict[str, Path]) -> None:
    """Each cell is the largest batch_max of its plans; 0 where none holds a sequence, -1 where none can run."""
    data = page_of(written["en"]).json("data")
    axes, heat = data["axes"], data["map"]
    keys = [
        (w, k, a, d)
        for w in axes["workload"]
        for k in axes["weights"]
        for a in axes["accelerator"]
        for d in heat["devices"]
    ]
    rows = pl.read_parquet(small.folder / "capacity.parquet").with_columns(col(pl.Enum).cast(pl.String))
    by = ["model", "workload", "weights", "accelerator", "device_count"]
    most = {row[:5]: row[5] for row in rows.group_by(by).agg(col("batch_max").max()).iter_rows()}
    cells = [
        (most.get((model, *key), -1), got)
        for model, batches in zip(heat["model"], heat["batch_max"], strict=True)
        for key, got in zip(keys, batches, strict=True)
    ]
    assert [want for want, _ in cells] == [got for _, got in cells]
    assert {-1, 0} < {got for _, got in cells}


def test_parts_of_memory_add_up_to_the_device(small: Finished) -> None:
    """Weights, cache, activations, overhead and what is free are the whole device."""
    plans = best_plans(small.folder, ["llama-3.1-8b", "mixtral-8x7b"])
    device = pl.read_parquet(small.folder / "capacity.parquet", columns=["accelerator", "device_memory_bytes"])
    whole = dict(device.with_columns(col("accelerator").cast(pl.String)).unique().iter_rows())
    parts = ("weights_gb", "kv_gb", "activations_gb", "overhead_gb", "free_gb")
    for row in plans.iter_rows(named=True):
        assert sum(row[name] for name in parts) == pytest.approx(whole[row["accelerator"]] / 1e9)
        assert row["kv_gb"] > 0


def test_no_plan_beats_one_of_the_front_in_both(small: Finished) -> None:
    """Along a front cost rises as time falls, and no estimate that fits is cheaper and faster than a point of it."""
    front = fronts(small.folder, ["llama-3.1-8b"]).filter(col("workload") == "chat", col("weights") == "fp8")
    assert front.height > 2
    assert front["usd"].is_sorted()
    assert front["e2e_s"].is_sorted(descending=True)
    rows = pl.read_parquet(small.folder / "estimates" / "model=llama-3.1-8b" / "part-0.parquet")
    others = rows.filter(col("fits"), col("workload") == "chat", col("weights") == "fp8").select(
        usd=col("usd_per_mtok_output").cast(pl.Float64), e2e_s=col("e2e_s").cast(pl.Float64)
    )
    beaten = (
        front.select(a="usd", b="e2e_s")
        .join(others, how="cross")
        .filter(col("usd") < col("a"), col("e2e_s") < col("b"))
    )
    assert beaten.is_empty()


def test_models_asked_for_come_first(small: Finished, tmp_path: Path) -> None:
    """`--model` puts a model before those of the grid's demands."""
    path = write_report(small.folder, "en", tmp_path / "x.html", catalogs=catalogs(), models=["mixtral-8x7b"])
    assert page_of(path).json("data")["axes"]["model"][:2] == ["mixtral-8x7b", "llama-3.1-8b"]


def test_a_page_with_less_room_has_fewer_models(small: Finished) -> None:
    """Details are left out, model by model, until the data fit."""
    data = PageData(small.folder, overview(small.folder))
    whole = json.loads(data.as_json(MOST_BYTES))
    less = data.as_json(len(data.as_json(MOST_BYTES)) // 2)
    few = json.loads(less)
    assert len(less) <= len(data.as_json(MOST_BYTES)) // 2
    assert 0 < len(few["axes"]["model"]) < len(whole["axes"]["model"])
    assert few["map"] == whole["map"]


# ----- what changed


CAUSE = {
    "cause": 1, "category": "fact", "what": "changed", "kind": "accelerator", "entry": HOSTILE, "field": "tdp_w",
    "old": "300.0", "new": "350.0", "old_source": "a", "new_source": "b", "file": "x.toml", "flips": 1, "rows": 7,
}  # fmt: skip
EFFECT = {
    "table": "capacity", "effect": "flip", "question": "cheapest_device", "model": HOSTILE, "workload": "chat",
    "old": "l4", "new": "h100", "old_value": 2.0, "new_value": 1.0, "ratio": 0.5, "rows": 1, "causes": [1],
}  # fmt: skip


def planted() -> Difference:
    """A difference of one cause and one answer that flipped, with names that are markup."""
    causes = pl.DataFrame([{name: CAUSE.get(name) for name in CAUSES}], schema=CAUSES)
    effects = pl.DataFrame([{name: EFFECT.get(name) for name in EFFECTS}], schema=EFFECTS)
    return Difference("old", "new", causes, effects, f"1 fact changed: {HOSTILE}")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_what_changed_is_told(small: Finished, tmp_path: Path, lang: str) -> None:
    """Causes and flipped answers of a difference stand in both files, escaped."""
    path = write_report(small.folder, lang, tmp_path / "x.html", planted(), catalogs=catalogs())
    assert not page_of(path).all("img")
    assert "<img" not in path.with_suffix(".md").read_text(encoding="utf-8")
    for each in (path, path.with_suffix(".md")):
        text = each.read_text(encoding="utf-8")
        assert "l4 → h100" in text
        assert "300 → 350" in text
        assert "a → b; x.toml" in text
        assert chr(0x202E) not in text


def test_the_command_compares_with_the_run_before(own_small: Finished) -> None:
    """The run before of the same grid is found by itself; any other is named with --against."""
    earlier = own_small.out / "2026-11-21-small-0000000000"
    shutil.copytree(own_small.folder, earlier)
    os.utime(earlier / "manifest.json", (0, 0))
    group, nothing = Capgrid(commands=[report]), words_in("en")("changes.nothing")
    for args, told_so in (
        ([], True),
        (["--run", earlier.name], False),
        (["--run", earlier.name, "--against", "latest"], True),
    ):
        result = CliRunner().invoke(group, ["report", "--out", str(own_small.out), *args])
        assert result.exit_code == 0, result.output
        folder = earlier if args else own_small.folder
        assert (nothing in (folder / "report.md").read_text(encoding="utf-8")) == told_so
    result = CliRunner().invoke(group, ["report", "--out", str(own_small.out), "--against", "nope"])
    assert result.exit_code == 2


def test_nothing_changed_is_told(small: Finished, tmp_path: Path) -> None:
    """An empty difference and a missing one are two things."""
    empty = Difference("a", "b", pl.DataFrame(schema=CAUSES), pl.DataFrame(schema=EFFECTS), "nothing changed")
    texts = [
        write_report(small.folder, "en", tmp_path / "x.html", each, catalogs=catalogs()).with_suffix(".md").read_text()
        for each in (empty, None)
    ]
    assert words_in("en")("changes.nothing") in texts[0]
    assert words_in("en")("changes.no_earlier") in texts[1]


# ----- Markdown


@pytest.mark.parametrize("lang", LANGUAGES)
def test_tables_of_the_twin_are_whole(written: dict[str, Path], lang: str) -> None:
    """Every row of a Markdown table has as many cells as its head, and the figures of the page are there."""
    text = written[lang].with_suffix(".md").read_text(encoding="utf-8")
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    for name in ("llama-3.1-8b", "h100-sxm-80gb", "18,960"):
        assert name in text


def test_hostile_names_are_shown_as_they_are(small: Finished, tmp_path: Path) -> None:
    """A model whose id is markup with marks of direction is text in both files, and its marks are seen."""
    path = write_report(hostile_run(small, tmp_path), "en", tmp_path / "x.html", catalogs=catalogs())
    page = page_of(path)
    assert "img" not in {tag for tag, _ in page.tags}
    assert any("<img" in name and "⟨U+202E⟩" in name for name in page.json("data")["axes"]["model"])
    markdown = path.with_suffix(".md").read_text(encoding="utf-8")
    assert "<img" not in markdown
    assert chr(0x202E) not in path.read_text(encoding="utf-8") + markdown


# ----- words


def test_languages_have_the_same_keys_and_placeholders() -> None:
    """Every text stands in every language, with the same things to fill in."""
    english = texts_of("en")
    for lang in LANGUAGES:
        assert texts_of(lang).keys() == english.keys()
        for key, (text, _) in texts_of(lang).items():
            assert text.strip(), key
            assert placeholders(text) == placeholders(english[key][0]), key


@pytest.mark.parametrize("lang", [each for each in LANGUAGES if each != "en"])
def test_no_translation_is_stale(lang: str) -> None:
    """A translation names the English that it was made from; where that has changed, it must be made again."""
    english = texts_of("en")
    assert [key for key, (_, of) in texts_of(lang).items() if of != english[key][0]] == []


def placeholders(text: str) -> set[str]:
    """What a text has to be filled in."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


# ----- refusals


def test_what_cannot_be_written_is_refused(small: Finished, tmp_path: Path) -> None:
    """An unknown language or model and a file of another kind are usage errors, and nothing is written."""
    for error, file, lang, models in (
        (UnknownNameError, "x.html", "fr", []),
        (UnknownNameError, "x.html", "en", ["qwen3-32b"]),
        (UsageError, "x.pdf", "en", []),
    ):
        with pytest.raises(error):
            write_report(small.folder, lang, tmp_path / file, catalogs=catalogs(), models=models)
    (tmp_path / "file").write_text("")
    with pytest.raises(PipelineError, match="cannot be written"):
        write_report(small.folder, "en", tmp_path / "file" / "x.html", catalogs=catalogs())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("module", ["altair", "vl_convert"])
def test_a_missing_library_is_named(
    small: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    """Without what draws charts the message says what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PipelineError, match=r"capgrid\[report\]"):
        write_report(small.folder, "en", tmp_path / "x.html", catalogs=catalogs())


def test_the_command_writes_beside_the_run(own_small: Finished) -> None:
    """`capgrid report` writes both files into the run's folder, again and again; the run stays whole."""
    group = Capgrid(commands=[report])
    for lang in ("en", "zh"):
        result = CliRunner().invoke(group, ["report", "--out", str(own_small.out), "--lang", lang])
        assert result.exit_code == 0, result.output
        assert {"report.html", "report.md"} <= {path.name for path in own_small.folder.iterdir()}
    assert "zh-CN" in (own_small.folder / "report.html").read_text(encoding="utf-8")[:200]
    for args, code in ((["--run", "nope"], 2), (["--lang", "fr"], 2), (["--out", str(own_small.folder)], 1)):
        result = CliRunner().invoke(group, ["report", "--out", str(own_small.out), *args])
        assert result.exit_code == code, result.output
        assert isinstance(result.exception, SystemExit)
