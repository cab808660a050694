"""What a configuration costs, at scale. Read ratios: cores are shared, so that seconds of CPU vary by half.

    python benchmarks/bench_scale.py run GRID.toml --out FOLDER [--workers N] [--executor dask]
    python benchmarks/bench_scale.py ways [--models N] [--rounds N] [--peer PYTHON]
    python benchmarks/bench_scale.py layouts [--models N] [--rounds N]

* run: a whole run as a user starts it: rows per second of CPU (all processes together), the largest memory that any
  worker and the main process took, bytes a row.
* ways: configurations (rows of `estimates`) per second of CPU, one thread each, in interleaved rounds: this pipeline
  with and without its answers, Parquet encoding alone, DuckDB's COPY of the finished columns, a plain-Python loop over
  the same formulas (tests/oracle), and, with --peer, vllm-sr-sim's closed form in the Python that has it.
* layouts: bytes a row and seconds of CPU per million rows of ways to store one finished table.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path

AS_OF = date(2026, 11, 22)
SAMPLE = 1000
GIB = 2**30
PEER = """
import itertools, time
from fleet_sim.gpu_profiles import ProfileBuilder, ServingConfig
from fleet_sim.hardware import catalog as devices
from fleet_sim.models import catalog as models
began, count = time.process_time(), 0
known = models.LLAMA_3_1_8B, models.LLAMA_3_1_70B, models.MIXTRAL_8X7B
for device, model, tp in itertools.product((devices.H100_SXM, devices.A100_SXM, devices.L40S), known, (1, 2, 4, 8)):
    profile = ProfileBuilder().build(hw=device, model=model, cfg=ServingConfig(tp=tp, dtype_bytes=2))
    for (prompt, output), batch in itertools.product(((512, 128), (2048, 300), (12000, 340)), range(1, 201)):
        profile.iter_latency(batch, prompt + output)
        profile.prefill_iter_latency(prompt, prompt / 2, batch, prompt + output)
        profile.n_slots(prompt + output)
        profile.power_at_concurrency(batch, prompt + output)
        count += 1
print(count / (time.process_time() - began))
"""
"""Decode step, prefill, places and power by vllm-sr-sim's closed form; the profile of a plan is made once."""


# ----- run


class Watch(threading.Thread):
    """The largest memory of each process below one, by its name in /proc."""

    def __init__(self, pid: int) -> None:
        """Begin at the next start."""
        super().__init__(daemon=True)
        self.pid, self.done, self.main_kb, self.worker_kb = pid, threading.Event(), 0, 0

    def run(self) -> None:
        """Look ten times a second; the kernel keeps the peak."""
        while not self.done.wait(0.1):
            self.main_kb = max(self.main_kb, peak_kb(self.pid))
            for child in children(self.pid):
                self.worker_kb = max(self.worker_kb, peak_kb(child))


def children(pid: int) -> list[int]:
    """Processes that a process started, and that these started."""
    try:
        own = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return own + [grandchild for child in own for grandchild in children(child)]


