"""Commands that hold estimates against measurements: backtest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline import api
from pipeline.cli.options import FILE, as_of_option, catalogs_option, format_options
from pipeline.cli.output import as_json, blaming, json_value, show, talk, write_rows
from pipeline.evidence.backtest import backtest_data, errors_by, unanswered
from pipeline.evidence.measurements import read_measurements
from pipeline.evidence.predict import predict_rows

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path


@click.command()
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="FILE...")
@click.option(
    "--by", default="quantity", show_default=True, help="Columns to slice by, with commas between; '' for one slice."
)
@click.option("--predictions", type=FILE, help="Write every row with its prediction: a .csv or .parquet file.")
@as_of_option
@catalogs_option
@format_options
def backtest(
    files: tuple[Path, ...], by: str, predictions: Path | None, as_of: date, catalogs_folder: Path | None, shape: str
) -> None:
    """Hold estimates against measurements: errors, coverage of bands, and why a row was not answered.

    A file has one measured number a row, in base units: model, quantity, value, and what is known
    of the plan (docs/accuracy.md lists the columns). What it does not state is the engine's default.

    \b
    Example:
      printf 'model,accelerator,quantity,value\\nllama-3.1-8b,h100,weight_bytes,16.1e9\\n' > my.csv
      capgrid backtest my.csv --by quantity
    """  # noqa: D301
    names = [name.strip() for name in by.split(",") if name.strip()]
    rows = predict_rows(read_measurements(files), api.catalogs(catalogs_folder), as_of)
    if predictions:
        with blaming(predictions):
            write_rows(rows.drop("measurement_row"), predictions)
        talk(f"{rows.height} rows with predictions: {predictions}")
    if shape == "json":
        click.echo(as_json(json_value(backtest_data(rows, names))))
        return
    show(errors_by(rows, names), shape)
    for row in unanswered(rows).iter_rows(named=True):
        talk(f"not answered: {row['n']} rows: {row['reason']}")


COMMANDS = (backtest,)
