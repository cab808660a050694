"""Write what is generated in docs/studies: constants fitted again, standard errors, errors on what was left out.

`python docs/studies.py` reads the project's shared measurements and kernel fits where they lie beside the project
(../shared/measurements, ../shared/kernels), and takes some minutes. Only what stands between two markers is written.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from math import log, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import numpy as np
import polars as pl
from accuracy import HERE, ROOT, WITHOUT, header, line, measured, percent, put, table
from polars import col
from scipy.optimize import least_squares

import pipeline
from pipeline.core.errors import UnknownNameError
from pipeline.core.quantity import evaluate, in_order
from pipeline.evidence import resolve
from pipeline.evidence.calibration.constants import constants_by_kind
from pipeline.evidence.calibration.fits import calibrate_rows, speed_rows
from pipeline.evidence.calibration.heldout import CONFIGURATION, fold_of, group_key
from pipeline.evidence.calibration.least_squares import SOFT_RATIO, Problem, problem, standard_errors
from pipeline.evidence.measurements import read_measurements
from pipeline.evidence.predict import join_facts, with_ids
from pipeline.grid.tables import book_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline.facts.catalog import Catalogs

PAGES = HERE / "studies"
SHARED = ROOT.parent / "shared"
SPEED, MEMORY = ("speed_open.csv", "speed_open_2.csv"), ("memory_open.csv", "memory_open_2.csv")
"""Measured rows: those that the studies read, and a second lot that came after them."""
MAKER = "docs/studies.py"
FITTED = ("kernel", "architecture", "step")
"""Catalogs whose constants are fitted again, each alone."""
STUDIES = ("step-time-study", "kernel-timings")
FELT = 0.02
"""Share of a constant's change that a row must show, to be counted."""
LEAST_ROWS = 20
WIDEST = 10.0
"""Times its value that a constant may move either way before the rows are taken not to tell it."""
GIB = 2**30
STANDARD = 1.2533
"""Standard error of a median against that of a mean, of a normal distribution."""


def read(*names: str) -> pl.DataFrame:
    """Measured rows of some of the shared files."""
    return read_measurements([SHARED / "measurements" / name for name in names])


def kernels(name: str) -> pl.DataFrame:
    """One of the files of kernel fits, its parameters as lists."""
    rows = pl.read_csv(SHARED / "kernels" / name, infer_schema_length=None)
    if "params" not in rows.columns:
        return rows
    return rows.with_columns(params=pl.Series([json.loads(each) for each in rows["params"]], dtype=pl.List(pl.Float64)))


def short(value: float | None) -> str:
    """A number in four digits that count.

    >>> short(0.0000055), short(300000.0), short(0.7612345)
    ('5.5e-06', '3e+05', '0.7612')
    """
    return "" if value is None else f"{value:.4g}"


# ----- rows


def counted(rows: pl.DataFrame, *names: str) -> Iterator[str]:
    """How many rows there are of each source."""
    yield from header([*names, "rows"])
    for row in rows.group_by(names).len().sort(names, nulls_last=True).iter_rows():
        yield line(map(str, row))
    yield line(["**all**", *[""] * (len(names) - 1), f"**{rows.height:,}**"])


def cleaned(rows: pl.DataFrame) -> pl.DataFrame:
    """Closed-loop times between tokens whose labels lack nothing that is known of."""
    left = rows.filter(kind="closed_loop", quantity="itl_s")
    for lacks in WITHOUT.values():
        left = left.filter(~lacks.fill_null(value=False))
    return left


# ----- constants of kernels and architectures, each alone


class Alone(NamedTuple):
    """One constant fitted again while all others stay."""

    rows: int
    value: float
    relative_error: float
    before: float
    after: float

    def cells(self, catalog: float) -> tuple[str, str]:
        """The value and its standard error, if the rows tell them."""
        is_inside = 1.01 / WIDEST < self.value / catalog < WIDEST / 1.01
        if not is_inside or self.relative_error > 1:
            return "not told by these rows", ""
        return short(self.value), short(self.value * self.relative_error)


