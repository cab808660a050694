"""What every catalog entry promises: fields, types, bounds. Bounds double as unit traps.

A field that may be left out is nullable. Descriptions go to docs/fields.md.
"""

from __future__ import annotations

import pandera.polars as pa
import polars as pl

from pipeline.core.money import SOLD
from pipeline.facts.schema.costs import Market, Ownership, Site
from pipeline.facts.schema.efficiencies import Architecture, Band, Kernel, Step
from pipeline.facts.schema.engines import Calibration, Engine
from pipeline.facts.schema.fields import Texts, fact, field_defaults, option
from pipeline.facts.schema.traffic import Traffic

GIGA, TERA = 1e9, 1e12


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
    tower_parameter_count: pl.Int64 = option("Parameters of vision and audio towers.", 0, ge=0, le=10**12)
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
    value_head_dim: pl.Int64 = option(
        "Width of a value head, where it differs from head_dim.", "head_dim", ge=1, le=10**4
    )
    layer_count: pl.Int64 = fact("Layers (blocks) in order.", ge=1, le=10**4)
    window_tokens: pl.Int64 = option("Tokens that sliding and chunked layers look back.", ge=1, le=10**8)
    sliding_kv_heads: pl.Int64 = option("KV heads of sliding layers, where they differ.", "kv_heads", ge=1, le=10**4)
    sliding_head_dim: pl.Int64 = option("Head width of sliding layers, where it differs.", "head_dim", ge=1, le=10**4)
    sliding_value_head_dim: pl.Int64 = option(
        "Width of their value heads, where it differs.", "sliding_head_dim", ge=1, le=10**4
    )
    kv_latent_dim: pl.Int64 = option("Width of the latent vector that MLA caches.", ge=1, le=10**5)
    rope_head_dim: pl.Int64 = option("Width of MLA's shared rotary key.", ge=1, le=10**4)
    nope_head_dim: pl.Int64 = option("Width of MLA's keys without position.", ge=1, le=10**4)
    query_latent_dim: pl.Int64 = option("Width of MLA's compressed query.", ge=1, le=10**5)
    state_bytes_per_layer: pl.Int64 = option("State of one recurrent layer and sequence.", ge=1, le=10**10)
    linear_in_width: pl.Int64 = option("Output width of a recurrent layer's input projections.", ge=1, le=10**7)
    linear_out_width: pl.Int64 = option("Width that a recurrent layer's output projection reads.", ge=1, le=10**7)
    gated_attention: pl.Boolean = option(
        "Whether queries come with a gate for attention's output, as wide as they.", False
    )
    dense_layers: pl.Int64 = fact("Plain feed-forward blocks.", ge=0, le=10**4)
    ffn_width: pl.Int64 = option("Width of a plain feed-forward block.", ge=1, le=10**7)
    gated_ffn: pl.Boolean = fact("Whether feed-forward blocks have a gate (three matrices, not two).")
    moe_layers: pl.Int64 = option("Feed-forward blocks with routed experts.", 0, ge=0, le=10**4)
    experts: pl.Int64 = option("Routed experts of a MoE layer.", ge=1, le=10**5)
    experts_per_token: pl.Int64 = option("Routed experts that a token is sent to.", ge=1, le=10**4)
    expert_width: pl.Int64 = option("Width of one expert.", ge=1, le=10**6)
    expert_parameter_count: pl.Int64 = option("Parameters of all routed experts of all layers.", ge=1, le=10**14)
    shared_expert_width: pl.Int64 = option("Width of the shared experts together.", ge=1, le=10**7)
    checkpoint_weights: pl.String = option("Number format of the published checkpoint, where it is not 16-bit.")
    rope_cache_bytes: pl.Int64 = option(
        "Tables of rotary positions that engines keep, where not 2 bytes x context_tokens_max x head width.",
        ge=0,
        le=10**11,
    )
    tower_is_split: pl.Boolean = option(
        "Whether tensor-parallel ranks share the towers; else each holds them whole.", True
    )
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
    memory_bytes_per_s: pl.Float64 = fact("Memory bandwidth.", gt=GIGA, lt=1e14)
    fp16_flop_per_s: pl.Float64 = option("Dense fp16 peak.", gt=10 * GIGA, lt=1e17)
    bf16_flop_per_s: pl.Float64 = option("Dense bf16 peak.", gt=10 * GIGA, lt=1e17)
    fp8_flop_per_s: pl.Float64 = option("Dense fp8 peak.", gt=10 * GIGA, lt=1e17)
    int8_flop_per_s: pl.Float64 = option("Dense int8 peak.", gt=10 * GIGA, lt=1e17)
    fp4_flop_per_s: pl.Float64 = option("Dense fp4 peak.", gt=10 * GIGA, lt=1e17)
    link_bytes_per_s: pl.Float64 = option("Device-to-device link, per direction.", gt=1e9, lt=1e13)
    pcie_bytes_per_s: pl.Float64 = option("PCIe, per direction.", gt=1e8, lt=1e12)
    tdp_w: pl.Float64 = option("Rated power.", gt=1, lt=10_000)
    achieved_flop_ratio: pl.Float64 = option(
        "Arithmetic that this device achieves of what its architecture usually does.", 1.0, gt=0, le=2
    )
    achieved_bytes_ratio: pl.Float64 = option(
        "Bandwidth that this device achieves of what its architecture usually does.", 1.0, gt=0, le=2
    )
    node_devices: pl.Int64 = fact("Devices of one ordinary node.", ge=1, le=1024)
    verdict: pl.String = fact("How well the facts are established.", isin=["confirmed", "corrected", "unconfirmed"])

    @pa.dataframe_check
    @classmethod
    def has_a_16_bit_peak(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """fp16_flop_per_s or bf16_flop_per_s is stated."""
        return data.lazyframe.select(pl.coalesce("bf16_flop_per_s", "fp16_flop_per_s").is_not_null())

    @pa.dataframe_check
    @classmethod
    def all_but_processors_reach_tera_flop_per_s_and_10_gigabytes_per_s(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A peak in GFLOP/s, or a bandwidth in MB/s, is a mistake of units; a processor may be as slow."""
        peaks = [
            pl.col(f"{each}_flop_per_s").fill_null(2 * TERA) > TERA for each in ("fp16", "bf16", "fp8", "int8", "fp4")
        ]
        fast = pl.all_horizontal(*peaks, pl.col("memory_bytes_per_s") > 10 * GIGA)
        return data.lazyframe.select((pl.col("device_class") == "cpu") | fast)

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
    dense_scale_bits: pl.Float64 = option("Of dense_weight_bits, bits of scales and zero points.", 0, ge=0, le=16)
    expert_scale_bits: pl.Float64 = option("Of expert_weight_bits, bits of scales and zero points.", 0, ge=0, le=16)
    dense_row_bytes: pl.Float64 = option(
        "Scale of each output row of attention and plain feed-forward.", 0, ge=0, le=64
    )
    expert_row_bytes: pl.Float64 = option("Scale of each output row of routed experts.", 0, ge=0, le=64)
    kv_bits: pl.Float64 = option("Bits of one cached number, where a cache can be kept so.", ge=1, le=64)
    dense_kernel: pl.String = option("Kernel of plain matrices: an entry of catalogs/efficiencies.")
    expert_kernel: pl.String = option("Kernel of routed experts: an entry of catalogs/efficiencies.")
    pads_experts: pl.Boolean = option("Whether kernels pad experts: to multiples that depend on the device.", False)
    expert_overhead: pl.String = option(
        "Kind of work around routed experts: what engines spend on it differs.",
        isin=["plain", "block", "int4", "mxfp4", "nvfp4"],
    )
    is_expert_format: pl.Boolean = option("Whether only routed experts are quantised.", False)
    unpacks_weights: pl.Boolean = option("Whether transformers' kernels unpack a whole matrix to 16 bits.", False)
    copies_activations: pl.Boolean = option("Whether activations are copied to be quantised.", False)
    weight_error_ratio: pl.Float64 = option("One-sided 95 % error of weights in this format.", 0.001, ge=0, le=1)


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
    cached_prompt_ratio: pl.Float64 = option("Share of a prompt whose cache is found from before.", 0.0, ge=0, lt=1)
    chunk_tokens: pl.Int64 = option("Prompt tokens of one step where requests queue up.", 8192, ge=16, le=10**6)
    verified_tokens: pl.Int64 = option(
        "Tokens that a step verifies for a sequence: drafted ones and one more.", 1, ge=1, le=64
    )
    accepted_tokens: pl.Float64 = option("Tokens that a step yields for a sequence, on average.", 1.0, ge=1, le=64)
    draft_ratio: pl.Float64 = option("Time of drafting for a step, as a share of the step.", 0.0, ge=0, le=10)
    is_disaggregated: pl.Boolean = option("Whether prompts are read by workers of their own.", False)
    ttft_slo_s: pl.Float64 = fact("Objective of the time to first token.", gt=0, le=1e6)
    tpot_slo_s: pl.Float64 = fact("Objective of the time between output tokens.", gt=0, le=1e4)


class Price(pa.DataFrameModel):
    """What a cloud asks for an instance from a day on; appended, never edited."""

    accelerator: pl.String = fact("Device: an entry of catalogs/accelerators.")
    cloud: pl.String = fact("Cloud.")
    instance: pl.String = fact("Instance type.")
    devices: pl.Int64 = fact("Devices of the instance.", ge=1, le=1024)
    market: pl.String = fact("On demand, spot, or reserved for a term.", isin=list(SOLD))
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
    "step": Step,
    "band": Band,
    "engine": Engine,
    "workload": Workload,
    "traffic": Traffic,
    "price": Price,
    "measurement": Measurement,
    "calibration": Calibration,
    "market": Market,
    "ownership": Ownership,
    "site": Site,
}

REFERENCES: dict[str, dict[str, str]] = {
    "model": {"checkpoint_weights": "format"},
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
    "traffic": {"workload": "workload"},
    "price": {"accelerator": "accelerator"},
    "ownership": {"accelerator": "accelerator"},
    "measurement": {"model": "model", "accelerator": "accelerator", "engine": "engine", "workload": "workload"},
    "calibration": {"engine": "engine", "accelerator": "accelerator"},
}

DEFAULTS = {
    kind: {name: each.value for name, each in field_defaults(schema).items()} for kind, schema in SCHEMAS.items()
}
"""By kind and field, what holds where an entry leaves it out: a value, or as a text another field."""
