"""The command that writes files for people who work elsewhere: export."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.core import ParameterSource

from pipeline import api
from pipeline.answers.ask import answer_rows, find
from pipeline.cli.fleet import DemandOptions, demand_options, fleet_plan
from pipeline.cli.options import FILE, option_field, out_option, run_option, shared_field, taking
from pipeline.cli.output import ROWS, blaming, flat_cells, talk, write_rows
from pipeline.cli.runs import connect, resolve_names
from pipeline.core.errors import UsageError
from pipeline.fleet.plans import plan_fleets
from pipeline.publish.focus import NOTES, cost_forecast
from pipeline.publish.tables import write_xlsx
from pipeline.publish.workbook.options import export_workbook
from pipeline.run.finished import check_run, find_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import polars as pl

    from pipeline.answers.ask import Answer
    from pipeline.facts.catalog import Catalogs
    from pipeline.fleet.plans import FleetPlan

WORKBOOK = ".xlsx"
NARROWING = {"accelerators": "accelerator", "engines": "engine", "workload": "workload", "weights": "weights"}
"""Options of a demand that narrow a question too, and its name for them."""
ANYWHERE = {"file", "settings", "catalogs_folder"}
OF_ANSWERS = {"answer", "run_id", "out"}
OF_FOCUS = {"focus", "months"}


@dataclass(frozen=True)
class ExportOptions:
    """What is exported besides fleets, and how."""

    lang: str = option_field("Language of a fleet's workbook.", type=click.Choice(["en", "zh"]), default="en")
    focus: bool = option_field("Export what the fleet will cost, month by month, in columns of FOCUS.", is_flag=True)
    months: int = option_field("With --focus: how many.", type=click.IntRange(1, 120), default=12)
    answer: str | None = option_field(
        "Export the answer to this question of a run: `capgrid ask` lists them.", metavar="NAME"
    )
    run_id: str | None = shared_field(run_option)
    out: Path = shared_field(out_option)


class Export(NamedTuple):
    """A file and what it is to hold."""

    file: Path
    model: str | None
    demand: DemandOptions
    options: ExportOptions
    as_of: date

    @property
    def is_workbook(self) -> bool:
        """Whether the file is a workbook; else it is rows."""
        return self.file.suffix.lower() == WORKBOOK

    def plan(self, catalogs: Catalogs) -> FleetPlan:
        """The plan of the fleet that is exported."""
        return fleet_plan(self.model or "", self.demand, catalogs)


@click.command("export")
@click.argument("file", type=FILE)
@click.option("--model", help="Model: id, alias or Hugging Face id; a fleet must have one.")
@demand_options
@taking(ExportOptions, "options")
def export_command(
    file: Path,
    model: str | None,
    demand: DemandOptions,
    as_of: date,
    catalogs_folder: Path | None,
    options: ExportOptions,
) -> None:
    """Write the fleets that serve a demand, a forecast of their cost, or an answer of a run to FILE.

    The name of FILE says its kind: a workbook (.xlsx), or rows (.csv, .parquet). The workbook of a fleet is live:
    change the rate, the objective, headroom, spares or prices in its yellow cells, and devices and cost follow.
    With --answer, the options that `capgrid ask` has narrow the question, and --set sets its parameters.

    \b
    Examples:
      capgrid export fleet.xlsx --model llama-3.1-70b --requests-per-s 20 --prompt-tokens 2048 --output-tokens 300
      capgrid export fleet.xlsx --model llama-3.1-70b --requests-per-s 20 --lang zh
      capgrid export cost.csv --focus --model llama-3.1-70b --traffic chat-business-hours --requests-per-s 20
      capgrid export needed.xlsx --answer devices_needed --model llama-3.1-8b --set requests_per_s=20
    """  # noqa: D301
    endings = (WORKBOOK, *ROWS)
    if file.suffix.lower() not in endings:
        raise UsageError(f"{file}: what kind of file? Its name must end in {' or '.join(endings)}")
    export = Export(file, model, demand, options, as_of)
    kind = export_kind(export)
    refuse_others(kind)
    refuse_language(kind, export)
    with blaming(file, UsageError):
        talk(f"{file}: {WRITERS[kind](export, api.catalogs(catalogs_folder))}")


# ----- what is exported


def export_kind(export: Export) -> str:
    """What to export.

    Raises:
        UsageError: two things at once, or a fleet of no model.
    """
    options = export.options
    if options.answer and options.focus:
        raise UsageError("--answer or --focus, not both: a forecast is of a fleet, not of a run")
    kind = "answer" if options.answer else "focus" if options.focus else "fleet"
    if kind != "answer" and not export.model:
        raise UsageError("say --model: a fleet serves one; or --answer, one of what `capgrid ask` lists")
    return kind


def refuse_others(kind: str) -> None:
    """Refuse options that this kind of export does not read, rather than pass them over.

    Raises:
        UsageError: there are some.
    """
    given = typed_parameters()
    read = {
        "answer": OF_ANSWERS | ANYWHERE | NARROWING.keys() | {"model", "lang"},
        "focus": {each.name for each in given} - OF_ANSWERS,
        "fleet": {each.name for each in given} - OF_ANSWERS - OF_FOCUS,
    }[kind]
    if wrong := [each.opts[0] for each in given if each.name not in read]:
        why = {
            "answer": "with --answer the question is set by --set and narrowed by --model and the like",
            "focus": "a forecast is of a fleet, not of a run",
            "fleet": "--months goes with --focus, --run and --out with --answer",
        }
        raise UsageError(f"{' and '.join(wrong)}: not read here; {why[kind]}")


def refuse_language(kind: str, export: Export) -> None:
    """Refuse a language for rows: their columns are English, as SQL and programs name them.

    Raises:
        UsageError: --lang with anything but the workbook of a fleet.
    """
    if export.is_workbook and kind == "fleet":
        return
    if any(each.name == "lang" for each in typed_parameters()):
        rows = f"the rows of --{kind}" if kind != "fleet" else "rows"
        raise UsageError(f"--lang: only the workbook of a fleet (.xlsx) has a language; {rows} are in English")


def typed_parameters() -> list[click.Parameter]:
    """What stands on the command line."""
    ctx = click.get_current_context()
    sources = [(each, ctx.get_parameter_source(each.name or "")) for each in ctx.command.params]
    return [each for each, source in sources if source == ParameterSource.COMMANDLINE]


def command_line() -> str:
    """The command as it can be typed again."""
    values = click.get_current_context().params
    words = [word for each in typed_parameters() for word in flag_words(each, values[each.name or ""])]
    return shlex.join(["capgrid", "export", *words])


def flag_words(parameter: click.Parameter, value: Any) -> list[str]:
    """One parameter as words: each of several values with its own flag, but those of one flag together."""
    flag = [parameter.opts[0]] if isinstance(parameter, click.Option) else []
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return flag
    values = value if isinstance(parameter, click.Option) and parameter.multiple else [value]
    return [word for each in values for word in [*flag, *typed_words(each)]]


def typed_words(value: Any) -> list[str]:
    """A value as words; a pair of name and value is one word, a pair of numbers are two."""
    if not isinstance(value, tuple):
        return [str(value)]
    return ["=".join(value)] if all(isinstance(each, str) for each in value) else [str(each) for each in value]


# ----- a fleet


def write_fleet(export: Export, catalogs: Catalogs) -> str:
    """Every fleet, cheapest first, as rows; or the workbook whose formulas follow its inputs."""
    plan, file = export.plan(catalogs), export.file
    if export.is_workbook:
        rows = export_workbook(
            file, plan, catalogs, export.as_of, version("capgrid"), command_line(), export.options.lang
        )
        return f"{rows.height:,} accelerators"
    rows = plan_fleets(plan, catalogs, export.as_of)
    write_rows(rows, file, guarded=True)
    return f"{rows.height:,} fleets"


def write_table(file: Path, rows: pl.DataFrame, title: str, notes: Sequence[tuple[str, str]], day: date) -> None:
    """Rows as the kind of file that its name says, guarded against formulas."""
    if file.suffix.lower() == WORKBOOK:
        write_xlsx(flat_cells(rows), file, title, notes, day)
    else:
        write_rows(rows, file, guarded=True)


# ----- a forecast


def write_forecast(export: Export, catalogs: Catalogs) -> str:
    """What the fleet will cost, a row for each month."""
    rows = cost_forecast(export.plan(catalogs), catalogs, export.as_of, export.options.months)
    notes = [("Made by", f"capgrid {version('capgrid')}"), ("Command", command_line()), *NOTES]
    write_table(export.file, rows, "What a fleet will cost, month by month", notes, export.as_of)
    first, last = rows["ChargePeriodStart"][0], rows["ChargePeriodEnd"][-1]
    return f"{rows.height} months from {first[:10]} to {last[:10]}, USD {rows['EffectiveCost'].sum():,.2f}"


# ----- an answer


def write_answer(export: Export, catalogs: Catalogs) -> str:
    """The answer to a question of a run."""
    question = find(export.options.answer or "")
    settings = resolve_names(question_settings(export), catalogs)
    run, day = run_of(question, export)
    with connect(question, catalogs, export.options.out, run) as connection:
        rows = answer_rows(connection, question, settings)
    source = f"run {run}" if run else f"the bundled grid {question.grid}"
    write_table(export.file, rows, question.question, answer_notes(question, settings, source), day)
    return f"{rows.height:,} rows of {source}"


def question_settings(export: Export) -> dict[str, str | None]:
    """The settings of a question: what narrows it, and what --set says.

    Raises:
        UsageError: several values where a question takes one.
    """
    flags = {each.name: each.opts[0] for each in typed_parameters()}
    settings: dict[str, str | None] = {"model": export.model} if export.model is not None else {}
    for field, name in NARROWING.items():
        value = getattr(export.demand, field)
        if field not in flags:
            continue
        if isinstance(value, tuple):
            if len(value) > 1:
                raise UsageError(f"{flags[field]}: a question takes one, not {len(value)}")
            (value,) = value
        settings[name] = value
    return settings | dict(export.demand.settings)


def run_of(question: Answer, export: Export) -> tuple[str | None, date]:
    """The run to ask by its own name, which stays when `latest` moves on, and the day whose prices it holds.

    None for a question about a bundled grid, which is computed when asked.
    """
    if question.grid and export.options.run_id is None:
        return None, export.as_of
    folder = find_run(export.options.out, export.options.run_id).resolve()
    return folder.name, date.fromisoformat(check_run(folder)["as_of"])


def answer_notes(question: Answer, settings: dict[str, str], run: str) -> list[tuple[str, str]]:
    """What is to be said of an answer: where it is from, what was set, and how it is computed."""
    values = {name: settings.get(name, each.default) for name, each in question.parameters.items()}
    return [
        ("Question", question.question),
        ("Asked of", run),
        ("Settings", ", ".join(f"{name} = {value}" for name, value in values.items() if value is not None) or "none"),
        ("Made by", f"capgrid {version('capgrid')}"),
        ("Command", command_line()),
        ("SQL", question.sql.strip()),
    ]


WRITERS = {"fleet": write_fleet, "focus": write_forecast, "answer": write_answer}
COMMANDS = (export_command,)