def alone(frame: pl.DataFrame, columns: Sequence[str], value: float) -> Alone | None:
    """One constant, which stands in some columns: its value at the rows that feel it; nothing where they are few."""
    whole = problem(frame, columns)
    at, more = (whole.predicted(dict.fromkeys(columns, value * step)) for step in (1.0, 1.01))
    felt = pl.Series(abs(np.log(more / at)) > FELT * log(1.01))
    if felt.sum() < LEAST_ROWS:
        return None
    whole = whole.part(felt)
    found, error = solved(whole, columns, value)
    folds = fold_of(group_key(whole.frame, CONFIGURATION))
    after = [
        whole.part(folds == fold).errors(dict.fromkeys(columns, solved(whole.part(folds != fold), columns, value)[0]))
        for fold in folds.unique()
    ]
    before = whole.errors(dict.fromkeys(columns, value))
    return Alone(int(felt.sum()), found, error, float(np.median(before)), float(np.median(np.concatenate(after))))


def solved(of: Problem, columns: Sequence[str], value: float) -> tuple[float, float]:
    """The value at which logarithms of estimates and measurements are closest, and its relative standard error."""
    logs_measured = np.log(of.values)

    def residuals(logs: np.ndarray) -> np.ndarray:
        return np.log(of.predicted(dict.fromkeys(columns, float(np.exp(logs[0]))))) - logs_measured

    edge = log(WIDEST)
    found = least_squares(
        residuals, [log(value)], bounds=(log(value) - edge, log(value) + edge), loss="soft_l1", f_scale=SOFT_RATIO
    )
    errors, _ = standard_errors(found.jac, found.fun)
    return float(np.exp(found.x[0])), float(errors[0])


def efficiencies(catalogs: Catalogs) -> Iterator[tuple[str, str, str, float]]:
    """Constants of kernels, architectures and steps that come from the studies: kind, entry, field, value."""
    of_study = catalogs.facts.filter(col("source").is_in(STUDIES), col("kind").is_in(FITTED))
    for kind, name, field in of_study.select("kind", "name", "field").iter_rows():
        frame = catalogs.frames[kind]
        value = frame.row(by_predicate=col(kind) == name, named=True)[field]
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            yield kind, name, field, float(value)


def part_of(frame: pl.DataFrame, catalogs: Catalogs, kind: str, name: str) -> Iterator[tuple[pl.DataFrame, list[str]]]:
    """The rows that an entry's constants are of, and the prefixes of the columns that they stand in."""
    if kind == "step":
        yield frame, [""]
    if kind == "architecture":
        devices = catalogs.frames["accelerator"].filter(architecture=name)["accelerator"]
        yield frame.filter(col("accelerator").cast(pl.String).is_in(devices.to_list())), [""]
    for group in ("dense", "expert") if kind == "kernel" else ():
        formats = catalogs.frames["format"].filter(col(f"{group}_kernel") == name)["format"]
        rows = frame.filter(col("weights").cast(pl.String).is_in(formats.to_list()))
        rows = rows.filter(col("moe_layers") > 0) if group == "expert" else rows
        if rows.height:
            yield rows, [f"{group}_", *(["half_"] if name == "bf16" else [])]


def constants(rows: pl.DataFrame, catalogs: Catalogs, on: date) -> Iterator[str]:
    """A table of the constants of kernels and architectures, each fitted again alone."""
    frame = speed_rows(cleaned(rows), catalogs, on, [])
    errors = ["median error %, as it is", "fitted, configurations left out"]
    yield from header(["entry", "constant", "catalog", "fitted alone", "standard error", "rows", *errors])
    few: dict[str, list[str]] = {}
    for kind, name, field, value in efficiencies(catalogs):
        for part, prefixes in part_of(frame, catalogs, kind, name):
            columns = [f"{prefix}{field}" for prefix in prefixes]
            fit = alone(part, columns, value) if part.height >= LEAST_ROWS else None
            if fit is None:
                few.setdefault(name, []).append(f"`{field}`")
                continue
            row = [*fit.cells(value), str(fit.rows), percent(fit.before), percent(fit.after)]
            yield line([name, f"`{field}`", short(value), *row])
    yield from ("", f"Made on {on} by `python {MAKER}`: {frame.height:,} closed-loop rows of TPOT, labels cleaned;")
    yield f"all other constants stay as they are. Fewer than {LEAST_ROWS} rows feel"
    yield from (f"* {name}: {', '.join(dict.fromkeys(fields))}" for name, fields in few.items())


