"""Words and spans that every account of money shares."""

from __future__ import annotations

SOLD = ("on-demand", "spot", "reserved-1y", "reserved-3y")
"""Markets in which clouds sell devices by the hour."""
MARKETS = (*SOLD, "owned")
"""Every way to have a device."""
DEFAULT_SITE = "us-average"
"""Where owned devices stand, if nobody says: an entry of catalogs/sites.toml."""

HOURS_PER_YEAR = 8766.0
"""A year of 365.25 days."""
HOURS_PER_MONTH = HOURS_PER_YEAR / 12
"""A twelfth of that year."""
