"""What catalog entries say of engines: each block, and constants fitted to a user's own measurements."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandera.polars as pa
import polars as pl

from pipeline.facts.schema.fields import Counts, Texts, fact, option


def trait_of(engine: str, description: str, default: float = False, **bounds: Any) -> Any:  # noqa: FBT002
    """A field that only one engine has; the others leave it out."""
    return option(description, default, f"only {engine} is known to differ", **bounds)


vllm_trait = partial(trait_of, "vLLM")


class Engine(pa.DataFrameModel):
    """A serving engine: what it charges to memory, how it steps, what it can run."""

    engine: pl.String = fact("Id.")
    name: pl.String = fact("Name for people.")
    aliases: Texts = option("Other names.")
    version: pl.String = fact("Versions that the facts describe.")
    from_version: pl.String = option("First version that the block describes; later blocks state what is new.")
    release_date: pl.Date = option("Day of release of that version.")
    memory_setting: pl.String = option("The engine's own name of its memory setting.")
    engine_memory_utilization_ratio: pl.Float64 = option(
        "Share of the device that the engine may use, by default; left out where it is what a reserve leaves.",
        gt=0,
        le=1,
    )
    engine_reserved_bytes: Counts = option("Reserve: fixed part, on small, middle, large, huge devices.")
    engine_reserved_bytes_per_token: pl.Int64 = option("Reserve: for each token of a full step.", ge=0, le=10**9)
    engine_reserved_rank_bytes: pl.Int64 = option("Reserve: for each rank.", ge=0, le=10**11)
    engine_reserved_large_bytes: pl.Int64 = option("Reserve: least on devices of 70 GiB or more.", ge=0, le=10**12)
    engine_shares_what_is_left: pl.Boolean = fact("Whether the share is of what weights and the rest leave.")
    engine_shares_free_memory: pl.Boolean = fact("Whether the share is of memory that is free after start-up.")
    engine_charges_activation: pl.Boolean = fact("Whether activations and runtime are taken off the pool.")
    engine_charges_graphs: pl.Boolean = vllm_trait("Whether an estimate of CUDA graphs is taken off the pool.")
    engine_counts_context: pl.Boolean = vllm_trait("Whether the device's context is counted as runtime.")
    engine_counts_start_up: pl.Boolean = vllm_trait(
        "Whether communicators set up before the model are counted as runtime."
    )
    engine_block_tokens: pl.Int64 = fact("Tokens of a cache block; 1 where the cache is not paged.", ge=1, le=4096)
    engine_latent_block_tokens: pl.Int64 = fact("The same with latent attention.", ge=1, le=4096)
    engine_bounds_windows: pl.Boolean = option(
        "Whether sliding layers keep their window only.", False, "assumption: as SGLang and LMDeploy do"
    )
    engine_groups_layers: pl.Boolean = vllm_trait("Whether layers of all kinds share one pool of equal pages.")
    engine_nearly_equal_ratio: pl.Float64 = vllm_trait(
        "Counts of layers that differ by less make groups of the larger one.", 1.0, ge=1, le=10
    )
    engine_steps_in_flight: pl.Int64 = vllm_trait("Steps that sliding layers keep room for besides.", 1, ge=0, le=16)
    engine_shows_concurrency: pl.Boolean = vllm_trait(
        "Whether printed tokens are concurrency times the longest length."
    )
    engine_batched_tokens: Counts = fact("Tokens of a full step by default: small, middle, large, huge devices.")
    engine_sequences: Counts = fact("Sequences run at once by default: small, middle, large, huge devices.")
    engine_ampere_is_middle: pl.Boolean = vllm_trait("Whether an A100 of 80 GB takes the defaults of middle devices.")
    engine_whole_prompt_tokens: pl.Int64 = vllm_trait(
        "Longest length up to which prompts are not split over steps.", 0, ge=0, le=10**9
    )
    engine_old_device_whole_prompt_tokens: pl.Int64 = vllm_trait("The same on Volta and Turing.", 0, ge=0, le=10**9)
    engine_sampler_bytes_per_logit: pl.Float64 = fact(
        "Memory of a sampling step per sequence and vocabulary entry.", ge=0, le=1000
    )
    engine_sampler_scratch_rows: pl.Int64 = vllm_trait(
        "Rows of 32-bit scratch of the sampler at most.", 0, ge=0, le=10**6
    )
    engine_lean_sampler_bytes_per_logit: pl.Float64 = fact("As the first, with the lean runner.", ge=0, le=1000)
    engine_lean_classes: Texts = option("Model classes that the lean runner serves.")
    engine_lean_dense: pl.Boolean = vllm_trait(
        "Whether the lean runner serves every model without routed experts or states."
    )
    engine_lean_quantised: pl.Boolean = vllm_trait("Whether the lean runner serves quantised weights.")
    engine_lean_profiles_towers: pl.Boolean = vllm_trait("Whether the lean runner profiles towers.")
    engine_expands_towers: pl.Boolean = vllm_trait("Whether each profiled image takes the room of the whole budget.")
    engine_compiles: pl.Boolean = option(
        "Whether the forward pass is compiled as a whole.", True, "assumption: as SGLang and LMDeploy do"
    )
    engine_keeps_expert_workspace: pl.Boolean = vllm_trait("Whether workspaces of routed experts stay between layers.")
    engine_workspace_bytes: pl.Int64 = fact("Workspace of matrix libraries.", ge=0, le=10**11)
    engine_latent_workspace_bytes: pl.Int64 = vllm_trait(
        "Buffers that latent attention sets up with the model.", 0, ge=0, le=10**11
    )
    engine_hosts_tables: pl.Boolean = trait_of("llama.cpp", "Whether the input table stays in the host's memory.")
    engine_spreads_layers: pl.Boolean = trait_of(
        "llama.cpp", "Whether several devices share the layers out where nothing else is said."
    )
    engine_reads_whole_batch: pl.Boolean = fact("Whether all prompts of a batch are read in one pass.")
    engine_expands_kv: pl.Boolean = trait_of(
        "transformers", "Whether each step copies the cache, and repeats it for every query head."
    )
    engine_prompt_bytes_per_logit: pl.Float64 = trait_of(
        "transformers",
        "Memory of each prompt token's logits per vocabulary entry, where they are kept.",
        0.0,
        ge=0,
        le=64,
    )
    engine_context_bytes: pl.Int64 = option(
        "The device's context.", 547_608_330, "assumption: as in our study of start-up logs", ge=0, le=10**11
    )
    engine_runtime_bytes: pl.Int64 = fact("Memory outside the tensor library.", ge=0, le=10**11)
    engine_runtime_bytes_per_layer: pl.Int64 = option(
        "The same, per layer.", 0, "assumption: only what was measured by layer grows", ge=0, le=10**10
    )
    engine_pipeline_runtime_bytes: pl.Int64 = fact("As the first, with pipeline stages.", ge=0, le=10**11)
    engine_communicator_ratio: pl.Float64 = option(
        "Share of today's communicators that it sets up with the model.", 1.0, "assumption: as vLLM today", ge=0, le=2
    )
    engine_captures_graphs: pl.Boolean = option(
        "Whether it captures CUDA graphs.", False, "assumption: not unless it is known to"
    )
    engine_graph_size: pl.Int64 = vllm_trait(
        "Sequences of the largest captured decode step with full attention.", 0, ge=0, le=10**6
    )
    engine_graph_bytes_per_layer: pl.Int64 = fact("All CUDA graphs, per layer.", ge=0, le=10**10)
    engine_memory_is_measured: pl.Boolean = option(
        "Whether memory was measured on versions of this block.", False, "not that anybody is known to have"
    )
    memory_measured_accelerators: Texts = option("Devices on which memory was measured, in any version.")
    engine_layer_s: pl.Float64 = fact("The engine's own time per layer and step.", ge=0, lt=0.1)
    engine_moe_layer_s: pl.Float64 = fact("The same per MoE layer, on top.", ge=0, lt=0.1)
    engine_block_moe_layer_s: pl.Float64 = option("The same with experts scaled by blocks.", ge=0, lt=0.1)
    engine_int4_moe_layer_s: pl.Float64 = option("The same with 4-bit whole-number experts.", ge=0, lt=0.1)
    engine_mxfp4_moe_layer_s: pl.Float64 = option("The same with mxfp4 experts.", ge=0, lt=0.1)
    engine_nvfp4_moe_layer_s: pl.Float64 = option("The same with nvfp4 experts.", ge=0, lt=0.1)
    engine_step_s: pl.Float64 = fact("The engine's own time per step.", ge=0, lt=1)
    engine_sequence_s: pl.Float64 = fact("The engine's own time per step and sequence.", ge=0, lt=0.1)
    engine_layer_floor_s: pl.Float64 = option(
        "Least time of a layer: how fast the host launches kernels.", 0.0, "assumption: never what limits", ge=0, lt=0.1
    )
    engine_flop_ratio: pl.Float64 = fact("Prefill speed against today's best engines.", gt=0, le=2)
    engine_bytes_ratio: pl.Float64 = fact("Decode speed against today's best engines.", gt=0, le=2)
    engine_prefill_share_ratio: pl.Float64 = fact(
        "Share of others' prefill that falls into one client's decoding.", ge=0, le=2
    )
    engine_first_token_steps: pl.Float64 = fact("Decode steps before the first token is visible.", ge=0, le=1000)
    engine_burst_ratio: pl.Float64 = fact("Share of others' prompts that are read before one's own.", ge=0, le=1)
    engine_prefills_first: pl.Boolean = option(
        "Whether prompts are read in steps of their own, before anybody decodes.", False, "assumption: as vLLM today"
    )
    engine_reserves_kv: pl.Boolean = fact("Whether a request is let in only when its whole output has room.")
    engine_spread_ratio: pl.Float64 = fact(
        "Width of the bands of times and rates against the best known engine.", ge=1, le=10
    )
    formats: Texts = fact("Number formats of weights that it reads.")
    kv_formats: Texts = fact("Number formats of its cache.")
    architectures: Texts = fact("Device architectures that it runs on.")
    measured_accelerators: Texts = option("Devices on which its constants were measured.")


class Calibration(pa.DataFrameModel):
    """Constants of an engine or a device, fitted to a user's own measurements; they stand in place of the catalogs'."""

    calibration: pl.String = fact("Id.")
    engine: pl.String = option("Engine, or block of a version of it, whose constants these are.")
    accelerator: pl.String = option("Device whose constants these are.")
    engine_layer_s: pl.Float64 = option("As of the engine.", ge=0, lt=0.1)
    engine_moe_layer_s: pl.Float64 = option("As of the engine.", ge=0, lt=0.1)
    engine_block_moe_layer_s: pl.Float64 = option("As of the engine.", ge=0, lt=0.1)
    engine_int4_moe_layer_s: pl.Float64 = option("As of the engine.", ge=0, lt=0.1)
    engine_mxfp4_moe_layer_s: pl.Float64 = option("As of the engine.", ge=0, lt=0.1)
    engine_nvfp4_moe_layer_s: pl.Float64 = option("As of the engine.", ge=0, lt=0.1)
    engine_step_s: pl.Float64 = option("As of the engine.", ge=0, lt=1)
    engine_sequence_s: pl.Float64 = option("As of the engine.", ge=0, lt=0.1)
    engine_layer_floor_s: pl.Float64 = option("As of the engine.", ge=0, lt=0.1)
    engine_flop_ratio: pl.Float64 = option("As of the engine.", gt=0, le=2)
    engine_bytes_ratio: pl.Float64 = option("As of the engine.", gt=0, le=2)
    engine_prefill_share_ratio: pl.Float64 = option("As of the engine.", ge=0, le=2)
    engine_first_token_steps: pl.Float64 = option("As of the engine.", ge=0, le=1000)
    engine_burst_ratio: pl.Float64 = option("As of the engine.", ge=0, le=1)
    achieved_flop_ratio: pl.Float64 = option("As of the device.", gt=0, le=2)
    achieved_bytes_ratio: pl.Float64 = option("As of the device.", gt=0, le=2)
    attention_head_s: pl.Float64 = option("As of a step, on the device.", ge=0, lt=1e-3)
    elementwise_bytes: pl.Float64 = option("As of a step, on the device.", ge=0, le=1e4)
    linear_scan_s: pl.Float64 = option("As of a step, on the device.", ge=0, lt=1e-2)
    latent_flop_ratio: pl.Float64 = option("As of a step, on the device.", gt=0, le=1)
    rows: pl.Int64 = fact("Measured rows that the constants were fitted to.", ge=1, le=10**9)
    error_ratio: pl.Float64 = option("Median error on rows that were left out of the fit.", ge=0, le=1e6)
    fitted_on: pl.Date = fact("Day of the fit; of two calibrations of one constant, the later one holds.")
    note: pl.String = option("Which rows, and what else to know.")

    @pa.dataframe_check
    @classmethod
    def calibrates_an_engine_or_a_device(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Either engine or accelerator is stated, and not both."""
        return data.lazyframe.select(pl.col("engine").is_null() != pl.col("accelerator").is_null())
