"""A run with a model whose name tries to be markup, a script, and text of another direction."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Finished

HOSTILE = "<img src=x onerror=document.title='owned'>|`*_" + chr(0x202E) + "abc"
INSTEAD_OF = "gemma-3-4b"


def hostile_run(small: Finished, tmp_path: Path) -> Path:
    """A copy of the small run in which one model has another name."""
    folder = tmp_path / "outputs" / small.folder.name
    shutil.copytree(small.folder, folder)
    estimates = folder / "estimates"
    (estimates / f"model={INSTEAD_OF}").rename(estimates / f"model={HOSTILE}")
    for path in (
        folder / "capacity.parquet",
        folder / "facts.parquet",
        estimates / f"model={HOSTILE}" / "part-0.parquet",
    ):
        rows = pl.read_parquet(path, hive_partitioning=False, glob=False)
        renamed = [name for name in ("model", "name") if name in rows.columns]
        rows.with_columns(pl.col(renamed).cast(pl.String).replace(INSTEAD_OF, HOSTILE)).write_parquet(path)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    manifest["files"] = {str(path.relative_to(folder)): path.stat().st_size for path in files}
    manifest["folder"] = str(folder)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder
