"""The unit that a column's name ends in, and the type that goes with it."""

from __future__ import annotations

import polars as pl

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
    "usd_per_hour": ("USD/h", REAL),
    "usd_per_mtok": ("USD/10^6 token", REAL),
    "usd_per_mtok_output": ("USD/10^6 output token", REAL),
    "usd_per_mtok_input": ("USD/10^6 input token", REAL),
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
