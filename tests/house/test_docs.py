"""The pages that are written from the code say what the code says."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from pipeline.cli.main import cli
from tests.support import ROOT

GENERATE = runpy.run_path(str(ROOT / "docs" / "generate.py"))
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "README.zh-CN.md", ROOT / "CHANGELOG.md"])


@pytest.mark.parametrize("name", sorted(GENERATE["PAGES"]))
def test_generated_pages_are_fresh(name: str) -> None:
    """A changed formula, field or option changes its page: `python docs/generate.py`."""
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == GENERATE["page"](name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """A page that is renamed leaves no dead link behind."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_show_commands_that_exist(page: Path) -> None:
    """Every `capgrid COMMAND` in a code block is a command."""
    blocks = re.findall(r"```(?:console|sh|text|bash)?\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    named = re.findall(r"^\$? ?capgrid (\w+)", "\n".join(blocks), flags=re.MULTILINE)
    assert set(named) <= cli.commands.keys()
