"""The command line's front: help, formats, names, units, streams, explanations."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import polars as pl
import pytest
from click.testing import CliRunner

import pipeline
from pipeline.cli.commands import GROUPS, MODULES
from pipeline.cli.main import cli

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLAN = ("--model", "llama-3.1-8b", "--accelerator", "h100-sxm-80gb")


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command of a group, itself included, with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            each = command.get_command(ctx, name)
            assert each
            yield from walk(each, (*path, name))


COMMANDS = dict(walk(cli))


def examples(command: click.Command) -> list[str]:
    """The lines of a help text that are commands."""
    return typed(command, "capgrid ")


def typed(command: click.Command, program: str) -> list[str]:
    """The lines of a help text that call a program."""
    lines = f"{command.help or ''}\n{command.epilog or ''}".splitlines()
    return [line.strip() for line in lines if line.strip().startswith(program)]


SMALL_LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 256,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 16_000,
    "max_position_embeddings": 2048, "tie_word_embeddings": False,
}  # fmt: skip
"""A config.json for the examples that read one."""

EXAMPLES = [each for command in COMMANDS.values() for line in examples(command) for each in line.split("&&")]
FILES = [line for command in COMMANDS.values() for line in typed(command, "printf ")]
"""Lines of help texts that write the files which the lines after them read."""


def strict(text: str) -> Any:
    """JSON as the standard has it: NaN and infinities are refused."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


# ----- help


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_says_what_and_ends_in_an_example(path: tuple[str, ...], capgrid: Callable[..., Any]) -> None:
    """A command without an example is a command that nobody finds."""
    command = COMMANDS[path]
    shown = capgrid(*path, "--help").stdout
    assert shown.startswith("Usage: ")
    assert command.help
    assert command.help[0].isupper()
    last = f"{command.help}\n{command.epilog or ''}".strip().splitlines()[-1]
    assert last.strip().startswith(" ".join(["capgrid", *path])), f"ends in: {last}"
    assert last.strip() in " ".join(shown.split()) or last.strip() in shown


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_has_help(path: tuple[str, ...]) -> None:
    """An option without a sentence is a riddle."""
    options = [each for each in COMMANDS[path].params if isinstance(each, click.Option)]
    assert [each.name for each in options if not each.help] == []


