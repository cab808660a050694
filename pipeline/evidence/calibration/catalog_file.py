"""A catalog file of fitted constants, each block with its rows, held-out error and day."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import tomlkit

from pipeline.evidence.blocks import write_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import date
    from pathlib import Path

    from pipeline.evidence.calibration.fits import Fit

SOURCE = "measured-here"
DIGITS = 5
"""Significant digits of a fitted constant: more than any fit is sure of."""
LONGEST = 200
HEADER = "Constants fitted to measurements by `capgrid calibrate`; they hold in place of those of the catalogs."


def block_of(fit: Fit, on: date, note: str) -> tomlkit.items.Table:
    """One [[calibration]] block."""
    table = tomlkit.table()
    table.add("calibration", name_of(fit))
    table.add(fit.kind, fit.name)
    for name, value in fit.solution.values.items():
        table.add(name, float(f"{value:.{DIGITS}g}"))
    table.add("rows", fit.rows)
    table.add("error_ratio", round(fit.held[0].median_after, DIGITS))
    table.add("fitted_on", on)
    table.add("note", note)
    table.add("source", SOURCE)
    return table


def name_of(fit: Fit) -> str:
    """The id of a fit's block: a second fit of the same thing replaces the first."""
    return f"measured-{re.sub('[^a-z0-9._-]', '-', fit.name.lower())}"


def note_of(paths: Sequence[Path], fit: Fit) -> str:
    """Which rows, what was left out to judge the error, and how far it was before."""
    files = ", ".join(path.name for path in paths)
    named = files if len(files) <= LONGEST and files.isprintable() else f"{len(paths)} files"
    held = fit.held[0]
    return f"{named}; error with {held.left_out} left out, {held.median_before:.1%} before"


def write_calibrations(path: Path, blocks: Iterable[tomlkit.items.Table], load: Callable[[Path], object]) -> None:
    """Put blocks into a file, in place of those of the same id, and read its folder to see that it stands.

    Raises:
        CatalogError: the file is not one of calibrations, or its folder would not load; nothing is changed then.
    """
    write_blocks(path, HEADER, [("calibration", block) for block in blocks], load)
