"""The nightly report of a run: one HTML page that needs nothing else, and the same figures as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.core.errors import RunError, UnknownNameError, UsageError
from pipeline.core.files import whole
from pipeline.publish.report.accuracy import accuracy
from pipeline.publish.report.changes import report_changes
from pipeline.publish.report.data import PageData
from pipeline.publish.report.markdown import report_markdown
from pipeline.publish.report.numbers import overview
from pipeline.publish.report.page import page
from pipeline.publish.words import words_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipeline.answers.diff.difference import Difference
    from pipeline.facts.catalog import Catalogs

NAME = "report.html"
SUFFIXES = (".html", ".htm")


def write_report(
    run: Path,
    lang: str = "en",
    file: Path | None = None,
    difference: Difference | None = None,
    *,
    catalogs: Catalogs | None = None,
    models: Sequence[str] = (),
) -> Path:
    """Write the report of a run and its Markdown twin; the same run gives the same bytes.

    Args:
        run: the run's folder.
        lang: language of the words.
        file: the page's file, `report.html` in the run's folder where none is named; the twin is beside it.
        difference: what changed since the run before (`answers.diff.difference`), where there is one.
        catalogs: of which measurements are predicted; those that come with capgrid where none are given.
        models: ids of models to show before all others.

    Returns:
        The page's path.

    Raises:
        UsageError: an unknown language or model, a file that is not HTML or cannot be written.
        RunError: the run is unfinished or damaged.
        PipelineError: what draws charts is not installed.
    """
    path = file or run / NAME
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: the report is a page; its name must end in {' or '.join(SUFFIXES)}")
    say = words_in(lang)
    said = overview(run, models)
    for name in models:
        if name not in said.models["model"]:
            raise UnknownNameError("model in this run", name, said.models["model"].to_list())
    data = PageData(run, said)
    errors = accuracy(catalogs or default_catalogs(), said.as_of)
    what = report_changes(difference, say)
    texts = {path: page(data, what, errors, say), path.with_suffix(".md"): report_markdown(data, what, errors, say)}
    try:
        for each, text in texts.items():
            with whole(each) as temporary:
                temporary.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}; name another with --file") from error
    return path


def default_catalogs() -> Catalogs:
    """The catalogs that come with capgrid."""
    import pipeline  # noqa: PLC0415

    return pipeline.catalogs()
