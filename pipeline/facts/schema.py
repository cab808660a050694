"""What every catalog entry promises: fields, types, bounds. Bounds double as unit traps.

A field that may be left out is nullable. Descriptions go to docs/fields.md.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import pandera.polars as pa
import polars as pl

Texts: TypeAlias = Annotated[pl.List, pl.String()]
Counts: TypeAlias = Annotated[pl.List, pl.Int64()]
TERA = 1e12


def fact(description: str, **bounds: Any) -> Any:
    """A field that every entry states."""
    return pa.Field(description=description, **bounds)


def option(description: str, **bounds: Any) -> Any:
    """A field that an entry may leave out where it does not apply."""
    return pa.Field(description=description, nullable=True, **bounds)


class Model(pa.DataFrameModel):
    """A model, as its checkpoint and configuration say."""

    model: pl.String = fact("Id: repository name, lower case.")
    name: pl.String = fact("Name for people.")
    hf_id: pl.String = option("Repository on Hugging Face.")
    aliases: Texts = option("Other names: instruct and quantised variants of the same shape.")
    family: pl.String = fact("Family, for grouping.")
    architecture: pl.String = option("Class in config.json.")
    release_date: pl.Date = option("Day of release.")
    parameter_count: pl.Int64 = fact(
        "Unique parameters, towers included, without multi-token-prediction heads.", ge=10**6, le=10**14
    )
    tower_parameter_count: pl.Int64 = option("Parameters of vision and audio towers.", ge=0, le=10**12)
    embedding_parameter_count: pl.Int64 = fact(
        "Parameters of the input token table, learned positions included.", ge=1, le=10**12
    )
    tied_embeddings: pl.Boolean = fact("Whether the output table is the input table.")
    vocab: pl.Int64 = fact("Rows of the token tables.", ge=2, le=10**8)
    context_tokens_max: pl.Int64 = fact("Longest context that the model states.", ge=128, le=10**9)
    hidden: pl.Int64 = fact("Hidden width.", ge=8, le=10**6)
    heads: pl.Int64 = fact("Query heads of a layer.", ge=1, le=10**4)
    kv_heads: pl.Int64 = fact("Key and value heads of a layer.", ge=1, le=10**4)
    head_dim: pl.Int64 = fact("Width of a query and key head.", ge=1, le=10**4)
    value_head_dim: pl.Int64 = option("Width of a value head, where it differs from head_dim.", ge=1, le=10**4)
    layer_count: pl.Int64 = fact("Layers (blocks) in order.", ge=1, le=10**4)
    window_tokens: pl.Int64 = option("Tokens that sliding and chunked layers look back.", ge=1, le=10**8)
    sliding_kv_heads: pl.Int64 = option("KV heads of sliding layers, where they differ.", ge=1, le=10**4)
    sliding_head_dim: pl.Int64 = option("Head width of sliding layers, where it differs.", ge=1, le=10**4)
    kv_latent_dim: pl.Int64 = option("Width of the latent vector that MLA caches.", ge=1, le=10**5)
    rope_head_dim: pl.Int64 = option("Width of MLA's shared rotary key.", ge=1, le=10**4)
    nope_head_dim: pl.Int64 = option("Width of MLA's keys without position.", ge=1, le=10**4)
    query_latent_dim: pl.Int64 = option("Width of MLA's compressed query.", ge=1, le=10**5)
    state_bytes_per_layer: pl.Int64 = option("State of one recurrent layer and sequence.", ge=1, le=10**10)
    linear_in_width: pl.Int64 = option("Output width of a recurrent layer's input projections.", ge=1, le=10**7)
    linear_out_width: pl.Int64 = option("Width that a recurrent layer's output projection reads.", ge=1, le=10**7)
    dense_layers: pl.Int64 = fact("Plain feed-forward blocks.", ge=0, le=10**4)
    ffn_width: pl.Int64 = option("Width of a plain feed-forward block.", ge=1, le=10**7)
    gated_ffn: pl.Boolean = fact("Whether feed-forward blocks have a gate (three matrices, not two).")
    moe_layers: pl.Int64 = option("Feed-forward blocks with routed experts.", ge=0, le=10**4)
    experts: pl.Int64 = option("Routed experts of a MoE layer.", ge=1, le=10**5)
    experts_per_token: pl.Int64 = option("Routed experts that a token is sent to.", ge=1, le=10**4)
    expert_width: pl.Int64 = option("Width of one expert.", ge=1, le=10**6)
    expert_parameter_count: pl.Int64 = option("Parameters of all routed experts of all layers.", ge=1, le=10**14)
    shared_expert_width: pl.Int64 = option("Width of the shared experts together.", ge=1, le=10**7)
    rope_cache_bytes: pl.Int64 = option(
        "Tables of rotary positions that engines keep, where not 2 bytes x context_tokens_max x head width.",
        ge=0,
        le=10**11,
    )
    tower_is_split: pl.Boolean = option("Whether tensor-parallel ranks share the towers; else each holds them whole.")
    tower_tokens_max: pl.Int64 = option("Tokens of the largest image.", ge=1, le=10**7)

    @pa.dataframe_check
    @classmethod
    def experts_are_part_of_the_parameters(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Experts and towers are counted in parameter_count."""
        parts = pl.sum_horizontal("expert_parameter_count", "tower_parameter_count", "embedding_parameter_count")
        return data.lazyframe.select(parts <= pl.col("parameter_count"))

    @pa.dataframe_check
    @classmethod
    def a_token_goes_to_some_of_the_experts(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """experts_per_token is at most experts."""
        return data.lazyframe.select(pl.col("experts_per_token").fill_null(0) <= pl.col("experts").fill_null(0))

    @pa.dataframe_check
    @classmethod
    def heads_share_kv_heads_evenly(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """kv_heads divides heads."""
        return data.lazyframe.select(pl.col("heads") % pl.col("kv_heads") == 0)


class Accelerator(pa.DataFrameModel):
    """A device that holds a model, as its vendor and its driver say."""

    accelerator: pl.String = fact("Id, lower case.")
    name: pl.String = fact("Name for people.")
    aliases: Texts = option("Other names.")
    vendor: pl.String = fact("Vendor.")
    architecture: pl.String = fact("Architecture: an entry of catalogs/efficiencies.")
    device_class: pl.String = fact(
        "Kind of device.", isin=["datacenter", "workstation", "consumer", "edge", "apple", "cpu"]
    )
    badge_memory_bytes: pl.Int64 = fact("Memory as the vendor prints it.", gt=10**9, lt=10**13)
    device_memory_bytes: pl.Int64 = fact("Memory as software sees it.", gt=10**9, lt=10**13)
    memory_bytes_per_s: pl.Float64 = fact("Memory bandwidth.", gt=1e10, lt=1e14)
    fp16_flop_per_s: pl.Float64 = option("Dense fp16 peak.", gt=TERA, lt=1e17)
    bf16_flop_per_s: pl.Float64 = option("Dense bf16 peak.", gt=TERA, lt=1e17)
    fp8_flop_per_s: pl.Float64 = option("Dense fp8 peak.", gt=TERA, lt=1e17)
    int8_flop_per_s: pl.Float64 = option("Dense int8 peak.", gt=TERA, lt=1e17)
    fp4_flop_per_s: pl.Float64 = option("Dense fp4 peak.", gt=TERA, lt=1e17)
    link_bytes_per_s: pl.Float64 = option("Device-to-device link, per direction.", gt=1e9, lt=1e13)
    pcie_bytes_per_s: pl.Float64 = option("PCIe, per direction.", gt=1e8, lt=1e12)
    tdp_w: pl.Float64 = option("Rated power.", gt=1, lt=10_000)
    node_devices: pl.Int64 = fact("Devices of one ordinary node.", ge=1, le=1024)
    verdict: pl.String = fact("How well the facts are established.", isin=["confirmed", "corrected", "unconfirmed"])

    @pa.dataframe_check
    @classmethod
    def has_a_16_bit_peak(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """fp16_flop_per_s or bf16_flop_per_s is stated."""
        return data.lazyframe.select(pl.coalesce("bf16_flop_per_s", "fp16_flop_per_s").is_not_null())

    @pa.dataframe_check
    @classmethod
    def software_sees_no_more_than_is_there(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """device_memory_bytes is at most the badge read as GiB, and rounding."""
        return data.lazyframe.select(pl.col("device_memory_bytes") <= pl.col("badge_memory_bytes") * 1.09)


class Format(pa.DataFrameModel):
    """A number format of weights, KV cache, or both."""

    format: pl.String = fact("Id, as in plans: bf16, fp8, int4-awq ...")
    name: pl.String = fact("Name for people.")
    aliases: Texts = option("Other names.")
    dense_weight_bits: pl.Float64 = option(
        "Bits of one weight of attention and plain feed-forward, scales included.", ge=1, le=64
    )
    expert_weight_bits: pl.Float64 = option("Bits of one weight of routed experts, scales included.", ge=1, le=64)
    table_weight_bits: pl.Float64 = option("Bits of one weight of the token tables.", ge=1, le=64)
    dense_scale_bits: pl.Float64 = option("Of dense_weight_bits, bits of scales and zero points.", ge=0, le=16)
    expert_scale_bits: pl.Float64 = option("Of expert_weight_bits, bits of scales and zero points.", ge=0, le=16)
    dense_row_bytes: pl.Float64 = option("Scale of each output row of attention and plain feed-forward.", ge=0, le=64)
    expert_row_bytes: pl.Float64 = option("Scale of each output row of routed experts.", ge=0, le=64)
    kv_bits: pl.Float64 = option("Bits of one cached number, where a cache can be kept so.", ge=1, le=64)
    dense_kernel: pl.String = option("Kernel of plain matrices: an entry of catalogs/efficiencies.")
    expert_kernel: pl.String = option("Kernel of routed experts: an entry of catalogs/efficiencies.")
    pads_experts: pl.Boolean = option("Whether kernels pad experts: to multiples that depend on the device.")
    is_expert_format: pl.Boolean = option("Whether only routed experts are quantised.")
    unpacks_weights: pl.Boolean = option("Whether transformers' kernels unpack a whole matrix to 16 bits.")
    copies_activations: pl.Boolean = option("Whether activations are copied to be quantised.")
    weight_error_ratio: pl.Float64 = option("One-sided 95 % error of weights in this format.", ge=0, le=1)


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
    is_fused: pl.Boolean = option("Whether an experts' kernel works without copies of its tokens.")


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


class Band(pa.DataFrameModel):
    """How much wider bands are where evidence is thin."""

    band: pl.String = fact("Id.")
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
    engine_reserved_bytes: pl.Int64 = option("Reserve: fixed part.", ge=0, le=10**12)
    engine_reserved_bytes_per_token: pl.Int64 = option("Reserve: for each token of a full step.", ge=0, le=10**9)
    engine_reserved_rank_bytes: pl.Int64 = option("Reserve: for each rank.", ge=0, le=10**11)
    engine_reserved_large_bytes: pl.Int64 = option("Reserve: least on devices of 70 GiB or more.", ge=0, le=10**12)
    engine_shares_what_is_left: pl.Boolean = fact("Whether the share is of what weights and the rest leave.")
    engine_shares_free_memory: pl.Boolean = fact("Whether the share is of memory that is free after start-up.")
    engine_charges_activation: pl.Boolean = fact("Whether activations and runtime are taken off the pool.")
    engine_charges_graphs: pl.Boolean = fact("Whether an estimate of CUDA graphs is taken off the pool.")
    engine_counts_context: pl.Boolean = fact("Whether the device's context is counted as runtime.")
    engine_counts_start_up: pl.Boolean = fact("Whether communicators set up before the model are counted as runtime.")
    engine_block_tokens: pl.Int64 = fact("Tokens of a cache block; 1 where the cache is not paged.", ge=1, le=4096)
    engine_latent_block_tokens: pl.Int64 = fact("The same with latent attention.", ge=1, le=4096)
    engine_bounds_windows: pl.Boolean = fact("Whether sliding layers keep their window only.")
    engine_groups_layers: pl.Boolean = fact("Whether layers of all kinds share one pool of equal pages.")
    engine_nearly_equal_ratio: pl.Float64 = fact(
        "Counts of layers that differ by less make groups of the larger one.", ge=1, le=10
    )
    engine_steps_in_flight: pl.Int64 = fact("Steps that sliding layers keep room for besides.", ge=0, le=16)
    engine_shows_concurrency: pl.Boolean = fact("Whether printed tokens are concurrency times the longest length.")
    engine_batched_tokens: Counts = fact("Tokens of a full step by default: small, middle, large, huge devices.")
    engine_sequences: Counts = fact("Sequences run at once by default: small, middle, large, huge devices.")
    engine_ampere_is_middle: pl.Boolean = fact("Whether an A100 of 80 GB takes the defaults of middle devices.")
    engine_whole_prompt_tokens: pl.Int64 = fact(
        "Longest length up to which prompts are not split over steps.", ge=0, le=10**9
    )
    engine_old_device_whole_prompt_tokens: pl.Int64 = fact("The same on Volta and Turing.", ge=0, le=10**9)
    engine_sampler_bytes_per_logit: pl.Float64 = fact(
        "Memory of a sampling step per sequence and vocabulary entry.", ge=0, le=1000
    )
    engine_sampler_scratch_rows: pl.Int64 = fact("Rows of 32-bit scratch of the sampler at most.", ge=0, le=10**6)
    engine_lean_sampler_bytes_per_logit: pl.Float64 = fact("As the first, with the lean runner.", ge=0, le=1000)
    engine_lean_classes: Texts = option("Model classes that the lean runner serves.")
    engine_lean_dense: pl.Boolean = fact("Whether the lean runner serves every model without routed experts or states.")
    engine_lean_quantised: pl.Boolean = fact("Whether the lean runner serves quantised weights.")
    engine_lean_profiles_towers: pl.Boolean = fact("Whether the lean runner profiles towers.")
    engine_expands_towers: pl.Boolean = fact("Whether each profiled image takes the room of the whole budget.")
    engine_compiles: pl.Boolean = fact("Whether the forward pass is compiled as a whole.")
    engine_keeps_expert_workspace: pl.Boolean = fact("Whether workspaces of routed experts stay between layers.")
    engine_workspace_bytes: pl.Int64 = fact("Workspace of matrix libraries.", ge=0, le=10**11)
    engine_latent_workspace_bytes: pl.Int64 = fact(
        "Buffers that latent attention sets up with the model.", ge=0, le=10**11
    )
    engine_hosts_tables: pl.Boolean = fact("Whether the input table stays in the host's memory.")
    engine_spreads_layers: pl.Boolean = fact("Whether several devices share the layers out where nothing else is said.")
    engine_reads_whole_batch: pl.Boolean = fact("Whether all prompts of a batch are read in one pass.")
    engine_prompt_bytes_per_logit: pl.Float64 = fact(
        "Memory of each prompt token's logits per vocabulary entry, where they are kept.", ge=0, le=64
    )
    engine_context_bytes: pl.Int64 = fact("The device's context.", ge=0, le=10**11)
    engine_runtime_bytes: pl.Int64 = fact("Memory outside the tensor library.", ge=0, le=10**11)
    engine_runtime_bytes_per_layer: pl.Int64 = fact("The same, per layer.", ge=0, le=10**10)
    engine_pipeline_runtime_bytes: pl.Int64 = fact("As the first, with pipeline stages.", ge=0, le=10**11)
    engine_captures_graphs: pl.Boolean = fact("Whether it captures CUDA graphs.")
    engine_graph_size: pl.Int64 = fact(
        "Sequences of the largest captured decode step with full attention.", ge=0, le=10**6
    )
    engine_graph_bytes_per_layer: pl.Int64 = fact("All CUDA graphs, per layer.", ge=0, le=10**10)
    engine_memory_is_measured: pl.Boolean = fact("Whether memory was measured on versions of this block.")
    memory_measured_accelerators: Texts = option("Devices on which memory was measured, in any version.")
    engine_layer_s: pl.Float64 = fact("The engine's own time per layer and step.", ge=0, lt=0.1)
    engine_moe_layer_s: pl.Float64 = fact("The same per MoE layer, on top.", ge=0, lt=0.1)
    engine_step_s: pl.Float64 = fact("The engine's own time per step.", ge=0, lt=1)
    engine_sequence_s: pl.Float64 = fact("The engine's own time per step and sequence.", ge=0, lt=0.1)
    engine_layer_floor_s: pl.Float64 = fact("Least time of a layer: how fast the host launches kernels.", ge=0, lt=0.1)
    engine_flop_ratio: pl.Float64 = fact("Prefill speed against today's best engines.", gt=0, le=2)
    engine_bytes_ratio: pl.Float64 = fact("Decode speed against today's best engines.", gt=0, le=2)
    engine_prefill_share_ratio: pl.Float64 = fact(
        "Share of others' prefill that falls into one client's decoding.", ge=0, le=2
    )
    engine_first_token_steps: pl.Float64 = fact("Decode steps before the first token is visible.", ge=0, le=1000)
    engine_burst_ratio: pl.Float64 = fact("Share of others' prompts that are read before one's own.", ge=0, le=1)
    formats: Texts = fact("Number formats of weights that it reads.")
    kv_formats: Texts = fact("Number formats of its cache.")
    architectures: Texts = fact("Device architectures that it runs on.")
    measured_accelerators: Texts = option("Devices on which its constants were measured.")


class Workload(pa.DataFrameModel):
    """A kind of traffic: lengths, and what its users are promised."""

    workload: pl.String = fact("Id.")
    name: pl.String = fact("Name for people.")
    aliases: Texts = option("Other names.")
    kind: pl.String = fact(
        "static: one batch run to its end; closed_loop: each client sends its next when answered.",
        isin=["static", "closed_loop"],
    )
    prompt_tokens: pl.Int64 = fact("Prompt length.", ge=1, le=10**8)
    output_tokens: pl.Int64 = fact("Output length.", ge=1, le=10**8)
    ttft_slo_s: pl.Float64 = fact("Objective of the time to first token.", gt=0, le=1e6)
    tpot_slo_s: pl.Float64 = fact("Objective of the time between output tokens.", gt=0, le=1e4)


class Price(pa.DataFrameModel):
    """What a cloud asks for an instance from a day on; appended, never edited."""

    accelerator: pl.String = fact("Device: an entry of catalogs/accelerators.")
    cloud: pl.String = fact("Cloud.")
    instance: pl.String = fact("Instance type.")
    devices: pl.Int64 = fact("Devices of the instance.", ge=1, le=1024)
    market: pl.String = fact("On demand, or spot.", isin=["on-demand", "spot"])
    usd_per_hour: pl.Float64 = fact("Price of the whole instance.", gt=0.01, lt=5000)
    from_date: pl.Date = fact("First day of this price.")


class Measurement(pa.DataFrameModel):
    """A number that somebody measured, to hold estimates against."""

    measurement: pl.String = fact("Id.")
    model: pl.String = fact("Model.")
    accelerator: pl.String = fact("Device.")
    engine: pl.String = fact("Engine.")
    workload: pl.String = fact("Workload.")
    quantity: pl.String = fact("What was measured.")
    value: pl.Float64 = fact("Its value, in the unit that the quantity's name ends in.")
    note: pl.String = option("How.")


SCHEMAS: dict[str, type[pa.DataFrameModel]] = {
    "model": Model,
    "accelerator": Accelerator,
    "format": Format,
    "kernel": Kernel,
    "architecture": Architecture,
    "band": Band,
    "engine": Engine,
    "workload": Workload,
    "price": Price,
    "measurement": Measurement,
}

REFERENCES: dict[str, dict[str, str]] = {
    # kind: field -> the kind that its values name
    "accelerator": {"architecture": "architecture"},
    "format": {"dense_kernel": "kernel", "expert_kernel": "kernel"},
    "engine": {
        "formats": "format",
        "kv_formats": "format",
        "architectures": "architecture",
        "measured_accelerators": "accelerator",
        "memory_measured_accelerators": "accelerator",
    },
    "price": {"accelerator": "accelerator"},
    "measurement": {"model": "model", "accelerator": "accelerator", "engine": "engine", "workload": "workload"},
}

DEFAULTS: dict[str, dict[str, str | int | float | bool]] = {
    # kind: field -> another field, or the value, where an entry leaves it out
    "model": {
        "value_head_dim": "head_dim",
        "sliding_kv_heads": "kv_heads",
        "sliding_head_dim": "head_dim",
        "tower_parameter_count": 0,
        "tower_is_split": True,
        "moe_layers": 0,
    },
    "kernel": {"is_fused": False},
    "format": {
        "is_expert_format": False,
        "pads_experts": False,
        "unpacks_weights": False,
        "copies_activations": False,
        "dense_scale_bits": 0,
        "expert_scale_bits": 0,
        "dense_row_bytes": 0,
        "expert_row_bytes": 0,
        "weight_error_ratio": 0.001,
    },
}
