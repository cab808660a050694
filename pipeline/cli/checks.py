"""Commands about capgrid itself: check, doctor, demo."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from pipeline import api
from pipeline.answers.checking import check_catalogs, check_tables, health
from pipeline.cli.options import catalogs_option, out_option, run_option
from pipeline.cli.output import as_json, talk
from pipeline.run.finished import LATEST, find_run

if TYPE_CHECKING:
    from pathlib import Path


@click.command("check")
@run_option
@out_option
@catalogs_option
@click.option("--json", "as_data", is_flag=True, help="Print the findings as JSON.")
def check_command(run_id: str | None, out: Path, catalogs_folder: Path | None, *, as_data: bool) -> None:
    """Check the catalogs and, where there is one, a run: every promise that their schemas make.

    \b
    Example:
      capgrid check --out outputs
    """  # noqa: D301
    catalogs = api.catalogs(catalogs_folder)
    found = {"catalogs": check_catalogs(catalogs)}
    if run_id or (out / LATEST).is_symlink():
        found["run"] = check_tables(find_run(out, run_id))
    else:
        talk(f"{out}: no run yet; only the catalogs were checked")
    click.echo(
        as_json(found) if as_data else "\n".join(f"{part}: {line}" for part, lines in found.items() for line in lines)
    )


@click.command()
@out_option
@catalogs_option
@click.option("--json", "as_data", is_flag=True, help="Print as JSON.")
def doctor(out: Path, catalogs_folder: Path | None, *, as_data: bool) -> None:
    """Say what this installation is: versions, catalogs and their ages, storage version, the latest run.

    \b
    Example:
      capgrid doctor
    """  # noqa: D301
    state = health(api.catalogs(catalogs_folder), out)
    click.echo(as_json(state) if as_data else "\n".join(f"{name:<22} {value}" for name, value in state.items()))


DEMO = (
    (
        "Does Llama 3.1 8B fit on one H100, and how fast is it?",
        ["point", "--model", "llama-3.1-8b", "--accelerator", "h100", "--batch", "32"],
    ),
    (
        "How many sequences before it runs out of memory?",
        ["ask", "max_batch", "--model", "llama-3.1-8b", "--workload", "chat", "--set", "limit=8"],
    ),
    (
        "Where does that number come from?",
        ["explain", "batch_max", "--model", "llama-3.1-8b", "--accelerator", "h100", "--depth", "2"],
    ),
    ("And the article that this began with?", ["ask", "case_study"]),
)


@click.command()
@out_option
@click.pass_context
def demo(ctx: click.Context, out: Path) -> None:
    """Show the first five minutes: a small run, and four questions with the commands that ask them.

    \b
    Example:
      capgrid demo
    """  # noqa: D301

    def do(title: str, args: list[str]) -> None:
        reads_runs = args[0] in {"run", "ask"}
        click.secho(f"\n{title}", bold=True)
        click.secho(f"$ capgrid {' '.join(args)}", dim=True)
        invoke_typed([*args, *(["--out", str(out)] if reads_runs else [])], ctx)

    do(
        "A run of the small grid, for a start:",
        ["run", "--grid", "small", "--workers", str(min(2, os.cpu_count() or 1))],
    )
    for title, args in DEMO:
        do(title, args)
    click.echo(
        "\nNext: `capgrid run` makes the full grid; `capgrid ask` lists the questions; `capgrid --help` the commands."
    )


def invoke_typed(args: list[str], parent: click.Context) -> None:
    """Run another command of capgrid as if typed."""
    group: Any = parent.find_root().command
    _, command, rest = group.resolve_command(parent, args)
    with command.make_context(command.name, rest, parent=parent) as ctx:
        command.invoke(ctx)


COMMANDS = (check_command, doctor, demo)
