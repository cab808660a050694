"""The picture of predicted beside measured: one panel a quantity, points measured, lines estimated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from polars import col

from pipeline.core.errors import PipelineError, UsageError
from pipeline.evidence.extras import library

if TYPE_CHECKING:
    from pathlib import Path

PANELS = {
    # quantity: title, factor to the unit that people read
    "ttft_s": ("time to first token, ms", 1e3),
    "itl_s": ("time per output token, ms", 1e3),
    "memory_bytes": ("peak memory, GB", 1e-9),
}
ENDINGS = (".html", ".png", ".svg", ".json")
MISSING = 'pictures need altair and vl-convert: pip install "capgrid[report]"'
COLOURS = ("#0b6e99", "#c4572b", "#4b8b3b", "#7a4fa3", "#8a6d00")
WIDTH, HEIGHT, SCALE = 250, 230, 2


def check_ending(path: Path | None) -> None:
    """Refuse a kind of picture that cannot be made, before anything is measured; none at all is fine.

    Raises:
        UsageError: names those that can.
    """
    if path is not None and path.suffix not in ENDINGS:
        raise UsageError(f"{path}: a picture ends in {', '.join(ENDINGS)}")


def draw(told: pl.DataFrame, path: Path, title: str) -> None:
    """Write the picture in the format that the file's name ends in.

    Raises:
        UsageError: no such format.
        PipelineError: altair is not installed, or the file cannot be written.
    """
    check_ending(path)
    alt = library("altair", MISSING)
    library("vl_convert", MISSING)
    options = {"scale_factor": SCALE} if path.suffix == ".png" else {"inline": True} if path.suffix == ".html" else {}
    try:
        chart(alt, told, title).save(str(path), **options)
    except OSError as error:
        raise PipelineError(f"{path}: cannot be written: {error.strerror}") from error


def chart(alt: Any, told: pl.DataFrame, title: str) -> Any:
    """All panels, side by side."""
    known = {name: each for name, each in PANELS.items() if name in told["quantity"]}
    panels = [panel(alt, panel_rows(told, name, factor), words) for name, (words, factor) in known.items()]
    return (
        alt.hconcat(*panels, spacing=24)
        .properties(title=title, background="white", padding=10)
        .configure_view(stroke=None)
        .configure_axis(gridColor="#e8e8e8", domainColor="#999", labelFontSize=11, titleFontSize=11)
        .configure_title(fontSize=13, anchor="start", offset=12)
        .configure_legend(orient="bottom", titleFontSize=11, labelFontSize=11, symbolStrokeWidth=2)
    )


def panel_rows(told: pl.DataFrame, quantity: str, factor: float) -> list[dict[str, Any]]:
    """The points of one panel in the units of people; of memory the longer run, which is the larger."""
    rows = told.filter(quantity=quantity)
    longest = rows["output_tokens"].max()
    rows = rows.filter(col("output_tokens") == longest) if quantity == "memory_bytes" else rows
    return rows.select(
        "batch",
        prompt=pl.format("{} tokens", col("prompt_tokens").cast(pl.Int64)),
        length="prompt_tokens",
        measured=col("value") * factor,
        estimated=col("predicted") * factor,
        article=col("article") * factor,
    ).to_dicts()


def panel(alt: Any, rows: list[dict[str, Any]], words: str) -> Any:
    """Points measured, an unbroken line estimated, a broken one by the article's closed forms."""
    order = [f"{length:.0f} tokens" for length in sorted({row["length"] for row in rows})]
    colour = alt.Color("prompt:N", title="prompt", sort=order, scale=alt.Scale(domain=order, range=COLOURS))
    base = alt.Chart(alt.Data(values=rows)).encode(x=alt.X("batch:Q", title="batch", axis=alt.Axis(tickMinStep=1)))
    points = base.mark_point(filled=True, size=45, opacity=1).encode(y=alt.Y("measured:Q", title=words), color=colour)
    estimated = base.mark_line(strokeWidth=1.6).encode(y="estimated:Q", color=colour)
    article = base.mark_line(strokeWidth=1.2, strokeDash=[4, 3], opacity=0.75).encode(y="article:Q", color=colour)
    return (article + estimated + points).properties(width=WIDTH, height=HEIGHT)
