"""The commands by group and name, known without importing any of their modules."""

from __future__ import annotations

from importlib import import_module
from inspect import cleandoc
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Mapping

CATALOGS = ("models", "accelerators", "engines", "formats", "workloads", "traffic", "sites")
GROUPS = {
    "Plan one point": {
        "point": "Every quantity at one point: does it fit, how fast, how many, at what cost.",
        "explain": "Show how one number is made: the tree of formulas, down to facts and their sources.",
        "simulate": "Simulate a plan under load, request by request, beside the closed form.",
    },
    "Run and ask": {
        "run": "Cross the catalogs and write a run: tables, database, manifest; then switch `latest` to it.",
        "ask": "Ask one of the bundled questions of a run; without QUESTION, list them.",
        "sql": "Run one reading SQL statement over a run; it cannot write, attach, or read other files.",
        "diff": "Compare two runs: what changed in facts, prices, grid and formulas, and what it did to the answers.",
    },
    "Fleets and money": {
        "fleet": "Size a fleet for a request rate: replicas, devices, nodes, cost, energy, cheapest first.",
        "mix": "Choose the cheapest fleet for several demands under quotas and budgets.",
        "prices": "List the prices in force on a day, cheapest per device first.",
    },
    "Publishing": {
        "report": "Write the report of a run: one HTML page that needs no network, and a Markdown twin.",
        "export": "Write the fleets that serve a demand, a forecast of their cost, or an answer of a run to FILE.",
        "nightly": "Check, run, check the run, compare with the last one, report, export, publish, prune.",
    },
    "Evidence": {
        "import": "Read results of load generators and start-up logs as tidy rows, for backtest and calibrate.",
        "backtest": "Hold estimates against measurements: errors, coverage of bands, and why a row was not answered.",
        "calibrate": "Fit constants of engines and devices to your measurements, and write them as a catalog file.",
        "measure": "Run the case study's experiment on this machine: predicted beside measured (extra measure).",
    },
    "Catalogs": {
        **{name: f"List the {name}, or show one with each fact's source." for name in CATALOGS},
        "model": "Bring your own model: exact facts from a Hugging Face config.json, offline.",
    },
    "Keeping": {
        "demo": "Show the first five minutes: a small run, and four questions with the commands that ask them.",
        "check": "Check the catalogs and, where there is one, a run: every promise that their schemas make.",
        "doctor": "Say what this installation is: versions, catalogs and their ages, storage version, the latest run.",
    },
}
"""The first sentence of each command's help, by the title of its group and its name."""
MODULES = {name: name for group in GROUPS.values() for name in group} | {
    **dict.fromkeys(("point", "explain"), "plans"),
    **dict.fromkeys(("run", "ask", "sql"), "runs"),
    **dict.fromkeys((*CATALOGS, "prices"), "catalogs"),
    **dict.fromkeys(("demo", "check", "doctor"), "checks"),
    "import": "imports",
}
"""Where each command stands in pipeline.cli: in the COMMANDS of its own module, or of one that it shares."""


class LazyGroup(click.Group):
    """A group that lists its commands without importing them: each is imported when it is called."""

    def __init__(self, *args: Any, groups: Mapping[str, Mapping[str, str]] | None = None, **settings: Any) -> None:
        """Take what GROUPS holds, besides commands as any group has them."""
        super().__init__(*args, **settings)
        self.groups = groups or {}
        self.summaries = {name: summary for group in self.groups.values() for name, summary in group.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted({*super().list_commands(ctx), *self.summaries})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, imported; none where there is none."""
        if cmd_name in self.summaries and cmd_name not in self.commands:
            module = import_module(f"pipeline.cli.{MODULES[cmd_name]}")
            self.add_command(example_last(next(each for each in module.COMMANDS if each.name == cmd_name)))
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by group, all names in one column."""
        width = max(map(len, self.list_commands(ctx)))
        for title, group in self.groups.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), summary) for name, summary in group.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands and options that begin so."""
        begun = [(name, summary) for name, summary in self.summaries.items() if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=summary) for name, summary in sorted(begun)), *options]


def example_last(command: click.Command) -> click.Command:
    """Move the example of a command's help behind its options, where a reader's eye ends."""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            example_last(each)
    text, marker, example = cleandoc(command.help or "").partition("\b\nExample")
    if marker:
        command.help, command.epilog = text.rstrip(), f"{marker}{example}"
    return command