def engines(rows: pl.DataFrame, catalogs: Catalogs, on: date) -> Iterator[str]:
    """What `capgrid calibrate` makes of the rows: constants of engines, and errors with configurations left out."""
    report = calibrate_rows(rows, catalogs, on, constants_by_kind([])).as_data()
    yield from header(["engine", "constant", "catalog", "fitted", "standard error", "rows"])
    for fit in report["fits"]:
        values = map(short, (fit["before"], fit["after"], fit["standard_error"]))
        yield line([fit["engine"], f"`{fit['constant']}`", *values, f"{fit['n']:,}"])
    yield ""
    columns = ["median error %: catalog", "fitted", "90th %: catalog", "fitted"]
    yield from header(["engine", "left out", "groups", "rows", *columns])
    for held in report["held_out"]:
        errors = (percent(held[name]) for name in ("median_before", "median_after", "p90_before", "p90_after"))
        yield line([held["engine"], held["left_out"], str(held["groups"]), f"{held['n']:,}", *errors])
    yield from ("", f"Made on {on} by `python {MAKER}`, as `capgrid calibrate --dry-run` makes them.")


def is_known(engine: str | None, version: str | None, catalogs: Catalogs) -> bool:
    """Whether the catalogs know an engine and its version."""
    try:
        resolve.engines([(engine, version)], catalogs)
    except UnknownNameError:
        return False
    return True


def left_out(path: Path, catalogs: Catalogs, on: date, by: Mapping[str, str]) -> Iterator[str]:
    """Errors on rows that came after the studies."""
    rows = read(path.name)
    known = rows.filter([is_known(*each, catalogs) for each in rows.select("engine", "engine_version").iter_rows()])
    judged = measured(known, catalogs, on).filter(col("reason") == "")
    yield f"`{path.name}`: {rows.height:,} rows, {known.height:,} of them of engines and versions that the catalogs"
    yield f"know, {judged.height:,} with an estimate. The study read none of them."
    yield ""
    yield from table(judged, by)
    yield from ("", f"Made on {on} by `python {MAKER}`.")


# ----- fits of kernel timings

GEMM = {0: "e", 1: "eb", 2: "launch, s", 3: "p", 4: "A"}
"""Places of the parameters of the chosen form of matrix products."""


ATTENTION = {
    "prefill_attn": ("C3", ["e", "sh, tokens", "launch, s"]),
    "decode_attn": ("D3", ["eb", "launch, s", "a KV head, s"]),
}
"""Kernels, the chosen form of each, and its parameters in their order."""


def middle(values: pl.Series) -> str:
    """The median of the machines, and its standard error.

    >>> middle(pl.Series([1.0, 2.0, 3.0]))
    '2 (0.72)'
    """
    many = values.drop_nulls()
    error = STANDARD * float(many.std() or 0.0) / sqrt(len(many)) if len(many) > 1 else 0.0
    return f"{short(many.median())} ({error:.2g})"


def products(on: date) -> Iterator[str]:
    """Fits of matrix products by format: medians of machines and backends, with standard errors."""
    fits = kernels("gemm_fits.csv")
    best = fits.filter(col("form").str.starts_with("F6"))
    yield from header(["format", "fits", "devices", "timings left out", *GEMM.values(), "median error % left out"])
    for (dtype,), part in best.group_by("dtype", maintain_order=True):
        if part.height > 1:
            values = [middle(part["params"].list.get(place)) for place in GEMM]
            counts = (str(part.height), str(part["gpu"].n_unique()), f"{part['n_test'].sum():,}")
            yield line([str(dtype), *counts, *values, percent(part["med_ape"].median())])
    yield from ("", "Cells: median of the fits, its standard error in brackets.", "")
    common = [str(dtype) for (dtype,), part in best.group_by("dtype", maintain_order=True) if part.height > 1]
    yield from header(["form", *common])
    for (form,), part in fits.group_by("form", maintain_order=True):
        yield line([f"`{form}`", *(percent(part.filter(dtype=dtype)["med_ape"].median()) for dtype in common)])
    yield from ("", "Median error, per cent, on the 30 % of shapes that were left out.")
    yield f"Made on {on} by `python {MAKER}`."


