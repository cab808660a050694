"""Floor 2: formulas only, Polars expressions in and out; no files, no settings, no frames."""

from pipeline.estimators import (
    attention,
    bands,
    casestudy,
    cost,
    decode,
    energy,
    feasible,
    gemm,
    kernels,
    memory,
    parallel,
    prefill,
    rates,
    serving,
    weights,
)

__all__ = [
    "attention",
    "bands",
    "casestudy",
    "cost",
    "decode",
    "energy",
    "feasible",
    "gemm",
    "kernels",
    "memory",
    "parallel",
    "prefill",
    "rates",
    "serving",
    "weights",
]
