"""Wrong input of every kind: the documented exit code, a message that leads out, nothing lost."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from pipeline.cli.main import cli

if TYPE_CHECKING:
    from collections.abc import Callable

PLAN = ("--model", "llama-3.1-8b", "--gpu", "h100")
LLAMA, NVIDIA, WORKLOADS = "models/llama.toml", "accelerators/nvidia-datacenter.toml", "workloads/workloads.toml"


def refused(*args: object, codes: tuple[int, ...] = (1,)) -> str:
    """The message of a command that fails as documented: no traceback, nothing on stdout."""
    result: Result = CliRunner().invoke(cli, [str(each) for each in args])
    assert result.exception is not None, f"accepted: {result.output[:400]}"
    assert isinstance(result.exception, SystemExit), f"a traceback instead of a message: {result.exception!r}"
    assert result.exit_code in codes, f"exit code {result.exit_code}: {result.stderr}"
    assert result.stdout == ""
    assert "Error: " in result.stderr
    return result.stderr


def suggested(said: str) -> list[str]:
    """The names that a message suggests."""
    found = re.search(r"Did you mean (.*?)\?", said)
    return re.split(r", | or ", found[1]) if found else []


# ----- names that nobody knows

UNKNOWN = {
    "model": (["point", "--model", "lama-3.1-8b", "--gpu", "h100"], "model", "llama-3.1-8b", "capgrid models"),
    "accelerator": (["point", "--model", "llama-7b", "--gpu", "h10"], "accelerator", "h100", "capgrid accelerators"),
    "engine": (["point", *PLAN, "--engine", "vlm"], "engine", "vllm", "capgrid engines"),
    "workload": (["point", *PLAN, "--workload", "chatt"], "workload", "chat", "capgrid workloads"),
    "weights": (["point", *PLAN, "--weights", "bf61"], "format", "bf16", "capgrid formats"),
    "kv": (["point", *PLAN, "--kv", "fp88"], "format", "fp8", "capgrid formats"),
    "fact": (["point", *PLAN, "--set", "memory_byte_per_s=1e12"], "fact", "memory_bytes_per_s", "capgrid explain"),
    "quantity": (["explain", "batch_mx", *PLAN], "quantity", "batch_max", "capgrid point"),
    "listed model": (["models", "lama-7b"], "model", "llama-7b", "capgrid models"),
    "priced device": (["prices", "h10"], "accelerator", "h100", "capgrid accelerators"),
    "question": (["ask", "max_bach"], "question", "max_batch", "capgrid ask"),
    "model of a question": (["ask", "max_batch", "--model", "lama-7b"], "model", "llama-7b", "capgrid models"),
    "setting": (["ask", "max_batch", "--set", "limits=5"], "setting of max_batch", "limit", "limit"),
    "command": (["pont"], "command", "point", "capgrid --help"),
    "grid": (["run", "--grid", "smal"], "grid", "small", "default"),
}


@pytest.mark.parametrize(("args", "kind", "near", "listing"), UNKNOWN.values(), ids=UNKNOWN)
def test_an_unknown_name_is_met_with_the_nearest(
    args: list[str], kind: str, near: str, listing: str, small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, the name as typed, three that look like it, the right one first, and where all are listed."""
    monkeypatch.setenv("CAPGRID_OUT", str(small.out))
    said = refused(*args, codes=(2,))
    typed = next(each for each in (*reversed(args),) if each.split("=")[0] in said)
    assert f"no {kind} named '{typed.split('=')[0]}'" in said
    assert 1 <= len(suggested(said)) <= 3
    assert suggested(said)[0] == near
    assert listing in said


def test_three_names_are_suggested_where_three_are_near() -> None:
    """One guess is often the wrong one."""
    assert len(suggested(refused("point", "--model", "llama-3-8", "--gpu", "h100", codes=(2,)))) == 3
    assert len(suggested(refused("point", "--model", "llama-7b", "--gpu", "h10", codes=(2,)))) == 3