def attention(on: date) -> Iterator[str]:
    """Fits of attention kernels and of collectives."""
    fits = kernels("attn_fits.csv")
    for op, (form, parameters) in ATTENTION.items():
        yield from header([op, "KV cache", "fits", "timings left out", *parameters, "median error % left out"])
        best = fits.filter(col("op") == op, col("form").str.starts_with(form))
        for (gpu, dtype), part in best.group_by("gpu", "kv_dtype", maintain_order=True):
            values = [middle(part["params"].list.get(place)) for place in range(len(parameters))]
            counts = (str(part.height), f"{part['n_test'].sum():,}")
            yield line([str(gpu), str(dtype), *counts, *values, percent(part["med_ape"].median())])
        yield ""
    sums = kernels("allreduce_fits.csv").filter(col("form").str.starts_with("a+"))
    sums = sums.with_columns(library=col("impl").str.split(" ").list.first())
    yield from header(["all-reduce", "devices", "fits", "timings", "alpha, us", "share of the link", "median error %"])
    for (library, count), part in sums.group_by("library", "n_gpus", maintain_order=True):
        values = [middle(part["alpha_us"]), middle(part["frac_link"]), percent(part["med_ape"].median())]
        yield line([str(library), str(count), str(part.height), f"{part['points'].sum():,}", *values])
    yield from ("", f"Made on {on} by `python {MAKER}`. Cells: median of the fits, its standard error in brackets.")


def experts(on: date) -> Iterator[str]:
    """What kernels of routed experts achieve, by tokens in the step."""
    rows = kernels("moe_efficiency.csv")
    sizes = ["1-4", "5-16", "17-64", "65-256", "257-1024", "1025-4096", "4097-16384", ">16384"]
    for name, words in {"mbu": "share of the bandwidth", "mfu": "share of the peak"}.items():
        yield from header([f"{words}, by tokens", *sizes, "timings"])
        for (dtype,), part in rows.group_by("moe_dtype", maintain_order=True):
            cells = [short(part.filter(b=size)[name].median()) for size in sizes]
            yield line([str(dtype), *cells, f"{part['n'].sum():,}"])
        yield ""
    yield f"Made on {on} by `python {MAKER}`: medians of devices and backends."


# ----- memory


def memory_errors(catalogs: Catalogs, on: date) -> Iterator[str]:
    """Errors of each term of the account on the starts that the study read."""
    rows = measured(read(MEMORY[0]), catalogs, on)
    rows = rows.filter(col("reason") == "")
    yield from header(["quantity", "starts", "median error %", "90th %", "largest %", "largest, GiB"])
    for (quantity,), part in rows.group_by("quantity", maintain_order=True):
        off = (part["predicted"] - part["value"]).abs().max()
        is_bytes = str(quantity).endswith("_bytes")
        errors = (part["ape"].median(), part["ape"].quantile(0.9, "linear"), part["ape"].max())
        yield line([f"`{quantity}`", str(part.height), *map(percent, errors), f"{off / GIB:.3f}" if is_bytes else ""])
    yield from ("", f"Made on {on} by `python {MAKER}`.")


def facts_of(quantity: str, catalogs: Catalogs, on: date) -> pl.DataFrame:
    """The starts that log a quantity, with the facts of their plans."""
    plans = with_ids(read(MEMORY[0]).filter(quantity=quantity), catalogs).filter(reason="")
    frame = join_facts(plans, catalogs, on)
    order = in_order(book_for(frame), ["graph_scratch_bytes"], set(frame.columns))
    return evaluate(frame.lazy(), order).collect()