def peak_kb(pid: int) -> int:
    """The most memory that a process has held so far."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def run(asked: argparse.Namespace) -> None:
    """Run the grid in a process of its own and say what it took."""
    words = [
        sys.executable,
        "-c",
        "from pipeline.cli.main import cli; cli()",
        "run",
        "--grid",
        asked.grid,
        "--out",
        asked.out,
        "--as-of",
        str(AS_OF),
    ]
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603
        [*words, "--workers", str(asked.workers), "--executor", asked.executor, "--json"], stdout=subprocess.PIPE
    )
    watch = Watch(process.pid)
    watch.start()
    manifest = json.loads(process.communicate()[0])
    watch.done.set()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s, rows = used.ru_utime + used.ru_stime, manifest["rows"]["estimates"]
    sizes = defaultdict(int)
    for name, size in manifest["files"].items():
        sizes[name.split("/")[0]] += size
    print(f"run {manifest['run']}: {rows:,} rows of estimates, {manifest['rows']['capacity']:,} of capacity")
    print(f"{manifest['models']}, {sum(manifest['partitions'].values())} partitions, {asked.workers} workers")
    print(f"{time.perf_counter() - began:.1f} s, {cpu_s:.1f} CPU-s: {rows / cpu_s:,.0f} rows per CPU-second")
    print(f"peak memory: worker {watch.worker_kb / 2**20:.2f} GiB, main process {watch.main_kb / 2**20:.2f} GiB")
    for name in ("estimates", "capacity", "capacity.parquet"):
        of = manifest["rows"][name.removesuffix(".parquet")]
        print(f"{name}: {sizes[name] / GIB:.2f} GiB, {sizes[name] / of:.1f} bytes a row")


# ----- ways


def ways(asked: argparse.Namespace) -> None:
    """Configurations per second of CPU, each way in turn in every round."""
    os.environ["POLARS_MAX_THREADS"] = "1"
    import bench_run  # noqa: PLC0415

    from pipeline.grid.schema import validated  # noqa: PLC0415
    from pipeline.grid.tables import capacity_of, estimates_of  # noqa: PLC0415

    axes = default_axes(asked.models)
    sample = bench_run.sample_of(axes)[:SAMPLE]
    rates: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        for _ in range(asked.rounds):
            frame = estimates_of(axes)
            work: dict[str, tuple[int, Callable[[], object]]] = {
                "capgrid": (frame.height, lambda: (
                    bench_run.write(validated(estimates_of(axes), "estimates"), path),
                    bench_run.write(validated(capacity_of(axes), "capacity"), path),
                )),
                "capgrid, estimates alone": (
                    frame.height, lambda: bench_run.write(validated(estimates_of(axes), "estimates"), path)
                ),
                "Parquet encoding alone": (frame.height, lambda frame=frame: bench_run.write(frame, path)),
                "DuckDB COPY of the finished columns": (frame.height, lambda frame=frame: bench_run.copy(frame, path)),
                "plain Python loop, not written": (
                    len(sample), lambda: [bench_run.plain_python.row(facts) for facts in sample]
                ),
            }  # fmt: skip
            for name, (count, do) in work.items():
                rates[name].append(count / bench_run.cpu(do))
            if asked.peer:
                told = subprocess.run([asked.peer, "-c", PEER], capture_output=True, text=True, check=True)  # noqa: S603
                rates["vllm-sr-sim's closed form, not written"].append(float(told.stdout))
    told_rates(rates, frame.height)


def told_rates(rates: dict[str, list[float]], rows: int) -> None:
    """Medians, and what they are against capgrid."""
    whole = statistics.median(rates["capgrid"])
    print(f"{rows:,} rows of estimates; configurations per CPU-second, median of {len(rates['capgrid'])} rounds")
    for name, each in rates.items():
        median = statistics.median(each)
        print(f"{name:<42}{median:>12,.0f}  ({min(each):,.0f} .. {max(each):,.0f})  {median / whole:8.4f} x capgrid")


def default_axes(models: int) -> dict:
    """The axes of the default grid with some of its models, those of one kind: a partition as runs have it."""
    import pipeline  # noqa: PLC0415
    from pipeline.grid.axes import axes_of  # noqa: PLC0415
    from pipeline.grid.selection import read_grid  # noqa: PLC0415
    from pipeline.run.partitions import partitions  # noqa: PLC0415

    catalogs = pipeline.catalogs()
    axes = axes_of(catalogs, read_grid("default", catalogs), AS_OF)
    part = partitions(axes)[0]
    return part.axes(axes, part.models[:models])


# ----- layouts


def layouts(asked: argparse.Namespace) -> None:
    """Bytes a row and CPU of ways to store the same rows."""
    os.environ["POLARS_MAX_THREADS"] = "1"
    import bench_run  # noqa: PLC0415
    import polars as pl  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415
    from polars import col  # noqa: PLC0415

    from pipeline.grid.tables import estimates_of  # noqa: PLC0415

    frame = estimates_of(default_axes(asked.models))
    derived = ["requests_per_s", "usd_per_mtok_output", "output_tokens_per_s_lo", "output_tokens_per_s_hi", "e2e_s"]
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=1)
    engines = frame.sort("engine", maintain_order=True)

    def polars(rows: pl.DataFrame, **how: object) -> Callable[[Path], object]:
        return lambda path: rows.write_parquet(path, **({"compression": "zstd", "compression_level": 1} | how))

    def arrow(rows: pl.DataFrame, **how: object) -> Callable[[Path], object]:
        table = rows.to_arrow()
        return lambda path: pq.write_table(table, path, compression="zstd", compression_level=1, **how)

    real = [name for name, dtype in frame.schema.items() if dtype == pl.Float32]
    known = {
        "as it is": polars(frame),
        "zstd 3": polars(frame, compression_level=3),
        "zstd 9": polars(frame, compression_level=9),
        "lz4": polars(frame, compression="lz4", compression_level=None),
        "snappy": polars(frame, compression="snappy", compression_level=None),
        "Float64": polars(frame.with_columns(col(pl.Float32).cast(pl.Float64))),
        "engine slowest": polars(engines),
        "shuffled": polars(shuffled),
        "without five derived columns": polars(frame.drop(derived)),
        "without any band": polars(frame.drop([each for each in frame.columns if each.endswith(("_lo", "_hi"))])),
        "pyarrow": arrow(frame),
        "pyarrow, byte stream split": arrow(
            frame,
            use_dictionary=[each for each in frame.columns if each not in real],
            column_encoding=dict.fromkeys(real, "BYTE_STREAM_SPLIT"),
        ),
    }
    found: dict[str, list[float]] = defaultdict(list)
    sizes = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        for _ in range(asked.rounds):
            for name, write in known.items():
                found[name].append(bench_run.cpu(lambda write=write: write(path)) / frame.height * 1e6)
                sizes[name] = path.stat().st_size / frame.height
    print(f"{frame.height:,} rows; bytes a row, CPU-seconds per million rows (median of {asked.rounds} rounds)")
    for name, each in found.items():
        print(f"{name:<32}{sizes[name]:8.1f}{statistics.median(each):8.2f}")


def main() -> None:
    """Do what is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways_of = parser.add_subparsers(required=True)
    each = ways_of.add_parser("run")
    each.add_argument("grid")
    each.add_argument("--out", required=True)
    each.add_argument("--workers", type=int, default=2)
    each.add_argument("--executor", default="local")
    each.set_defaults(do=run)
    for name, do in (("ways", ways), ("layouts", layouts)):
        each = ways_of.add_parser(name)
        each.add_argument("--models", type=int, default=12)
        each.add_argument("--rounds", type=int, default=3)
        each.add_argument("--peer", help="A Python that has vllm-sr-sim.")
        each.set_defaults(do=do)
    asked = parser.parse_args()
    asked.do(asked)


if __name__ == "__main__":
    main()