@pytest.mark.parametrize("name", ["zzzzzz", "", " ", "'; DROP TABLE models", "%", "zz\nzz", "\u202e", "x" * 5000])
def test_a_name_like_none_still_leads_to_the_list(name: str) -> None:
    """Nothing is near, and the message says where to look; it stays readable."""
    said = refused("point", "--model", "llama-7b", "--gpu", name, codes=(2,))
    assert "`capgrid accelerators` lists them" in said
    assert len(said) < 6000


def test_an_unknown_run_is_met_with_the_runs_there_are(small: Any) -> None:
    """A run is a name too."""
    said = refused("ask", "max_batch", "--out", small.out, "--run", small.folder.name[:-1], codes=(2,))
    assert small.folder.name in said
    assert str(small.out) in said


@pytest.mark.parametrize("name", ["..", "../outputs", "/", "latest/../.."])
def test_a_run_name_does_not_leave_the_folder_of_runs(name: str, small: Any) -> None:
    """--run names a run, not a path."""
    refused("sql", "SELECT 1", "--out", small.out, "--run", name, codes=(1, 2))


# ----- values that cannot be

USAGE = {
    "batch 0": ["point", *PLAN, "--batch", "0"],
    "negative batch": ["point", *PLAN, "--batch", "-3"],
    "absurd batch": ["point", *PLAN, "--batch", "99999999999"],
    "text batch": ["point", *PLAN, "--batch", "many"],
    "half a rank": ["point", *PLAN, "--tp", "1.5"],
    "no date": ["point", *PLAN, "--as-of", "yesterday"],
    "no such day": ["prices", "--as-of", "2026-02-30"],
    "no model": ["point", "--gpu", "h100"],
    "no equals sign": ["point", *PLAN, "--set", "memory_bytes_per_s"],
    "no name": ["point", *PLAN, "--set", "=5"],
    "no format": ["models", "--format", "xml"],
    "no market": ["prices", "--market", "black"],
    "no workers": ["run", "--workers", "0"],
    "no option": ["models", "--colour"],
    "one argument too many": ["models", "llama-7b", "llama-2-7b"],
    "unknown unit": ["point", *PLAN, "--memory", "80XB"],
    "unit of another kind": ["point", *PLAN, "--memory", "80ms"],
    "text for bytes": ["point", *PLAN, "--memory", "lots"],
    "text for a number": ["point", *PLAN, "--set", "memory_bytes_per_s=fast"],
    "text for a truth": ["point", *PLAN, "--set", "tied_embeddings=maybe"],
    "nothing for a number": ["point", *PLAN, "--set", "memory_bytes_per_s="],
    "half a head": ["point", *PLAN, "--set", "heads=1.5"],
}


@pytest.mark.parametrize("args", USAGE.values(), ids=USAGE)
def test_what_cannot_be_read_is_a_usage_error(args: list[str]) -> None:
    """Exit code 2; nothing was tried."""
    said = refused(*args, codes=(2,))
    assert "polars" not in said


TRAPS = {
    "gigabytes as bytes": ("--memory", "80", "device_memory_bytes"),
    "negative memory": ("--memory", "-80GB", "device_memory_bytes"),
    "no memory": ("--memory", "0", "device_memory_bytes"),
    "memory beyond any": ("--memory", "99999999TB", "device_memory_bytes"),
    "TB/s as B/s": ("--set", "memory_bytes_per_s=4", "memory_bytes_per_s"),
    "negative bandwidth": ("--set", "memory_bytes_per_s=-1e12", "memory_bytes_per_s"),
    "not a number": ("--set", "memory_bytes_per_s=nan", "memory_bytes_per_s"),
    "infinite": ("--set", "memory_bytes_per_s=inf", "memory_bytes_per_s"),
    "no heads": ("--set", "heads=0", "heads"),
    "negative objective": ("--tpot-slo", "-50ms", "tpot_slo_s"),
    "no price": ("--set", "device_usd_per_hour=-1", "device_usd_per_hour"),
}


@pytest.mark.parametrize(("option", "value", "fact"), TRAPS.values(), ids=TRAPS)
def test_a_fact_by_hand_is_held_to_the_catalogs_bounds(option: str, value: str, fact: str) -> None:
    """Bounds are unit traps: 80 bytes of memory, or minus 80 GB, are nobody's device."""
    assert fact in refused("point", *PLAN, option, value, codes=(1, 2))


