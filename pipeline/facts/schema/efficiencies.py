"""What catalog entries say of efficiencies: kernels, architectures, steps, and how wide bands are."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from pipeline.facts.schema.fields import fact, option


class Kernel(pa.DataFrameModel):
    """What a kernel achieves of a device's peaks."""

    kernel: pl.String = fact("Id.")
    compute: pl.String = fact("Unit that it runs on.", isin=["fp16", "bf16", "half", "fp8", "int8", "fp4"])
    fallback: pl.String = option(
        "Unit that it runs on where the first is missing.", isin=["fp16", "bf16", "half", "fp8", "int8", "fp4"]
    )
    launch_s: pl.Float64 = fact("Time before it does anything.", ge=0, lt=1e-2)
    flop_ratio: pl.Float64 = fact("Share of the unit's peak on large products.", gt=0, le=1)
    fallback_ratio: pl.Float64 = option("The same on the fallback unit.", gt=0, le=1)
    bytes_ratio: pl.Float64 = fact("Share of the memory bandwidth on large matrices.", gt=0, le=1)
    ramp: pl.Float64 = fact("Output size (tokens x width; tokens per expert) at half of that rate.", ge=0, lt=1e9)
    is_fused: pl.Boolean = option("Whether an experts' kernel works without copies of its tokens.", False)


class Architecture(pa.DataFrameModel):
    """What attention and collectives achieve on devices of one architecture."""

    architecture: pl.String = fact("Id, as accelerators name it.")
    name: pl.String = fact("Name for people.")
    attention_launch_s: pl.Float64 = fact("Time of a decode-attention kernel before it reads.", ge=0, lt=1e-2)
    attention_bytes_ratio: pl.Float64 = fact("Share of bandwidth at which it reads the cache.", gt=0, le=1)
    attention_flop_ratio: pl.Float64 = fact(
        "Share of the 16-bit peak of prefill attention on long prompts.", gt=0, le=1
    )
    attention_ramp_tokens: pl.Float64 = fact("Prompt length at half of that rate.", ge=0, lt=1e6)
    ramp_ratio: pl.Float64 = option(
        "Output at which matrix products reach half their rate, against what kernels state; 0 on few cores.",
        1.0,
        ge=0,
        le=10,
    )
    collective_base_s: pl.Float64 = fact("All-reduce of two ranks before it moves a byte.", ge=0, lt=1e-2)
    link_ratio: pl.Float64 = fact("Share of the link's rate that collectives achieve.", gt=0, le=1)
    pcie_ratio: pl.Float64 = fact("Share of PCIe's rate that collectives achieve.", gt=0, le=1)
    linked_communicator_bytes: pl.Int64 = fact(
        "Communicators and buffers of collectives, on devices with a link.", ge=0, le=10**11
    )
    pcie_communicator_bytes: pl.Int64 = fact("The same on devices without one.", ge=0, le=10**11)
    runs_fused_experts: pl.Boolean = fact("Whether engines run routed experts in one kernel, without workspaces.")
    fp4_output_multiple: pl.Int64 = fact("Multiple that padded 4-bit experts' outputs are raised to.", ge=1, le=2**16)
    fp4_input_multiple: pl.Int64 = fact("The same of their inputs.", ge=1, le=2**16)
    splits_attention: pl.Boolean = fact("Whether decode attention keeps partial results in CUDA graphs.")


class Step(pa.DataFrameModel):
    """Constants of a step, of CUDA graphs and of power that hold for every device."""

    step: pl.String = fact("Id.")
    attention_head_s: pl.Float64 = fact("Decode attention's time for each sequence and KV head.", ge=0, lt=1e-3)
    latent_flop_ratio: pl.Float64 = fact(
        "Share of the 16-bit peak of decode attention on the latent, where arithmetic binds it.", gt=0, le=1
    )
    linear_scan_s: pl.Float64 = fact("Scan and convolution of one layer with a recurrent state.", ge=0, lt=1e-2)
    latent_layer_s: pl.Float64 = fact("An engine's own time for latent attention, on top of a layer's.", ge=0, lt=1e-2)
    elementwise_bytes: pl.Float64 = fact(
        "Traffic of norms, residuals and activations for each token, layer and hidden unit.", ge=0, le=1e4
    )
    collective_rank_ratio: pl.Float64 = fact("What doubling the ranks adds to an all-reduce's start.", ge=0, le=10)
    stage_overlap_exponent: pl.Float64 = fact("Power of the ideal by which stages overlap on a prompt.", ge=0, le=1)
    graph_splits: pl.Int64 = fact("Splits of the context that decode attention keeps in CUDA graphs.", ge=1, le=10**4)
    graph_scratch_ratio: pl.Float64 = fact("CUDA graphs' memory for each byte of partial results.", ge=0, le=10)
    charged_scratch_ratio: pl.Float64 = fact("The same as engines estimate it beforehand.", ge=0, le=10)
    idle_power_ratio: pl.Float64 = fact("Share of its rated power that a device draws while it waits.", ge=0, le=1)


class Band(pa.DataFrameModel):
    """How wide bands are on measured devices, and how much wider where evidence is thin."""

    band: pl.String = fact("Id.")
    tpot_dense_error_ratio: pl.Float64 = fact("Half-width of tpot_s of dense models, measured device.", gt=0, le=10)
    tpot_moe_error_ratio: pl.Float64 = fact("The same of MoE models.", gt=0, le=10)
    ttft_error_ratio: pl.Float64 = fact("Half-width of ttft_s on a measured device, either kind.", gt=0, le=10)
    output_tokens_dense_error_ratio: pl.Float64 = fact("Half-width of rates of dense models.", gt=0, le=10)
    output_tokens_moe_error_ratio: pl.Float64 = fact("The same of MoE models.", gt=0, le=10)
    spread_0_ratio: pl.Float64 = fact("Width of times on a measured device.", ge=1, le=10)
    spread_1_ratio: pl.Float64 = fact("Width of times on a measured architecture.", ge=1, le=10)
    spread_2_ratio: pl.Float64 = fact("Width of times where only datasheets speak.", ge=1, le=10)
    memory_spread_0_ratio: pl.Float64 = fact("Width of memory's terms on a measured device.", ge=1, le=100)
    memory_spread_1_ratio: pl.Float64 = fact("Width of memory's terms on a measured architecture.", ge=1, le=100)
    memory_spread_2_ratio: pl.Float64 = fact("Width of memory's terms where only rules speak.", ge=1, le=100)
    sampler_error_ratio: pl.Float64 = fact("Error of activations where the sampler makes the peak.", ge=0, le=1)
    forward_error_ratio: pl.Float64 = fact("Error of activations where the forward pass does.", ge=0, le=1)
    runtime_error_bytes: pl.Int64 = fact("Error of memory outside tensors, on one rank.", ge=0, le=10**10)
    communicator_error_bytes: pl.Int64 = fact("The same where ranks talk.", ge=0, le=10**10)
    graph_error_ratio: pl.Float64 = fact("Error of CUDA graphs.", ge=0, le=1)
    ranks_graph_factor: pl.Float64 = fact("How much wider the error of graphs as charged is on ranks.", ge=1, le=100)
    unsure_towers_ratio: pl.Float64 = fact("Share of the towers that ranks may or may not split.", ge=0, le=1)
