"""The command that fits constants to measurements: calibrate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import polars as pl

from pipeline import api
from pipeline.cli.options import FILE, catalogs_option, today
from pipeline.cli.output import as_json, json_value, show, talk
from pipeline.evidence.calibration.catalog_file import block_of, note_of, write_calibrations
from pipeline.evidence.calibration.constants import constants_by_kind
from pipeline.evidence.calibration.fits import calibrate_rows
from pipeline.evidence.measurements import read_measurements

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeline.evidence.calibration.fits import Calibration, Fit


@click.command()
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="FILE...")
@click.option(
    "--out",
    type=FILE,
    default=Path("capgrid-catalogs/calibration.toml"),
    show_default=True,
    help="Catalog file to write; blocks of the same engine or device are replaced, others kept.",
)
@click.option(
    "--fit", "names", default="", help="Constants to fit, with commas between.  [default: what the rows bear]"
)
@click.option("--dry-run", is_flag=True, help="Fit and report, and write nothing.")
@click.option("--force", is_flag=True, help="Write constants that do not improve held-out errors too.")
@click.option("--json", "as_data", is_flag=True, help="Print fits, held-out errors and warnings as JSON.")
@catalogs_option
def calibrate(
    files: tuple[Path, ...],
    out: Path,
    names: str,
    catalogs_folder: Path | None,
    *,
    dry_run: bool,
    force: bool,
    as_data: bool,
) -> None:
    """Fit constants of engines and devices to your measurements, and write them as a catalog file.

    Files are as for backtest. Each engine needs 10 rows for each constant, and is judged by rows
    that were left out: whole configurations, models, devices. Constants of a device
    (achieved_bytes_ratio, achieved_flop_ratio, attention_head_s, elementwise_bytes, linear_scan_s,
    latent_flop_ratio) are fitted where --fit names them.

    \b
    Example:
      printf 'model,accelerator,kind,quantity,prompt_tokens,output_tokens,batch,value\\n' > runs.csv
      printf 'llama-3.1-8b,h100,closed_loop,itl_s,512,256,%s,%s\\n' 1 .0081 4 .0083 16 .0094 64 .0139 >> runs.csv
      printf 'llama-3.1-8b,h100,closed_loop,itl_s,1024,256,%s,%s\\n' 1 .0081 4 .0084 16 .0100 64 .0177 >> runs.csv
      printf 'llama-3.1-8b,h100,closed_loop,itl_s,2048,256,%s,%s\\n' 1 .0082 4 .0088 16 .0113 64 .0261 >> runs.csv
      capgrid calibrate runs.csv
    """  # noqa: D301
    wanted = constants_by_kind(name.strip() for name in names.split(",") if name.strip())
    report = calibrate_rows(read_measurements(files), api.catalogs(catalogs_folder), today(), wanted)
    report.warnings += [warning_of(fit) for fit in report.fits if not fit.improves]
    kept = [] if dry_run else [fit for fit in report.fits if fit.improves or force]
    if kept:
        write_calibrations(out, [block_of(fit, today(), note_of(files, fit)) for fit in kept], api.catalogs)
    print_calibration(report, as_data=as_data)
    talk(next_step(kept, out, dry=dry_run))


def warning_of(fit: Fit) -> str:
    """What is said of constants that do not help."""
    held = fit.held[0]
    return (
        f"{fit.name}: with {held.left_out} left out, the median error does not improve "
        f"({held.median_before:.1%} before, {held.median_after:.1%} after): not written unless --force"
    )


def next_step(fits: Sequence[Fit], out: Path, *, dry: bool) -> str:
    """What to do with what was written."""
    if not fits:
        return "nothing written" + (": a dry run" if dry else "")
    return (
        f"{len(fits)} {'block' if len(fits) == 1 else 'blocks'} written: {out}\n"
        f"to use {'it' if len(fits) == 1 else 'them'}: --catalogs {out.parent} with any command, "
        f"or export CAPGRID_CATALOGS={out.parent}"
    )


def print_calibration(report: Calibration, *, as_data: bool) -> None:
    """Print the constants and the held-out errors; warnings go to stderr."""
    data = report.as_data()
    for warning in data["warnings"]:
        talk(f"warning: {warning}")
    if as_data:
        click.echo(as_json(json_value(data)))
        return
    for part in ("fits", "held_out"):
        rows = [dict(readable_cells(row)) for row in data[part]]
        show(pl.DataFrame(rows, infer_schema_length=None), "table")
        click.echo()


def readable_cells(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """A row as a table shows it: of correlations the closest, errors in per cent."""
    for name, value in row.items():
        if name == "correlations":
            nearest = max(value, key=lambda each: abs(value[each]), default=None)
            yield "correlation", f"{value[nearest]:+.2f} {nearest}" if nearest else "-"
        elif name.startswith(("median", "p90")):
            yield name, f"{value:.1%}"
        elif isinstance(value, float):
            yield name, f"{value:.4g}"
        else:
            yield name, value


COMMANDS = (calibrate,)