IMPOSSIBLE = {
    "fp8 on A100": (["--gpu", "a100-sxm-80gb", "--weights", "fp8"], "no unit for the number format"),
    "experts' format without experts": (["--gpu", "h100", "--weights", "mxfp4"], "the model has none"),
    "ranks over nodes": (["--gpu", "h100", "--tp", "16"], "span nodes"),
    "uneven heads": (["--gpu", "h100", "--tp", "3"], "heads cannot be dealt out evenly"),
    "more stages than layers": (["--gpu", "h100", "--pp", "64"], "fewer layers than pipeline stages"),
    "uneven experts": (["--gpu", "h100", "--tp", "4", "--ep", "3"], "experts cannot be dealt out"),
    "engine without the format": (["--gpu", "h100", "--engine", "llama.cpp"], "does not read the number format"),
    "engine without the device": (["--gpu", "m3-max-40"], "does not run on devices"),
    "cache format": (["--gpu", "h100", "--kv", "gguf-q8_0"], "cannot keep its cache"),
}


@pytest.mark.parametrize(("plan", "reason"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
@pytest.mark.parametrize("command", [["point"], ["explain", "ttft_s"]], ids=["point", "explain"])
def test_a_plan_that_cannot_run_says_why(command: list[str], plan: list[str], reason: str) -> None:
    """Exit code 1, the plan, and every reason."""
    said = refused(*command, "--model", "llama-3.1-8b", *plan)
    assert "this plan cannot run: model llama-3.1-8b" in said
    assert any(reason in line for line in said.splitlines() if line.startswith("- "))


def test_all_reasons_are_said_at_once() -> None:
    """Whoever mends one need not come back for the next."""
    said = refused("point", "--model", "llama-3.1-8b", "--gpu", "a100", "--weights", "fp8", "--tp", "3", "--pp", "64")
    assert len([line for line in said.splitlines() if line.startswith("- ")]) >= 3


# ----- catalogs

NOBODY = """
[[workload]]
workload = "{id}"
name = "{name}"
kind = "static"
prompt_tokens = 1
output_tokens = 1
ttft_slo_s = 1
tpot_slo_s = 1
source = "assumption"
"""
PRICE = """
[[price]]
accelerator = "h100-sxm-80"
cloud = "lambda"
instance = "x"
devices = 1
market = "on-demand"
usd_per_hour = 2.0
from_date = 2026-11-01
source = "assumption"
"""

# what: file, entry, text before, text after (added at the end where there is none before), words of the message
CATALOG = {
    "misspelt field": (LLAMA, "llama-7b", "hidden ", "hiden ", ["no field named 'hiden'", "hidden"]),
    "missing field": (LLAMA, "llama-7b", "hidden                    = 4_096\n", "", ["field 'hidden' is missing"]),
    "gigabytes as bytes": (
        NVIDIA,
        "v100-sxm2-16gb",
        "16_943_645_983",
        "16",
        ["device_memory_bytes = 16", "base units"],
    ),
    "badge in gigabytes": (NVIDIA, "v100-sxm2-16gb", "16_000_000_000", "16", ["badge_memory_bytes = 16", "base units"]),
    "GB/s as B/s": (NVIDIA, "v100-sxm2-16gb", "900e9", "900.0", ["memory_bytes_per_s = 900", "base units"]),
    "TFLOP/s as FLOP/s": (NVIDIA, "v100-sxm2-16gb", "125e12", "125.0", ["fp16_flop_per_s = 125", "base units"]),
    "negative": (NVIDIA, "v100-sxm2-16gb", "900e9", "-900e9", ["memory_bytes_per_s = -900"]),
    "zero": (LLAMA, "llama-7b", "hidden                    = 4_096", "hidden = 0", ["hidden = 0", "at least 8"]),
    "no kv heads": (LLAMA, "llama-7b", "kv_heads                  = 32", "kv_heads = 0", ["kv_heads = 0"]),
    "uneven kv heads": (LLAMA, "llama-7b", "kv_heads                  = 32", "kv_heads = 5", ["kv heads evenly"]),
    "nan": (NVIDIA, "v100-sxm2-16gb", "900e9", "nan", ["memory_bytes_per_s"]),
    "infinity": (NVIDIA, "v100-sxm2-16gb", "900e9", "inf", ["memory_bytes_per_s"]),
    "absurd": (NVIDIA, "v100-sxm2-16gb", "900e9", "9e20", ["memory_bytes_per_s", "below"]),
    "beyond 64 bits": (LLAMA, "llama-7b", "32_000\n", f"{2**70}\n", ["vocab", "llama-7b"]),
    "text for a number": (LLAMA, "llama-7b", "= 32_000\n", '= "many"\n', ["vocab = 'many' is not a whole number"]),
    "fraction for a count": (LLAMA, "llama-7b", "= 32_000\n", "= 32000.5\n", ["vocab", "is not a whole number"]),
    "truth for a number": (LLAMA, "llama-7b", "= 32_000\n", "= true\n", ["vocab = 'True' is not a whole number"]),
    "number for a text": (LLAMA, "llama-7b", '= "LLaMA 7B"', "= 7", ["name = '7' is not text"]),
    "text for a date": (LLAMA, "llama-7b", "2023-02-24", '"2023-02-24"', ["release_date", "is not a date"]),
    "text for a truth": (LLAMA, "llama-7b", "= false", '= "no"', ["tied_embeddings = 'no' is not true or false"]),
    "text for a list": (LLAMA, "llama-7b", "aliases ", 'aliases = "x"\nold ', ["aliases = 'x' is not a list of texts"]),
    "duplicate id": (
        WORKLOADS,
        "chat",
        None,
        NOBODY.format(id="chat", name="x"),
        ["'chat' is taken by another workload"],
    ),
    "alias of another": (LLAMA, "llama-7b", '"llama-1-7b"', '"LLAMA-2-7B"', ["'llama-2-7b' is taken by another model"]),
    "alias twice": (LLAMA, "llama-7b", '"llama-1-7b"', '"Llama1-7B"', ["'llama1-7b'", "taken by another model"]),
    "no source": (
        WORKLOADS,
        "chat",
        'source        = "azure-llm-trace-2023"\n',
        "",
        ["no source for", "prompt_tokens"],
    ),
    "unknown source": (
        WORKLOADS,
        "chat",
        '"azure-llm-trace-2023"',
        '"azure-llm-trace-202"',
        ["no source named", "Did you mean azure-llm-trace-2023"],
    ),
    "source of nothing": (WORKLOADS, "chat", "{ name =", "{ nam =", ["source_of names 'nam'", "name"]),
    "price of no device": (
        "prices/lambda.toml",
        "h100-sxm-80",
        None,
        PRICE,
        ["no accelerator 'h100-sxm-80'", "h100-sxm-80gb"],
    ),
    "unknown attention": (LLAMA, "llama-7b", "{ full = 32 }", "{ ful = 32 }", ["no attention named 'ful'", "full"]),
    "attention's field": (LLAMA, "llama-7b", "{ full = 32 }", "{ mla = 32 }", ["'mla' need field 'kv_latent_dim'"]),
    "window of sliding": (
        LLAMA,
        "llama-7b",
        "{ full = 32 }",
        "{ full = 1, sliding = 31 }",
        ["need field 'window_tokens'"],
    ),
    "no layers": (LLAMA, "llama-7b", "{ full = 32 }", "{}", ["'layers' is missing"]),
    "negative layers": (LLAMA, "llama-7b", "{ full = 32 }", "{ full = -32 }", ["'layers' is missing"]),
    "fields of blocks": (LLAMA, "llama-7b", "ffn_width                 = 11_008\n", "", ["needs field 'ffn_width'"]),
    "path as an id": (WORKLOADS, "../x", None, NOBODY.format(id="../x", name="x"), ["an id is lower case"]),
    "slash in an id": (WORKLOADS, "a/b", None, NOBODY.format(id="a/b", name="x"), ["an id is lower case"]),
    "upper case id": (WORKLOADS, "Chat2", None, NOBODY.format(id="Chat2", name="x"), ["an id is lower case"]),
    "empty id": (WORKLOADS, "", None, NOBODY.format(id="", name="x"), ["an id is lower case"]),
    "dots as an id": (WORKLOADS, "..", None, NOBODY.format(id="..", name="x"), ["an id is lower case"]),
    "escape codes in a name": (
        WORKLOADS,
        "w",
        None,
        NOBODY.format(id="w", name=r"\u001b[31mred"),
        ["name holds control characters"],
    ),
    "line break in a name": (
        WORKLOADS,
        "w",
        None,
        NOBODY.format(id="w", name=r"a\nb"),
        ["name holds control characters"],
    ),
    "escape codes in an alias": (
        LLAMA,
        "llama-7b",
        '"llama-1-7b"',
        r'"\u001b[31mred"',
        ["aliases", "control characters"],
    ),
    "long name": (WORKLOADS, "w", None, NOBODY.format(id="w", name="x" * 10**5), ["longer than 500"]),
    "unknown kind": (LLAMA, "", None, '\n[[modle]]\nmodle = "x"\n', ["'modle' is not a catalog", "model"]),
    "layers that do not add up": (LLAMA, "llama-7b", "{ full = 32 }", "{ full = 16 }", ["layer"]),
}


def spoilt(catalogs: Path, file: str, before: str | None, after: str) -> None:
    """Change the first place in a catalog file, or add to its end."""
    path = catalogs / file
    text = path.read_text(encoding="utf-8")
    assert before is None or before in text, f"{file} holds no {before!r} any more"
    path.write_text(text + after if before is None else text.replace(before, after, 1), encoding="utf-8")


@pytest.mark.parametrize(("file", "entry", "before", "after", "words"), CATALOG.values(), ids=CATALOG)
def test_a_wrong_catalog_says_file_entry_and_what(
    file: str, entry: str, before: str | None, after: str, words: list[str], own_catalogs: Path, own_small: Any
) -> None:
    """Exit code 1 before anything is computed; `latest` stays what it was."""
    spoilt(own_catalogs, file, before, after)
    runs = sorted(path.name for path in own_small.out.iterdir())
    said = refused("run", "--grid", "case-study", "--catalogs", own_catalogs, "--out", own_small.out)
    assert f"catalogs/{file}" in said
    assert f"'{entry}'" in said or not entry
    assert [word for word in words if word not in said] == []
    assert "\x1b" not in said, "what a file says never steers the terminal"
    assert sorted(path.name for path in own_small.out.iterdir()) == runs
    assert (own_small.out / "latest").resolve() == own_small.folder


def test_everything_wrong_is_said_at_once(own_catalogs: Path) -> None:
    """Whoever mends one file need not come back for the next, nor for the bounds after the types."""
    spoilt(own_catalogs, LLAMA, "= 32_000\n", '= "many"\n')
    spoilt(own_catalogs, LLAMA, "hidden ", "hiden ")
    spoilt(own_catalogs, WORKLOADS, "kind          =", "kinds =")
    spoilt(own_catalogs, NVIDIA, "900e9", "900.0")
    said = refused("models", "--catalogs", own_catalogs)
    for word in ("'many'", "'hiden'", "'hidden' is missing", "'kinds'", "memory_bytes_per_s = 900"):
        assert word in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[[model]]\nmodel = = 5\n", 2),
        ("[[model]\n", 1),
        ('[[model]]\nmodel = "x"\nmodel = "y"\n', 3),
        ("a = [1,\n\n", 3),
    ],
)
def test_broken_toml_is_told_with_file_and_line(text: str, line: int, own_catalogs: Path) -> None:
    """An editor jumps there."""
    (own_catalogs / "models" / "broken.toml").write_text(text, encoding="utf-8")
    said = refused("models", "--catalogs", own_catalogs)
    assert "catalogs/models/broken.toml: not valid TOML: " in said
    assert f"at line {line}" in said or "end of document" in said


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b'name = "\x00"', b"x = " + b"[" * 100_000])
def test_bytes_that_are_no_toml_are_told_too(data: bytes, own_catalogs: Path) -> None:
    """Another encoding, a zero byte, brackets without end: the file is named."""
    (own_catalogs / "models" / "broken.toml").write_bytes(data)
    assert "catalogs/models/broken.toml: not valid TOML" in refused("models", "--catalogs", own_catalogs)


