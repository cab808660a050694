"""A model's facts become an entry of a catalog: tidy TOML, with source and date, that clashes with nothing."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import tomlkit

from pipeline.core.errors import CatalogError
from pipeline.facts.names import all_names, is_id
from pipeline.facts.tomlfile import read_text, size_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date
    from pathlib import Path

    from pipeline.facts.catalog import Catalogs

FILE = "models/added.toml"
MOST_CONFIG_BYTES = 10**7
"""Of a config.json: quantisation settings of every layer may take a megabyte."""
CONFIG, COUNTED = "huggingface-config", "computed-from-config"
COUNTS = re.compile(r"\w*parameter_count|state_bytes_per_layer|rope_cache_bytes|tower_is_split|tower_tokens_max")
"""Fields that formulas make of the config; the others stand in it."""

SOURCES = {
    CONFIG: ("config.json files of the models' Hugging Face repositories", "https://huggingface.co", "config"),
    COUNTED: ("counted from config.json by capgrid, pipeline/facts/config/counted.py", "", "count"),
}


def read_config(path: Path) -> dict[str, Any]:
    """A config.json.

    Raises:
        CatalogError: it cannot be read, or is not a JSON object.
    """
    text = read_text(path, str(path), MOST_CONFIG_BYTES)
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CatalogError([f"{path}: not valid JSON: {error}"]) from error
    if not isinstance(config, dict):
        raise CatalogError([f"{path}: is not a JSON object"])
    if wrong := size_problem(config):
        raise CatalogError([f"{path}: not valid JSON: {wrong}"])
    return config


def entry_toml(entry: Mapping[str, Any], name: str, said: str) -> tomlkit.items.Table:
    """An entry as a TOML table, opened by a comment that says where it comes from."""
    table = tomlkit.table()
    table.add(tomlkit.comment(said))
    table.add("model", name)
    for field, value in entry.items():
        if value is not None and field != "model":
            table.add(field, inline_table(value) if isinstance(value, dict) else value)
    table.add("source", CONFIG)
    table.add(
        "source_of",
        inline_table({field: COUNTED for field in entry if COUNTS.fullmatch(field) and entry[field] is not None}),
    )
    return table


def inline_table(values: Mapping[str, Any]) -> tomlkit.items.InlineTable:
    """A mapping on one line."""
    table = tomlkit.inline_table()
    table.update(values)
    return table


def check_free(catalogs: Catalogs, entry: Mapping[str, Any], name: str) -> None:
    """Refuse an id that cannot be one, and names that another model has.

    Raises:
        CatalogError: which, and whose they are.
    """
    if not is_id(name):
        raise CatalogError([f"'{name}' is no id: lower case letters, digits, dots, dashes, 100 at most; use --name"])
    taken = catalogs.names("model").ids
    clashes = {
        each: taken[each.casefold()]
        for each in all_names("model", {**entry, "model": name})
        if each.casefold() in taken
    }
    if clashes:
        raise CatalogError(f"the name '{each}' is taken by the model '{owner}'" for each, owner in clashes.items())


def add_model(
    catalogs: Catalogs, entry: Mapping[str, Any], name: str, on: date, load: Callable[[Path], Catalogs]
) -> Path:
    """Append a model to a catalog folder, and read the whole folder again to see that it stands.

    Args:
        catalogs: the folder as it is.
        entry: the fields of the model.
        name: its id.
        on: day that the entry says it was added on.
        load: reads a catalog folder.

    Raises:
        CatalogError: the names clash, or the catalogs would not load with it; nothing is changed then.
    """
    check_free(catalogs, entry, name)
    paths = {path: path.read_text(encoding="utf-8") if path.is_file() else None for path in changed_files(catalogs)}
    try:
        models, sources = changed_files(catalogs)
        write_entry(models, entry_toml(entry, name, f"added {on} from its config.json"))
        write_sources(sources, on)
        load(catalogs.home)
    except CatalogError:
        restore_files(paths)
        raise
    except OSError as error:
        restore_files(paths)
        raise CatalogError(
            [f"{catalogs.home}: cannot be written: {error.strerror}; copy the folder, and name it with --catalogs"]
        ) from error
    return models


def changed_files(catalogs: Catalogs) -> tuple[Path, Path]:
    """The files that an added model changes: its own, and the sources."""
    return catalogs.home / FILE, catalogs.folder / "sources.toml"


def write_entry(path: Path, table: tomlkit.items.Table) -> None:
    """Append one [[model]] block to a file."""
    document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.is_file() else tomlkit.document()
    if not path.is_file():
        document.add(tomlkit.comment("Models added with `capgrid model add`."))
    blocks = document.setdefault("model", tomlkit.aot())
    blocks.append(table)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomlkit.dumps(document), encoding="utf-8")


def write_sources(path: Path, on: date) -> None:
    """Add the sources that an added model names, where they are missing."""
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    if SOURCES.keys() <= document.keys():
        return
    for name, (title, url, kind) in SOURCES.items():
        if name not in document:
            document.add(name, {"title": title, "url": url, "read_on": on, "kind": kind})
    path.write_text(tomlkit.dumps(document), encoding="utf-8")


def restore_files(paths: Mapping[Path, str | None]) -> None:
    """Put files back as they were."""
    for path, text in paths.items():
        if text is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(text, encoding="utf-8")
