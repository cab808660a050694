"""Input that means harm, or looks as if: it ends in a message, quickly, and reaches nothing that is not its own."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import openpyxl
import polars as pl
import pytest

from pipeline.answers.diff.pages import markdown_page
from pipeline.publish.workbook.cells import HOSTILE as FORMULAS
from tests.system.hostile import HOSTILE, asked, hostile_run, shows_hidden

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Finished

# ----- SQL

MORE_SQL = {
    "folder beside": "FROM '{run}-secret/x.csv'",
    "link to a file": "FROM read_text('{run}/link.csv')",
    "link to a folder": "FROM read_text('{run}/folder/secret.csv')",
    "what a link's folder holds": "FROM glob('{run}/folder/*')",
    "list of files": "FROM read_text(['{run}/manifest.json', '{secret}'])",
    "subquery": "SELECT (SELECT content FROM read_text('{secret}'))",
    "common table": "WITH x AS MATERIALIZED (FROM read_text('{secret}')) FROM x",
    "union": "SELECT 'x' AS content UNION ALL SELECT content FROM read_text('{secret}')",
    "serialized": "FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''{secret}'')'))",
    "process's environment": "FROM read_blob('/proc/self/environ')",
    "standard input": "FROM read_csv('/dev/stdin')",
    "another database": "FROM read_duckdb('{secret}')",
    "object store": "FROM 's3://bucket/x.parquet'",
    "https": "FROM read_csv('https://localhost:9/x.csv')",
    "extension that reads": "FROM sqlite_scan('{secret}', 't')",
    "extension for credentials": "FROM load_aws_credentials()",
    "extension by a function": "SELECT st_point(1, 2)",
    "spreadsheet": "FROM read_xlsx('{secret}')",
    "stored secrets": "FROM duckdb_secrets()",
    "python's variables": "FROM connection",
    "logging": "FROM enable_logging()",
    "delete inside": "WITH x AS (DELETE FROM facts RETURNING *) SELECT count(*) FROM x, no_such_table",
    "comments before explain": "/**/EXPLAIN/**/ANALYZE/**/COPY (SELECT 1) TO '{run}/x.csv'",
    "line comment before explain": "-- x\nEXPLAIN ANALYZE COPY (SELECT 1) TO '{run}/x.csv'",
    "explain with options": "EXPLAIN (ANALYZE, FORMAT json) COPY (SELECT 1) TO '{run}/x.csv'",
    "explained twice": "EXPLAIN ANALYZE EXPLAIN ANALYZE COPY (SELECT 1) TO '{run}/x.csv'",
    "attach to memory": "ATTACH ':memory:' AS x",
    "attach over http": "ATTACH 'https://localhost:9/x.duckdb' AS x",
    "install from elsewhere": "INSTALL x FROM 'https://localhost:9'",
    "load a file": "LOAD '{secret}'",
    "set a variable": "SET VARIABLE x = 1",
    "set the folder": "SET home_directory = '/'",
    "set what is allowed": "SET allowed_paths = ['{secret}']",
    "secret": "CREATE SECRET s (TYPE s3)",
    "pivot": "PIVOT facts ON kind",
    "execute": "EXECUTE p",
    "zero byte": "SELECT 1 \x00; DROP TABLE facts",
}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, byte for byte."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def baited(small: Finished, own_small: Finished) -> Finished:
    """A run with a secret beside it, and links inside that lead there."""
    folder = own_small.folder
    beside = Path(f"{folder}-secret")
    beside.mkdir()
    for path in (beside / "x.csv", own_small.out.parent / "secret.csv"):
        path.write_text("word\nsesame\n", encoding="utf-8")
    (folder / "link.csv").symlink_to(own_small.out.parent / "secret.csv")
    (folder / "folder").symlink_to(own_small.out.parent)
    return own_small


@pytest.mark.parametrize("statement", MORE_SQL.values(), ids=MORE_SQL)
def test_sql_reads_its_run_and_nothing_else(statement: str, baited: Finished) -> None:
    """Not through links, lists, subqueries, extensions, or other words for the same."""
    names = {"run": baited.folder, "secret": baited.out.parent / "secret.csv"}
    for name, path in names.items():
        statement = statement.replace(f"{{{name}}}", str(path))
    before = tree(baited.folder)
    said = asked("sql", "--out", baited.out, "--json", "--", statement)
    assert said.exit_code == 1
    assert said.stdout == ""
    assert "sesame" not in said.output
    assert tree(baited.folder) == before


# ----- names of things that become paths


@pytest.mark.parametrize(
    "name",
    ["../../etc", "../outputs/{run}", "{out}/{run}", "{run}/", "./{run}", "latest/../{run}", "a\x00b", "a\nb", "..",
     "/", "~", "-", " ", "x" * 10_000, "\u202e", "*", "%s", "C:\\x"],
)  # fmt: skip
@pytest.mark.parametrize("command", [["sql", "SELECT 1"], ["ask", "max_batch"], ["check"], ["report"]])
def test_a_run_is_a_name_and_no_path(command: list[str], name: str, small: Finished) -> None:
    """Not even a path that leads back to a run."""
    name = name.format(run=small.folder.name, out=small.out) if "{" in name else name
    said = asked(*command, "--out", small.out, f"--run={name}")
    assert said.exit_code == 2
    assert len(said.stderr) < 25_000


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "a\nb", "Ab", "x" * 101, "-x", "é", "\u202e", "a\x00", ""])
def test_an_id_that_could_be_a_path_is_no_id(name: str, tmp_path: Path, own_catalogs: Path) -> None:
    """Of a model, of a grid's file: refused before anything is written."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(LLAMA), encoding="utf-8")
    before = tree(own_catalogs)
    assert asked("model", "add", config, f"--name={name}", "--catalogs", own_catalogs).exit_code == 1
    assert tree(own_catalogs) == before
    if name and "/" not in name and "\x00" not in name and name != "..":
        grid = tmp_path / f"{name}.toml"
        grid.write_text(GRID, encoding="utf-8")
        assert "a grid's file name is an id" in asked("run", "--grid", grid, "--out", tmp_path / "o").stderr
        assert not (tmp_path / "o").exists()