@pytest.mark.parametrize("folder", ["nowhere", "empty", "no sources", "a file"])
def test_a_folder_without_catalogs_is_told(folder: str, own_catalogs: Path, tmp_path: Path) -> None:
    """It names the folder, or the file that is missing."""
    place = {"no sources": own_catalogs}.get(folder, tmp_path / folder)
    if folder == "empty":
        place.mkdir()
    elif folder == "no sources":
        (place / "sources.toml").unlink()
    elif folder == "a file":
        place.touch()
    assert str(place) in refused("models", "--catalogs", place, codes=(1, 2))


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ('[new]\ntitle = "x"\nurl = ""\nkind = "paper"\n', ["'new'", "read_on"]),
        ('[new]\ntitle = "x"\nurl = ""\nkind = "paper"\nread_on = 2026-01-01\nlink = ""\n', ["'new'", "link"]),
        ("new = 5\n", ["new"]),
        ('[new]\ntitle = "x"\nurl = ""\nkind = "paper"\nread_on = "today"\n', ["'new'", "read_on"]),
        ('[new]\ntitle = 5\nurl = ""\nkind = "paper"\nread_on = 2026-01-01\n', ["'new'", "title"]),
    ],
    ids=["missing", "unknown", "no table", "no date", "no text"],
)
def test_a_wrong_source_is_told(block: str, words: list[str], own_catalogs: Path) -> None:
    """Sources are facts too: title, url, day, kind."""
    path = own_catalogs / "sources.toml"
    text = path.read_text(encoding="utf-8")
    parts = [text, block] if block.startswith("[") else [block, text]
    path.write_text("\n".join(parts), encoding="utf-8")
    spoilt(own_catalogs, WORKLOADS, '"azure-llm-trace-2023"', '"new"')
    said = refused("models", "--catalogs", own_catalogs)
    assert "sources.toml" in said
    assert [word for word in words if word not in said] == []


