"""Memory outside tensors of the model: kernels' own buffers, communicators, CUDA graphs.

Source: serving-memory study, section 3, measured on H100; catalogs/engines and catalogs/efficiencies.
"""

from typing import NamedTuple

import polars as pl
from polars import Expr

from pipeline.core.quantity import quantity


class Runtime(NamedTuple):
    """What the engine takes beside tensors on a device of its own."""

    engine_runtime_bytes: Expr
    engine_runtime_bytes_per_layer: Expr
    engine_pipeline_runtime_bytes: Expr


@quantity
def start_up_bytes(expert_ranks: Expr, engine_context_bytes: Expr, communicator_bytes: Expr) -> Expr:
    """Memory in use before the model is loaded: the device's context, and communicators where ranks talk.

    Source: serving-memory study, section 3: 0.51 GiB, and 1.53 with two ranks or more on an H100; half of the
    communicators are set up before the model.
    """
    return engine_context_bytes + (communicator_bytes // 2) * (expert_ranks > 1)


@quantity
def communicator_bytes(link_bytes_per_s: Expr, linked_communicator_bytes: Expr, pcie_communicator_bytes: Expr) -> Expr:
    """Communicators and buffers of collectives that a rank sets up with the model.

    Source: catalogs/efficiencies, by architecture, with a link or without.
    """
    return pl.when(link_bytes_per_s > 0).then(linked_communicator_bytes).otherwise(pcie_communicator_bytes)


@quantity
def non_torch_bytes(
    runtime: Runtime,
    layer_count: Expr,
    pp: Expr,
    expert_ranks: Expr,
    communicator_bytes: Expr,
    start_up_bytes: Expr,
    engine_counts_context: Expr,
    engine_counts_start_up: Expr,
    engine_context_bytes: Expr,
    engine_communicator_ratio: Expr,
) -> Expr:
    """Memory outside the tensor library that the engine finds: kernels' buffers, and communicators where ranks talk.

    Versions differ in when they take their first look at the device: before or after its context and
    the first communicators.

    Source: serving-memory study, section 3; vLLM utils/mem_utils.py and worker, 0.6 to 0.27.
    """
    whole = runtime.engine_runtime_bytes + layer_count * runtime.engine_runtime_bytes_per_layer
    own = pl.when(pp > 1).then(runtime.engine_pipeline_runtime_bytes).otherwise(whole)
    first = (
        start_up_bytes - engine_context_bytes
    ) * engine_counts_start_up + engine_context_bytes * engine_counts_context
    later = (communicator_bytes * engine_communicator_ratio).cast(pl.Int64)
    return own + later * (expert_ranks > 1) + first


# ----- CUDA graphs


@quantity
def graph_scratch_bytes(
    heads: Expr,
    head_dim: Expr,
    tp: Expr,
    mla_layers: Expr,
    splits_attention: Expr,
    graph_splits: Expr,
    engine_graph_size: Expr,
) -> Expr:
    """Partial results of split attention that the largest decode graph keeps, where the kernel splits; not of MLA.

    Source: serving-memory study, section 3: largest size x (nq / tp) d x 4 B x 32 splits, FlashAttention 3.
    """
    scratch = engine_graph_size * (heads // tp) * head_dim * 4 * graph_splits
    return scratch * (splits_attention & (mla_layers == 0))


@quantity
def cuda_graph_bytes(
    graph_scratch_bytes: Expr,
    graph_scratch_ratio: Expr,
    layer_count: Expr,
    pp: Expr,
    is_eager: Expr,
    engine_graph_bytes_per_layer: Expr,
) -> Expr:
    """CUDA graphs that the engine captures; where the engine does not charge them they live outside the pool.

    Source: serving-memory study, section 3: 1.09 A + 0.0193 GiB a layer; within 0.28 GiB on left-out models.
    """
    graphs = graph_scratch_ratio * graph_scratch_bytes + engine_graph_bytes_per_layer * -(-layer_count // pp)
    return pl.when(is_eager).then(0.0).otherwise(graphs).ceil().cast(pl.Int64)


@quantity
def charged_graph_bytes(
    graph_scratch_bytes: Expr,
    charged_scratch_ratio: Expr,
    layer_count: Expr,
    pp: Expr,
    is_eager: Expr,
    samples_lean: Expr,
    engine_charges_graphs: Expr,
    engine_graph_bytes_per_layer: Expr,
) -> Expr:
    """CUDA graphs as the engine estimates them beforehand and takes them off the pool; none where it does not.

    Source: serving-memory study, section 3: 0.72 A + 0.0192 GiB a layer; vLLM 0.20 to 0.27, first model runner.
    """
    estimate = charged_scratch_ratio * graph_scratch_bytes + engine_graph_bytes_per_layer * -(-layer_count // pp)
    charged = engine_charges_graphs & ~is_eager & ~samples_lean
    return pl.when(charged).then(estimate).otherwise(0.0).ceil().cast(pl.Int64)


@quantity
def overhead_bytes(non_torch_bytes: Expr, cuda_graph_bytes: Expr) -> Expr:
    """Memory outside weights, cache and temporary tensors: runtime, communicators, CUDA graphs.

    Definition.
    """
    return non_torch_bytes + cuda_graph_bytes