# ----- names that are shown

LLAMA = {"architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1000}  # fmt: skip
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>|`*_[x](javascript:alert(1))"
SHEET = "=cmd|'/c calc'!A1"
REFUSED = {
    "escape codes": "a\x1b[31mb", "bell": "a\x07", "line": "a\nb", "return": "a\rb", "zero": "a\x00", "c1": "a\x9b1m",
    "right to left": "a\u202eb", "isolate": "a\u2066b", "zero width": "a\u200bb", "byte order": "\ufeffa",
    "line separator": "a\u2028b", "private": "a\ue000", "10 kB": "x" * 10_240,
}  # fmt: skip


def named(catalogs: Path, name: str) -> None:
    """Give the workload chat another name for people."""
    path = catalogs / "workloads" / "workloads.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        re.sub(r'name\s*=\s*"[^"]*"', lambda _: f"name = {json.dumps(name)}", text, count=1), encoding="utf-8"
    )


@pytest.mark.parametrize("name", REFUSED.values(), ids=REFUSED)
def test_names_that_deceive_are_refused_by_the_catalogs(name: str, own_catalogs: Path) -> None:
    """The message shows what is there."""
    named(own_catalogs, name)
    said = asked("check", "--catalogs", own_catalogs, "--out", own_catalogs / "none")
    assert said.exit_code == 1
    assert "workloads.toml" in said.stderr
    assert len(said.stderr) < 2000


@pytest.mark.parametrize("name", [MARKUP, SHEET, "@sum(1)", "+1", "-1", "\uff1d1"])
def test_names_that_are_markup_elsewhere_are_escaped_there(name: str, own_catalogs: Path) -> None:
    """Markdown shows them, a spreadsheet reads text, JSON and Parquet hold them as they are."""
    named(own_catalogs, name)
    listed: dict[str, str] = {}
    for shape in ("table", "json", "csv", "md"):
        said = asked("workloads", "--catalogs", own_catalogs, "--format", shape)
        assert said.exit_code == 0
        listed[shape] = said.stdout
    assert any(row["name"] == name for row in json.loads(listed["json"]))
    cells = [row["name"] for row in csv.DictReader(io.StringIO(listed["csv"]))]
    assert not [cell for cell in cells if cell.startswith(FORMULAS)]
    assert name in [cell.removeprefix("'") for cell in cells]
    assert "<script" not in listed["md"]
    assert not re.search(r"(?<!\\)\]\(", listed["md"])
    assert len({line.replace(r"\|", "").count("|") for line in listed["md"].splitlines()}) == 1
    assert name in listed["table"]


def test_a_run_that_others_made_steers_no_terminal_and_no_page(small: Finished, tmp_path: Path) -> None:
    """Its names were held to no catalog of ours."""
    folder = of_others(hostile_run(small, tmp_path, UNEQUAL))
    for shape in ("table", "md", "csv"):
        shown = asked("sql", "SELECT DISTINCT model FROM capacity", "--out", folder.parent, "--run", folder.name,
                      "--format", shape).stdout  # fmt: skip
        assert "onerror" in shown
        assert shape == "csv" or not shows_hidden(shown)
        assert shape != "md" or "<img" not in shown
    headline = "batch_max of <img src=x onerror=1>@all|`x`\x1b[31m\u202e"
    page = markdown_page(headline, ("<b>", "a|b"), pl.DataFrame(), pl.DataFrame(schema=EFFECTS_SCHEMA), 10)
    assert "<" not in page.replace("`<b>`", "")
    assert not shows_hidden(page)


def of_others(folder: Path) -> Path:
    """The run as if it came from another machine: read from its Parquet."""
    path = folder / "manifest.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(told | {"folder": "/elsewhere"}), encoding="utf-8")
    return folder


UNEQUAL = HOSTILE.replace("=", " ")
"""Without the sign that parts a folder's key from its value."""
EFFECTS_SCHEMA = {
    "effect": pl.String, "causes": pl.List(pl.Int64), "table": pl.String, "question": pl.String, "rows": pl.Int64,
    "ratio_min": pl.Float64, "ratio_max": pl.Float64,
}  # fmt: skip


def test_a_workbook_runs_no_name(own_catalogs: Path, tmp_path: Path, small: Finished) -> None:
    """An answer with a formula for a name: the cell holds text."""
    folder = of_others(hostile_run(small, tmp_path, UNEQUAL))
    file = tmp_path / "x.xlsx"
    said = asked(
        "export", file, "--answer", "max_batch", "--set", "limit=100000", "--out", folder.parent, "--run", folder.name
    )
    assert said.exit_code == 0, said.stderr
    cells = [cell for row in openpyxl.load_workbook(file)["Rows"].iter_rows() for cell in row]
    assert any("onerror" in str(cell.value) for cell in cells)
    assert {cell.data_type for cell in cells} <= {"s", "n", "d", "b", "inlineStr"}
    assert not [cell for cell in cells if cell.hyperlink]


# ----- bombs

GRID = """
[grid]
models = ["llama-7b"]
weights = ["bf16"]
kv = ["bf16"]
engines = ["vllm"]
accelerators = ["h100-sxm-80gb"]
parallel = [{ tp = 1 }]
workloads = ["chat"]
batches = [1]
"""
BOMBS: dict[str, Callable[[], str]] = {
    "nested lists": lambda: "x = " + "[" * 50_000,
    "nested lists, closed": lambda: "x = " + "[" * 200 + "]" * 200,
    "nested tables": lambda: "x = " + "{a=" * 5_000 + "1" + "}" * 5_000,
    "dotted keys": lambda: "a" + ".a" * 20_000 + " = 1",
    "dotted header": lambda: "[" + "a." * 20_000 + "a]",
    "deep but short": lambda: "a" + ".a" * 100 + " = 1",
    "decimal digits": lambda: "x = " + "9" * 5_000,
    "hexadecimal digits": lambda: "x = 0x" + "f" * 5_000,
    "digits in a batch": lambda: GRID.replace("[1]", "[0x" + "f" * 5_000 + "]"),
    "digits in a plan": lambda: GRID.replace("tp = 1", "tp = 0x" + "f" * 5_000),
    "a huge list": lambda: GRID.replace("[1]", "[" + "1, " * 300_000 + "]"),
    "huge lists of names": lambda: GRID.replace('"llama-7b"', '"lama-7b", ' * 80_000),
    "names that differ": lambda: GRID.replace('"llama-7b"', ", ".join(f'"lama{n}"' for n in range(60_000))),
    "many plans": lambda: GRID.replace("{ tp = 1 }", ", ".join(f"{{ tp = {n} }}" for n in range(1, 40_000))),
    "many setups": lambda: GRID.replace('"vllm"', "{ a = 1 }, " * 80_000),
    "many clouds": lambda: GRID + "clouds = [" + '"a", ' * 150_000 + "]",
    "many fleets": lambda: GRID + "fleets = [" + "{ a = 1 }, " * 80_000 + "]",
    "many blocks": lambda: "[[model]]\na = 1\n" * 60_000,
    "a huge file": lambda: "# " + "x" * 30_000_000,
    "a long text": lambda: 'x = "' + "a" * 900_000 + '"',
    "an endless float": lambda: "x = 1e" + "9" * 500_000,
}


@pytest.mark.parametrize("where", ["grid", "catalog", "mix"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_ends_in_a_message(bomb: str, where: str, tmp_path: Path, own_catalogs: Path) -> None:
    """Names the file; takes no more than a person waits for, nor writes anything."""
    place = {"grid": tmp_path / "mine.toml", "catalog": own_catalogs / "models" / "mine.toml",
             "mix": tmp_path / "mine.toml"}[where]  # fmt: skip
    place.write_text(BOMBS[bomb](), encoding="utf-8")
    words = {"grid": ["run", "--grid", place, "--out", tmp_path / "o"], "mix": ["mix", place],
             "catalog": ["models", "--catalogs", own_catalogs]}[where]  # fmt: skip
    said = asked(*words)
    assert said.exit_code in {1, 2}
    assert "mine.toml" in said.stderr
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("bomb", ["nested", "digits", "huge", "twice as deep", "exponent"])
def test_a_config_that_is_a_bomb_ends_in_a_message(bomb: str, tmp_path: Path) -> None:
    """The same for JSON."""
    path = tmp_path / "config.json"
    path.write_text({
        "nested": "[" * 100_000, "digits": '{"hidden_size": ' + "9" * 5_000 + "}",
        "huge": '{"a": "' + "x" * 20_000_000 + '"}',
        "twice as deep": '{"a":' * 400 + "1" + "}" * 400, "exponent": '{"hidden_size": 1e999, "num_hidden_layers": 2}',
    }[bomb], encoding="utf-8")  # fmt: skip
    assert asked("model", "facts", path).exit_code == 1


def test_a_pipe_among_the_catalogs_is_not_waited_for(own_catalogs: Path) -> None:
    """It would never end."""
    os.mkfifo(own_catalogs / "models" / "pipe.toml")
    assert "pipe.toml: cannot be read: not a file" in asked("models", "--catalogs", own_catalogs).stderr


HUGE = [
    "9" * 5_000,
    "-" + "9" * 30,
    "1e999",
    "0x" + "f" * 50,
    "1_000_000_000_000_000_000_000",
    "9" * 19,
    "1e308",
    "nan",
]
NUMBERS = {
    "batch": ["point", "--model", "llama-7b", "--gpu", "h100", "--batch"],
    "tp": ["point", "--model", "llama-7b", "--gpu", "h100", "--tp"],
    "prompt": ["point", "--model", "llama-7b", "--gpu", "h100", "--prompt-tokens"],
    "memory": ["point", "--model", "llama-7b", "--gpu", "h100", "--memory"],
    "workers": ["run", "--rows-only", "--workers"],
    "limit": ["ask", "max_batch", "--set"],
    "rate": ["fleet", "--model", "llama-7b", "--gpu", "h100", "--prompt-tokens", "9", "--output-tokens", "9",
             "--requests-per-s"],
    "top": ["diff", "--top"],
    "keep": ["nightly", "--grid", "none", "--keep"],
}  # fmt: skip


@pytest.mark.parametrize("number", HUGE, ids=lambda text: text[:12])
@pytest.mark.parametrize("option", NUMBERS)
def test_a_number_beyond_all_bounds_ends_in_a_message(option: str, number: str, small: Finished) -> None:
    """Or in an answer, where a large number is one."""
    words = NUMBERS[option]
    more = ["--out", str(small.out)] if words[0] in {"ask", "diff"} else []
    said = asked(*words[:-1], *more, f"{words[-1]}={'limit=' if option == 'limit' else ''}{number}")
    assert len(said.stderr) < 12_000


# ----- links


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of somebody else, with a file in it."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "mine").write_text("mine", encoding="utf-8")
    return folder


def test_latest_is_not_followed_out(own_small: Finished, small: Finished) -> None:
    """Reading says so; a run puts the link right; what it pointed at stays."""
    latest = own_small.out / "latest"
    latest.unlink()
    latest.symlink_to(small.folder)
    for words in (["sql", "SELECT 1"], ["ask", "max_batch"], ["report"], ["check"], ["diff", "latest", "latest"]):
        assert "leads out" in asked(*words, "--out", own_small.out).stderr
    before = tree(small.folder)
    assert asked("run", "--grid", "case-study", "--out", own_small.out, "--workers", 1).exit_code == 0
    assert latest.resolve().parent == own_small.out.resolve()
    assert tree(small.folder) == before


def test_a_run_that_is_a_link_is_not_followed(own_small: Finished, outside: Path) -> None:
    """Neither to read nor to write."""
    folder, moved = own_small.folder, outside / own_small.folder.name
    shutil.move(folder, moved)
    folder.symlink_to(moved)
    before = tree(outside)
    assert "leads out" in asked("sql", "SELECT 1", "--out", own_small.out, "--run", folder.name).stderr
    said = asked("run", "--grid", "small", "--out", own_small.out, "--workers", 1, "--as-of", "2026-11-22")
    assert said.exit_code == 1
    assert "is a link" in said.stderr
    assert tree(outside) == before


@pytest.mark.parametrize("place", ["estimates", "estimates/model=llama-7b", "capacity.parquet", "exports", ".parts"])
def test_nothing_is_written_through_links_in_a_run(place: str, own_small: Finished, outside: Path) -> None:
    """A folder or a file of a run that leads elsewhere."""
    path = own_small.folder / place
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(outside if "." not in path.name[1:] else outside / "mine")
    (own_small.folder / "manifest.json").unlink()
    said = asked("run", "--grid", "small", "--out", own_small.out, "--workers", 1, "--as-of", "2026-11-22")
    assert said.exit_code == 1
    assert "is a link" in said.stderr
    assert [each.name for each in outside.iterdir()] == ["mine"]
    assert (outside / "mine").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", ["report.html", "report.md", "manifest.json", "nightly.json", "x.csv"])
def test_a_file_that_is_a_link_is_replaced_and_not_followed(name: str, own_small: Finished, outside: Path) -> None:
    """What stands at its end keeps its words."""
    path = (own_small.out if name in {"nightly.json", "x.csv"} else own_small.folder) / name
    told = path.read_text(encoding="utf-8") if path.exists() else ""
    (outside / "mine").write_text(told or "mine", encoding="utf-8")
    path.unlink(missing_ok=True)
    path.symlink_to(outside / "mine")
    words = {"x.csv": ["export", path, "--answer", "max_batch"],
             "nightly.json": ["nightly", "--grid", "case-study", "--workers", 1]}.get(name, ["report"])  # fmt: skip
    pytest.importorskip("altair", reason="the report's charts need capgrid[report]")
    asked(*words, "--out", own_small.out)
    assert (outside / "mine").read_text(encoding="utf-8") == (told or "mine")
    assert name == "manifest.json" or not path.is_symlink()


@pytest.mark.parametrize("name", ["../../mine", "/etc/passwd"])
def test_a_manifest_that_names_files_elsewhere_is_damaged(name: str, own_small: Finished) -> None:
    """Nothing that it names is read, and nothing removed."""
    path = own_small.folder / "manifest.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    (own_small.out / "mine").write_text("mine", encoding="utf-8")
    told["files"][name], told["sha256"][name] = 4, "0"
    path.write_text(json.dumps(told), encoding="utf-8")
    assert "outside the run" in asked("check", "--out", own_small.out).stderr
    asked("run", "--grid", "small", "--out", own_small.out, "--workers", 1, "--as-of", "2026-11-22")
    assert (own_small.out / "mine").exists()
