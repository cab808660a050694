"""Predicted beside measured, as the article did it: lines through measurements, estimates and closed forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from polars import col

from pipeline.core.errors import PipelineError
from pipeline.core.quantity import evaluate, in_order
from pipeline.evidence.predict import NO_REASON, join_facts, predict_rows, with_ids, with_running_batch
from pipeline.grid.tables import book_for

if TYPE_CHECKING:
    from datetime import date

    from pipeline.facts.catalog import Catalogs

LINES = ("ttft_s", "itl_s", "memory_bytes")
"""Quantities that the article fits a line to, over the batch."""
ARTICLE = {"ttft_s": "simple_ttft_s", "itl_s": "simple_tpot_s", "memory_bytes": "simple_vram_bytes"}
WAYS = {"measured": "value", "article": "article", "estimated": "predicted"}
LEAST_BATCHES = 2


def predict_with_article(rows: pl.DataFrame, catalogs: Catalogs, as_of: date) -> pl.DataFrame:
    """Rows of these quantities with `predicted`, its band, and `article`: what the closed forms say.

    Raises:
        PipelineError: no row of them, or none that can be estimated; says why.
    """
    wanted = rows.filter(col("quantity").is_in(LINES))
    if wanted.is_empty():
        raise PipelineError(f"no row of {', '.join(LINES)}")
    told = predict_rows(wanted, catalogs, as_of)
    if (told["reason"] != NO_REASON).all():
        raise PipelineError(f"no row can be estimated: {told['reason'][0]}")
    told = told.filter(reason=NO_REASON)
    return told.join(closed_forms(wanted, catalogs, as_of), on="measurement_row", how="left", maintain_order="left")


def closed_forms(rows: pl.DataFrame, catalogs: Catalogs, as_of: date) -> pl.DataFrame:
    """What the article's formulas say of each row."""
    plans = with_ids(rows, catalogs).filter(reason=NO_REASON)
    context = col("prompt_tokens") + col("output_tokens")
    frame = with_running_batch(join_facts(plans, catalogs, as_of)).lazy().with_columns(context_tokens=context)
    made = evaluate(frame, in_order(book_for(frame.collect()), list(ARTICLE.values()), set(frame.collect_schema())))
    each = [pl.when(quantity=name).then(col(form).cast(float)) for name, form in ARTICLE.items()]
    return made.select("measurement_row", article=pl.coalesce(each)).collect()


def fit_lines(told: pl.DataFrame) -> pl.DataFrame:
    """Slope, intercept and R2 over the batch, of each quantity and length: measured, by the article, estimated.

    Only lengths with two batches or more have a line. Errors are |of the other / measured - 1|.
    """
    keys = ["model", "quantity", "prompt_tokens", "output_tokens"]
    fits = [fit for way, name in WAYS.items() for fit in least_squares_line(way, name)]
    fitted = told.group_by(keys, maintain_order=True).agg(col("batch").n_unique().alias("batches"), *fits)
    return fitted.filter(col("batches") >= LEAST_BATCHES).with_columns(
        (col(f"{way}_slope") / col("measured_slope") - 1).abs().alias(f"{way}_slope_error_ratio")
        for way in ("article", "estimated")
    )


def least_squares_line(way: str, name: str) -> list[pl.Expr]:
    """Least squares of one column over the batch.

    >>> frame = pl.DataFrame({"batch": [1, 2, 4], "value": [3.0, 5.0, 9.0]})
    >>> frame.select(least_squares_line("measured", "value")).row(0)
    (2.0, 1.0, 1.0)
    """
    slope = pl.cov("batch", name) / col("batch").var()
    return [
        slope.alias(f"{way}_slope"),
        (col(name).mean() - slope * col("batch").mean()).alias(f"{way}_intercept"),
        pl.corr("batch", name).pow(2).alias(f"{way}_r2"),
    ]


def quantity_errors(told: pl.DataFrame) -> pl.DataFrame:
    """Median and largest error of every quantity: of the estimates, and of the article's closed forms."""
    estimated, article = ((col(name) / col("value") - 1).abs() for name in ("predicted", "article"))
    return told.group_by("quantity", maintain_order=True).agg(
        n=pl.len(),
        estimated_median_error_ratio=estimated.median(),
        estimated_largest_error_ratio=estimated.max(),
        article_median_error_ratio=article.median(),
    )
