"""What hostile tests share: commands that must not end in a traceback, and a run with a name that means harm."""

from __future__ import annotations

import json
import shutil
import unicodedata
from typing import TYPE_CHECKING

import polars as pl
from click.testing import CliRunner, Result

from pipeline.cli.main import cli

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Finished

HOSTILE = "<img src=x onerror=document.title='owned'>|`*_" + chr(0x202E) + "abc"
INSTEAD_OF = "gemma-3-4b"


def hostile_run(small: Finished, tmp_path: Path, name: str = HOSTILE) -> Path:
    """A copy of the small run in which one model has another name."""
    folder = tmp_path / "outputs" / small.folder.name
    shutil.copytree(small.folder, folder)
    estimates = folder / "estimates"
    (estimates / f"model={INSTEAD_OF}").rename(estimates / f"model={name}")
    for path in (folder / "capacity.parquet", folder / "facts.parquet", estimates / f"model={name}" / "part-0.parquet"):
        rows = pl.read_parquet(path, hive_partitioning=False, glob=False)
        renamed = [each for each in ("model", "name") if each in rows.columns]
        rows.with_columns(pl.col(renamed).cast(pl.String).replace(INSTEAD_OF, name)).write_parquet(path)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    manifest["files"] = {str(path.relative_to(folder)): path.stat().st_size for path in files}
    manifest["folder"] = str(folder)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def asked(*words: object) -> Result:
    """A command that ends well, or with a message and a documented exit code; never with a traceback."""
    result = CliRunner().invoke(cli, [str(each) for each in words])
    wrong = result.exception is not None and not isinstance(result.exception, SystemExit)
    if wrong:
        raise AssertionError(f"a traceback: {result.exception!r}") from result.exception
    assert result.exit_code in {0, 1, 2}
    if result.exit_code:
        assert "Error: " in result.stderr
        assert not shows_hidden(result.stderr)
    return result


def shows_hidden(text: str) -> list[str]:
    """Characters that steer a terminal or turn a text around, line ends and tabs aside."""
    return [
        each for each in text if unicodedata.category(each) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and each not in "\n\t"
    ]
