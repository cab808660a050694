"""Open a workbook in LibreOffice, edit cells, recalculate, and read cells: run by a Python that has `uno`.

Reads a job as JSON from stdin: {"path", "edits": [{"Sheet!A1": value, ...}, ...], "reads": ["Sheet!A1:B2", ...]}.
Prints a list of states, the first as loaded, the second recalculated, then one for each edit:
{"cells": {range: rows}, "errors": number of cells in error on all sheets}.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TRIES, PAUSE_S = 240, 0.25
IN_ERROR = 4
"""Formula results that `queryFormulaCells` looks for."""


def connected(uno: Any, name: str) -> Any:
    """The desktop of the LibreOffice that listens on a pipe."""
    here = uno.getComponentContext()
    resolver = here.ServiceManager.createInstanceWithContext("com.sun.star.bridge.UnoUrlResolver", here)
    for _ in range(TRIES):
        try:
            there = resolver.resolve(f"uno:pipe,name={name};urp;StarOffice.ComponentContext")
            return there.ServiceManager.createInstanceWithContext("com.sun.star.frame.Desktop", there)
        except Exception:  # noqa: BLE001
            time.sleep(PAUSE_S)
    raise TimeoutError("LibreOffice does not answer")


def place(document: Any, where: str) -> Any:
    """A range of cells by name."""
    sheet, _, cells = where.partition("!")
    return document.Sheets.getByName(sheet).getCellRangeByName(cells)


def state(document: Any, reads: list[str]) -> dict[str, Any]:
    """The cells asked for, and how many cells anywhere are in error."""
    sheets = [document.Sheets.getByIndex(at) for at in range(document.Sheets.Count)]
    wrong = [sheet.queryFormulaCells(IN_ERROR).Cells.createEnumeration() for sheet in sheets]
    count = 0
    for cells in wrong:
        while cells.hasMoreElements():
            cells.nextElement()
            count += 1
    return {"cells": {each: place(document, each).getDataArray() for each in reads}, "errors": count}


def edit(document: Any, changes: dict[str, Any]) -> None:
    """Type values into cells; null empties one."""
    for where, value in changes.items():
        cell = place(document, where).getCellByPosition(0, 0)
        if isinstance(value, (int, float)):
            cell.setValue(value)
        else:
            cell.setString(value or "")


def main() -> None:
    """Do the job."""
    import uno  # type: ignore[import-not-found]
    from com.sun.star.beans import PropertyValue  # type: ignore[import-not-found]

    job = json.load(sys.stdin)
    hidden = PropertyValue()
    hidden.Name, hidden.Value = "Hidden", True
    name = f"capgrid{os.getpid()}"
    with tempfile.TemporaryDirectory() as profile:
        words = [f"-env:UserInstallation={Path(profile).as_uri()}", f"--accept=pipe,name={name};urp;"]
        office = subprocess.Popen(
            ["soffice", "--headless", "--invisible", "--norestore", *words],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            desktop = connected(uno, name)
            document = desktop.loadComponentFromURL(Path(job["path"]).resolve().as_uri(), "_blank", 0, (hidden,))
            states = [state(document, job["reads"])]
            for changes in [{}, *job["edits"]]:
                edit(document, changes)
                document.calculateAll()
                states.append(state(document, job["reads"]))
            document.close(True)
            json.dump(states, sys.stdout)
            end(desktop)
            office.wait(30)
        finally:
            office.kill()


def end(desktop: Any) -> None:
    """Let LibreOffice end; it may be gone before it answers."""
    try:
        desktop.terminate()
    except Exception:  # noqa: BLE001
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