class Line(NamedTuple):
    """A straight fit: its coefficients, their standard errors, and the largest error with models left out in turn."""

    values: np.ndarray
    errors: np.ndarray
    rows: int
    median_left_out: float
    most_left_out: float


def straight(frame: pl.DataFrame, parts: Sequence[pl.Expr]) -> Line:
    """Least squares of measured bytes on some parts, in GiB."""
    given = frame.select(*(part.cast(pl.Float64).alias(str(place)) for place, part in enumerate(parts))).to_numpy()
    wanted = frame["value"].to_numpy() / GIB
    values = np.linalg.lstsq(given, wanted)[0]
    noise = np.sum((wanted - given @ values) ** 2) / max(len(wanted) - len(values), 1)
    errors = np.sqrt(np.diag(np.linalg.pinv(given.T @ given)) * noise)
    models = frame["model"].cast(pl.String).to_numpy()
    off = []
    for model in sorted(set(models)):
        out = models == model
        off.append(abs(wanted[out] - given[out] @ np.linalg.lstsq(given[~out], wanted[~out])[0]))
    every = np.concatenate(off)
    return Line(values, errors, len(wanted), float(np.median(every)), float(np.max(every)))


def runtime(catalogs: Catalogs, on: date) -> Iterator[str]:
    """Memory outside tensors and CUDA graphs, fitted again."""
    beside = facts_of("non_torch_bytes", catalogs, on).filter(col("pp") == 1)
    graphs = facts_of("cuda_graph_bytes", catalogs, on)
    one, layers = pl.lit(1.0), col("layer_count")
    fits = {
        f"non-torch, tp {tp}": (beside.filter(col("tp") == tp), [one, layers], ["one rank, GiB", "a layer, GiB"])
        for tp in (1, 2, 4)
    }
    fits["CUDA graphs"] = (graphs, [col("graph_scratch_bytes") / GIB, layers], ["times the scratch", "a layer, GiB"])
    errors = ["median error, models left out, GiB", "largest"]
    yield from header(["term", "starts", "coefficient", "value", "standard error", *errors])
    for name, (frame, parts, words) in fits.items():
        if frame.height > len(parts):
            fit = straight(frame.with_columns(one=one), parts)
            out = [f"{fit.median_left_out:.3f}", f"{fit.most_left_out:.3f}"]
            for word, value, error in zip(words, fit.values, fit.errors, strict=True):
                yield line([name, str(fit.rows), word, short(float(value)), short(float(error)), *out])
    yield from ("", f"Made on {on} by `python {MAKER}`: ordinary least squares; each model left out in turn.")


# ----- pages


def main() -> None:
    """Write all of it."""
    if not SHARED.is_dir():
        raise click.ClickException(f"{SHARED}: measurements and kernel fits are not here; nothing is written")
    catalogs, on = pipeline.catalogs(), datetime.now(tz=UTC).date()
    speed = read(SPEED[0])
    second = SHARED / "measurements"
    parts = {
        ("step-time.md", "rows"): counted(speed, "source", "kind"),
        ("step-time.md", "constants"): constants(speed, catalogs, on),
        ("step-time.md", "engines"): engines(speed, catalogs, on),
        ("step-time.md", "left out"): left_out(
            second / SPEED[1], catalogs, on, {"kind": "kind of run", "quantity": "measured", "class": "models"}
        ),
        ("kernel-timings.md", "products"): products(on),
        ("kernel-timings.md", "attention"): attention(on),
        ("kernel-timings.md", "experts"): experts(on),
        ("serving-memory.md", "rows"): counted(read(MEMORY[0]), "source", "engine", "quantity"),
        ("serving-memory.md", "errors"): memory_errors(catalogs, on),
        ("serving-memory.md", "runtime"): runtime(catalogs, on),
        ("serving-memory.md", "left out"): left_out(
            second / MEMORY[1], catalogs, on, {"engine": "engine", "quantity": "logged"}
        ),
    }
    for (page, name), lines in parts.items():
        put(PAGES / page, name, list(lines), MAKER)


if __name__ == "__main__":
    main()
