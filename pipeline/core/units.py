"""The unit that a column's name ends in, and the type that goes with it."""

from __future__ import annotations

import re

import polars as pl

from pipeline.core.errors import UsageError

WHOLE, REAL = pl.Int64(), pl.Float64()

UNITS: dict[str, tuple[str, pl.DataType]] = {
    # suffix: unit, type; the longest that fits wins
    "bytes_per_token": ("B/token", REAL),
    "bytes_per_logit": ("B/logit", REAL),
    "bytes_per_element": ("B/element", REAL),
    "bytes_per_layer": ("B/layer", WHOLE),
    "bytes_per_sequence": ("B/sequence", WHOLE),
    "bytes_per_s": ("B/s", REAL),
    "flop_per_s": ("FLOP/s", REAL),
    "flop_per_token": ("FLOP/token", REAL),
    "tokens_per_s": ("token/s", REAL),
    "requests_per_s": ("request/s", REAL),
    "per_s": ("1/s", REAL),
    "usd_per_hour": ("USD/h", REAL),
    "usd_per_mtok": ("USD/10^6 token", REAL),
    "usd_per_mtok_output": ("USD/10^6 output token", REAL),
    "usd_per_mtok_input": ("USD/10^6 input token", REAL),
    "usd_per_mtok_cached": ("USD/10^6 cached token", REAL),
    "usd_per_month": ("USD/month", REAL),
    "usd_per_request": ("USD/request", REAL),
    "usd_per_kwh": ("USD/kWh", REAL),
    "usd_per_kw_month": ("USD/(kW month)", REAL),
    "usd": ("USD", REAL),
    "requests_per_month": ("request/month", REAL),
    "kwh_per_month": ("kWh/month", REAL),
    "kg_per_month": ("kg/month", REAL),
    "kwh_per_mtok": ("kWh/10^6 output token", REAL),
    "kg_per_mtok": ("kg/10^6 output token", REAL),
    "g_per_kwh": ("g/kWh", REAL),
    "years": ("year", REAL),
    "j_per_token": ("J/token", REAL),
    "bits": ("bit", REAL),
    "bytes": ("B", WHOLE),
    "count": ("1", WHOLE),
    "flop": ("FLOP", REAL),
    "ratio": ("1", REAL),
    "s": ("s", REAL),
    "tokens": ("token", WHOLE),
    "w": ("W", REAL),
}


def unit_of(column: str) -> str:
    """State the unit in a column's name; empty for bare counts, names and truths.

    >>> unit_of("kv_cache_bytes"), unit_of("ttft_s_lo"), unit_of("batch_max")
    ('B', 's', '')
    """
    base = column.removesuffix("_lo").removesuffix("_hi")
    fitting = [suffix for suffix in UNITS if base == suffix or base.endswith(f"_{suffix}")]
    return UNITS[max(fitting, key=len)][0] if fitting else ""


WRITTEN: dict[str, dict[str, float]] = {
    "B": {
        "": 1,
        "B": 1,
        "KB": 1e3,
        "MB": 1e6,
        "GB": 1e9,
        "TB": 1e12,
        "KIB": 2**10,
        "MIB": 2**20,
        "GIB": 2**30,
        "TIB": 2**40,
    },
    "s": {"": 1, "S": 1, "MS": 1e-3, "US": 1e-6, "MIN": 60, "H": 3600, "D": 86_400},
    "B/s": {"": 1, "GB/S": 1e9, "TB/S": 1e12},
    "FLOP/s": {"": 1, "TFLOP/S": 1e12, "PFLOP/S": 1e15},
}
"""Units that a person may write, by base unit: GB is 10^9 bytes, GiB is 2^30."""


def in_base_units(text: str, unit: str) -> float | int | str:
    """A number in base units; a bare number is in base units already, a text that is no number stays.

    >>> in_base_units("80GB", "B"), in_base_units("50ms", "s"), in_base_units("0.9", "1"), in_base_units("true", "")
    (80000000000, 0.05, 0.9, 'true')
    >>> in_base_units("79.19GiB", "B")
    85029615043
    """
    found = re.fullmatch(r"\s*([-+]?[\d_]*\.?\d+(?:[eE][-+]?\d+)?)\s*([A-Za-z/]*)\s*", text)
    factors = WRITTEN.get(unit, {"": 1})
    if not found:
        return text
    if found[2].upper() not in factors:
        message = f"'{text}': no unit '{found[2]}' here; known: {', '.join(filter(None, factors)) or 'none'}"
        raise UsageError(message)
    number = float(found[1]) * factors[found[2].upper()]
    if unit == "B" and found[2]:
        return round(number)
    return int(number) if number.is_integer() and "e" not in text.lower() and "." not in found[1] else number
