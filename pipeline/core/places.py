"""Where the catalogs and the SQL that come with the package stand."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent.parent


def bundled(name: str) -> Path:
    """The `catalogs` or `sql` folder: inside an installed wheel, or beside the package in a checkout."""
    installed = PACKAGE / "_data" / name
    return installed if installed.is_dir() else PACKAGE.parent / name