@pytest.mark.parametrize("example", dict.fromkeys(map(str.strip, EXAMPLES)))
def test_examples_of_the_help_run(
    example: str, own_small: Any, own_catalogs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is typed as it stands, where `outputs` holds a run; the default grid is swapped for the small one."""
    shutil.copy(own_catalogs / "grids" / "small.toml", own_catalogs / "grids" / "default.toml")
    monkeypatch.setenv("CAPGRID_CATALOGS", str(own_catalogs))
    monkeypatch.chdir(tmp_path)
    Path("config.json").write_text(json.dumps(SMALL_LLAMA), encoding="utf-8")
    shutil.copytree(own_catalogs, "my-catalogs")
    assert own_small.out == tmp_path / "outputs"
    before = shutil.copytree(own_small.folder, own_small.out / "2026-11-21-default-0123456789")
    os.utime(before / "manifest.json", (1, 1))  # the run of the day before
    for line in FILES:
        subprocess.run(["/bin/sh", "-c", line], check=True)
    words = shlex.split(example)
    result = CliRunner().invoke(cli, words[1:])
    assert result.exit_code == 0, f"{example}: {result.output[-500:]} {result.exception!r}"
    assert result.stdout or any(Path(word).is_file() for word in words[2:]), "neither an answer nor a file"


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--version"], ["pont"]], ids=" ".join)
def test_help_imports_no_command(words: list[str]) -> None:
    """Help that waits for data frames is help too late: neither a command is imported nor what commands need."""
    heavy = {"polars", "duckdb", "pandera", "pyarrow", "rich", "numpy"}
    heavy |= {f"pipeline.cli.{module}" for module in MODULES.values()}
    code = f"""
import sys
from pipeline.cli.main import cli
try:
    cli({words!r})
except SystemExit:
    pass
print("IMPORTED", *({heavy!r} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].strip() == "IMPORTED"


def test_help_says_of_each_command_what_it_says_itself() -> None:
    """What is listed without an import is the first sentence of the command's own help, each in one group."""
    listed = [(name, summary) for group in GROUPS.values() for name, summary in group.items()]
    own = {path[0]: each.get_short_help_str(limit=1000) for path, each in COMMANDS.items() if len(path) == 1}
    assert sorted(listed) == sorted(own.items())


def test_every_command_is_listed() -> None:
    """A command that stands in a module and in no group would be found by nobody."""
    modules = [import_module(f"pipeline.cli.{name}") for name in sorted(set(MODULES.values()))]
    assert sorted(each.name for module in modules for each in module.COMMANDS) == sorted(MODULES)


def test_commands_are_completed_by_name() -> None:
    """A shell asks at every tab: names and options that begin so, with what they do."""
    found = cli.shell_complete(click.Context(cli), "ex")
    assert [(each.value, each.help) for each in found] == [
        (name, COMMANDS[name,].get_short_help_str(limit=1000)) for name in ("explain", "export")
    ]
    assert {each.value for each in cli.shell_complete(click.Context(cli), "--")} == {"--help", "--version"}


def test_the_installed_command_says_its_version() -> None:
    """`python -m` is not needed: the package brings a command."""
    command = shutil.which("capgrid", path=str(Path(sys.executable).parent))
    assert command
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "capgrid,"


# ----- formats

LISTINGS = {
    "models": ["models"],
    "accelerators": ["accelerators"],
    "engines": ["engines"],
    "workloads": ["workloads"],
    "formats": ["formats"],
    "prices": ["prices", "h100", "--as-of", "2026-11-22"],
    "facts": ["models", "llama-3.1-8b"],
    "questions": ["ask"],
}


def unescaped(line: str) -> list[str]:
    """The cells of one line of a Markdown table."""
    return [each.strip().replace("\0", "|") for each in line.replace(r"\|", "\0").strip().strip("|").split("|")]


@pytest.mark.parametrize("args", LISTINGS.values(), ids=LISTINGS)
def test_every_format_of_a_listing_reads_back_as_the_same_rows(args: list[str], capgrid: Callable[..., Any]) -> None:
    """Whoever takes CSV and whoever takes JSON hold the same catalog."""
    rows = strict(capgrid(*args, "--json").stdout)
    assert rows
    assert strict(capgrid(*args, "--format", "json").stdout) == rows
    from_csv = list(csv.DictReader(io.StringIO(capgrid(*args, "--format", "csv").stdout)))
    parquet = pl.read_parquet(capgrid(*args, "--format", "parquet").stdout_bytes)
    assert parquet.columns == [*rows[0]] == [*from_csv[0]]
    assert json.loads(json.dumps(parquet.to_dicts(), default=str)) == rows
    first = parquet.columns[0]
    assert [row[first] for row in from_csv] == [str(row[first]) for row in rows]
    numbers = [name for name, dtype in parquet.schema.items() if dtype.is_numeric()]
    for name in numbers:
        said = [row[name] for row in from_csv]
        assert [float(text) if text else None for text in said] == [row[name] for row in rows], name
    markdown = [line for line in capgrid(*args, "--format", "md").stdout.splitlines() if line.startswith("|")]
    assert len(markdown) == len(rows) + 2
    assert all(len(unescaped(line)) == len(unescaped(markdown[0])) for line in markdown)
    assert [unescaped(line)[0] for line in markdown[2:]] == [str(row[first]) for row in rows]
    table = capgrid(*args).stdout.splitlines()
    assert len(table) == len(rows) + 1
    assert table[0].split()[0] == first


def test_unknown_is_null_and_nan_never_appears(capgrid: Callable[..., Any], small: Any) -> None:
    """A price that nobody knows is null in JSON, empty in CSV."""
    row = strict(capgrid("point", *PLAN, "--as-of", "2001-01-01", "--json").stdout)
    assert {name: row[name] for name in ("usd_per_hour", "usd_per_mtok_output", "price_cloud", "price_date")} == {
        "usd_per_hour": None, "usd_per_mtok_output": None, "price_cloud": None, "price_date": None,
    }  # fmt: skip
    text = capgrid("point", *PLAN, "--as-of", "2001-01-01", "--format", "csv").stdout
    assert next(csv.DictReader(io.StringIO(text)))["usd_per_hour"] == ""
    query = "SELECT 'nan'::DOUBLE AS a, NULL AS b, 1.5::FLOAT AS c"
    assert strict(capgrid("sql", query, "--out", small.out, "--json").stdout) == [{"a": None, "b": None, "c": 1.5}]


def test_numbers_of_sql_are_numbers_in_json(capgrid: Callable[..., Any], small: Any) -> None:
    """DuckDB reads 1.5 as a decimal and sums as huge integers; a program still gets numbers."""
    query = "SELECT 1.5 AS a, sum(batch_max) AS b, count(*) / 2 AS c FROM capacity"
    row = strict(capgrid("sql", query, "--out", small.out, "--json").stdout)[0]
    assert {name: type(value) for name, value in row.items()} == {"a": float, "b": int, "c": float}


VALUES = {
    "infinity": "'inf'::DOUBLE",
    "nan in a list": "['nan'::DOUBLE]",
    "list": "[1, 2]",
    "nested list": "[[1], [2, 3]]",
    "struct": "{'a': 1}",
    "list of structs": "[{'a': 1}]",
    "map": "MAP {'a': 1}",
    "decimal": "1.25::DECIMAL(9, 2)",
    "hugeint": "170141183460469231731687303715884105727::HUGEINT",
    "day": "DATE '2026-11-22'",
    "time": "TIMESTAMP '2026-11-22 10:00:00'",
    "interval": "INTERVAL 3 DAY",
    "blob": "'\\x00'::BLOB",
    "null": "NULL",
    "text": "'a|b,\"c\"' || chr(10) || 'd'",
}


@pytest.mark.parametrize("shape", ["table", "json", "csv", "md", "parquet"])
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_every_value_of_sql_prints_in_every_format(value: str, shape: str, small: Any) -> None:
    """What a query may give, a format holds or refuses in words: no traceback, and JSON stays JSON."""
    args = ["sql", f"SELECT {value} AS x", "--out", str(small.out), "--format", shape]
    result = CliRunner().invoke(cli, args)
    if result.exit_code:
        assert isinstance(result.exception, SystemExit), repr(result.exception)
        assert "Error: " in result.stderr
        assert result.stdout == ""
    elif shape == "json":
        assert [*strict(result.stdout)[0]] == ["x"]
    elif shape == "csv":
        assert len(list(csv.reader(io.StringIO(result.stdout)))) == 2
    else:
        assert result.stdout_bytes


def test_point_is_one_flat_object_with_the_contracts_names(
    capgrid: Callable[..., Any], contract: dict[str, list[str]]
) -> None:
    """Spreadsheets and services read these names."""
    row = strict(capgrid("point", *PLAN, "--json").stdout)
    assert isinstance(row, dict)
    wanted = dict.fromkeys([*contract["estimates"], *contract["capacity"]])
    assert [name for name in wanted if name not in row] == []
    assert {name for name, value in row.items() if isinstance(value, dict | list)} == set()
    assert (row["model"], row["accelerator"], row["prompt_tokens"], row["output_tokens"]) == (
        "llama-3.1-8b", "h100-sxm-80gb", 512, 128,
    )  # fmt: skip
    known = [name for name in wanted if row[name] is None]
    assert known == [], "every quantity of a priced, known plan has a value"


# ----- names, aliases, units


def test_short_options_mean_the_long_ones(capgrid: Callable[..., Any]) -> None:
    """--gpu, --isl and --osl are what benchmarks call them."""
    long = capgrid("point", *PLAN, "--prompt-tokens", 2048, "--output-tokens", 256, "--json").stdout
    short = capgrid("point", *PLAN[:2], "--gpu", PLAN[3], "--isl", 2048, "--osl", 256, "--json").stdout
    assert short == long
    assert strict(long)["prompt_tokens"] == 2048


@pytest.mark.parametrize(
    ("model", "accelerator"),
    [("LLAMA-3.1-8B", "H100-SXM-80GB"), ("meta-llama/Llama-3.1-8B", "h100"), ("Meta-Llama/LLAMA-3.1-8b", "H100")],
)
def test_names_resolve_through_ids_aliases_and_hugging_face_ids(
    model: str, accelerator: str, capgrid: Callable[..., Any]
) -> None:
    """A person pastes what they have."""
    row = strict(capgrid("point", "--model", model, "--gpu", accelerator, "--engine", "vLLM", "--json").stdout)
    assert (row["model"], row["accelerator"], row["engine"]) == ("llama-3.1-8b", "h100-sxm-80gb", "vllm")


@pytest.mark.parametrize("kind", ["model", "accelerator", "engine", "workload", "format"])
def test_every_name_in_any_case_means_its_entry(kind: str) -> None:
    """Ids, aliases and Hugging Face ids of all entries, in upper and lower case."""
    catalogs = pipeline.catalogs()
    rows = catalogs.frames[kind].to_dicts()
    names = [(name, row[kind]) for row in rows for name in [row[kind], row.get("hf_id"), *(row.get("aliases") or [])]]
    known = catalogs.names(kind)
    asked = [(name, entry) for name, entry in names if name]
    assert [known.resolve(name.upper()) for name, _ in asked] == [entry for _, entry in asked]
    assert [known.resolve(name.lower()) for name, _ in asked] == [entry for _, entry in asked]


def test_ask_resolves_names_too(capgrid: Callable[..., Any], small: Any) -> None:
    """The same names work over a run as at a point."""
    by_id = capgrid("ask", "max_batch", *PLAN, "--out", small.out, "--json").stdout
    by_alias = capgrid(
        "ask", "max_batch", "--model", "meta-llama/Llama-3.1-8B", "--gpu", "H100", "--out", small.out, "--json"
    )
    assert by_alias.stdout == by_id
    assert {(row["model"], row["accelerator"]) for row in strict(by_id)} == {(PLAN[1], PLAN[3])}


@pytest.mark.parametrize(
    ("option", "column", "value"),
    [
        (("--memory", "80GB"), "device_memory_bytes", 80_000_000_000),
        (("--memory", "80GiB"), "device_memory_bytes", 80 * 2**30),
        (("--memory", "80e9"), "device_memory_bytes", 80_000_000_000),
        (("--tpot-slo", "50ms"), "tpot_slo_s", 0.05),
        (("--ttft-slo", "1.5s"), "ttft_slo_s", 1.5),
        (("--ttft-slo", "2"), "ttft_slo_s", 2.0),
        (("--set", "memory_bytes_per_s=4TB/s"), "memory_bytes_per_s", 4e12),
        (("--set", "bf16_flop_per_s=500TFLOP/s"), "bf16_flop_per_s", 5e14),
        (("--set", "device_usd_per_hour=9.5"), "usd_per_hour", 9.5),
    ],
    ids=str,
)  # fmt: skip
def test_units_become_base_units(
    option: tuple[str, str], column: str, value: float, capgrid: Callable[..., Any]
) -> None:
    """80GB is 80e9 bytes, GiB is 2^30, ms are seconds; a bare number is in base units."""
    assert strict(capgrid("point", *PLAN, *option, "--json").stdout)[column] == value


def test_a_fact_set_by_hand_reaches_the_numbers(capgrid: Callable[..., Any]) -> None:
    """A what-if that changes nothing would be a lie: twice the bandwidth makes a memory-bound step faster."""
    plain, faster = (
        strict(capgrid("point", *PLAN, *more, "--json").stdout)
        for more in ((), ("--set", "memory_bytes_per_s=6.7TB/s"))
    )
    assert plain["limited_by"] == "bandwidth"
    assert faster["tpot_s"] < 0.7 * plain["tpot_s"]
    assert faster["batch_max"] == plain["batch_max"]


# ----- streams


def test_data_go_to_stdout_and_talk_to_stderr(capgrid: Callable[..., Any], tiny: Path, tmp_path: Path) -> None:
    """`capgrid ... --json | jq` works, whatever else is said."""
    made = capgrid("run", "--grid", tiny, "--out", tmp_path / "o", "--workers", 1, "--json")
    assert strict(made.stdout)["rows"]["estimates"] > 0
    none = capgrid("ask", "max_batch", "--model", "llama-7b", "--out", tmp_path / "o", "--json")
    assert strict(none.stdout) == []
    table = capgrid("ask", "max_batch", "--model", "llama-7b", "--out", tmp_path / "o")
    assert "no rows" in table.stderr
    assert "no rows" not in table.stdout
    checked = capgrid("check", "--out", tmp_path / "empty", "--json")
    assert "no run yet" in checked.stderr
    assert [*strict(checked.stdout)] == ["catalogs"]


def test_errors_leave_stdout_empty(capgrid: Callable[..., Any]) -> None:
    """A pipe never reads an error as data."""
    wrong = capgrid("point", "--model", "nope", "--gpu", "h100", "--json", code=2)
    assert wrong.stdout == ""
    assert wrong.stderr.startswith("Error: ") or "Error: " in wrong.stderr


def test_run_says_rows_seconds_speed_and_place(capgrid: Callable[..., Any], tiny: Path, tmp_path: Path) -> None:
    """What a person wants to know after waiting."""
    said = capgrid("run", "--grid", tiny, "--out", tmp_path / "o", "--workers", 1).stdout
    assert [line.split()[0] for line in said.splitlines()] == [
        "run", "plans", "estimates", "capacity", "fleet", "seconds", "folder",
    ]  # fmt: skip
    assert "rows/s" in said
    assert str(tmp_path / "o") in said


def test_doctor_says_what_is_installed(capgrid: Callable[..., Any], small: Any) -> None:
    """A bug report needs these."""
    told = strict(capgrid("doctor", "--out", small.out, "--json").stdout)
    assert told["latest_run"] == small.folder.name
    assert told["python"] == ".".join(map(str, sys.version_info[:3]))
    assert "v1.0.0" in told["database"]
    plain = capgrid("doctor", "--out", small.out).stdout
    assert all(name in plain for name in told)


# ----- explanations and dates


def leaves(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The facts that a tree ends in."""
    inputs = node.get("inputs", [])
    if not inputs and not node.get("repeated"):
        yield node
    for each in inputs:
        yield from leaves(each)


@pytest.mark.parametrize(
    "quantity", ["batch_max", "batch_slo", "usd_per_mtok_output", "energy_j_per_token", "vram_bytes_hi"]
)
def test_explain_ends_in_facts_with_sources(quantity: str, capgrid: Callable[..., Any]) -> None:
    """Every number goes back to somebody who said it; each leaf's value is the one that point shows."""
    row = strict(capgrid("point", *PLAN, "--json").stdout)
    tree = strict(capgrid("explain", quantity, *PLAN, "--json").stdout)
    assert tree["name"] == quantity
    assert tree["value"] == row[quantity]
    facts = list(leaves(tree))
    assert tree["inputs"], "a quantity is made of something"
    assert len({each["source"] for each in facts}) > 1
    assert [each["name"] for each in facts if not each["source"]] == []
    assert {each["name"]: each["value"] for each in facts} == {each["name"]: row[each["name"]] for each in facts}


def test_explain_marks_assumptions_and_what_was_asked_for(capgrid: Callable[..., Any]) -> None:
    """An assumption looks like one; a fact set by hand is not blamed on a catalog."""
    said = capgrid(
        "explain", "slo_load_ratio", *PLAN, "--workload", "chat", "--depth", 100, "--tpot-slo", "30ms"
    ).stdout
    by_name = {line.split(" = ")[0].strip(): line for line in said.splitlines()}
    assert "[assumption: " in by_name["ttft_slo_s"]
    assert by_name["tpot_slo_s"].endswith("[asked for]")
    assert "assumption: " not in by_name["memory_bytes_per_s"]
    assert "nvidia-datacenter.toml: h100-sxm-80gb" in by_name["memory_bytes_per_s"]


def test_explain_stops_at_the_depth_asked_for(capgrid: Callable[..., Any]) -> None:
    """A tree of one level is one level, and says that there is more; the account of memory stands before it."""
    account, tree = capgrid("explain", "batch_max", *PLAN, "--depth", 1).stdout.split("\n\n")
    assert "kv_pool_bytes" in account
    assert tree.startswith("batch_max = ")
    assert len(tree.splitlines()) == 2
    assert "--depth shows them" in tree.splitlines()[1]


def test_the_day_chooses_the_price(capgrid: Callable[..., Any], own_catalogs: Path) -> None:
    """Prices are appended: before its first day a new price does not count, from that day on it does."""
    block = """
[[price]]
accelerator  = "h100-sxm-80gb"
cloud        = "lambda"
instance     = "a-cheap-one"
devices      = 2
market       = "on-demand"
usd_per_hour = 0.50
from_date    = 2026-11-10
source       = "assumption"
"""
    path = own_catalogs / "prices" / "lambda.toml"
    path.write_text(path.read_text(encoding="utf-8") + block, encoding="utf-8")
    before, after = (
        strict(capgrid("point", *PLAN, "--catalogs", own_catalogs, "--as-of", day, "--json").stdout)
        for day in ("2026-11-09", "2026-11-10")
    )
    assert before["usd_per_hour"] > 0.25
    assert after["usd_per_hour"] == 0.25
    assert (after["price_cloud"], after["price_date"]) == ("lambda", "2026-11-10")
    assert after["ttft_s"] == before["ttft_s"]
    listed = [
        strict(capgrid("prices", "h100", "--catalogs", own_catalogs, "--as-of", day, "--json").stdout)
        for day in ("2026-11-09", "2026-11-10")
    ]
    assert [any(row["instance"] == "a-cheap-one" for row in rows) for rows in listed] == [False, True]


def test_prices_are_sorted_and_narrowed(capgrid: Callable[..., Any]) -> None:
    """Cheapest per device first, of the device and the market asked for."""
    rows = strict(capgrid("prices", "H100", "--market", "spot", "--as-of", "2026-11-22", "--json").stdout)
    assert {(row["accelerator"], row["market"]) for row in rows} == {("h100-sxm-80gb", "spot")}
    per_device = [row["device_usd_per_hour"] for row in rows]
    assert per_device == sorted(per_device)
