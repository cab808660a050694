"""Commands that bring a model of one's own: model facts, model add."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import catalogs_option, format_options, loaded
from pipeline.cli.output import as_json, for_people, show

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG = click.argument("config", type=click.Path(path_type=Path), required=False)
hf_option = click.option(
    "--hf", "hf_id", metavar="ID", help="Fetch config.json of this Hugging Face repository (extra hf)."
)


@click.group()
def model() -> None:
    """Bring your own model: exact facts from a Hugging Face config.json, offline.

    \b
    Example:
      capgrid model facts config.json
    """  # noqa: D301


def config_of(path: Path | None, hf_id: str | None) -> dict[str, Any]:
    """The config that was asked for: a file, or a repository's.

    Raises:
        UsageError: neither, or both.
    """
    from pipeline.core.errors import UsageError  # noqa: PLC0415
    from pipeline.facts.adding import read_config  # noqa: PLC0415

    if (path is None) == (hf_id is None):
        raise UsageError("give one CONFIG.json, or --hf ID")
    return read_config(path if path is not None else fetched(str(hf_id)))


def fetched(hf_id: str) -> Path:
    """The config.json of a Hugging Face repository, from its cache or the network.

    Raises:
        PipelineError: huggingface_hub is not installed, or the repository cannot be reached.
    """
    from pipeline.core.errors import PipelineError  # noqa: PLC0415

    try:
        from huggingface_hub import hf_hub_download  # noqa: PLC0415
    except ImportError as error:
        raise PipelineError("--hf needs huggingface_hub: pip install 'capgrid[hf]'") from error
    try:
        return Path(hf_hub_download(hf_id, "config.json"))
    except Exception as error:
        raise PipelineError(f"{hf_id}: config.json cannot be fetched: {str(error).splitlines()[0]}") from error


@model.command()
@CONFIG
@click.option("--name", default="", help="Name to show.")
@hf_option
@format_options
def facts(config: Path | None, name: str, hf_id: str | None, shape: str) -> None:
    """Say what a config.json means: parameters, active parameters, KV cache and state per token.

    \b
    Example:
      capgrid model facts config.json --json
    """  # noqa: D301
    from pipeline.facts.config.counted import config_facts  # noqa: PLC0415

    found = config_facts(config_of(config, hf_id))
    found = {"model": name, **found} if name else found
    if shape == "json":
        click.echo(as_json(found))
        return
    for warning in found.pop("warnings"):
        click.echo(f"warning: {warning}", err=True)
    print_fields(found, shape)


def print_fields(found: dict[str, Any], shape: str) -> None:
    """Facts as rows of two columns: for people with units, for programs as they are."""
    import polars as pl  # noqa: PLC0415

    from pipeline.core.units import unit_of  # noqa: PLC0415
    from pipeline.facts.values import value_text  # noqa: PLC0415

    def text(field: str, value: Any) -> str:
        if isinstance(value, list):
            return "; ".join(map(value_text, value))
        return value_text(value) if isinstance(value, dict) or shape != "table" else for_people(value, unit_of(field))

    show(pl.DataFrame([{"fact": field, "value": text(field, value)} for field, value in found.items()]), shape)


@model.command()
@CONFIG
@click.option("--name", required=True, help="Id of the entry: lower case, such as my-model-8b.")
@hf_option
@catalogs_option
def add(config: Path | None, name: str, hf_id: str | None, catalogs_folder: Path | None) -> None:
    """Add a model to the catalogs: a tidy entry of models/added.toml, with source and date; clashes are refused.

    \b
    Example:
      capgrid model add config.json --name my-model-8b --catalogs my-catalogs
    """  # noqa: D301
    from datetime import datetime  # noqa: PLC0415

    import pipeline  # noqa: PLC0415
    from pipeline.facts.adding import add_model  # noqa: PLC0415
    from pipeline.facts.config.counted import config_facts, entry_of  # noqa: PLC0415

    said = config_of(config, hf_id)
    for warning in config_facts(said)["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    entry = {"name": name, "family": name.partition("-")[0], "hf_id": hf_id, **entry_of(said)}
    load: Callable[[Path], Any] = pipeline.catalogs
    path = add_model(loaded(catalogs_folder), entry, name, datetime.now().astimezone().date(), load)
    click.echo(f"{name} stands in {path}")


COMMANDS = (model,)
