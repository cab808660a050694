"""Commands that measure this machine: measure device, measure model, measure compare."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import polars as pl

from pipeline import api
from pipeline.cli.options import FILE, format_options, option_field, taking, today
from pipeline.cli.output import blaming, show, talk, write_rows
from pipeline.core.errors import PipelineError, UsageError
from pipeline.core.units import in_base_units
from pipeline.evidence.measure.compare import fit_lines, predict_with_article, quantity_errors
from pipeline.evidence.measure.entries import device_blocks, put_entries
from pipeline.evidence.measure.experiment import run_experiment
from pipeline.evidence.measure.machine import find_machine, slug
from pipeline.evidence.measure.picture import check_ending, draw
from pipeline.evidence.measure.probe import TorchOps, probe_device
from pipeline.evidence.measure.shapes import resolve_shape
from pipeline.evidence.measure.sweep import Plan
from pipeline.evidence.measurements import read_measurements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.facts.catalog import Catalogs

BATCHES = "1,2,3,4,6,8,12,16,24,32,48,64,96,128,160,192,224,256,320,384,448,512"
ENDED = {
    "done": "all points measured",
    "budget": "the time is over (--budget): the points above are what was measured",
    "stopped": "stopped: what was measured is kept",
}


class Sizes(click.ParamType[tuple[int, ...]]):
    """Whole numbers with commas between."""

    name = "N,N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read numbers from 1 on."""
        if isinstance(value, tuple):
            return value
        parts = [each.strip() for each in str(value).split(",") if each.strip()]
        if not parts or not all(each.isdecimal() and 0 < int(each) < 10**7 for each in parts):
            self.fail(f"'{value}' is not a list of sizes such as 1,2,4,8", param, ctx)
        return tuple(sorted({int(each) for each in parts}))


COUNT = click.IntRange(1, 10**6)
folder_option = click.option(
    "--catalogs",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("capgrid-catalogs"),
    show_default=True,
    envvar="CAPGRID_CATALOGS",
    help="Folder of this machine's own entries, read beside the catalogs that come with capgrid; made where missing.",
)


@dataclass(frozen=True)
class MachineOptions:
    """The machine that is measured, and its clock."""

    device: str | None = option_field("cpu, or cuda (ROCm too).  [default: cuda where there is one]")
    threads: int | None = option_field("Threads of a processor.  [default: PyTorch's]", type=click.IntRange(1, 4096))
    clock: str = option_field(
        "process: processor time, for one thread on a machine that others use too.",
        type=click.Choice(["wall", "process"]),
        default="wall",
    )
    name: str | None = option_field("Id of this device.  [default: from its name]", "--accelerator")


@dataclass(frozen=True)
class ExperimentOptions:
    """The model that is run, and how often at which sizes."""

    model: str = option_field(
        "A model of the catalogs, such as llama-7b; or small: 134 million parameters.", "--shape", default="small"
    )
    config: Path | None = option_field("config.json of another model; --shape is then the id that it gets.", type=FILE)
    weights: str = option_field(
        "Number format of weights and KV cache.", type=click.Choice(["bf16", "fp16", "fp32"]), default="bf16"
    )
    batches: tuple[int, ...] = option_field(
        "Batches, until memory runs out.  [default: 1 to 512]", type=Sizes(), default=BATCHES, show_default=False
    )
    prompts: tuple[int, ...] = option_field("Prompt lengths.", type=Sizes(), default="64,128,256")
    output_tokens: int = option_field("Tokens that TPOT is the mean of.", type=COUNT, default=16)
    repeats: int = option_field("Times that each point is measured.", type=COUNT, default=5)
    warm_ups: int = option_field("Runs before them.", type=click.IntRange(0, 1000), default=1)
    budget: str = option_field("Time after which no point is begun.", default="10min")
    memory: str | None = option_field(
        "Memory that the model may use on a processor, such as 4GB.  [default: 80 % of free]"
    )
    held_out: tuple[int, ...] = option_field(
        "Batches to write to a second file, to judge a fit by.", type=Sizes(), default=(), show_default=False
    )
    out: Path = option_field("Rows to write: a .csv file.", type=FILE, default=Path("measured.csv"))
    picture: Path | None = option_field("Draw predicted beside measured: a .html, .png or .svg file.", type=FILE)

    @property
    def sweep_plan(self) -> Plan:
        """The sizes and times that are measured.

        Raises:
            UsageError: the budget is no time.
        """
        budget_s = in_base_units(self.budget, "s")
        if isinstance(budget_s, str) or budget_s <= 0:
            raise UsageError(f"--budget {self.budget}: is no time such as 10min")
        sizes = self.batches, self.prompts, self.output_tokens, self.repeats, self.warm_ups
        return Plan(*sizes, budget_s=float(budget_s))


@click.group()
def measure() -> None:
    """Run the case study's experiment on this machine: predicted beside measured (extra measure).

    \b
    Example:
      capgrid measure --help
    """  # noqa: D301


