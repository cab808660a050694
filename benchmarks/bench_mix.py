"""Seconds to spread many demands over many kinds of device: 10 x 20 x 3 plans each, under quotas and budgets.

`python benchmarks/bench_mix.py [--rounds N] [--demands N] [--devices N] [--plans N] [--spares N]`. Rates and prices
are drawn at random; plans of one device carry a little less per dollar the more devices they take.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import polars as pl

from pipeline.fleet.mix.cheapest import solve_mix
from pipeline.fleet.mix.limits import Limits, Quota
from pipeline.fleet.mix.sensitivity import at_bad_end, at_other_prices

WITHIN_S = 10.0


def main() -> None:
    """Print the seconds of each search, and how far its answer may be from the best."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, count in (("rounds", 5), ("demands", 10), ("devices", 20), ("plans", 3), ("spares", 1)):
        parser.add_argument(f"--{name}", type=int, default=count)
    asked = parser.parse_args()
    for seed in range(asked.rounds):
        rng = np.random.default_rng(seed)
        options = options_of(rng, asked.demands, asked.devices, asked.plans)
        demands = demands_of(rng, asked.demands, asked.spares)
        told(seed, options, demands, limits_of(rng, options, demands))


def told(seed: int, options: pl.DataFrame, demands: pl.DataFrame, limits: Limits) -> None:
    """One case: the fleet, its sensitivity, and how long each took."""
    began = time.perf_counter()
    mix = solve_mix(options, demands, limits)
    spent = time.perf_counter() - began
    cost = f"{mix.usd_per_hour:9,.2f} USD/h, gap {mix.gap_ratio:.4%}" if mix.is_feasible else mix.problems[0]
    print(f"seed {seed}: {options.height} options, {spent:5.2f} s (under {WITHIN_S:g}: {spent < WITHIN_S}); {cost}")
    if mix.is_feasible:
        began = time.perf_counter()
        prices = at_other_prices(mix, options, demands, limits)
        middle = time.perf_counter()
        end = at_bad_end(mix, options, demands, limits)
        changed = (prices["choice"] != "same").sum()
        print(
            f"        {prices.height} other prices {middle - began:5.1f} s, {changed} change the choice; "
            f"bad end {time.perf_counter() - middle:4.1f} s, {end.demands['holds_at_lo'].sum()} demands hold"
        )


def options_of(rng: np.random.Generator, demands: int, devices: int, plans: int) -> pl.DataFrame:
    """Plans of 1, 2, 4 ... devices for every demand on every kind of device."""
    speed, price = rng.uniform(0.3, 4, devices), rng.uniform(0.8, 1.2, devices)
    rows = []
    for demand in range(demands):
        for device in range(devices):
            for plan in range(plans):
                count = 2**plan
                rate = speed[device] * count ** rng.uniform(0.8, 1.05) * rng.uniform(0.5, 1.5)
                rows.append({
                    "demand": f"demand-{demand}", "accelerator": f"device-{device}",
                    "price_cloud": f"cloud-{device % 3}",
                    "device_count": count, "node_devices": 8, "power_w": 300.0 * speed[device] * count,
                    "device_usd_per_hour": round(2.0 * speed[device] * price[device], 2),
                    "slo_requests_per_s": rate, "slo_requests_per_s_lo": rate * rng.uniform(0.5, 0.8),
                })  # fmt: skip
    return pl.DataFrame(rows)


def demands_of(rng: np.random.Generator, demands: int, spares: int) -> pl.DataFrame:
    """Demands of some ten to a hundred replicas."""
    return pl.DataFrame(
        {
            "demand": [f"demand-{each}" for each in range(demands)],
            "requests_per_s": rng.uniform(10, 150, demands),
            "headroom_ratio": 0.1,
            "spare_replicas": spares,
        }
    )


def limits_of(rng: np.random.Generator, options: pl.DataFrame, demands: pl.DataFrame) -> Limits:
    """A quota for every kind of device, one for a cloud, and budgets that are wide."""
    kinds, rate = options["accelerator"].unique().sort(), float(demands["requests_per_s"].sum())
    share = rate / kinds.len()
    quotas = [Quota(int(share * rng.uniform(0.4, 1.6)), (kind,)) for kind in kinds]
    return Limits((*quotas, Quota(int(0.4 * rate), clouds=("cloud-0",))), 2.5 * rate, 400.0 * rate)


if __name__ == "__main__":
    main()
