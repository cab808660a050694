"""How large a run will be, before it is made: rows counted, bytes from a sample of them."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from pipeline.core.files import LEVEL
from pipeline.grid.tables import capacity_of, estimates_of
from pipeline.run.compute import count_plans
from pipeline.run.partitions import Partition, partitions

if TYPE_CHECKING:
    import polars as pl

    from pipeline.grid.axes import Axes
    from pipeline.grid.plan import Census

SAMPLES = 5
ROWS_A_SAMPLE = 60_000
FOOTER_BYTES = 20_000
"""What a file of either table takes besides its rows."""


@dataclass(frozen=True)
class Forecast:
    """What a run will hold."""

    census: Census
    capacity: int
    estimates: int
    capacity_bytes: int
    """Of the answers, which stand twice: for each model, and together."""
    estimates_bytes: int
    partitions: int


def forecast(axes: Axes) -> Forecast:
    """Rows and bytes of a run. Rows are exact; bytes come from a sample, and are about a fifth off at most.

    Raises:
        GridError: not one row can be.
    """
    found = count_plans(axes)
    capacity = found.kept * axes["workload"].height
    estimates = capacity * axes["batch"].height
    row_bytes = {"capacity": 0.0, "estimates": 0.0} | sample_row_bytes(axes)
    parts = partitions(axes)
    footers = FOOTER_BYTES * sum(len(part.models) for part in parts)
    return Forecast(
        found,
        capacity,
        estimates,
        int(2 * capacity * row_bytes["capacity"]) + footers,
        int(estimates * row_bytes["estimates"]) + footers,
        len(parts),
    )


def sample_row_bytes(axes: Axes) -> dict[str, float]:
    """Bytes that a row of each table takes, from a few models in cuts of some thousand rows."""
    sizes: dict[str, list[tuple[int, int]]] = {"estimates": [], "capacity": []}
    for part in spread_parts(partitions(axes, most_of_a_model=ROWS_A_SAMPLE)):
        own = part.axes(axes, part.models[:1])
        curves = estimates_of(own)
        if curves.height:
            sizes["estimates"].append(stored_size(curves))
            sizes["capacity"].append(stored_size(capacity_of(own)))
    return {table: sum(b for _, b in each) / sum(n for n, _ in each) for table, each in sizes.items() if each}


def spread_parts(parts: list[Partition]) -> list[Partition]:
    """A few partitions, spread evenly."""
    step = max(1, len(parts) // SAMPLES)
    return parts[step // 2 :: step][:SAMPLES]


def stored_size(rows: pl.DataFrame) -> tuple[int, int]:
    """Rows of a table, and the bytes that they take as Parquet, footer left out."""
    files = [BytesIO(), BytesIO()]
    for file, of in zip(files, (rows, rows.clear()), strict=True):
        of.write_parquet(file, compression="zstd", compression_level=LEVEL)
    return rows.height, files[0].tell() - files[1].tell()