def catalogs_beside(folder: Path) -> Catalogs:
    """The catalogs with the folder beside them, or without it where it holds nothing yet."""
    return api.catalogs(folder if folder.is_dir() and any(folder.rglob("*.toml")) else None)


@measure.command("device")
@taking(MachineOptions, "options")
@folder_option
@format_options
def measure_device(options: MachineOptions, folder: Path, shape: str) -> None:
    """Measure what this device reaches, and write it as an accelerator of the catalogs.

    Products by number format and size, memory bandwidth, launches, attention, and the memory that
    the driver shows. An architecture that the catalogs do not have (a processor) is written too.

    \b
    Example:
      capgrid measure device --help
    """  # noqa: D301
    here = find_machine(options.device, options.threads, options.clock)
    name = options.name or slug(here.name)
    found = probe_device(TorchOps(here), "cpu" if here.is_cpu else "cuda", talk)
    path = put_entries(folder, device_blocks(here, found, catalogs_beside(folder), name), today(), api.catalogs)
    show(found.table(), shape)
    talk(f"{here.name} is {name} in {path}: use it with --accelerator {name} --catalogs {folder}")


@measure.command("model")
@taking(ExperimentOptions, "experiment")
@taking(MachineOptions, "options")
@folder_option
@format_options
def measure_model(experiment: ExperimentOptions, options: MachineOptions, folder: Path, shape: str) -> None:
    """Run a model of a real shape with random weights, batch after batch, and fit lines as the article did.

    Measures the time to first token (one token written), the time per output token and the largest
    memory in use, until memory or the time is over; Ctrl-C keeps what was measured. Rows are those
    that `capgrid backtest` and `capgrid calibrate` read.

    \b
    Example:
      capgrid measure model --help
    """  # noqa: D301
    check_ending(experiment.picture)
    plan = experiment.sweep_plan
    here = find_machine(options.device, options.threads, options.clock)
    name = options.name or slug(here.name)
    catalogs = catalogs_beside(folder)
    shapes = resolve_shape(experiment.model, experiment.config, catalogs, folder, today(), api.catalogs)
    settings = {"weights": experiment.weights, "memory": experiment.memory, "clock": options.clock}
    rows, ended = run_experiment(here, plan, shapes, name, settings, talk)
    files = write_apart(rows, experiment.out, experiment.held_out)
    talk(ENDED[ended])
    if name in catalogs_beside(folder).frames["accelerator"]["accelerator"]:
        print_comparison(files, folder, experiment.picture, shape)
    else:
        talk(f"no estimates: {folder} has no accelerator '{name}'; `capgrid measure device` writes it")


def write_apart(rows: pl.DataFrame, out: Path, held_out: tuple[int, ...]) -> list[Path]:
    """Write the rows; those of batches that are held out beside the others, in a file of their own.

    Raises:
        PipelineError: nothing was measured, or a file cannot be written.
    """
    if rows.is_empty():
        raise PipelineError("nothing was measured; give it more time with --budget, or a smaller --shape")
    apart = pl.col("batch").is_in(held_out)
    files = {out: rows.filter(~apart), out.with_suffix(f".held-out{out.suffix}"): rows.filter(apart)}
    for path, part in files.items():
        if part.height:
            with blaming(path):
                write_rows(part, path)
            talk(f"{part.height} rows: {path}")
    return [path for path, part in files.items() if part.height]


def print_comparison(files: Sequence[Path], folder: Path, picture: Path | None, shape: str) -> None:
    """Print the lines through what was measured and what was predicted, and draw both."""
    rows = predict_with_article(read_measurements(files), catalogs_beside(folder), today())
    show(fit_lines(rows), shape)
    for row in quantity_errors(rows).iter_rows(named=True):
        talk(
            f"{row['quantity']}: estimates {row['estimated_median_error_ratio']:.1%} off in the median, "
            f"{row['estimated_largest_error_ratio']:.1%} at most; "
            f"the article's closed forms {row['article_median_error_ratio']:.1%}"
        )
    if picture:
        title = f"{rows['model'][0]} on {rows['accelerator'][0]}: points measured, lines estimated"
        draw(rows, picture, f"{title}, broken lines by the article's closed forms")
        talk(f"picture: {picture}")


@measure.command()
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="FILE...")
@click.option("--picture", type=FILE, help="Draw predicted beside measured: a .html, .png or .svg file.")
@folder_option
@format_options
def compare(files: tuple[Path, ...], picture: Path | None, folder: Path, shape: str) -> None:
    """Fit lines over the batch to rows measured before, and to what is predicted: slope, intercept, R2.

    \b
    Example:
      printf 'model,accelerator,engine,kind,quantity,prompt_tokens,output_tokens,batch,value\\n' > ours.csv
      printf 'llama-7b,a100,transformers,static,ttft_s,464,1,%s,%s\\n' 1 .13 8 .27 16 .42 32 .74 >> ours.csv
      capgrid measure compare ours.csv
    """  # noqa: D301
    check_ending(picture)
    print_comparison(files, folder, picture, shape)


COMMANDS = (measure,)