def test_check_refuses_shapes_that_do_not_add_up(own_catalogs: Path, tmp_path: Path) -> None:
    """A hidden width that does not make the parameter count is a typing error somewhere."""
    spoilt(own_catalogs, LLAMA, "hidden                    = 4_096", "hidden = 4_160")
    said = refused("check", "--catalogs", own_catalogs, "--out", tmp_path / "none")
    assert "'llama-7b'" in said
    assert "off" in said


# ----- grids

GRID = {
    "models": '["llama-7b"]', "weights": '["bf16"]', "kv": '["bf16"]', "engines": '["vllm"]',
    "accelerators": '["h100-sxm-80gb"]', "parallel": "[{ tp = 1 }]", "workloads": '["chat"]', "batches": "[1]",
}  # fmt: skip
GRIDS = {
    "empty file": ("", ["no [grid] table"]),
    "no table": ("grid = 5", ["no [grid] table"]),
    "empty table": ("[grid]", [f"'{name}' is missing" for name in GRID]),
    "no models": ({"models": "[]"}, ["'models' is missing, empty"]),
    "text for a list": ({"models": '"llama-7b"'}, ["'models'", "not a list of names"]),
    "numbers for names": ({"models": "[7]"}, ["'models'", "not a list of names"]),
    "unknown model": ({"models": '["lama-7b"]'}, ["no model named 'lama-7b'", "llama-7b"]),
    "several unknown": (
        {"models": '["lama-7b", "gema-3-4b"]', "engines": '["vlm"]'}, ["'lama-7b'", "'gema-3-4b'", "'vlm'", "vllm"],
    ),
    "pattern of nothing": ({"models": '["lama-*"]'}, ["no model named 'lama-*'"]),
    "group of nothing": ({"models": '["family:lama"]'}, ["'lama'", "llama"]),
    "everything taken out": ({"models": '["llama-7b", "!llama-*"]'}, ["'models' chooses nothing"]),
    "misspelt field": ({"batch": "[1]"}, ["no field named 'batch'", "batches"]),
    "batch 0": ({"batches": "[0]"}, ["'batches'", "whole numbers from 1"]),
    "half a batch": ({"batches": "[1.5]"}, ["'batches'"]),
    "negative batch": ({"batches": "[-1]"}, ["'batches'"]),
    "absurd batch": ({"batches": "[1_000_000_000_000]"}, ["'batches'"]),
    "text batch": ({"batches": '["1"]'}, ["'batches'"]),
    "truth batch": ({"batches": "[true]"}, ["'batches'"]),
    "no batches": ({"batches": "[]"}, ["'batches'"]),
    "no parallel": ({"parallel": "[]"}, ["'parallel' is missing or empty"]),
    "parallel 0": ({"parallel": "[{ tp = 0 }]"}, ["parallel", "from 1 to 4096"]),
    "unknown rank": ({"parallel": "[{ tq = 2 }]"}, ["parallel", "tq"]),
    "number for parallel": ({"parallel": "[2]"}, ["parallel", "tp, pp, ep"]),
    "text for parallel": ({"parallel": '"tp"'}, ["'parallel'"]),
    "unknown market": ({"market": '"black"'}, ["'black'", "spot"]),
    "list for a market": ({"market": '["spot"]'}, ["market"]),
    "unknown cloud": ({"clouds": '["lamda"]'}, ["no cloud named 'lamda'", "lambda"]),
    "text for clouds": ({"clouds": '"aws"'}, ["clouds", "list"]),
    "number for clouds": ({"clouds": "5"}, ["clouds"]),
    "lists for clouds": ({"clouds": '[["aws"]]'}, ["clouds"]),
    "broken": ("[grid\n", ["not valid TOML", "line 1"]),
    "nothing can run": (
        {"weights": '["fp8"]', "accelerators": '["a100-sxm-80gb"]', "parallel": "[{ tp = 3 }, { tp = 16 }]"},
        ["no feasible row", "device_runs_format", "tp_divides_heads"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("said", "words"), GRIDS.values(), ids=GRIDS)
def test_a_wrong_grid_says_file_and_what(
    said: str | dict[str, str], words: list[str], tmp_path: Path, own_small: Any
) -> None:
    """Exit code 1, the file, everything that is wrong with it, and `latest` as it was."""
    text = said if isinstance(said, str) else "[grid]\n" + "\n".join(f"{k} = {v}" for k, v in (GRID | said).items())
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    message = refused("run", "--grid", path, "--out", own_small.out, "--workers", 1)
    assert str(path) in message or "no feasible row" in message
    assert [word for word in words if word not in message] == []
    assert (own_small.out / "latest").resolve() == own_small.folder
    assert len(list(own_small.out.iterdir())) == 2, "nothing was left behind"


@pytest.mark.parametrize("name", ["mine.txt", "folder.toml", "nowhere.toml", "", "../small", "/dev/null"])
def test_what_is_no_grid_file_is_an_unknown_grid(name: str, tmp_path: Path) -> None:
    """Exit code 2, with the grids that there are."""
    (tmp_path / "mine.txt").write_text("[grid]\n", encoding="utf-8")
    (tmp_path / "folder.toml").mkdir()
    path = name if name.startswith(("..", "/")) or not name else tmp_path / name
    said = refused("run", "--grid", path, "--out", tmp_path / "o", codes=(2,))
    assert "small" in said
    assert "default" in said


# ----- places


def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """Permissions do not bind root, a file in the place does."""
    place = tmp_path / "taken"
    place.write_text("mine", encoding="utf-8")
    assert str(place) in refused("run", "--grid", "case-study", "--out", place, codes=(1, 2)).replace("\n", "")
    said = refused("run", "--grid", "case-study", "--out", place / "deeper")
    assert str(place) in said
    assert "--out" in said
    assert place.read_text(encoding="utf-8") == "mine"


def test_a_run_folder_that_is_a_file_is_refused(tmp_path: Path, capgrid: Callable[..., Any]) -> None:
    """The same one level down: what stands there stays."""
    args = ("run", "--grid", "case-study", "--out", tmp_path, "--workers", 1)
    folder = Path(json.loads(capgrid(*args, "--json").stdout)["folder"])
    shutil.rmtree(folder)
    folder.write_text("mine", encoding="utf-8")
    assert str(folder) in refused(*args)
    assert folder.read_text(encoding="utf-8") == "mine"


def test_a_folder_in_the_place_of_latest_is_refused(tmp_path: Path) -> None:
    """`latest` is a link that capgrid makes; a folder of that name is somebody's."""
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "mine").touch()
    said = refused("run", "--grid", "case-study", "--out", tmp_path, "--workers", 1)
    assert "latest" in said
    assert (tmp_path / "latest" / "mine").exists()


READERS = {"ask": ["ask", "max_batch"], "sql": ["sql", "SELECT count(*) FROM facts"]}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_no_run_yet_says_how_to_make_one(reader: list[str], tmp_path: Path) -> None:
    """The first thing that a newcomer meets."""
    said = refused(*reader, "--out", tmp_path / "none")
    assert "no complete run yet" in said
    assert "`capgrid run` makes one" in said


def damage(out: Path, run: Path, how: str) -> None:
    """Spoil a run in one of the ways in which runs are spoilt."""
    manifest = run / "manifest.json"
    if how.startswith("manifest is "):
        manifest.write_text(how.removeprefix("manifest is "), encoding="utf-8")
    elif how == "no manifest":
        manifest.unlink()
    elif how == "a Parquet file is missing":
        next(run.glob("estimates/*/*.parquet")).unlink()
    elif how == "a Parquet file is cut short":
        path = run / "capacity.parquet"
        path.write_bytes(path.read_bytes()[:-10])
    elif how == "no database":
        (run / "capgrid.duckdb").unlink()
    elif how == "the database is rubbish":
        path = run / "capgrid.duckdb"
        path.write_bytes(b"x" * path.stat().st_size)
    elif how == "latest dangles":
        shutil.rmtree(run)
    elif how == "latest is a file":
        (out / "latest").unlink()
        (out / "latest").touch()
    elif how == "latest points at itself":
        (out / "latest").unlink()
        (out / "latest").symlink_to("latest")


DAMAGES = [
    "no manifest", "manifest is ", "manifest is {", "manifest is []", "manifest is null", "manifest is {}",
    'manifest is {"files": []}', 'manifest is {"files": {"capacity.parquet": "big"}}', "manifest is \x00",
    "a Parquet file is missing", "a Parquet file is cut short", "no database", "the database is rubbish",
    "latest dangles", "latest is a file", "latest points at itself",
]  # fmt: skip
assert DAMAGES[12] == "the database is rubbish", "check reads the Parquet files, and of the database the size only"


DAMAGED = [(reader, how) for reader in (*READERS.values(), ["check"]) for how in DAMAGES]
DAMAGED = [each for each in DAMAGED if each[0] != ["check"] or each[1] not in {"latest is a file", DAMAGES[12]}]


@pytest.mark.parametrize(("reader", "how"), DAMAGED, ids=[f"{reader[0]}-{how}" for reader, how in DAMAGED])
def test_a_damaged_run_is_told_and_never_read(reader: list[str], how: str, small: Any, tmp_path: Path) -> None:
    """Exit code 1, the folder, and that `capgrid run` makes it again."""
    out = tmp_path / "outputs"
    shutil.copytree(small.out, out, symlinks=True)
    run = (out / "latest").resolve()
    manifest = (run / "manifest.json").read_text(encoding="utf-8")
    (run / "manifest.json").write_text(manifest.replace(str(small.folder), str(run)), encoding="utf-8")
    damage(out, run, how)
    said = refused(*reader, "--out", out)
    assert str(out) in said
    assert "`capgrid run` makes" in said
