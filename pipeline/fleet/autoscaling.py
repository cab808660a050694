"""A fleet that follows the hours of a week, beside one that stands."""

from __future__ import annotations

import polars as pl
from polars import Expr, col

from pipeline.core.errors import UsageError

FLEET = ("traffic", "slo_requests_per_s", "replicas", "spare_replicas", "window_factor_ratio", "lag_margin_ratio")
ROUTINGS = ("random", "round-robin", "least-outstanding")


def replicas_for_rate(requests_per_s: Expr, slo_requests_per_s: Expr) -> Expr:
    """Replicas that a rate needs: the quotient rounded up, and one at least; unknown where a replica has no rate.

    A part in 10^9 is forgiven, so that 30 / 0.1 needs 300.
    """
    count = (requests_per_s / slo_requests_per_s * (1 - 1e-9)).ceil().clip(1).cast(pl.Int64, strict=False)
    return pl.when((slo_requests_per_s > 0) & slo_requests_per_s.is_finite()).then(count)


def replica_arrival_cv(arrival_cv: Expr, replicas: Expr, routing: str = "random") -> Expr:
    """How unevenly requests reach one of several replicas.

    Dealt out at random, the squared variation is 1 + (ca2 - 1) / n; in turn, or to the least busy one,
    ca2 / n, and 0.05 at least.

    Source: study of load, section 5, against simulation with 4 and 16 replicas.
    """
    if routing not in ROUTINGS:
        raise UsageError(f"routing = {routing}: one of {', '.join(ROUTINGS)}")
    if routing == "random":
        return (1 + (arrival_cv**2 - 1) / replicas).sqrt()
    return (arrival_cv**2 / replicas).clip(0.05).sqrt()


def autoscale(fleets: pl.DataFrame, hours: pl.DataFrame, replicas_min: int = 1) -> pl.DataFrame:
    """Replica-hours of a week: a fleet that follows the hourly profile, against the fixed one.

    In each hour the fleet has what the hour's rate needs with `window_factor_ratio` for its bursts and
    `lag_margin_ratio` for what may come while a replica starts, and the spare replicas; no fewer than
    `replicas_min`, and no more than the fixed fleet, which is enough for every hour. Where no lag margin
    is known, bursts come out of nothing and a fleet that reacts cannot follow: it is the fixed one.

    Args:
        fleets: `traffic`, `slo_requests_per_s` (of one replica, Poisson arrivals), `replicas` (the fixed
            fleet, spares included), `spare_replicas`, `window_factor_ratio`, `lag_margin_ratio`.
        hours: `traffic`, `requests_per_s`, a row for each hour: see `pipeline.fleet.demand.week`.
        replicas_min: replicas that are never switched off.

    Returns:
        The frame with `fixed_replica_hours`, `autoscaled_replica_hours` (of a week of these hours),
        `autoscaled_ratio` (one over the other) and `autoscaled_replicas_min`, the fewest in any hour.
    """
    if not 0 <= replicas_min <= 10**6:
        raise UsageError(f"fewest replicas = {replicas_min}: a whole number from 0 to 10^6")
    margin = pl.max_horizontal("window_factor_ratio", 1.0) * pl.max_horizontal(col("lag_margin_ratio"), 1.0)
    asked = replicas_for_rate(col("requests_per_s") * margin, col("slo_requests_per_s")) + col("spare_replicas")
    following = pl.when(col("lag_margin_ratio").is_not_null()).then(pl.max_horizontal(asked, pl.lit(replicas_min)))
    present = pl.when(asked.is_not_null()).then(pl.min_horizontal(following.fill_null(col("replicas")), "replicas"))
    keyed = fleets.select(*FLEET).with_row_index("row")
    rates = hours.group_by("traffic", "requests_per_s").agg(hours=pl.len())
    each = keyed.join(rates, on="traffic").with_columns(present=present)
    known = col("present").is_not_null().all()
    totals = each.group_by("row").agg(
        fixed_replica_hours=pl.when(known).then((col("replicas") * col("hours")).sum()),
        autoscaled_replica_hours=pl.when(known).then((col("present") * col("hours")).sum()),
        autoscaled_replicas_min=pl.when(known).then(col("present").min()),
    )
    ratio = col("autoscaled_replica_hours") / pl.when(col("fixed_replica_hours") > 0).then("fixed_replica_hours")
    added = keyed.select("row").join(totals, on="row", how="left", maintain_order="left").drop("row")
    return fleets.with_columns(added.with_columns(autoscaled_ratio=ratio))
