"""What an engine is set to: as asked, or by its own defaults, which depend on the device."""

import polars as pl
from polars import Expr

from pipeline.core.quantity import quantity

GIB = 2**30
SIZES_BYTES = (35 * GIB, 70 * GIB, 160 * GIB)
"""Engines' defaults grow with the device in steps: small, middle, large, huge.

Source: vLLM engine/arg_utils.py (70 GiB); SGLang server_args.py (35, 60, 160 GiB).
"""

SETTINGS: dict[str, pl.DataType] = {
    "memory_utilization_ratio": pl.Float64(),
    "batched_tokens_max": pl.Int64(),
    "sequences_max": pl.Int64(),
    "block_tokens": pl.Int64(),
    "model_len_max_tokens": pl.Int64(),
    "is_eager": pl.Boolean(),
}
"""What a plan may set, and its type; `asked_<name>` holds what was asked for, or nothing."""


def of_size(defaults: Expr, size: Expr) -> Expr:
    """The default on a device of some size, of a list for small, middle, large and huge ones."""
    return defaults.list.get(size, null_on_oob=True)


@quantity
def device_size(device_memory_bytes: Expr) -> Expr:
    """Size of the device as engines class it: 0 small, 1 middle, 2 large, 3 huge.

    Source: vLLM engine/arg_utils.py; SGLang server_args.py.
    """
    return pl.sum_horizontal((device_memory_bytes >= bound).cast(pl.Int64) for bound in SIZES_BYTES)


@quantity
def defaults_size(device_size: Expr, is_ampere: Expr, engine_ampere_is_middle: Expr) -> Expr:
    """The size whose defaults an engine takes: from some version on vLLM counts an A100 as middle.

    Source: vLLM engine/arg_utils.py: "a100" not in device name.
    """
    return pl.when(is_ampere & engine_ampere_is_middle).then(device_size.clip(0, 1)).otherwise(device_size)


@quantity
def memory_utilization_ratio(
    asked_memory_utilization_ratio: Expr,
    engine_memory_utilization_ratio: Expr,
    reserved_bytes: Expr,
    device_memory_bytes: Expr,
) -> Expr:
    """Share of the device, or of what is left of it, that the engine may use: as asked, or its default.

    SGLang has no fixed default: it reserves for activations and graphs, and takes the rest.

    Source: catalogs/engines; SGLang server_args.py, mem_fraction_static.
    """
    rest = 1.0 - reserved_bytes / device_memory_bytes
    return pl.coalesce(asked_memory_utilization_ratio, engine_memory_utilization_ratio, rest)


@quantity
def reserved_bytes(
    batched_tokens_max: Expr,
    device_count: Expr,
    defaults_size: Expr,
    engine_reserved_bytes: Expr,
    engine_reserved_bytes_per_token: Expr,
    engine_reserved_rank_bytes: Expr,
    engine_reserved_large_bytes: Expr,
) -> Expr:
    """What SGLang leaves to activations and graphs by default; at least a fixed amount on large devices.

    Source: SGLang 0.5.3 to 0.5.23, server_args.py: 512 MiB + 1.5 MiB a token + 2 MiB a graph size + 128 MiB a rank.
    """
    step = engine_reserved_bytes_per_token * batched_tokens_max.clip(2048)
    least = pl.when(defaults_size > 1).then(engine_reserved_large_bytes).otherwise(0)
    fixed = of_size(engine_reserved_bytes, defaults_size)
    return pl.max_horizontal(fixed + step + engine_reserved_rank_bytes * device_count, least)


@quantity
def model_len_max_tokens(asked_model_len_max_tokens: Expr, context_tokens_max: Expr) -> Expr:
    """Longest sequence that the engine accepts: as asked, or the model's own limit.

    Source: vLLM config, max_model_len.
    """
    return pl.coalesce(asked_model_len_max_tokens, context_tokens_max)


@quantity
def whole_prompt_tokens(
    is_old_device: Expr, engine_whole_prompt_tokens: Expr, engine_old_device_whole_prompt_tokens: Expr
) -> Expr:
    """Longest length of sequences up to which the engine does not split prompts on this device.

    Source: catalogs/engines: vLLM's V0 serves Volta and Turing up to 0.10.1.
    """
    return pl.when(is_old_device).then(engine_old_device_whole_prompt_tokens).otherwise(engine_whole_prompt_tokens)


@quantity
def batched_tokens_max(
    asked_batched_tokens_max: Expr,
    defaults_size: Expr,
    engine_batched_tokens: Expr,
    whole_prompt_tokens: Expr,
    model_len_max_tokens: Expr,
) -> Expr:
    """Tokens that the engine puts into one step at most: as asked, or its default on this device.

    Where prompts are not split it takes a whole one, and 2048 at least.

    Source: catalogs/engines; vLLM config, SchedulerConfig, 0.6 to 0.10.
    """
    default = of_size(engine_batched_tokens, defaults_size)
    is_whole = model_len_max_tokens <= whole_prompt_tokens
    least = pl.max_horizontal(2048, model_len_max_tokens)
    return pl.coalesce(asked_batched_tokens_max, pl.when(is_whole).then(least).otherwise(default))


@quantity
def sequences_max(asked_sequences_max: Expr, defaults_size: Expr, engine_sequences: Expr) -> Expr:
    """Sequences that the engine runs at once at most: as asked, or its default on this device.

    Source: catalogs/engines.
    """
    return pl.coalesce(asked_sequences_max, of_size(engine_sequences, defaults_size))


@quantity
def is_eager(asked_is_eager: Expr, engine_captures_graphs: Expr) -> Expr:
    """Whether kernels are launched one by one, without CUDA graphs.

    Source: catalogs/engines.
    """
    return asked_is_eager.cast(pl.Boolean).fill_null(False) | ~engine_captures_graphs
