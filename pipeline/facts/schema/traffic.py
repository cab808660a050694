"""What catalog entries say of traffic: how many requests, how unevenly, in which rhythm of day and week."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from pipeline.facts.schema.fields import Numbers, Texts, fact, option

HOURS, DAYS = 24, 7


class Traffic(pa.DataFrameModel):
    """Requests as they arrive: a mean rate, its rhythm over a week, and how uneven it is within an hour."""

    traffic: pl.String = fact("Id.")
    name: pl.String = fact("Name for people.")
    aliases: Texts = option("Other names.")
    workload: pl.String = fact("What a request is: an entry of catalogs/workloads.")
    requests_per_s: pl.Float64 = fact("Mean rate over a week.", gt=0, le=1e7)
    arrival_cv: pl.Float64 = option("Coefficient of variation of the gaps between arrivals.", ge=0, le=1000)
    prompt_cv: pl.Float64 = option("Coefficient of variation of prompt lengths.", ge=0, le=100)
    output_cv: pl.Float64 = option("Coefficient of variation of output lengths.", ge=0, le=100)
    hour_ratio: Numbers = option("Rate in each of 24 hours of a day, from midnight, in any unit: only ratios matter.")
    day_ratio: Numbers = option("Rate on each of 7 days of a week, from Monday, in any unit.")
    growth_per_month_ratio: pl.Float64 = option("Growth per month, compounding: 0.05 is 5 %.", gt=-1, le=2)
    peak_factor_ratio: pl.Float64 = option(
        "Rate in 5-second windows that 95 % of requests see or less, over the mean of their hour.", ge=1, le=1000
    )
    lag_margin_ratio: pl.Float64 = option(
        "Largest rate within the next 10 minutes over the present one, p95: what following a load must add.",
        ge=1,
        le=1000,
    )
    trace: pl.String = option("File of requests in catalogs/traffic, from which the peak factor is taken.")

    @pa.dataframe_check
    @classmethod
    def hour_ratio_is_24_numbers_above_0(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A day has 24 hours, and at least one of them has requests."""
        return data.lazyframe.select(is_rhythm("hour_ratio", HOURS))

    @pa.dataframe_check
    @classmethod
    def day_ratio_is_7_numbers_above_0(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A week has 7 days, and at least one of them has requests."""
        return data.lazyframe.select(is_rhythm("day_ratio", DAYS))

    @pa.dataframe_check
    @classmethod
    def trace_or_peak_factor_ratio_is_stated(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A mean rate alone says nothing of its peaks."""
        return data.lazyframe.select(pl.col("peak_factor_ratio").is_not_null() | pl.col("trace").is_not_null())

    @pa.dataframe_check
    @classmethod
    def trace_is_a_file_name_without_a_folder(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A catalog reads no file outside its own folder."""
        return data.lazyframe.select(pl.col("trace").str.contains(r"^\w[\w.-]*$").fill_null(True))


def is_rhythm(name: str, length: int) -> pl.Expr:
    """Whether a list has one finite number of 0 or more for each hour or day, and not only zeros."""
    each = pl.col(name).list
    sound = (each.len() == length) & (each.min() >= 0) & (each.max() > 0) & (each.max() <= 1e9)  # noqa: PLR2004
    return sound.fill_null(pl.col(name).is_null())
