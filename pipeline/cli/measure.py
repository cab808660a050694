"""Commands that measure this machine: measure device, measure model, measure compare."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import format_options, together
from pipeline.cli.output import show, talk, write_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    import polars as pl

    from pipeline.evidence.measure.sweep import Plan
    from pipeline.facts.catalog import Catalogs

FILE = click.Path(dir_okay=False, path_type=Path)
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
machine_options = together(
    click.option("--device", help="cpu, or cuda (ROCm too).  [default: cuda where there is one]"),
    click.option("--threads", type=click.IntRange(1, 4096), help="Threads of a processor.  [default: PyTorch's]"),
    click.option("--clock", type=click.Choice(["wall", "process"]), default="wall", show_default=True,
                 help="process: processor time, for one thread on a machine that others use too."),
    click.option("--accelerator", "name", help="Id of this device.  [default: from its name]"),
)  # fmt: skip


@click.group()
def measure() -> None:
    """Run the case study's experiment on this machine: predicted beside measured (extra measure).

    \b
    Example:
      capgrid measure --help
    """  # noqa: D301


def catalogs_of(folder: Path) -> Catalogs:
    """The catalogs with the folder beside them, or without it where it holds nothing yet."""
    import pipeline  # noqa: PLC0415

    return pipeline.catalogs(folder if folder.is_dir() and any(folder.rglob("*.toml")) else None)


def today() -> date:
    """The day that entries say."""
    return datetime.now().astimezone().date()


@measure.command()
@machine_options
@folder_option
@format_options
def device(device: str | None, threads: int | None, clock: str, name: str | None, folder: Path, shape: str) -> None:
    """Measure what this device reaches, and write it as an accelerator of the catalogs.

    Products by number format and size, memory bandwidth, launches, attention, and the memory that
    the driver shows. An architecture that the catalogs do not have (a processor) is written too.

    \b
    Example:
      capgrid measure device --help
    """  # noqa: D301
    import pipeline  # noqa: PLC0415
    from pipeline.evidence.measure.entries import device_blocks, put_entries  # noqa: PLC0415
    from pipeline.evidence.measure.machine import find_machine, slug  # noqa: PLC0415
    from pipeline.evidence.measure.probe import TorchOps, probe_device  # noqa: PLC0415

    here = find_machine(device, threads, clock)
    name = name or slug(here.name)
    found = probe_device(TorchOps(here), "cpu" if here.is_cpu else "cuda", talk)
    path = put_entries(folder, device_blocks(here, found, catalogs_of(folder), name), today(), pipeline.catalogs)
    show(found.table(), shape)
    talk(f"{here.name} is {name} in {path}: use it with --accelerator {name} --catalogs {folder}")


@measure.command("model")
@click.option(
    "--shape",
    "model",
    default="small",
    show_default=True,
    help="A model of the catalogs, such as llama-7b; or small: 134 million parameters.",
)
@click.option("--config", type=FILE, help="config.json of another model; --shape is then the id that it gets.")
@click.option(
    "--weights",
    type=click.Choice(["bf16", "fp16", "fp32"]),
    default="bf16",
    show_default=True,
    help="Number format of weights and KV cache.",
)
@click.option("--batches", type=Sizes(), default=BATCHES, help="Batches, until memory runs out.  [default: 1 to 512]")
@click.option("--prompts", type=Sizes(), default="64,128,256", show_default=True, help="Prompt lengths.")
@click.option("--output-tokens", type=COUNT, default=16, show_default=True, help="Tokens that TPOT is the mean of.")
@click.option("--repeats", type=COUNT, default=5, show_default=True, help="Times that each point is measured.")
@click.option("--warm-ups", type=click.IntRange(0, 1000), default=1, show_default=True, help="Runs before them.")
@click.option("--budget", default="10min", show_default=True, help="Time after which no point is begun.")
@click.option("--memory", help="Memory that the model may use on a processor, such as 4GB.  [default: 80 % of free]")
@click.option("--held-out", type=Sizes(), default=(), help="Batches to write to a second file, to judge a fit by.")
@click.option("--out", type=FILE, default=Path("measured.csv"), show_default=True, help="Rows to write: a .csv file.")
@click.option("--picture", type=FILE, help="Draw predicted beside measured: a .html, .png or .svg file.")
@machine_options
@folder_option
@format_options
def measure_model(out: Path, picture: Path | None, held_out: tuple[int, ...], folder: Path, shape: str,
                  **asked: Any) -> None:  # fmt: skip
    """Run a model of a real shape with random weights, batch after batch, and fit lines as the article did.

    Measures the time to first token (one token written), the time per output token and the largest
    memory in use, until memory or the time is over; Ctrl-C keeps what was measured. Rows are those
    that `capgrid backtest` and `capgrid calibrate` read.

    \b
    Example:
      capgrid measure model --help
    """  # noqa: D301
    import pipeline  # noqa: PLC0415
    from pipeline.evidence.measure.experiment import run_experiment  # noqa: PLC0415
    from pipeline.evidence.measure.machine import find_machine, slug  # noqa: PLC0415
    from pipeline.evidence.measure.picture import check_ending  # noqa: PLC0415
    from pipeline.evidence.measure.shapes import resolve_shape  # noqa: PLC0415

    check_ending(picture)
    plan = planned(**asked)
    here = find_machine(asked["device"], asked["threads"], asked["clock"])
    name = asked["name"] or slug(here.name)
    model, config = resolve_shape(
        asked["model"], asked["config"], catalogs_of(folder), folder, today(), pipeline.catalogs
    )
    rows, ended = run_experiment(here, plan, (model, config), name, asked, talk)
    files = written(rows, out, held_out)
    talk(ENDED[ended])
    if name in catalogs_of(folder).frames["accelerator"]["accelerator"]:
        compared(files, folder, picture, shape)
    else:
        talk(f"no estimates: {folder} has no accelerator '{name}'; `capgrid measure device` writes it")


def planned(**asked: Any) -> Plan:
    """What is to be measured, from the options.

    Raises:
        UsageError: the budget is no time.
    """
    from pipeline.core.errors import UsageError  # noqa: PLC0415
    from pipeline.core.units import in_base_units  # noqa: PLC0415
    from pipeline.evidence.measure.sweep import Plan  # noqa: PLC0415

    budget_s = in_base_units(asked["budget"], "s")
    if isinstance(budget_s, str) or budget_s <= 0:
        raise UsageError(f"--budget {asked['budget']}: is no time such as 10min")
    names = ("batches", "prompts", "output_tokens", "repeats", "warm_ups")
    return Plan(**{name: asked[name] for name in names}, budget_s=float(budget_s))


def written(rows: pl.DataFrame, out: Path, held_out: tuple[int, ...]) -> list[Path]:
    """Write the rows; those of batches that are held out beside the others, in a file of their own.

    Raises:
        PipelineError: nothing was measured, or a file cannot be written.
    """
    import polars as pl  # noqa: PLC0415

    from pipeline.core.errors import PipelineError  # noqa: PLC0415

    if rows.is_empty():
        raise PipelineError("nothing was measured; give it more time with --budget, or a smaller --shape")
    apart = pl.col("batch").is_in(held_out)
    files = {out: rows.filter(~apart), out.with_suffix(f".held-out{out.suffix}"): rows.filter(apart)}
    for path, part in files.items():
        if part.height:
            write_rows(part, path)
            talk(f"{part.height} rows: {path}")
    return [path for path, part in files.items() if part.height]


def compared(files: Sequence[Path], folder: Path, picture: Path | None, shape: str) -> None:
    """Print the lines through what was measured and what was predicted, and draw both."""
    from pipeline.evidence.measure.compare import fit_lines, predict_with_article, quantity_errors  # noqa: PLC0415
    from pipeline.evidence.measure.picture import draw  # noqa: PLC0415
    from pipeline.evidence.readers.measurements import read_measurements  # noqa: PLC0415

    told = predict_with_article(read_measurements(files), catalogs_of(folder), today())
    show(fit_lines(told), shape)
    for row in quantity_errors(told).iter_rows(named=True):
        estimated, largest, article = (row[f"{name}_error_ratio"] for name in
                                       ("estimated_median", "estimated_largest", "article_median"))  # fmt: skip
        talk(f"{row['quantity']}: estimates {estimated:.1%} off in the median, {largest:.1%} at most; "
             f"the article's closed forms {article:.1%}")  # fmt: skip
    if picture:
        draw(told, picture, f"{told['model'][0]} on {told['accelerator'][0]}: points measured, lines estimated, "
                            "broken lines by the article's closed forms")  # fmt: skip
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
    from pipeline.evidence.measure.picture import check_ending  # noqa: PLC0415

    check_ending(picture)
    compared(files, folder, picture, shape)


COMMANDS = (measure,)
