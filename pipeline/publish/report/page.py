"""The report as one HTML file that asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from pipeline.core.errors import PipelineError
from pipeline.publish.report import tables
from pipeline.publish.report.charts import PARTS, bundle, charts
from pipeline.publish.report.data import script_json
from pipeline.publish.words import show_hidden

if TYPE_CHECKING:
    import polars as pl

    from pipeline.publish.report.changes import Changes
    from pipeline.publish.report.data import PageData
    from pipeline.publish.report.numbers import Overview
    from pipeline.publish.words import Words

MOST_BYTES = 1_500_000
HTML_LANGUAGES = {"en": "en", "zh": "zh-CN"}
IN_SCRIPT = ("map", "charts", "parts", "tips", "table", "controls", "value")
"""Sections of words that the page's script says."""


def page(data: PageData, changes: Changes, errors: pl.DataFrame, say: Words) -> str:
    """The page of a run.

    Raises:
        PipelineError: what draws charts is not installed, or the page would be too large.
    """
    specs = charts(say, [show_hidden(each) for each in data.accelerators["accelerator"]])
    around = run_words(data.said, say) | page_parts(specs, data.said, say) | {"changes": changes}
    around["accuracy"] = {"note": tables.accuracy_note(errors, say), **vars(tables.accuracy_table(errors, say))}
    frame = render(around | {"data": ""})
    text = render(around | {"data": data.as_json(MOST_BYTES - len(frame.encode()))})
    size = len(text.encode())
    if size > MOST_BYTES:
        message = f"the report would be {size:,} bytes, more than {MOST_BYTES:,}; choose a grid of fewer workloads"
        raise PipelineError(message)
    return text


def run_words(said: Overview, say: Words) -> dict[str, Any]:
    """What the page says of the run as a whole."""
    return {
        "say": say, "lang": HTML_LANGUAGES[say.lang], "version": said.manifest["capgrid_version"],
        "as_of": str(said.as_of), "run": show_hidden(said.manifest["run"]),
        "market": say.value("value", said.manifest["grid"].get("market")),
        "tiles": tables.tiles(said, say), "fleets": tables.fleets_table(said, say),
        "prices": tables.prices_table(said, say), "facts": tables.facts_table(said, say),
        "assumed": tables.assumed_words(said, say),
    }  # fmt: skip


def page_parts(specs: dict[str, Any], said: Overview, say: Words) -> dict[str, Any]:
    """Style, scripts and the words that they say; and the policy that lets these run and nothing else."""
    script, style, library = template("report.js"), template("report.css"), bundle()
    words = {f"{name}.{key}": text for name in IN_SCRIPT for key, text in say.section(name).items()}
    return {
        "parts": PARTS,
        "style": style,
        "script": script,
        "bundle": library,
        "charts": script_json(specs),
        "words": script_json(words | {"models": tables.figure(said.models.height)}),
        "policy": policy([library, script], style),
    }


def template(name: str) -> str:
    """A file that comes with the package."""
    return (files("pipeline.publish.report") / "templates" / name).read_text(encoding="utf-8")


def render(values: dict[str, Any]) -> str:
    """The page's template with values, everything escaped that is not marked as made here."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template("report.html.j2")).render(values)


def policy(scripts: list[str], style: str) -> str:
    """A content-security policy that lets the page's own scripts and style run, by their hashes, and nothing else."""
    hashes = " ".join(sha256(each) for each in scripts)
    own = f"script-src {hashes}; style-src {sha256(style)}"
    return Markup(f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'")  # noqa: S704 - hashes only


def sha256(text: str) -> str:
    """A source expression of a policy.

    >>> sha256("")
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
    """
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
