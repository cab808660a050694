"""Published figures that travel along: each is cited and answered, and estimates are near them on average."""

from __future__ import annotations

import runpy
import tomllib
from urllib.parse import urlsplit

import polars as pl
import pytest

import pipeline
from pipeline.core.places import bundled
from pipeline.evidence.backtest import errors_by
from pipeline.evidence.measurements import NEEDED, OPTIONAL, read_measurements
from pipeline.evidence.predict import predict_rows
from tests.conftest import AS_OF, invoke
from tests.support import ROOT

PUBLISHED = bundled("catalogs") / "measurements" / "published.csv"
MOST_ROWS = 120
MARKED = {
    "docs/accuracy.md": ["figures", "not trusted", "published"],
    "docs/speed.md": ["engines", "worked step", "ablations"],
}
MARKED["README.md"] = ["accuracy"]


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    """Every published figure beside its estimate."""
    return predict_rows(read_measurements([PUBLISHED]), pipeline.catalogs(), AS_OF)


def test_the_set_is_small_and_of_many_kinds(rows: pl.DataFrame) -> None:
    """A sample of facts, not a copy of anybody's table."""
    assert 60 <= rows.height <= MOST_ROWS
    assert rows.drop("measurement_row").is_duplicated().sum() == 0
    for name, least in {"source": 6, "engine": 6, "accelerator": 8, "weights": 8, "model": 10, "quantity": 6}.items():
        assert rows[name].n_unique() >= least, name


def test_every_figure_says_where_it_was_read(rows: pl.DataFrame) -> None:
    """A source of the catalogs and a page of the same site."""
    sources = tomllib.loads((bundled("catalogs") / "sources.toml").read_text(encoding="utf-8"))
    for source, url in rows.select("source", "url").unique().iter_rows():
        assert source in sources
        assert url.startswith("https://")
        assert urlsplit(url).netloc == urlsplit(sources[source]["url"]).netloc


def test_its_columns_are_those_of_measurements(rows: pl.DataFrame) -> None:
    """What is not read would be lost in silence."""
    header = PUBLISHED.read_text(encoding="utf-8").splitlines()[0].split(",")
    assert set(header) - {*NEEDED, *OPTIONAL} == {"url"}


def test_every_figure_is_answered(rows: pl.DataFrame) -> None:
    """A renamed model, device or format shows here first."""
    assert rows.filter(pl.col("reason") != "").select("model", "accelerator", "reason").to_dicts() == []


def test_errors_stay_where_they_were(rows: pl.DataFrame) -> None:
    """Generous bounds: what breaks them is a mistake in a formula or a catalog, not a new constant."""
    whole = errors_by(rows.filter(kind="static"), []).row(0, named=True)
    assert whole["median_ape"] <= 0.15
    assert whole["mape"] <= 0.35
    assert whole["coverage_80"] >= 0.6
    for each in errors_by(rows, ["engine"]).iter_rows(named=True):
        assert each["median_ape"] <= 0.4, each["engine"]


def test_backtest_reads_it_from_the_command_line() -> None:
    """What the page shows a newcomer."""
    out = invoke("backtest", PUBLISHED, "--by", "engine,quantity").stdout
    assert "gpt-fast" in out
    assert len(out.splitlines()) > 10


# ----- the pages that are written from measurements


@pytest.mark.parametrize("page", sorted(MARKED))
def test_pages_keep_their_markers(page: str) -> None:
    """`make accuracy` writes between them, and leaves the rest."""
    text, accuracy = (ROOT / page).read_text(encoding="utf-8"), runpy.run_path(str(ROOT / "docs" / "accuracy.py"))
    for name in MARKED[page]:
        begin, end = (accuracy[each].format(maker=accuracy["MAKER"], name=name) for each in ("BEGIN", "END"))
        assert text.count(begin) == text.count(end) == 1
        assert text.index(begin) < text.index(end)


def test_the_tables_can_be_made_of_the_published_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone without the shared measurements has tables too, and says what they are made of."""
    accuracy = runpy.run_path(str(ROOT / "docs" / "accuracy.py"))
    monkeypatch.setitem(accuracy["judged"].__globals__, "SHARED", ROOT / "nowhere")
    paths = accuracy["judged"]()
    rows = accuracy["measured"](read_measurements(paths), pipeline.catalogs(), AS_OF)
    text = "\n".join(accuracy["figures"](paths, rows, AS_OF, drawn=False))
    assert "`published.csv` (published figures that travel along): 98 rows" in text.replace("\n", " ")
    assert "| gpt-fast |" in text


def test_a_worked_step_adds_up() -> None:
    """The terms in docs/speed.md are those of the TPOT beside them."""
    accuracy = runpy.run_path(str(ROOT / "docs" / "accuracy.py"))
    lines = [line.strip("| ").split(" | ") for line in accuracy["worked"](AS_OF)][2:]
    terms = [float(cells[-1]) for cells in lines if not cells[0].startswith("**")]
    assert lines[-1][0] == "**`tpot_s`**"
    assert sum(terms) == pytest.approx(float(lines[-1][-1].strip("*")), abs=0.01)
