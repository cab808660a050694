"""What every row of the two published tables promises: columns, types, bounds, laws."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pandera.polars as pa
import polars as pl

from pipeline.core.errors import PipelineError
from pipeline.grid.axes import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME, COUNT, BYTES, TRUTH, DAY = pl.Enum, pl.Int64, pl.Int64, pl.Boolean, pl.Date
REAL = pl.Float32
"""Seconds, rates and dollars: computed as Float64, stored as Float32, whose error is far inside any band."""


MOST = 1e30


@dataclass(frozen=True)
class Column:
    """One published column: its type, its least value, whether it may be unknown, how finely it is stored."""

    dtype: Any
    least: float = 0.0
    nullable: bool = False
    is_edge: bool = False

    @property
    def is_number(self) -> bool:
        """Whether the column counts or measures something."""
        return self.dtype in {COUNT, BYTES, REAL}

    def holds(self, name: str) -> pl.Expr:
        """Whether each value is known, finite and not below the least; an unknown one where it may be."""
        column = pl.col(name)
        known = column.is_between(self.least, MOST) if self.is_number else column.is_not_null()
        return known.fill_null(True) if self.is_number and self.nullable else known | pl.lit(self.nullable)

    def all_hold(self, name: str) -> pl.Expr:
        """The same of the whole column at once, in a tenth of the time: a sum shows what is not finite."""
        column = pl.col(name)
        known = (column.null_count() == 0) | pl.lit(self.nullable)
        within = (column.min() >= self.least) & column.sum().is_finite()
        return known & within.fill_null(True) if self.is_number else known

    def stored(self, name: str) -> pl.Expr:
        """The column as it is written."""
        column = pl.col(name) if self.dtype == NAME else pl.col(name).cast(self.dtype)
        return coarse(column).alias(name) if self.is_edge and self.dtype == REAL else column


def coarse(edge: pl.Expr) -> pl.Expr:
    """An edge of a band, rounded to 10 bits: 0.05 % of a width of 10 % or more, in half the space.

    Source: T. J. Dekker 1971, splitting by 2^k + 1 (Float32 has 24 bits; k = 14 leaves 10).
    """
    high = edge * pl.lit(2.0**14 + 1, pl.Float32)
    return high - (high - edge)


name, count, size, truth = Column(NAME), Column(COUNT, 1), Column(BYTES), Column(TRUTH)
whole, real, priced, edge = Column(COUNT, 0), Column(REAL), Column(REAL, nullable=True), Column(REAL, is_edge=True)

SHARED: dict[str, Column] = {
    "model": name, "weights": name, "kv": name, "engine": name, "accelerator": name,
    "device_count": count, "tp": count, "pp": count, "ep": count,
    "workload": name, "prompt_tokens": count, "output_tokens": count, "dp": count,
    "batch": count,
    "parameter_count": count, "active_parameter_count": count,
    "weight_bytes": size, "kv_bytes_per_token": real, "kv_bytes_per_sequence": size, "sequence_bytes": size,
    "activation_bytes": size, "overhead_bytes": size, "device_memory_bytes": size,
    "kv_pool_bytes": Column(BYTES, -1e15),
    "vram_bytes": size, "vram_bytes_lo": edge, "vram_bytes_hi": edge, "fits": truth, "limited_by": name,
    "ttft_s": real, "ttft_s_lo": edge, "ttft_s_hi": edge,
    "tpot_s": real, "tpot_s_lo": edge, "tpot_s_hi": edge, "e2e_s": real,
    "output_tokens_per_s": real, "output_tokens_per_s_lo": edge, "output_tokens_per_s_hi": edge, "requests_per_s": real,
    "usd_per_hour": priced, "usd_per_mtok_output": priced, "usd_per_mtok_input": priced,
    "power_w": priced, "energy_j_per_token": priced,
    "simple_vram_bytes": size, "simple_ttft_s": real, "simple_tpot_s": real, "simple_batch_max": whole,
    "confidence": name,
}  # fmt: skip

ANSWERS: dict[str, Column] = {
    "batch_max": whole, "batch_max_lo": whole, "context_max_tokens": whole, "context_tokens_max": count,
    "batch_slo": whole, "sequences_max": count, "ttft_slo_s": real, "tpot_slo_s": real,
    "engine_version": Column(pl.String, nullable=True),
    "memory_utilization_ratio": real, "batched_tokens_max": whole, "block_tokens": count,
    "non_torch_bytes": size, "cuda_graph_bytes": size,
    "kv_ideal_bytes_per_sequence": size, "kv_shown_bytes_per_token": real,
    "kv_pool_blocks": whole, "kv_pool_tokens": whole,
    "memory_confidence": name, "memory_risk": name, "memory_error_bytes": real,
    "batch_max_output_tokens_per_s": priced, "batch_max_usd_per_mtok_output": priced,
    "price_cloud": Column(pl.String, nullable=True), "price_date": Column(DAY, nullable=True),
}  # fmt: skip

text = Column(pl.String)
FLEET: dict[str, Column] = {
    "model": text, "weights": text, "kv": text, "engine": text, "accelerator": text,
    "device_count": count, "tp": count, "pp": count, "ep": count,
    "workload": text, "prompt_tokens": count, "output_tokens": count, "dp": count,
    "demand_requests_per_s": real, "ttft_slo_s": real, "tpot_slo_s": real,
    "prefill_workers": whole, "decode_workers": whole,
    "replicas": count, "spare_replicas": whole, "devices": count, "nodes": count,
    "usd_per_hour": priced, "usd_per_month": priced, "usd_per_request": priced, "usd_per_mtok_output": priced,
    "split_usd_per_mtok_input": priced, "split_usd_per_mtok_cached": priced, "split_usd_per_mtok_output": priced,
    "ttft_p95_s": priced, "tpot_p95_s": priced, "e2e_p95_s": priced,
    "ttft_loaded_s": priced, "ttft_p50_s": priced, "ttft_p99_s": priced,
    "tpot_loaded_s": priced, "tpot_p50_s": priced, "tpot_p99_s": priced, "e2e_loaded_s": priced,
    "running_batch": real, "utilisation_ratio": real, "load_verdict": text, "goodput_requests_per_s": real,
    "slo_requests_per_s": real, "slo_requests_per_s_lo": real, "slo_requests_per_s_hi": real, "holds_at_lo": truth,
    "power_w": priced, "energy_kwh_per_mtok": priced, "co2e_kg_per_mtok": priced,
    "energy_kwh_per_month": priced, "co2e_kg_per_month": priced,
    "limited_by": text, "confidence": text, "device_usd_per_hour": priced,
    "price_cloud": Column(pl.String, nullable=True), "price_date": Column(DAY, nullable=True),
    "price_note": Column(pl.String, nullable=True),
}  # fmt: skip

TABLES: dict[str, dict[str, Column]] = {"estimates": SHARED, "capacity": SHARED | ANSWERS, "fleet": FLEET}

DESCRIBED = {
    # what no formula makes
    "model": "Model: an id of catalogs/models.",
    "weights": "Number format of the weights: an id of catalogs/formats.toml.",
    "kv": "Number format of the KV cache: an id of catalogs/formats.toml.",
    "engine": "Serving engine: an id of catalogs/engines.",
    "accelerator": "Device: an id of catalogs/accelerators.",
    "tp": "Tensor-parallel ranks.",
    "pp": "Pipeline stages.",
    "ep": "Expert-parallel ranks, among the tensor- and data-parallel ones.",
    "dp": "Data-parallel groups of attention: each has tp ranks and a share of the batch; experts are spread over all.",
    "workload": "Kind of traffic: an id of catalogs/workloads.",
    "batch": "Sequences running at once on one replica; in `capacity` the operating batch: batch_slo, "
    "or the largest that runs where no batch meets the objectives, or 1 where nothing fits.",
    "batch_slo": "Largest batch that meets the workload's objectives, fits, and stays within the engine's limit, or 0.",
    "batch_max_output_tokens_per_s": "Output tokens per second at the largest batch that runs.",
    "batch_max_usd_per_mtok_output": "Price of a million output tokens at the largest batch that runs.",
    "engine_version": "First version of the engine that the row's rules describe.",
    "price_cloud": "Cloud whose price is used: the cheapest per device in the grid's market.",
    "price_date": "Day from which that price holds.",
}

OF_FLEET = {
    # what no formula makes of the table `fleet`
    "demand_requests_per_s": "Rate that the fleet carries, and that its latencies and costs are told at.",
    "ttft_slo_s": "Objective of the time to first token; in `fleet` of its p95.",
    "tpot_slo_s": "Objective of the time between output tokens; in `fleet` of its p95.",
    "prompt_tokens": "Mean prompt length.",
    "output_tokens": "Mean output length.",
    "prefill_workers": "Workers of a replica that only read prompts; 0 where a replica does both.",
    "decode_workers": "Workers of a replica that only decode; 0 where a replica does both.",
    "replicas": "Replicas of the fleet, spares included.",
    "spare_replicas": "Replicas that are not needed for the rate: they idle until one fails.",
    "devices": "Devices of all replicas.",
    "nodes": "Nodes that the replicas stand on; one that fits a node is not split over two.",
    "goodput_requests_per_s": "Rate that the working replicas carry within the objective.",
    "slo_requests_per_s": "Largest rate of one replica whose p95 meet both objectives, under Poisson arrivals.",
    "slo_requests_per_s_lo": "The same where times are at the slow end of their 80 % bands.",
    "slo_requests_per_s_hi": "The same where times are at the fast end of their 80 % bands.",
    "holds_at_lo": "Whether all replicas together carry the rate even at the slow end of the bands.",
    "load_verdict": "Whether the closed forms hold: stable; tight (a p95 hangs on single collisions: simulate); "
    "queueing (a queue for places decides: simulate); unstable (it grows without end).",
    "power_w": "Mean power of the row's devices: of a replica while it decodes; of a fleet with hosts and idle spares.",
    "limited_by": "What bounds a decode step of a replica; memory where it does not fit.",
    "ttft_p50_s": "Time to first token under load that half of the requests stay within.",
    "tpot_p50_s": "Mean time between output tokens that half of the requests stay within.",
    "tpot_p95_s": "Mean time between output tokens that 95 % of requests stay within.",
    "tpot_p99_s": "Mean time between output tokens that 99 % of requests stay within.",
    "e2e_p95_s": "Time from a request to its last token that 95 % of requests stay within.",
    "device_usd_per_hour": "Price of one device for an hour.",
    "price_note": "How the price is known: listed, a share of on-demand, or owned.",
}

RANK_BATCH = -(-pl.col("batch") // pl.col("dp"))

FLEET_LAWS: dict[str, pl.Expr] = {
    "spares_are_among_replicas": pl.col("spare_replicas") < pl.col("replicas"),
    "devices_are_those_of_replicas": pl.col("devices") == pl.col("replicas") * pl.col("device_count"),
    "working_replicas_carry_the_demand": pl.col("goodput_requests_per_s") * 1.001 >= pl.col("demand_requests_per_s"),
    "the_rate_lies_in_its_band": (pl.col("slo_requests_per_s_lo") <= pl.col("slo_requests_per_s") * 1.001)
    & (pl.col("slo_requests_per_s") <= pl.col("slo_requests_per_s_hi") * 1.001),
}

LAWS: dict[str, pl.Expr] = {
    "vram_is_the_sum_of_its_parts": pl.col("vram_bytes")
    == pl.sum_horizontal("weight_bytes", "activation_bytes", "overhead_bytes") + RANK_BATCH * pl.col("sequence_bytes"),
    "fits_is_room_in_the_pool": pl.col("fits") == (RANK_BATCH * pl.col("sequence_bytes") <= pl.col("kv_pool_bytes")),
    "what_does_not_fit_is_limited_by_memory": pl.col("fits") == (pl.col("limited_by") != "memory"),
    "the_first_token_comes_before_the_last": pl.col("ttft_s") <= pl.col("e2e_s"),
    "replica_is_tp_times_pp_times_dp_devices": pl.col("device_count") == pl.col("tp") * pl.col("pp") * pl.col("dp"),
    **{
        f"{x}_lies_in_its_band": (pl.col(f"{x}_lo") <= pl.col(x) * 1.001) & (pl.col(x) <= pl.col(f"{x}_hi") * 1.001)
        for x in ("vram_bytes", "ttft_s", "tpot_s", "output_tokens_per_s")
    },
}
ANSWER_LAWS: dict[str, pl.Expr] = {
    "blocks_never_give_more_than_the_ideal": pl.col("kv_ideal_bytes_per_sequence") <= pl.col("kv_bytes_per_sequence"),
    "the_safe_batch_is_at_most_the_largest": pl.col("batch_max_lo") <= pl.col("batch_max"),
    "the_slo_batch_is_at_most_the_largest": pl.col("batch_slo") <= pl.col("batch_max"),
    "batch_max_is_what_the_pool_holds": pl.col("batch_max")
    == (pl.col("kv_pool_bytes") // pl.col("sequence_bytes")).clip(0) * pl.col("dp"),
}


def stored(frame: pl.LazyFrame, table: str) -> pl.LazyFrame:
    """The columns of a table as they are written, in order."""
    return frame.select(column.stored(name) for name, column in TABLES[table].items())


@cache
def schema(table: str) -> pa.DataFrameSchema:
    """The Pandera schema of a table: columns and types, strict and ordered; bounds and laws over whole rows."""
    columns = {
        name: pa.Column(None if column.dtype == NAME else column.dtype, nullable=True)
        for name, column in TABLES[table].items()
    }
    whole = pl.all_horizontal(column.all_hold(name) for name, column in TABLES[table].items())
    checks = {"every_value_is_known_and_within_its_bounds": whole} | laws(table)
    return pa.DataFrameSchema(
        columns, checks=[_check(name, holds) for name, holds in checks.items()], strict=True, ordered=True
    )


def laws(table: str) -> dict[str, pl.Expr]:
    """What holds between the columns of a row."""
    return FLEET_LAWS if table == "fleet" else LAWS | (ANSWER_LAWS if table == "capacity" else {})


def bounds(table: str) -> dict[str, pl.Expr]:
    """What holds of each column alone: known where it must be, finite, at least its least value."""
    return {f"{name} >= {column.least:g}": column.holds(name) for name, column in TABLES[table].items()}


def _check(name: str, holds: pl.Expr) -> pa.Check:
    return pa.Check(lambda data: data.lazyframe.select(holds), name=name)


def validated(frame: pl.DataFrame, table: str) -> pl.DataFrame:
    """The frame, if it keeps every promise of its table.

    Raises:
        PipelineError: broken promises, each with its count and an example; a formula or a fact is wrong.
    """
    try:
        schema(table).validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        lines = [*misshapen(frame, table), *broken(frame, table)] or [str(error)]
        raise PipelineError("\n".join(f"{table}: {line}" for line in lines)) from error
    return frame


def misshapen(frame: pl.DataFrame, table: str) -> Iterator[str]:
    """Columns that are missing, too many, or of another type."""
    for name in frame.schema.keys() ^ TABLES[table].keys():
        yield f"column '{name}' is {'not expected' if name in frame.columns else 'missing'}"
    for name, dtype in frame.schema.items():
        expected = TABLES[table][name].dtype if name in TABLES[table] else dtype
        if dtype != expected:
            yield f"column '{name}' is {dtype}, not {expected}"


def broken(frame: pl.DataFrame, table: str) -> Iterator[str]:
    """Each broken bound and law: how many rows, and the keys of the first."""
    for name, holds in (bounds(table) | laws(table)).items():
        bad = (
            frame.filter(~holds.fill_null(False))
            if set(holds.meta.root_names()) <= set(frame.columns)
            else frame.clear()
        )
        if bad.height:
            first = bad.select(keys(table)).row(0, named=True)
            yield f"{name} does not hold in {bad.height} rows; first: {', '.join(f'{k} {v}' for k, v in first.items())}"


def keys(table: str) -> list[str]:
    """What tells the rows of a table apart."""
    more = {"estimates": ["batch"], "fleet": ["demand_requests_per_s", "ttft_slo_s", "tpot_slo_s"]}
    return [*KEYS, *more.get(table, [])]
