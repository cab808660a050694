"""The command `capgrid`: its subcommands, and how errors and interrupts end."""

from __future__ import annotations

import sys
from typing import Any

import click

from pipeline.cli.commands import GROUPS, LazyGroup
from pipeline.core.errors import PipelineError, UnknownNameError

INTERRUPTED = 130
"""Exit code after an interrupt, as shells have it: 128 and the number of SIGINT."""


def escaped_controls(text: str) -> str:
    r"""A text whose control characters and marks of direction are seen, line ends aside.

    >>> escaped_controls("a\x1b[31mb\n")
    'a\\x1b[31mb\n'
    """
    return "".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text)


class Mistake(click.ClickException):
    """A user's mistake, as click shows it, with its own exit code."""

    def __init__(self, error: PipelineError) -> None:
        """Take over the words and the exit code; what a file said steers no terminal."""
        super().__init__(escaped_controls(str(error)))
        self.exit_code = error.exit_code  # type: ignore[misc]


class Capgrid(LazyGroup):
    """Says what a user can put right without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a user's mistake becomes a message and the documented exit code."""
        try:
            return super().invoke(ctx)
        except PipelineError as error:
            raise Mistake(error) from error
        except click.ClickException as error:
            error.message = escaped_controls(error.message)  # type: ignore[misc]
            raise
        except KeyboardInterrupt:
            click.echo("\nInterrupted. What was finished stays; the same command goes on from there.", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            sys.stderr.close()
            ctx.exit(0)
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            raise Mistake(PipelineError(f"{place}{error.strerror or error}")) from error

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """A misspelt command is met with the nearest ones."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in self.list_commands(ctx):
            raise UnknownNameError("command", name, self.list_commands(ctx), hint="`capgrid --help` lists them.")
        return super().resolve_command(ctx, args)


@click.group(
    cls=Capgrid, groups=GROUPS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="capgrid", prog_name="capgrid")
def cli() -> None:
    """Plan LLM inference capacity: does it fit, how many sequences, how fast, how many devices, at what cost.

    \b
    Begin with:
      capgrid demo
      capgrid point --model llama-3.1-8b --accelerator h100
      capgrid run && capgrid ask max_batch --model llama-3.1-8b
    """  # noqa: D301
