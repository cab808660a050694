"""What changed between two runs: causes found, effects attributed to them, words for it."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import tomlkit
from polars import col
from polars.testing import assert_frame_equal

from pipeline.answers.diff.causes import causes_of
from pipeline.answers.diff.difference import CAUSES, Difference, difference, difference_markdown, difference_text
from pipeline.answers.diff.effects import EFFECTS
from pipeline.answers.diff.inputs import Inputs, Run, frame_from_facts, read_run
from pipeline.answers.diff.reach import closure, quantities, reach_of
from pipeline.core.places import bundled
from pipeline.facts.schema.kinds import SCHEMAS
from pipeline.grid.schema import TABLES
from pipeline.run.code import definitions, tree
from tests.conftest import AS_OF, TINY, invoke

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pipeline.facts.catalog import Catalogs

LATER = date(2026, 12, 5)
FLEETS = 'fleets = [{ model = "llama-3.1-8b", requests_per_s = 20, ttft_p95_s = 2.0 }]\n'
PRICED = "l4"
SLOWED = "h100-sxm-80gb"
MODEL = "planted-8b"


@dataclass(frozen=True)
class Made:
    """Runs of a tiny grid, by name, in one folder of runs."""

    out: Path
    folders: dict[str, Path]

    def between(self, old: str, new: str) -> Difference:
        """What changed from one to another."""
        return difference(self.folders[old], self.folders[new])


def edited(path: Path, edit: Callable[[Any], object]) -> None:
    """Change a TOML file."""
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    edit(document)
    path.write_text(tomlkit.dumps(document), encoding="utf-8")


def entries(catalogs: Path, kind: str) -> Iterator[tuple[Path, int, dict[str, Any]]]:
    """Every entry of a kind, with where it stands."""
    for path in sorted(catalogs.rglob("*.toml")):
        for place, entry in enumerate(tomllib.loads(path.read_text(encoding="utf-8")).get(kind, [])):
            yield path, place, entry


def with_price(catalogs: Path, factor: float, from_date: str | None = None) -> str:
    """Change the cheapest on-demand price of a device, or append a newer one; its instance."""
    offers = [
        (price["usd_per_hour"] / price["devices"], path, place, price)
        for path, place, price in entries(catalogs, "price")
        if price["accelerator"] == PRICED and price["market"] == "on-demand" and str(price["from_date"]) <= str(AS_OF)
    ]
    _, path, place, price = min(offers, key=lambda each: each[0])

    def edit(document: Any) -> None:
        if from_date is None:
            document["price"][place]["usd_per_hour"] = price["usd_per_hour"] * factor
        else:
            newer = price | {"usd_per_hour": price["usd_per_hour"] * factor, "from_date": date.fromisoformat(from_date)}
            document["price"].append(tomlkit.item(newer))

    edited(path, edit)
    return str(price["instance"])


def with_field(catalogs: Path, kind: str, entry: str, **values: Any) -> None:
    """Change fields of one entry."""
    path, place, _ = next(each for each in entries(catalogs, kind) if each[2].get(kind) == entry)
    edited(path, lambda document: document[kind][place].update(values))


def with_model(catalogs: Path) -> None:
    """Add a model: a copy of one under another name."""
    path, _, entry = next(each for each in entries(catalogs, "model") if each[2]["model"] == "llama-3.1-8b")
    own = {name: value for name, value in entry.items() if name not in {"aliases", "hf_id"}} | {"model": MODEL}
    own["source_of"] = {name: each for name, each in own.pop("source_of", {}).items() if name in own}
    edited(path, lambda document: document["model"].append(tomlkit.item(own)))


SHAKEN: dict[tuple[str, str], dict[str, Any]] = {
    ("workload", "chat"): {"prompt_tokens": 900, "tpot_slo_s": 0.04},
    ("architecture", "hopper"): {"attention_bytes_ratio": 0.5},
    ("kernel", "bf16"): {"bytes_ratio": 0.6},
    ("step", "default"): {"attention_head_s": 2e-8},
    ("band", "default"): {"spread_0_ratio": 1.5, "memory_spread_0_ratio": 1.5},
    ("format", "bf16"): {"weight_error_ratio": 0.01},
    ("accelerator", "l4"): {"tdp_w": 150, "device_memory_bytes": 20_000_000_000},
    ("model", "gemma-3-4b"): {"context_tokens_max": 65_536},
    ("site", "us-average"): {"pue_ratio": 1.9, "grid_g_per_kwh": 100},
}
"""Facts of every kind that a run is made from, to be changed at once."""


@pytest.fixture(scope="module")
def made(shared: Callable[..., Path]) -> Made:
    """Runs: as it was; three planted changes; one alone; two days with and without a dated price; another grid."""
    top = shared("diff", make_runs)
    ids = json.loads((top / "ids.json").read_text(encoding="utf-8"))
    return Made(top / "outputs", {name: top / "outputs" / each for name, each in ids.items()})


def make_runs(top: Path) -> None:
    """Make them, and write down which is which."""
    out, ids = top / "outputs", {}

    def run(name: str, catalogs: Path, text: str, as_of: date = AS_OF) -> None:
        grid = top / name / "tiny.toml"
        grid.parent.mkdir()
        grid.write_text(text, encoding="utf-8")
        invoke("run", "--grid", grid, "--out", out, "--workers", 1, "--as-of", as_of, "--catalogs", catalogs)
        ids[name] = (out / "latest").resolve().name

    def copied(name: str) -> Path:
        return shutil.copytree(bundled("catalogs"), top / name)

    names = ("plain", "planted", "priced", "dated", "shaken")
    plain, planted, priced, dated, shaken = (copied(f"of-{name}") for name in names)
    for catalogs in (planted, priced):
        with_price(catalogs, 0.04)
    with_field(planted, "accelerator", SLOWED, memory_bytes_per_s=1.5e12)
    with_model(planted)
    with_price(dated, 0.5, "2026-12-01")
    for (kind, entry), values in SHAKEN.items():
        with_field(shaken, kind, entry, **values)
    bare = TINY.replace(', "mixtral-8x7b"', "")
    whole = bare + FLEETS
    run("before", plain, whole)
    run("planted", planted, whole.replace('"llama-3.1-8b", ', f'"llama-3.1-8b", "{MODEL}", ', 1))
    run("priced", priced, whole)
    run("shaken", shaken, whole)
    run("bare", plain, bare)
    run("bare later", plain, bare, LATER)
    run("waiting", dated, bare)
    run("in force", dated, bare, LATER)
    run("other grid", plain, whole.replace(', "l4"', "").replace("1, 16, 256", "1, 16, 64").replace("= 20", "= 30"))
    (top / "ids.json").write_text(json.dumps(ids), encoding="utf-8")


@pytest.fixture(scope="module")
def planted(made: Made) -> Difference:
    """The difference that three planted changes make."""
    return made.between("before", "planted")


def kinds(found: Difference) -> set[tuple[str, str, str, str]]:
    """Causes by what they are."""
    return set(found.causes.select("category", "what", "kind", "field").iter_rows())


def numbered(found: Difference, kind: str) -> int:
    """The number of the one cause of a kind."""
    return int(found.causes.filter(kind=kind)["cause"].item())


# ----- inputs


def test_facts_are_read_back_as_the_catalogs_that_they_came_from(bundled_catalogs: Catalogs) -> None:
    """Else a cause taken over alone would be taken over into something that no run was made from."""
    for kind in SCHEMAS:
        assert_frame_equal(frame_from_facts(kind, bundled_catalogs.facts), bundled_catalogs.frames[kind])


# ----- three planted changes


def test_planted_changes_are_the_causes_and_nothing_else_is(planted: Difference) -> None:
    """A price, a bandwidth, a model: each with what it was, what it is, and where it stands."""
    assert kinds(planted) == {
        ("fact", "changed", "price", "usd_per_hour"),
        ("fact", "changed", "accelerator", "memory_bytes_per_s"),
        ("entry", "added", "model", ""),
    }
    price = planted.causes.row(numbered(planted, "price") - 1, named=True)
    assert float(price["new"]) == pytest.approx(0.04 * float(price["old"]))
    assert price["entry"].startswith(PRICED)
    assert price["file"].endswith(".toml")
    wide = planted.causes.filter(kind="accelerator").row(0, named=True)
    assert (wide["entry"], float(wide["new"])) == (SLOWED, 1.5e12)
    assert wide["old_source"]


def test_every_effect_has_a_cause(planted: Difference) -> None:
    """And each cause has an effect."""
    assert planted.unexplained == 0
    assert not planted.is_empty
    assert set(planted.effects.explode("causes")["causes"]) == {1, 2, 3}


def test_a_price_changes_money_and_nothing_else(planted: Difference) -> None:
    """Of the device that it is the price of."""
    price = numbered(planted, "price")
    own = planted.effects.filter(col("effect") == "change", col("causes").list.contains(price))
    assert own.height
    assert set(own["accelerator"]) == {PRICED}
    assert all("usd" in name or name.startswith("price") for name in own["question"])


def test_a_bandwidth_changes_times_and_never_memory(planted: Difference) -> None:
    """Of its device; the largest batch is the same, the batch within the objective is not."""
    wide = numbered(planted, "accelerator")
    own = planted.effects.filter(col("effect") == "change", col("causes").list.contains(wide))
    assert set(own["accelerator"]) == {SLOWED}
    assert {"tpot_s", "batch_slo", "output_tokens_per_s"} <= set(own["question"])
    assert not {"batch_max", "weight_bytes", "kv_pool_bytes", "context_max_tokens"} & set(own["question"])


def test_a_new_model_came_with_its_rows(planted: Difference, made: Made) -> None:
    """They are counted, and attributed to it alone."""
    came = planted.effects.filter(effect="added", question="model").row(0, named=True)
    assert (came["new"], came["causes"]) == (MODEL, [numbered(planted, "model")])
    rows = pl.read_parquet(made.folders["planted"] / "capacity.parquet", columns=["model"])["model"].cast(pl.String)
    assert came["rows"] == (rows == MODEL).sum()


def test_flips_name_whose_price_or_speed_moved(planted: Difference, made: Made) -> None:
    """The cheapest device is another where one that moved passed it; both runs agree with the best plan by SQL."""
    flips = planted.effects.filter(question="cheapest_device")
    assert flips.height
    for flip in flips.iter_rows(named=True):
        best = [best_device(made.folders[name], flip["model"], flip["workload"]) for name in ("before", "planted")]
        assert [flip["old"], flip["new"]] == best
        assert flip["via"]
        moved = {PRICED: numbered(planted, "price"), SLOWED: numbered(planted, "accelerator")}
        behind = {moved[flip[side]] for side in ("old", "new") if side in flip["via"]}
        assert set(flip["causes"]) == behind


def best_device(run: Path, model: str, workload: str) -> str:
    """The device of the cheapest plan that meets the objective, the plain way."""
    rows = pl.read_parquet(run / "capacity.parquet").with_columns(
        col("model", "workload", "accelerator").cast(pl.String)
    )
    able = rows.filter(col("batch_slo") > 0, model=model, workload=workload).drop_nulls("usd_per_mtok_output")
    return str(able.sort("usd_per_mtok_output")["accelerator"][0])


def test_what_is_attributed_to_the_price_alone_is_what_the_price_alone_does(planted: Difference, made: Made) -> None:
    """A third run has this change only: its changed cells are those of the price, to the last."""
    alone = made.between("before", "priced")
    price = [numbered(planted, "price")]
    columns = ["table", "question", "model", "accelerator", "rows", "new_value"]
    ours, its = (
        found.effects.filter(col("effect") == "change", col("causes") == pl.lit(which, pl.List(pl.Int64))).select(
            columns
        )
        for found, which in ((planted, price), (alone, [1]))
    )
    assert_frame_equal(ours.sort(columns[:4]), its.sort(columns[:4]))


def test_changed_cells_are_all_that_differ(planted: Difference, made: Made) -> None:
    """Counted anew by a plain comparison of the two tables."""
    old, new = (pl.read_parquet(made.folders[name] / "capacity.parquet") for name in ("before", "planted"))
    keys = ["model", "weights", "kv", "engine", "accelerator", "workload", "tp", "pp", "ep", "dp"]
    texts = [frame.with_columns(col(pl.Enum).cast(pl.String)) for frame in (old, new)]
    both = texts[0].join(texts[1], on=keys, suffix="_b")
    changes = planted.effects.filter(effect="change", table="capacity")
    for name in ("tpot_s", "usd_per_mtok_output", "batch_slo", "batch_max", "power_w"):
        assert changes.filter(question=name)["rows"].sum() == (both[name] != both[f"{name}_b"]).sum()


def test_many_changes_at_once_leave_nothing_unexplained(made: Made) -> None:
    """Facts of every kind: each is a cause with effects, and each effect has a cause."""
    found = made.between("before", "shaken")
    fields = {(kind, entry, field) for (kind, entry), values in SHAKEN.items() for field in values}
    assert set(found.causes.select("kind", "entry", "field").iter_rows()) == fields
    assert found.unexplained == 0
    assert found.causes["rows"].min() > 0
    memory = found.effects.filter(question="device_memory_bytes").explode("causes")["causes"].unique()
    assert found.causes.filter(col("cause").is_in(memory.implode()))["field"].to_list() == ["device_memory_bytes"]


# ----- nothing, a date, a grid


@pytest.mark.parametrize("other", ["bare", "bare later"])
def test_where_nothing_changed_it_says_so(made: Made, other: str) -> None:
    """The same run, and a later day on which no other price holds."""
    found = made.between("bare", other)
    assert found.is_empty
    assert found.headline == "nothing changed"
    assert "nothing changed" in difference_markdown(found)
    args = ("diff", made.folders["bare"], made.folders[other], "--out", made.out, "--exit-code")
    assert "nothing changed" in invoke(*args, code=0).output


def test_a_price_that_takes_effect_by_its_date_is_a_cause_of_its_own(made: Made) -> None:
    """The facts of both runs are equal; only the day differs."""
    found = made.between("waiting", "in force")
    cause = found.causes.row(0, named=True)
    assert kinds(found) == {("date", "took effect", "price", "usd_per_hour")}
    assert "2026-12-01" in cause["entry"]
    assert float(cause["new"]) == pytest.approx(0.5 * float(cause["old"]))
    assert found.unexplained == 0
    assert "usd_per_mtok_output" in found.effects["question"]
    assert "tpot_s" not in found.effects["question"]


def test_backwards_it_is_no_longer_in_force(made: Made) -> None:
    """A run of an earlier day held against a later one."""
    found = made.between("in force", "waiting")
    assert kinds(found) == {("date", "no longer in force", "price", "usd_per_hour")}
    assert found.unexplained == 0


def test_a_price_added_and_in_force_is_one_cause(made: Made) -> None:
    """Both the catalog and the day changed: the new entry explains everything."""
    found = made.between("bare", "in force")
    assert kinds(found) == {("entry", "added", "price", "usd_per_hour")}
    assert found.unexplained == 0
    assert found.effects.height


def test_a_changed_grid_says_what_it_gained_and_lost(made: Made) -> None:
    """Devices, batches and demands; what is gone is told with its rows."""
    found = made.between("before", "other grid")
    assert set(found.causes["category"]) == {"grid"}
    assert set(found.causes["entry"]) == {"accelerators", "batches", "fleets"}
    assert found.causes.filter(entry="accelerators").row(0, named=True)["old"] == "l4"
    gone = found.effects.filter(effect="gone", question="accelerator")
    assert gone["old"].to_list() == ["l4"]
    assert found.effects.filter(question="demand").height == 2
    assert found.unexplained == 0


# ----- attribution without runs


@pytest.fixture(scope="module")
def before(made: Made) -> Run:
    """The run that was, as inputs."""
    return read_run(made.folders["before"])


def as_other(run: Run, inputs: Inputs | None = None, **changes: Any) -> Run:
    """A run that was made from something else."""
    return replace(run, inputs=inputs or run.inputs, manifest=run.manifest | {"content_key": "other"}, **changes)


def said(run: Run, kind: str, entry: str, **values: str) -> Run:
    """A run whose facts say something else."""
    facts = run.inputs.facts.filter(kind=kind)
    for field, value in values.items():
        is_it = (col("name") == entry) & (col("field") == field)
        facts = facts.with_columns(value=pl.when(is_it).then(pl.lit(value)).otherwise("value"))
    return as_other(run, run.inputs.with_facts(kind, facts))


def behind(old: Run, new: Run, column: str, table: str = "capacity") -> set[tuple[str, str]]:
    """Axes and entries whose rows may have another value in a column."""
    tables = reach_of(causes_of(old, new), old.inputs, new.inputs).tables(table, column)
    return {(axis, entry) for axis, its in tables.items() for entry, causes in its.items() if causes}


def test_a_constant_of_a_kernel_reaches_what_runs_on_it(before: Run) -> None:
    """It is a calibration; formats that run on the kernel are touched, memory is not."""
    new = said(before, "kernel", "fp8", flop_ratio="0.123")
    assert [each.category for each in causes_of(before, new)] == ["calibration"]
    assert ("weights", "fp8") in behind(before, new, "ttft_s")
    assert not {("weights", "bf16"), ("weights", "int4-awq")} & behind(before, new, "ttft_s")
    assert not behind(before, new, "batch_max")


def test_an_architecture_reaches_its_devices(before: Run) -> None:
    """By way of the axis, not of a list of ours."""
    new = said(before, "architecture", "hopper", attention_bytes_ratio="0.1")
    assert {"h100-sxm-80gb", "h200-sxm-141gb"} <= {entry for _, entry in behind(before, new, "tpot_s")}
    assert "l4" not in {entry for _, entry in behind(before, new, "tpot_s")}


def test_a_name_for_people_reaches_nothing(before: Run) -> None:
    """It is a cause all the same: a fact changed."""
    new = said(before, "accelerator", "l4", name="L4!")
    assert len(causes_of(before, new)) == 1
    assert not behind(before, new, "tpot_s")


def test_two_facts_of_a_device_are_told_apart(before: Run) -> None:
    """Memory may move the largest batch, bandwidth may not."""
    new = said(before, "accelerator", "l4", memory_bytes_per_s="1e12", device_memory_bytes="30000000000")
    causes, reach = causes_of(before, new), reach_of(causes_of(before, new), before.inputs, new.inputs)
    fields = {str(place): cause.field for place, cause in enumerate(causes)}
    named = {fields[each] for each in reach.tables("capacity", "batch_max")["accelerator"]["l4"].split()}
    assert named == {"device_memory_bytes"}


def test_an_engine_measured_on_a_device_that_only_one_run_knows(before: Run) -> None:
    """Taken over alone, the list names nothing that is there; seen from the other run it does."""
    devices = before.inputs.facts.filter(kind="accelerator")
    more = devices.filter(name="l4").with_columns(name=pl.lit("l5"))
    grown = as_other(before, before.inputs.with_facts("accelerator", pl.concat([devices, more])))
    new = said(grown, "engine", "vllm", measured_accelerators="l5, l4")
    assert ("engine", "vllm") in behind(before, new, "confidence")


def test_a_market_changes_prices(before: Run) -> None:
    """The grid is the cause, money the effect."""
    new = as_other(before, replace(before.inputs, grid=replace(before.inputs.grid, market="spot")))
    assert [(each.category, each.entry) for each in causes_of(before, new)] == [("grid", "market")]
    assert ("accelerator", "l4") in behind(before, new, "usd_per_hour")
    assert not behind(before, new, "tpot_s")


def test_only_money_is_made_of_prices() -> None:
    """The books of formulas say so of every published column."""
    for table in ("capacity", "fleet"):
        priced = {name for name in TABLES[table] if {"device_usd_per_hour", "price_cloud"} & closure(table, name)}
        assert "usd_per_hour" in priced
        assert all("usd" in name or name.startswith("price") for name in priced)


def changed_code(run: Run, file: str, name: str) -> Run:
    """A run made by code in which one definition was another."""
    assert run.code
    return as_other(run, code=run.code | {file: run.code[file] | {name: "0"}})


def test_a_changed_formula_is_named_and_reaches_what_is_made_of_it(before: Run) -> None:
    """File and definition; a formula reaches its columns, a constant those of the files that read it."""
    new = changed_code(before, "estimators/step/decode.py", "decode_context_tokens")
    cause = causes_of(before, new)[0]
    assert (cause.category, cause.entry, cause.parts) == (
        "formula", "pipeline/estimators/step/decode.py", ("decode_context_tokens",),
    )  # fmt: skip
    assert behind(before, new, "tpot_s") == {("", "")}
    assert not behind(before, new, "batch_max")
    assert behind(before, changed_code(before, "estimators/bands.py", "Z80"), "vram_bytes_lo") == {("", "")}


def test_a_changed_template_is_all_its_instances_and_nothing_else(before: Run) -> None:
    """Decode attention of every kind of layer; a matrix is its bytes, its parameters and the products with it."""

    def changed_quantities(file: str, name: str) -> frozenset[str]:
        return quantities(causes_of(before, changed_code(before, file, name))[0])

    attend = changed_quantities("estimators/step/decode.py", "attend_s")
    assert {"full_attend_s", "sliding_attend_s"} < attend
    assert all(name.endswith("_attend_s") for name in attend)
    down = changed_quantities("estimators/matrices.py", "down")
    products = {"dense_products_s", "decode_dense_products_s", "prompt_dense_products_s", "mixed_dense_products_s"}
    assert down == {"down_matrix_bytes", "down_matrix_parameters"} | products


def test_code_around_formulas_counts_where_nothing_else_explains(before: Run) -> None:
    """How axes are crossed may change anything; a fact that changed explains its own rows."""
    new = changed_code(before, "grid/axes.py", "axes_of")
    causes = causes_of(before, new)
    reach = reach_of(causes, before.inputs, new.inputs)
    assert reach.named(pl.Series(["", " 7"])).to_list() == [[0], [7]]


def test_a_run_without_fingerprints_can_be_compared(before: Run) -> None:
    """Made before they were kept: that formulas changed is told as possible."""
    found = causes_of(before, as_other(before, code=None))
    assert [(each.category, each.entry) for each in found] == [("formula", "unknown")]


def test_comments_and_docstrings_are_no_change(before: Run) -> None:
    """Of the code itself: what is kept beside a run is what this code has."""
    assert before.code
    assert before.code["estimators/step/decode.py"] == definitions(tree("estimators/step/decode.py"))
    assert {"estimators/money/cost.py", "grid/axes.py", "fleet/sizing.py", "facts/prices.py"} <= before.code.keys()
    assert not any(file.startswith(("cli/", "answers/", "publish/")) for file in before.code)


# ----- words


def test_the_headline_comes_first_and_counts(planted: Difference) -> None:
    """How many things changed, how many answers flipped."""
    flips = planted.effects.filter(effect="flip").height
    assert re.match(rf"2 facts changed, 1 model added; {flips} answers? flipped, the largest: \S", planted.headline)
    for text in (difference_markdown(planted), difference_text(planted)):
        assert planted.headline.split(";")[0] in text.splitlines()[0]


def test_markdown_fits_a_comment(planted: Difference) -> None:
    """Under 60 lines, every table whole: as many cells in each row as in its header."""
    lines = difference_markdown(planted).splitlines()
    assert len(lines) < 60
    tables = [line for line in lines if line.startswith("|")]
    assert len({cells(line) for line in tables if cells(line)}) <= 2
    assert len(difference_markdown(planted, top=1).splitlines()) < len(lines)
    assert "more" in difference_markdown(planted, top=1)


def cells(line: str) -> int:
    """Cells of a row of a Markdown table."""
    return len(re.findall(r"(?<!\\)\|", line)) - 1


def test_what_others_wrote_cannot_leave_its_cell() -> None:
    """Pipes, back ticks, tags, mentions, line breaks and marks that turn the text around."""
    evil = "a|b`</td><script>alert(1)</script>`\n# @everyone \u202egnp.exe \x1b[31m![x](http://example.org)"
    cause = dict.fromkeys(CAUSES) | {"cause": 1, "category": "fact", "what": "changed", "flips": 1, "rows": 1}
    cause |= dict.fromkeys(("kind", "entry", "field", "old", "new", "old_source", "new_source", "file"), evil)
    effect = dict.fromkeys(EFFECTS) | {"table": "capacity", "effect": "flip", "question": "cheapest_device", "rows": 1}
    effect |= dict.fromkeys(("model", "workload", "old", "new", "plan"), evil) | {"causes": [1]}
    frames = pl.DataFrame([cause], schema=CAUSES), pl.DataFrame([effect], schema=EFFECTS)
    found = Difference(evil, evil, *frames, headline=evil)
    text = difference_markdown(found)
    assert {cells(line) for line in text.splitlines() if line.startswith("|")} == {4, 5}
    outside = re.sub(r"`[^`\n]*`", "", text)
    assert not re.search(r"<script|@everyone|(?<!\\)!?\[x\]\(", outside)
    for shown in (text, difference_text(found)):
        assert all(each.isprintable() for line in shown.splitlines() for each in line)


# ----- the command


def test_the_command_names_the_causes_in_every_format(made: Made) -> None:
    """As typed: two ids, a table, Markdown, JSON, CSV."""
    names = (made.folders["before"].name, made.folders["planted"].name, "--out", made.out)
    for shape in ("table", "md", "json"):
        said = invoke("diff", *names, "--format", shape).output
        assert all(each in said for each in (PRICED, SLOWED, MODEL, "memory_bytes_per_s"))
    data = json.loads(invoke("diff", *names, "--json").output)
    assert data["headline"]
    assert data["unexplained"] == 0
    assert len(data["causes"]) == 3
    assert data["runs"] == {"old": names[0], "new": names[1]}
    assert len(data["effects"]) == data["effects_all"]
    assert len(json.loads(invoke("diff", *names, "--json", "--top", 1).output)["effects"]) < data["effects_all"]
    assert invoke("diff", *names, "--format", "csv").output.startswith("table,effect,question")


def test_the_exit_code_says_whether_something_changed(made: Made) -> None:
    """Only where it is asked for."""
    names = ("diff", made.folders["before"].name, made.folders["planted"].name, "--out", made.out)
    assert invoke(*names, code=0).output == invoke(*names, "--exit-code", code=1).output


def test_runs_are_found_by_place_and_by_folder(made: Made) -> None:
    """`latest`, the one before it, and any folder; left out, the two newest."""
    newest = json.loads(invoke("diff", "--out", made.out, "--json", "--top", 1).output)["runs"]
    said = json.loads(invoke("diff", "latest~1", "latest", "--out", made.out, "--json", "--top", 1).output)["runs"]
    assert newest == said == {"old": made.folders["in force"].name, "new": made.folders["other grid"].name}
    folders = invoke("diff", made.folders["bare"], made.folders["bare later"], "--out", made.out)
    assert "nothing changed" in folders.output


def test_without_two_runs_it_says_what_to_do(made: Made, tmp_path: Path) -> None:
    """No run, one run, a place that is too far back, a run that is unfinished."""
    assert "capgrid run" in invoke("diff", "--out", tmp_path / "none", code=1).output
    shutil.copytree(made.folders["before"], tmp_path / "one" / made.folders["before"].name)
    (tmp_path / "one" / "latest").symlink_to(made.folders["before"].name)
    assert "latest~1" in invoke("diff", "--out", tmp_path / "one", code=1).output
    assert "latest~99" in invoke("diff", "latest~99", "--out", made.out, code=1).output
    (tmp_path / "one" / made.folders["before"].name / "facts.parquet").unlink()
    assert "facts.parquet" in invoke("diff", "latest", "latest", "--out", tmp_path / "one", code=1).output


def test_a_mistyped_run_is_met_with_the_nearest(made: Made) -> None:
    """By id, exit code 2: nothing was compared."""
    name = made.folders["before"].name
    assert name in invoke("diff", f"{name[:-1]}x", "--out", made.out, code=2).output
