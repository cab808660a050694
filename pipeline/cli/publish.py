"""Commands for people who work elsewhere: export."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pipeline.cli.fleet import demand_options, plan_of
from pipeline.cli.options import loaded, out_option, run_option
from pipeline.cli.output import flat, talk
from pipeline.cli.runs import connected, resolved

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    import polars as pl

    from pipeline.answers.ask import Answer
    from pipeline.facts.catalog import Catalogs
    from pipeline.fleet.plans import FleetPlan

SUFFIXES = (".xlsx", ".csv", ".parquet")
NARROWING = {"model": "model", "accelerators": "accelerator", "engines": "engine", "workload": "workload",
             "weights": "weights"}  # fmt: skip
"""Options that narrow a question too, and its name for them."""
ANYWHERE = {"file", "settings", "catalogs_folder"}
OF_ANSWERS = {"answer", "run_id", "out"}
OF_FOCUS = {"focus", "months"}


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--model", help="Model: id, alias or Hugging Face id; a fleet must have one.")
@demand_options
@click.option(
    "--lang", type=click.Choice(["en", "zh"]), default="en", show_default=True, help="Language of a fleet's workbook."
)
@click.option("--focus", is_flag=True, help="Export what the fleet will cost, month by month, in columns of FOCUS.")
@click.option("--months", type=click.IntRange(1, 120), default=12, show_default=True, help="With --focus: how many.")
@click.option("--answer", metavar="NAME", help="Export the answer to this question of a run: `capgrid ask` lists them.")
@run_option
@out_option
def export(file: Path, catalogs_folder: Path | None, **asked: Any) -> None:
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
    from pipeline.core.errors import UsageError  # noqa: PLC0415

    if file.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{file}: what kind of file? Its name must end in {' or '.join(SUFFIXES)}")
    kind = kind_of(asked)
    refuse_others(kind)
    refuse_language(kind, file)
    try:
        talk(f"{file}: {WRITERS[kind](file, asked, loaded(catalogs_folder))}")
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror or error}") from error


# ----- what was asked for


def kind_of(asked: dict[str, Any]) -> str:
    """What to export.

    Raises:
        UsageError: two things at once, or a fleet of no model.
    """
    from pipeline.core.errors import UsageError  # noqa: PLC0415

    if asked["answer"] and asked["focus"]:
        raise UsageError("--answer or --focus, not both: a forecast is of a fleet, not of a run")
    kind = "answer" if asked["answer"] else "focus" if asked["focus"] else "fleet"
    if kind != "answer" and not asked["model"]:
        raise UsageError("say --model: a fleet serves one; or --answer, one of what `capgrid ask` lists")
    return kind


def refuse_others(kind: str) -> None:
    """Refuse options that this kind of export does not read, rather than pass them over.

    Raises:
        UsageError: there are some.
    """
    from pipeline.core.errors import UsageError  # noqa: PLC0415

    given = typed_parameters()
    read = {
        "answer": OF_ANSWERS | ANYWHERE | set(NARROWING) | {"lang"},
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


def refuse_language(kind: str, file: Path) -> None:
    """Refuse a language for rows: their columns are English, as SQL and programs name them.

    Raises:
        UsageError: --lang with anything but the workbook of a fleet.
    """
    from pipeline.core.errors import UsageError  # noqa: PLC0415

    if file.suffix.lower() == ".xlsx" and kind == "fleet":
        return
    if any(each.name == "lang" for each in typed_parameters()):
        rows = f"the rows of --{kind}" if kind != "fleet" else "rows"
        raise UsageError(f"--lang: only the workbook of a fleet (.xlsx) has a language; {rows} are in English")


def typed_parameters() -> list[click.Parameter]:
    """What stands on the command line."""
    ctx = click.get_current_context()
    sources = [(each, ctx.get_parameter_source(each.name or "")) for each in ctx.command.params]
    return [each for each, source in sources if source == ParameterSource.COMMANDLINE]


def typed() -> str:
    """The command as it can be typed again."""
    values = click.get_current_context().params
    words = [word for each in typed_parameters() for word in said(each, values[each.name or ""])]
    return shlex.join(["capgrid", "export", *words])


def said(parameter: click.Parameter, value: Any) -> list[str]:
    """One parameter as words: each of several values with its own flag, but those of one flag together."""
    flag = [parameter.opts[0]] if isinstance(parameter, click.Option) else []
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return flag
    values = value if isinstance(parameter, click.Option) and parameter.multiple else [value]
    return [word for each in values for word in [*flag, *words_of(each)]]


def words_of(value: Any) -> list[str]:
    """A value as words; a pair of name and value is one word, a pair of numbers are two."""
    if not isinstance(value, tuple):
        return [str(value)]
    return ["=".join(value)] if all(isinstance(each, str) for each in value) else [str(each) for each in value]


# ----- a fleet


def write_fleet(file: Path, asked: dict[str, Any], catalogs: Catalogs) -> str:
    """Every fleet, cheapest first, as rows; or the workbook."""
    plan, as_of = plan_of(asked, catalogs), asked["as_of"]
    if file.suffix.lower() == ".xlsx":
        return f"{write_workbook(file, plan, catalogs, as_of, asked['lang']).height:,} accelerators"
    from pipeline.fleet.plans import plan_fleets  # noqa: PLC0415

    rows = plan_fleets(plan, catalogs, as_of)
    write_rows(file, rows, "", [], as_of)
    return f"{rows.height:,} fleets"


def write_workbook(file: Path, plan: FleetPlan, catalogs: Catalogs, as_of: date, lang: str) -> pl.DataFrame:
    """The workbook whose formulas follow its inputs."""
    from pipeline.publish.workbook.options import exported  # noqa: PLC0415

    return exported(file, plan, catalogs, as_of, own_version(), typed(), lang)


def own_version() -> str:
    """Of capgrid."""
    from importlib.metadata import version  # noqa: PLC0415

    return version("capgrid")


def write_rows(file: Path, rows: pl.DataFrame, title: str, notes: Sequence[tuple[str, str]], day: date) -> None:
    """Rows as the kind of file that its name says."""
    from pipeline.publish.tables import write_csv, write_parquet, write_xlsx  # noqa: PLC0415

    suffix = file.suffix.lower()
    if suffix == ".xlsx":
        write_xlsx(flat(rows), file, title, notes, day)
    elif suffix == ".csv":
        write_csv(flat(rows), file)
    else:
        write_parquet(rows, file)


# ----- a forecast


def write_forecast(file: Path, asked: dict[str, Any], catalogs: Catalogs) -> str:
    """What the fleet will cost, a row for each month."""
    from pipeline.publish.focus import NOTES, forecast  # noqa: PLC0415

    plan = plan_of(asked, catalogs)
    rows = forecast(plan, catalogs, asked["as_of"], asked["months"])
    made = [("Made by", f"capgrid {own_version()}"), ("Command", typed()), *NOTES]
    write_rows(file, rows, "What a fleet will cost, month by month", made, asked["as_of"])
    first, last = rows["ChargePeriodStart"][0], rows["ChargePeriodEnd"][-1]
    return f"{rows.height} months from {first[:10]} to {last[:10]}, USD {rows['EffectiveCost'].sum():,.2f}"


# ----- an answer


def write_answer(file: Path, asked: dict[str, Any], catalogs: Catalogs) -> str:
    """The answer to a question of a run."""
    from pipeline.answers.ask import ask, find  # noqa: PLC0415

    question = find(asked["answer"])
    settings = resolved(narrowed(asked), catalogs)
    run, day = run_of(question, asked)
    with connected(question, catalogs, asked["out"], run) as connection:
        rows = ask(connection, question, settings)
    told = f"run {run}" if run else f"the bundled grid {question.grid}"
    write_rows(file, rows, question.question, about(question, settings, told), day)
    return f"{rows.height:,} rows of {told}"


def narrowed(asked: dict[str, Any]) -> dict[str, str | None]:
    """The settings of a question: what narrows it, and what --set says.

    Raises:
        UsageError: several values where a question takes one.
    """
    from pipeline.core.errors import UsageError  # noqa: PLC0415

    given = {each.name: each.opts[0] for each in typed_parameters()}
    told: dict[str, str | None] = {}
    for option, name in NARROWING.items():
        value = asked[option]
        if option in given and isinstance(value, tuple):
            if len(value) > 1:
                raise UsageError(f"{given[option]}: a question takes one, not {len(value)}")
            (value,) = value
        told |= {name: value} if option in given else {}
    return told | dict(asked["settings"])


def run_of(question: Answer, asked: dict[str, Any]) -> tuple[str | None, date]:
    """The run to ask by its own name, which stays when `latest` moves on, and the day whose prices it holds.

    None for a question about a bundled grid, which is computed when asked.
    """
    from datetime import date  # noqa: PLC0415

    from pipeline.run.finished import check_run, find_run  # noqa: PLC0415

    if question.grid and asked["run_id"] is None:
        return None, asked["as_of"]
    folder = find_run(asked["out"], asked["run_id"]).resolve()
    return folder.name, date.fromisoformat(check_run(folder)["as_of"])


def about(question: Answer, settings: dict[str, str], run: str) -> list[tuple[str, str]]:
    """What is to be said of an answer: where it is from, what was set, and how it is computed."""
    values = {name: settings.get(name, each.default) for name, each in question.parameters.items()}
    told = ", ".join(f"{name} = {value}" for name, value in values.items() if value is not None)
    return [
        ("Question", question.question), ("Asked of", run), ("Settings", told or "none"),
        ("Made by", f"capgrid {own_version()}"), ("Command", typed()),
        ("SQL", question.sql.strip()),
    ]  # fmt: skip


WRITERS = {"fleet": write_fleet, "focus": write_forecast, "answer": write_answer}
COMMANDS = (export,)
