"""The functions for notebooks and services: catalogs, estimate, point. `import pipeline` offers them by name."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import polars.selectors as cs

from pipeline.core.places import bundled
from pipeline.core.quantity import evaluate, in_order
from pipeline.estimators.attention import KINDS, needed_fields
from pipeline.facts.catalog import load
from pipeline.grid.point import Point, point_axes, point_row
from pipeline.grid.tables import book_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from pathlib import Path

    from pipeline.facts.catalog import Catalogs


def catalogs(folder: Path | None = None) -> Catalogs:
    """The catalogs of a folder, or those that come with capgrid, checked.

    A folder without sources.toml is read beside those that come with capgrid: what it holds is added.

    Returns:
        `frames`: a Polars frame for each kind of entry; `facts`: one row for every fact with its
        source; `resolve(kind, name)`: the id of any name.

    Raises:
        pipeline.core.errors.CatalogError: everything that is wrong, a line each.

    >>> catalogs().resolve("accelerator", "H100")
    'h100-sxm-80gb'
    """
    kinds = {kind: needed_fields(kind) for kind in KINDS}
    if folder and not (folder / "sources.toml").is_file() and any(folder.rglob("*.toml")):
        return load(bundled("catalogs"), kinds, beside=folder)
    return load(folder or bundled("catalogs"), kinds)


def estimate(frame: pl.DataFrame, wanted: Sequence[str]) -> pl.DataFrame:
    """A frame of your own with quantities beside its columns, each row on its own.

    The frame gives the inputs: facts, or any quantity in place of its formula. Units are base
    units, as the names say.

    Args:
        frame: one row for each case.
        wanted: names of quantities: `capgrid sql "FROM columns"` describes the published ones.

    Raises:
        pipeline.core.errors.MissingInputError: names every input that is missing.
        pipeline.core.errors.UnknownNameError: no quantity has that name.

    >>> import polars as pl
    >>> frame = pl.DataFrame({"kv_pool_bytes": [60 * 10**9, 20 * 10**9], "sequence_bytes": 4 * 10**8, "dp": 1})
    >>> estimate(frame, ["batch_max"])["batch_max"].to_list()
    [150, 50]
    """
    order = in_order(book_for(frame), wanted, set(frame.columns))
    wide = cs.integer().cast(pl.Int64)  # bytes are more than 32 bits count
    typed = frame.lazy().with_columns(cs.by_dtype(pl.Null).cast(pl.Float64), wide)
    own = [pl.col(name).cast(dtype) if dtype.is_integer() else pl.col(name) for name, dtype in frame.schema.items()]
    return evaluate(typed, order).select(*own, *(name for name in wanted if name not in frame.columns)).collect()


def point(
    model: str, accelerator: str, *, as_of: date | None = None, folder: Path | None = None, **plan: Any
) -> dict[str, Any]:
    """Every quantity of one plan by name, as `capgrid point --json` prints it.

    Args:
        model: id, alias or Hugging Face id.
        accelerator: id or alias.
        as_of: day whose prices hold; today where left out.
        folder: catalogs to use instead of those that come with capgrid.
        plan: weights, kv, engine, workload, tp, pp, ep, batch, market, and `facts`: columns to take
            otherwise than the catalogs say, such as {"prompt_tokens": 2048}.

    Raises:
        pipeline.core.errors.UnknownNameError: a name that no catalog knows; says the nearest.
        pipeline.core.errors.PipelineError: the plan cannot run; says why.

    >>> point("llama-3.1-8b", "h100", tp=2)["device_count"]
    2
    """
    day = as_of or datetime.now().astimezone().date()
    return point_row(point_axes(Point(model, accelerator, **plan), catalogs(folder), day))
