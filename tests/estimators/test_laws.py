"""What holds of the numbers whatever the plan: linear, monotone, split, replicated, exactly solved.

Every law goes through the expressions that fill the tables, on facts of the bundled catalogs.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import pipeline
from pipeline.core.quantity import at
from pipeline.estimators import matrices
from pipeline.estimators.bands import MemoryErrors
from pipeline.estimators.memory import weights
from pipeline.estimators.step.kernels import distinct_experts
from pipeline.grid.axes import KEYS
from pipeline.grid.tables import capacity_of
from tests.once import formulas_anew
from tests.support import axes, beside, catalogs, every, facts, models, plan, rows, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

LAW = settings(max_examples=25, deadline=None)
CHEAP = settings(max_examples=100, deadline=None)

MODELS = every("model")
RANKS = [1, 2, 4, 8]

model_ids = st.sampled_from(MODELS)
batches = st.lists(st.integers(1, 20_000), min_size=2, max_size=30, unique=True).map(sorted)
plans = st.sampled_from([plan(), plan(2), plan(1, 2)])
engines = st.sampled_from(["vllm", "sglang", "transformers"])
accelerators = st.sampled_from(["l4", "a100-sxm-80gb", "h100-sxm-80gb", "mi300x"])
workloads = st.sampled_from(every("workload"))


def with_kinds(*kinds: str) -> list[str]:
    """Models whose layers are all of these kinds, and of each of them some."""
    counts = {name: pl.col(f"{name}_layers") for name in ("full", "sliding", "chunked", "mla", "linear")}
    of_kind = [count > 0 if name in kinds else count == 0 for name, count in counts.items()]
    return models().filter(*of_kind)["model"].to_list()


# ----- along the batch


@LAW
@given(model_ids, batches, accelerators, engines, workloads)
def test_memory_is_linear_in_the_batch(
    model: str, batch: list[int], accelerator: str, engine: str, workload: str
) -> None:
    """One more sequence costs the same at every batch, to the byte: the ground under the closed form of batch_max."""
    grid = axes([model], batches=batch, accelerators=[accelerator], engines=[engine], workloads=[workload])
    sizes = {"simple_vram_bytes": "simple_sequence_bytes", "vram_bytes": "sequence_bytes"}
    made = rows(grid, *sizes, *sizes.values())
    assert made.height == len(batch)
    for size, step in sizes.items():
        grown = made.select(pl.col(size).diff() - pl.col(step) * pl.col("batch").diff()).to_series().drop_nulls()
        assert grown.unique().to_list() == [0]


@LAW
@given(model_ids, batches, accelerators, engines, workloads, plans)
def test_nothing_gets_faster_with_more_sequences(
    model: str, batch: list[int], accelerator: str, engine: str, workload: str, parallel: dict[str, int]
) -> None:
    """A larger batch never answers one client sooner; a kernel model that says so has a wrong sign or ramp."""
    grid = axes(
        [model], batches=batch, accelerators=[accelerator], engines=[engine], workloads=[workload], parallel=[parallel]
    )
    made = rows(grid, "ttft_s", "tpot_s", "e2e_s")
    assume(not made.is_empty())
    assert made["ttft_s"].is_sorted()
    assert made["tpot_s"].is_sorted()
    assert made["e2e_s"].is_sorted()


@LAW
@given(model_ids, batches, accelerators, engines, workloads)
def test_if_a_batch_fits_every_smaller_one_fits(
    model: str, batch: list[int], accelerator: str, engine: str, workload: str
) -> None:
    """The ground under "largest batch that fits": without it that answer means nothing."""
    grid = axes([model], batches=batch, accelerators=[accelerator], engines=[engine], workloads=[workload])
    assert rows(grid, "fits")["fits"].is_sorted(descending=True)


@pytest.mark.parametrize("engine", ["vllm", "transformers", "tensorrt-llm"])
def test_the_load_never_falls_with_the_batch_for_any_model(engine: str) -> None:
    """Inversions look for the one place where the load passes 1: were it to fall again, they would find any."""
    probes = [*range(1, 130), *(b for k in range(8, 17) for b in (2**k - 1, 2**k, 2**k + 1, 3 * 2 ** (k - 1)))]
    grid = axes(
        MODELS,
        batches=sorted(set(probes)),
        accelerators=["l4", "h100-sxm-80gb"],
        engines=[engine],
        workloads=["chat", "rag-long", "case-study"],
        parallel=[plan(), plan(4, 2)],
    )
    made = rows(grid, "slo_load_ratio")
    falls = made.filter((pl.col("slo_load_ratio").diff() < 0).over(KEYS))
    assert set(made["model"]) == set(MODELS)
    assert made["slo_load_ratio"].null_count() == 0
    assert falls.select(KEYS).unique().to_dicts() == []


SCANS = {
    # a model of each kind, on a device small enough for its largest batch to be near
    "gqa": ("llama-3.2-3b", "bf16", "rtx-4080"),
    "mha": ("phi-3-mini-128k", "bf16", "rtx-4080"),
    "full and sliding": ("gemma-3-4b", "bf16", "rtx-4080"),
    "sliding only": ("mistral-7b-v0.1", "bf16", "a10"),
    "full and chunked, moe": ("llama-4-scout-17b-16e", "int4-awq", "a100-sxm-80gb"),
    "mla, moe": ("deepseek-v2-lite", "bf16", "l40s"),
    "full and linear, moe": ("nemotron-3-nano-30b-a3b", "bf16", "a100-sxm-80gb"),
    "moe": ("qwen1.5-moe-a2.7b", "bf16", "l40s"),
}


@pytest.mark.parametrize("kind", SCANS)
def test_the_largest_batches_are_those_of_the_scan(kind: str) -> None:
    """batch_max is a closed form and batch_slo an inversion; both must be what trying every batch finds."""
    model, weights, accelerator = SCANS[kind]
    grid = axes(
        [model],
        weights=[weights],
        accelerators=[accelerator],
        engines=["vllm", "transformers"],
        workloads=["chat", "rag-long", "case-study"],
        parallel=[plan(), plan(dp=2)],
    )
    solved = texts(capacity_of(grid)).sort(KEYS).select(*KEYS, "batch_max", "batch_slo")
    grid["batch"] = pl.DataFrame({"batch": range(1, max(solved["batch_max"].to_list()) + 3)})
    tried = texts(rows(grid, "fits", "slo_load_ratio", "sequences_max"))
    runs = pl.col("fits") & (pl.col("batch") <= pl.col("sequences_max") * pl.col("dp"))
    assert set(solved["dp"]) == ({1, 2} if "moe" in kind else {1})
    scanned = tried.group_by(KEYS).agg(
        batch_max=pl.col("batch").filter("fits").max().fill_null(0),
        batch_slo=pl.col("batch").filter(runs & (pl.col("slo_load_ratio") <= 1)).max().fill_null(0),
        past=~pl.col("fits").last(),
    )
    assert scanned["past"].all()
    assert solved["batch_max"].min() > 0
    assert solved.to_dicts() == scanned.drop("past").sort(KEYS).to_dicts()


@CHEAP
@given(st.integers(1, 10**10), st.integers(0, 1000), st.integers(0, 10**10))
def test_the_largest_batch_is_the_last_that_fits_to_the_byte(size: int, batch: int, rest: int) -> None:
    """A pool that is full to its last byte still fits: here the closed form and `fits` would part first."""
    pool = size * batch + min(rest, size - 1)
    frame = pl.DataFrame({"sequence_bytes": size, "kv_pool_bytes": pool, "batch": [batch, batch + 1], "dp": 1})
    made = pipeline.estimate(frame, ["batch_max", "fits"])
    assert made["batch_max"].to_list() == [batch, batch]
    assert made["fits"].to_list() == [True, False]


def test_the_scans_are_met_from_both_sides() -> None:
    """Some objective binds below the memory and some memory below the objective, or the scan compares one answer."""
    grid = axes(["llama-3.2-3b"], accelerators=["rtx-4080"], workloads=["chat", "rag-long", "batch-extraction"])
    solved = capacity_of(grid)
    assert set(solved.select(pl.col("batch_slo") < pl.col("batch_max")).to_series()) == {True, False}


# ----- weights


bits = st.integers(4, 64).map(lambda quarters: quarters / 4)


@CHEAP
@given(model_ids, st.tuples(bits, bits, bits), st.tuples(bits, bits, bits))
def test_fewer_bits_weigh_less(model: str, one: tuple[float, ...], other: tuple[float, ...]) -> None:
    """Quantising a group of weights never costs memory, and quantising the layers always saves some."""
    names = ("dense_weight_bits", "expert_weight_bits", "table_weight_bits")
    fewer, more = map(min, one, other), map(max, one, other)
    formats = {name: list(pair) for name, *pair in zip(names, fewer, more, strict=True)}
    light, heavy = pipeline.estimate(facts(model, **formats), ["weight_bytes"])["weight_bytes"]
    least, most = formats["dense_weight_bits"]
    assert light < heavy if least < most else light <= heavy


WIDTHS = ["heads", "kv_heads", "sliding_kv_heads", "ffn_width", "expert_width", "shared_expert_width",
          "linear_in_width", "linear_out_width"]  # fmt: skip
"""What ranks split."""


def splits(tp: int) -> list[str]:
    """Models that this many ranks share evenly."""
    return models().filter(pl.all_horizontal(pl.col(WIDTHS).fill_null(0) % tp == 0))["model"].to_list()


SPLITS = [(model, tp) for tp in (2, 4, 8, 16) for model in splits(tp)]


@contextmanager
def to_the_byte() -> Iterator[None]:
    """No allocator: every tensor takes its own bytes."""
    with formulas_anew() as patch:
        patch.setattr(matrices, "handed_out", lambda size: size)
        patch.setattr(matrices, "padded", lambda size, _multiple: size)
        patch.setattr(weights, "handed_out", lambda size: size)
        yield


@CHEAP
@given(st.sampled_from(SPLITS), bits)
def test_ranks_share_the_weights(shared: tuple[str, int], width: float) -> None:
    """Ranks together hold the model once, and besides what is not dealt out; but for a byte of rounding each tensor.

    Not dealt out: norms and routers, rotary tables, down projections of latent attention, its buffers.
    """
    model, tp = shared
    formats = dict.fromkeys(("dense_weight_bits", "expert_weight_bits", "table_weight_bits"), width)
    whole = ["rope_bytes", "latent_workspace_bytes", "replicated_parameter_count"]
    whole += ["latent_down_matrix_bytes"] * (models().filter(model=model)["mla_layers"].item() > 0)
    ranks = facts(model, tp=[1, tp], tower_parameter_count=0, **formats)
    with to_the_byte():
        made = pipeline.estimate(ranks, ["weight_bytes", *whole])
    one, each = made["weight_bytes"]
    layers, latent = made.row(0, named=True)["layer_count"], made.row(0, named=True)["mla_layers"]
    times = {"replicated_parameter_count": 2, "latent_down_matrix_bytes": latent}
    copied = sum(times.get(name, 1) * made[name][0] for name in whole)
    assert each <= one
    assert abs(tp * each - one - (tp - 1) * copied) <= tp * layers * len(matrices.MATRICES)


@pytest.mark.parametrize("tp", [2, 4, 8])
def test_more_ranks_never_hold_more_each(tp: int) -> None:
    """Every model in every format, where ranks share it evenly: padding and rounding never eat what splitting saves."""
    kept = pl.col("dense_weight_bits", "expert_weight_bits", "table_weight_bits").is_not_null()
    formats = texts(axes(["llama-7b"], weights=every("format"))["weights"]).filter(pl.all_horizontal(kept))
    plans = beside("vllm", "h100-sxm-80gb").drop(formats.columns).drop("tp").join(formats, how="cross")
    shared = models().filter(pl.col("model").is_in(splits(tp))).join(plans, how="cross")
    fewer, more = (
        pipeline.estimate(shared.with_columns(tp=pl.lit(ranks, pl.Int64)), ["weight_bytes"]) for ranks in (tp // 2, tp)
    )
    assert formats.height > 5
    heavier = more.filter(more["weight_bytes"] > fewer["weight_bytes"])
    assert heavier.select("model", "weights").rows() == []


@CHEAP
@given(model_ids, st.integers(1, 5))
def test_stages_hold_the_model_between_them(model: str, pp: int) -> None:
    """The fullest stage has at least its share, and no more than one stage alone."""
    formats = dict.fromkeys(("dense_weight_bits", "expert_weight_bits", "table_weight_bits"), 16.0)
    one, fullest = pipeline.estimate(facts(model, pp=[1, pp], **formats), ["weight_bytes"])["weight_bytes"]
    tower = 2 * models().filter(model=model)["tower_parameter_count"].item()
    assert one - tower <= pp * (fullest - tower)
    assert fullest <= one


# ----- cache

contexts = st.lists(st.integers(1, 300_000), min_size=2, max_size=30, unique=True).map(sorted)
blocks = st.sampled_from([1, 16, 32, 64])
elements = st.sampled_from([1.0, 1.0625, 2.0])


@CHEAP
@given(model_ids, contexts, st.sampled_from(RANKS), blocks, elements)
def test_a_longer_sequence_never_takes_less_cache_nor_less_than_it_needs(
    model: str, context: list[int], tp: int, block: int, element: float
) -> None:
    """Blocks round up, by less than a block of every layer: rounding down would run out of memory."""
    plans = {"prompt_tokens": context, "tp": tp, "kv_bytes_per_element": element, "engine_groups_layers": False}
    wanted = ["kv_bytes_per_sequence", "window_bytes_per_token"]
    paged = pipeline.estimate(facts(model, block_tokens=block, **plans), wanted)
    exact = pipeline.estimate(facts(model, block_tokens=1, **plans), wanted)
    excess = paged["kv_bytes_per_sequence"] - exact["kv_bytes_per_sequence"]
    layers = models().filter(model=model)["layer_count"].item()
    assert paged["kv_bytes_per_sequence"].is_sorted()
    assert excess.min() >= 0
    assert excess.max() <= (block - 1) * paged["window_bytes_per_token"][0] + layers


PAGED = ["vllm", "vllm@0.11.0", "sglang"]


@pytest.mark.parametrize("engine", PAGED)
@CHEAP
@given(model_ids, contexts, st.sampled_from(RANKS), st.sampled_from([1, 2, 3]), elements)
def test_blocks_groups_and_padding_cost_and_never_save(
    engine: str, model: str, context: list[int], tp: int, pp: int, element: float
) -> None:
    """Not less than the bytes themselves, and without states not more than the printed figure for the whole context."""
    plans = {"prompt_tokens": context, "tp": tp, "pp": pp, "kv_bytes_per_element": element}
    wanted = ["kv_ideal_bytes_per_sequence", "kv_bytes_per_sequence", "kv_shown_bytes_per_token", "kv_block_tokens"]
    made = pipeline.estimate(facts(model, engine, **plans), wanted)
    assert made["kv_bytes_per_sequence"].is_sorted()
    assert (made["kv_ideal_bytes_per_sequence"] <= made["kv_bytes_per_sequence"]).all()
    if made["linear_layers"][0] == 0:
        whole = -(-made["prompt_tokens"] // made["kv_block_tokens"]) * made["kv_block_tokens"]
        shown = made["kv_shown_bytes_per_token"] * whole
        assert (made["kv_bytes_per_sequence"] <= shown * (1 + 1e-12)).all()


def test_an_engine_without_groups_is_among_them() -> None:
    """Else the law above holds of one way of laying out only."""
    groups = {engine: beside(engine, "h100-sxm-80gb")["engine_groups_layers"].item() for engine in PAGED}
    assert groups == {"vllm": True, "vllm@0.11.0": True, "sglang": False}


def test_latent_cache_stands_whole_on_every_rank() -> None:
    """MLA has no heads to split: to divide its cache by tp is the commonest mistake, and 8 times too small."""
    assert len(with_kinds("mla")) >= 5
    for model in with_kinds("mla"):
        made = pipeline.estimate(
            facts(model, tp=RANKS, prompt_tokens=8192), ["kv_bytes_per_token", "kv_bytes_per_sequence"]
        )
        assert made["kv_bytes_per_token"].n_unique() == made["kv_bytes_per_sequence"].n_unique() == 1


def test_kv_heads_are_split_then_replicated() -> None:
    """Each rank keeps heads / tp, but never less than one head: past that, more ranks save no cache."""
    ranks = [1, 2, 4, 8, 16, 32, 64]
    of_heads = models().filter(pl.col("model").is_in(with_kinds("full")))
    for model, kv_heads in of_heads.select("model", "kv_heads").iter_rows():
        made = pipeline.estimate(facts(model, tp=ranks), ["kv_bytes_per_token"])["kv_bytes_per_token"]
        whole = [tp for tp in ranks if kv_heads % tp == 0 or tp % kv_heads == 0]
        found = {tp: made[0] / each for tp, each in zip(ranks, made, strict=True) if tp in whole}
        assert found == {tp: min(tp, kv_heads) for tp in whole}


GROWING = {
    "full": with_kinds("full"),
    "full and sliding": with_kinds("full", "sliding"),
    "full and chunked": with_kinds("full", "chunked"),
    "mla": with_kinds("mla"),
    "full and linear": with_kinds("full", "linear"),
}


@pytest.mark.parametrize("kind", GROWING)
@CHEAP
@given(data=st.data())
def test_the_longest_context_fits_and_one_block_more_does_not(kind: str, data: st.DataObject) -> None:
    """context_max_tokens solves kv_bytes_per_sequence, window by window; here it is put back in."""
    model = data.draw(st.sampled_from(GROWING[kind]))
    block = data.draw(blocks)
    plans = {
        "tp": data.draw(st.sampled_from(RANKS)),
        "pp": data.draw(st.sampled_from([1, 2, 3])),
        "kv_bytes_per_element": data.draw(elements),
        "block_tokens": block,
    }
    pools = data.draw(st.lists(st.integers(0, 2**40) | st.integers(0, 2**32), min_size=1, max_size=10))
    lengths = data.draw(contexts)
    taken = pipeline.estimate(facts(model, prompt_tokens=lengths, **plans), ["kv_bytes_per_sequence"])
    pools += [size - less for size in taken["kv_bytes_per_sequence"] for less in (0, 1)]
    wanted = ["context_max_tokens", "kv_block_tokens"]
    solved, blocked = pipeline.estimate(facts(model, kv_pool_bytes=pools, **plans), wanted).select(wanted)
    assert (solved % blocked == 0).all()
    at_most, beyond = (
        pipeline.estimate(facts(model, prompt_tokens=tokens.to_list(), **plans), ["kv_bytes_per_sequence"])
        for tokens in (solved, solved + blocked)
    )
    pool = pl.Series(pools)
    assert ((at_most["kv_bytes_per_sequence"] <= pool) | (solved == 0)).all()
    assert (beyond["kv_bytes_per_sequence"] > pool).all()


@pytest.mark.parametrize("engine", every("engine"))
@pytest.mark.parametrize("model", ["llama-3.1-8b", "deepseek-v2-lite"])
def test_the_longest_context_runs_as_a_batch_of_one(engine: str, model: str) -> None:
    """context_max_tokens and batch_max answer about one pool: the workload's output after as long a prompt must fit."""
    reads = catalogs().frames["engine"].row(by_predicate=pl.col("engine") == engine, named=True)["formats"]
    weights = next(each for each in ("bf16", "gguf-f16", "fp16", "int4-awq") if each in reads)
    grid = axes([model], accelerators=["l40s"], engines=[engine], weights=[weights], kv=["fp16"])
    longest = rows(grid, "context_max_tokens")["context_max_tokens"].max()
    assert isinstance(longest, int)
    prompt = longest - pl.col("output_tokens")
    grid["workload"] = grid["workload"].with_columns(prompt_tokens=prompt)
    assert set(rows(grid, "fits")["fits"]) == {True}


@pytest.mark.parametrize("model", with_kinds("sliding"))
def test_where_nothing_grows_the_model_itself_is_the_limit(model: str) -> None:
    """Full windows in the pool hold any context; one byte less, and the context ends with the window or inside it."""
    wanted = ["kv_bytes_per_sequence", "block_row_bytes"]
    full, row = pipeline.estimate(facts(model, prompt_tokens=10**6), wanted).select(wanted).row(0)
    pools = [full, full - 1, full - row, full - row - 1, row]
    made = pipeline.estimate(facts(model, kv_pool_bytes=pools), ["context_max_tokens"])
    limit, *inside = made["context_max_tokens"]
    at_most, beyond = (
        pipeline.estimate(facts(model, prompt_tokens=[each + more for each in inside]), ["kv_bytes_per_sequence"])
        for more in (0, 16)
    )
    assert limit == made["context_tokens_max"][0] // 16 * 16
    assert max(inside) <= -(-made["window_tokens"][0] // 16) * 16
    assert (at_most["kv_bytes_per_sequence"] <= pl.Series(pools[1:])).all()
    assert (beyond["kv_bytes_per_sequence"] > pl.Series(pools[1:])).all()


# ----- the pool

devices = st.sampled_from(["l4", "a100-sxm-80gb", "h100-sxm-80gb", "b200-sxm-180gb", "mi300x"])
versions = st.sampled_from(["vllm", "vllm@0.19.0", "vllm@0.6.0", "sglang", "tensorrt-llm", "lmdeploy", "transformers"])
ratios = st.lists(st.floats(0.05, 1.0), min_size=2, max_size=10).map(sorted)
limits = st.lists(st.integers(1, 65_536), min_size=2, max_size=20, unique=True).map(sorted)


@CHEAP
@given(model_ids, versions, devices, ratios)
def test_a_larger_share_of_the_device_never_shrinks_the_pool(
    model: str, engine: str, device: str, ratio: list[float]
) -> None:
    """Whoever raises the engine's memory setting to fit more must not fit less, unless nothing fits at all."""
    asked = facts(model, engine, device, asked_memory_utilization_ratio=ratio)
    pool = pipeline.estimate(asked, ["kv_pool_bytes"])["kv_pool_bytes"]
    assert pool.clip(0).is_sorted()


@CHEAP
@given(model_ids, versions, devices, contexts)
def test_longer_sequences_never_make_a_larger_batch(model: str, engine: str, device: str, context: list[int]) -> None:
    """The batch falls with the length, or stays where windows bound it."""
    made = pipeline.estimate(facts(model, engine, device, prompt_tokens=context), ["batch_max"])
    assert made["batch_max"].is_sorted(descending=True)


@CHEAP
@given(model_ids, versions, st.lists(st.integers(0, 2**37), min_size=2, max_size=20).map(sorted))
def test_larger_activations_never_make_a_larger_batch(model: str, engine: str, peaks: list[int]) -> None:
    """What a step needs is not there for sequences; engines that do not charge it do not gain by it either."""
    made = pipeline.estimate(facts(model, engine, "mi300x", activation_bytes=peaks), ["batch_max"])
    assert made["batch_max"].is_sorted(descending=True)


@CHEAP
@given(model_ids, versions, devices, st.sampled_from(["batched_tokens_max", "sequences_max"]), limits)
def test_larger_steps_never_need_less(model: str, engine: str, device: str, limit: str, values: list[int]) -> None:
    """Neither more tokens nor more sequences in one step make its temporary tensors smaller."""
    made = pipeline.estimate(facts(model, engine, device, **{f"asked_{limit}": values}), ["activation_bytes"])
    assert made["activation_bytes"].is_sorted()


@CHEAP
@given(model_ids, st.sampled_from(PAGED), st.sampled_from(RANKS), st.integers(0, 2**40), elements)
def test_whole_blocks_lie_inside_the_pool(model: str, engine: str, tp: int, pool: int, element: float) -> None:
    """The engine cannot hand out a block that is not there, and leaves less than one block unused."""
    plans = {"tp": tp, "kv_pool_bytes": pool, "kv_bytes_per_element": element}
    made = pipeline.estimate(facts(model, engine, **plans), ["kv_pool_blocks", "block_group_bytes"])
    taken = made["kv_pool_blocks"].item() * made["block_group_bytes"].item()
    assert taken <= pool < taken + made["block_group_bytes"].item()


@CHEAP
@given(model_ids, versions, devices, st.sampled_from([plan(), plan(2), plan(1, 2), plan(4, 2)]))
def test_the_margin_is_no_smaller_than_any_of_its_terms(
    model: str, engine: str, device: str, parallel: dict[str, int]
) -> None:
    """Errors add up, never cancel: so the safe batch is at most the likely one."""
    terms = MemoryErrors._fields
    wanted = ["batch_max", "batch_max_lo", "memory_error_bytes", *terms]
    made = pipeline.estimate(facts(model, engine, device, **parallel), wanted).row(0, named=True)
    assert min(made[name] for name in terms) >= 0
    assert made["memory_error_bytes"] >= max(made[name] for name in terms) * (1 - 1e-12) > 0
    assert made["batch_max_lo"] <= made["batch_max"]


# ----- scale


WITHOUT_16_BITS = dict.fromkeys(
    ["rope_bytes", "absorbed_bytes", "latent_workspace_bytes", "replicated_parameter_count"], 0
)
"""No part of the weights that keeps its 16 bits in every format."""


@CHEAP
@given(model_ids, st.sampled_from([2, 4, 8]), st.integers(1, 200_000), st.sampled_from([1, 2, 4]))
def test_bytes_scale_as_one(model: str, k: int, prompt: int, tp: int) -> None:
    """K times as wide numbers, states and pool: k times the bytes, and the same answers in sequences and tokens.

    A constant in bytes hidden in a formula would show here.
    """
    assume(models().filter(model=model)["state_bytes_per_layer"].fill_null(0).item() % tp == 0)
    widths = {"dense_weight_bits": 4.25, "expert_weight_bits": 4.5, "table_weight_bits": 16.0}
    scaled = {name: [width, k * width] for name, width in widths.items()}
    factor = pl.col("kv_bytes_per_element") / 2.0
    frame = facts(
        model, "vllm@0.19.0", tp=tp, prompt_tokens=prompt, kv_bytes_per_element=[2.0, 2.0 * k],
        kv_pool_bytes=[2**36, k * 2**36], prompt_excess_bytes=0, **WITHOUT_16_BITS, **scaled,
    ).with_columns(
        (pl.col("state_bytes_per_layer") * factor).cast(pl.Int64),
        tower_parameter_count=pl.lit(0, pl.Int64),
    )  # fmt: skip
    sizes = ["kv_bytes_per_sequence", "kv_bytes_per_token", "window_bytes_per_token", "lasting_kv_bytes",
             "state_kv_bytes", "model_len_bytes", "kv_page_bytes", "block_group_bytes", "kv_shown_bytes_per_token",
             "sequence_bytes"]  # fmt: skip
    answers = ["batch_max", "context_max_tokens", "kv_pool_blocks", "kv_pool_tokens"]
    with to_the_byte():
        made = pipeline.estimate(frame, [*sizes, *answers, "weight_bytes"])
    one, other = made.select(sizes).rows()
    assert other == pytest.approx(tuple(k * each for each in one), rel=1e-12)
    assert made.select(answers).n_unique() == 1
    light, heavy = made["weight_bytes"]
    tensors = made["layer_count"][0] * 2 * len(matrices.MATRICES)
    assert light * k - k * tensors < heavy <= light * k


POOLS = {
    # way of sharing the device: share of what is left, of what is free, activations charged
    "vllm": (False, False, True),
    "sglang": (False, True, False),
    "tensorrt-llm": (True, False, True),
    "lmdeploy": (True, True, False),
}
terms = st.integers(0, 10**10)


@pytest.mark.parametrize("way", POOLS)
@CHEAP
@given(st.integers(10**9, 10**12), st.integers(0, 10**12), st.tuples(terms, terms, terms, terms))
def test_the_pool_scales_with_the_device_and_all_charged_to_it(
    way: str, device: int, model: int, others: tuple[int, ...]
) -> None:
    """Twice every byte is twice the pool, but for the bytes that rounding down takes; and it never holds more."""
    flags = ("engine_shares_what_is_left", "engine_shares_free_memory", "engine_charges_activation")
    names = ("start_up_bytes", "activation_bytes", "non_torch_bytes", "charged_graph_bytes")
    sizes = {"device_memory_bytes": device, "weight_bytes": model, **dict(zip(names, others, strict=True))}
    frame = pl.DataFrame({name: [size, 2 * size] for name, size in sizes.items()}).with_columns(
        memory_utilization_ratio=0.9, **dict(zip(flags, map(pl.lit, POOLS[way]), strict=True))
    )
    one, two = pipeline.estimate(frame, ["kv_pool_bytes"])["kv_pool_bytes"]
    assert 2 * one <= two <= 2 * one + 2
    start_up, *charged = others
    assert one <= 0 or one + model + sum(charged) * POOLS[way][2] + start_up * POOLS[way][1] <= device


@CHEAP
@given(st.integers(1, 1024).flatmap(lambda e: st.tuples(st.just(e), st.integers(1, e))), st.integers(1, 10**6))
def test_distinct_experts_lie_between_those_of_one_token_and_all(shape: tuple[int, int], tokens: int) -> None:
    """A step reads at least what one token asks for and at most what there is; outside, traffic is nonsense."""
    experts, asked = shape
    plans = {"experts": experts, "experts_per_token": asked}
    first, found, more = (at(distinct_experts, **plans, step_tokens=float(n), dp=1) for n in (1, tokens, tokens + 1))
    assert first == pytest.approx(asked, rel=1e-9)
    assert asked * (1 - 1e-9) <= found <= more <= experts


@CHEAP
@given(st.integers(1, 10**10), st.integers(0, 10**12), st.sampled_from(RANKS))
def test_groups_hold_so_many_times_what_one_holds(size: int, pool: int, dp: int) -> None:
    """Sequences are dealt out over data-parallel groups, and the fullest group decides what fits."""
    most = pool // size * dp
    frame = pl.DataFrame({"sequence_bytes": size, "kv_pool_bytes": pool, "batch": [most, most + 1], "dp": dp})
    made = pipeline.estimate(frame, ["batch_max", "fits"])
    assert made["batch_max"].to_list() == [most, most]
    assert made["fits"].to_list() == [True, False]


# ----- speed

SERVED: dict[str, Any] = {
    "prompt_tokens": 1024, "output_tokens": 200, "batch": 8, "is_static": False, "is_disaggregated": False,
    "cached_prompt_ratio": 0.0, "chunk_tokens": 8192, "verified_tokens": 1, "accepted_tokens": 1.0, "draft_ratio": 0.0,
}  # fmt: skip
"""A workload in which nothing special is switched on."""
MOE = models().filter(pl.col("moe_layers") > 0)["model"].to_list()

one_batch = st.integers(1, 2000)
one_prompt = st.integers(1, 100_000)
ratio = st.floats(0.0, 0.999)
factors = st.lists(st.floats(0.01, 100.0), min_size=2, max_size=12).map(sorted)
kinds = st.booleans().map(lambda is_static: {"is_static": is_static})


def timed(model: str, engine: str, device: str, *wanted: str, **plans: Any) -> pl.DataFrame:
    """Times of one model; a row for each value of the lists among the plans."""
    return pipeline.estimate(facts(model, engine, device, **(SERVED | plans)), wanted).select(wanted)


def rises(column: pl.Series) -> bool:
    """Whether a time never falls, but for rounding."""
    return bool((column.diff().fill_null(0.0) >= -1e-12 * column.abs()).all())


@pytest.mark.parametrize("rate", ["memory_bytes_per_s", "bf16_flop_per_s"])
@CHEAP
@given(model_ids, versions, devices, one_batch, one_prompt, factors)
def test_a_faster_device_is_never_slower(
    rate: str, model: str, engine: str, device: str, batch: int, prompt: int, times: list[float]
) -> None:
    """More bandwidth or arithmetic never lengthens a step: a sign or a quotient upside down would."""
    usual = beside(engine, device)[rate].item()
    plans = {"batch": batch, "prompt_tokens": prompt, rate: [usual * each for each in reversed(times)]}
    made = timed(model, engine, device, "decode_step_s", "prompt_step_s", **plans)
    assert rises(made["decode_step_s"])
    assert rises(made["prompt_step_s"])


CLIENT_TIMES = ("ttft_s", "tpot_s", "e2e_s")
SHORT_PROMPT_TOKENS = 512
"""Below, TTFT of a static batch of a mixture of experts is known to fall as the batch grows (docs/speed.md)."""


def is_mixture(model: str) -> bool:
    """Whether a model has routed experts."""
    return models().filter(model=model)["moe_layers"].item() > 0


@CHEAP
@given(model_ids, versions, devices, kinds, st.lists(one_batch, min_size=2, max_size=20).map(sorted), one_prompt)
def test_a_larger_batch_never_makes_a_client_faster(
    model: str, engine: str, device: str, served: dict[str, bool], batch: list[int], prompt: int
) -> None:
    """Every sequence beside one's own is read and written by the same device."""
    made = timed(model, engine, device, *CLIENT_TIMES, batch=batch, prompt_tokens=prompt, **served)
    falls = served["is_static"] and prompt < SHORT_PROMPT_TOKENS and is_mixture(model)
    assert all(rises(made[name]) for name in (["tpot_s"] if falls else CLIENT_TIMES))


@CHEAP
@given(
    model_ids, versions, devices, kinds, st.sampled_from([1, 2, 4]), one_batch,
    st.lists(one_prompt, min_size=2, max_size=20).map(sorted),
)  # fmt: skip
def test_a_longer_prompt_never_makes_a_client_faster(
    model: str, engine: str, device: str, served: dict[str, bool], pp: int, batch: int, prompt: list[int]
) -> None:
    """It is read, and its cache is read again for every token."""
    made = timed(model, engine, device, *CLIENT_TIMES, pp=pp, batch=batch, prompt_tokens=prompt, **served)
    assert all(rises(made[name]) for name in CLIENT_TIMES)


@CHEAP
@given(model_ids, versions, devices, one_batch, st.lists(one_prompt, min_size=2, max_size=20).map(sorted))
def test_a_longer_output_never_makes_a_step_faster(
    model: str, engine: str, device: str, batch: int, output: list[int]
) -> None:
    """A step reads the mean context, and the whole answer takes longer."""
    made = timed(model, engine, device, "decode_step_s", "e2e_s", batch=batch, output_tokens=output)
    assert rises(made["decode_step_s"])
    assert rises(made["e2e_s"])


NOTHING_BETWEEN = {
    "link_bytes_per_s": 1e30, "collective_base_s": 0.0, "dense_launch_s": 0.0, "expert_launch_s": 0.0,
    "half_launch_s": 0.0, "attention_launch_s": 0.0,
}  # fmt: skip
"""Ranks that talk at no cost, and kernels that start at once."""


@CHEAP
@given(model_ids, versions, devices, one_batch, one_prompt)
def test_ranks_that_talk_at_no_cost_never_slow_a_decode_step_down(
    model: str, engine: str, device: str, batch: int, prompt: int
) -> None:
    """Each reads and multiplies its part; what is whole on every rank takes as long as on one."""
    made = timed(model, engine, device, "decode_step_s", tp=RANKS, batch=batch, prompt_tokens=prompt, **NOTHING_BETWEEN)
    assert rises(made["decode_step_s"].reverse())


@CHEAP
@given(st.sampled_from(MOE), one_batch, st.sampled_from([2, 4, 8]))
def test_groups_read_each_expert_once_between_them(model: str, batch: int, dp: int) -> None:
    """As many sequences in groups that share experts touch as many experts, and a rank reads its part of them."""
    wanted = ("decode_distinct_experts", "decode_experts_s")
    alone = timed(model, "vllm", "h100-sxm-80gb", *wanted, batch=batch * dp, expert_launch_s=0.0).row(0)
    grouped = timed(model, "vllm", "h100-sxm-80gb", *wanted, batch=batch * dp, dp=dp, expert_launch_s=0.0).row(0)
    assert grouped[0] == pytest.approx(alone[0], rel=1e-12)
    assert dp * grouped[1] == pytest.approx(alone[1], rel=1e-12)


shapes = st.tuples(st.integers(1, 64), st.integers(1, 100), st.integers(1, 100), st.sampled_from([1, 2]))


@CHEAP
@given(shapes, st.integers(1, 10_000), bits)
def test_experts_that_are_all_active_are_a_dense_block_of_their_whole_width(
    shape: tuple[int, int, int, int], tokens: int, width: float
) -> None:
    """They read and multiply the same; a dense block counts its activations' traffic besides, and no ramp is here."""
    experts, expert_width, hidden, inputs = shape
    whole = experts * 64 * expert_width
    frame = pl.DataFrame({
        "step_tokens": float(tokens), "experts": experts, "experts_per_token": experts, "hidden": 64 * hidden,
        "expert_depth": 64 * hidden, "expert_width": 64 * expert_width, "ffn_width": whole, "ffn_inputs": inputs,
        "tp": 1, "dp": 1, "dense_weight_bits": width, "expert_weight_bits": width, "expert_launch_s": 0.0,
        "dense_launch_s": 0.0, "expert_ramp": 0.0, "dense_ramp": 0.0, "ramp_ratio": 1.0,
        "dense_flop_per_s": [1e30, 1e15], "expert_flop_per_s": [1e30, 1e15],
        "dense_bytes_per_s": [1e12, 1e30], "expert_bytes_per_s": [1e12, 1e30],
    })  # fmt: skip
    made = pipeline.estimate(frame, ["experts_s", "dense_products_s"])
    activations = 2.0 * tokens * ((inputs + 1) * whole + 2 * 64 * hidden) / 1e12
    assert made["dense_products_s"][0] == pytest.approx(made["experts_s"][0] + activations, rel=1e-9)
    assert made["dense_products_s"][1] == pytest.approx(made["experts_s"][1], rel=1e-9)


@CHEAP
@given(model_ids, versions, devices, one_batch, one_prompt, bits, st.sampled_from(["dense", "expert", "table"]))
def test_half_the_bits_of_a_weight_at_most_halve_a_decode_step(
    model: str, engine: str, device: str, batch: int, prompt: int, width: float, group: str
) -> None:
    """Only reading gets shorter, and only what is weights."""
    plans = {"batch": batch, "prompt_tokens": prompt, f"{group}_weight_bits": [width, width / 2]}
    whole, half = timed(model, engine, device, "decode_step_s", **plans)["decode_step_s"]
    assert whole / 2 <= half <= whole


# ----- features of a workload


@CHEAP
@given(model_ids, versions, devices, one_prompt)
def test_one_static_sequence_waits_for_its_own_prompt_alone(model: str, engine: str, device: str, prompt: int) -> None:
    """Nothing joins, nothing is in the way."""
    plans = {"batch": 1, "is_static": True, "prompt_tokens": prompt}
    made = timed(model, engine, device, "ttft_s", "prompt_step_s", "tpot_s", "decode_step_s", **plans)
    assert made["ttft_s"].item() == made["prompt_step_s"].item()
    assert made["tpot_s"].item() == made["decode_step_s"].item()


def test_a_workload_that_states_no_feature_has_none() -> None:
    """What a catalog leaves out is a token a step, nothing cached, one kind of worker."""
    features = ["is_disaggregated", "cached_prompt_ratio", "verified_tokens", "accepted_tokens", "draft_ratio"]
    stated = axes(["llama-7b"], workloads=["chat", "case-study"])["workload"].select(features)
    assert stated.unique().to_dicts() == [{name: SERVED[name] for name in features}]


@CHEAP
@given(model_ids, versions, devices, one_batch, st.integers(1, 64), st.floats(0.0, 10.0))
def test_drafts_that_are_never_accepted_only_cost(
    model: str, engine: str, device: str, batch: int, verified: int, draft: float
) -> None:
    """A token a step verified and accepted, nothing drafted, is no speculation; more verified never takes less."""
    plans = {"batch": batch, "verified_tokens": [1, 1, verified], "draft_ratio": [0.0, draft, draft]}
    none, drafted, verifying = timed(model, engine, device, "tpot_s", is_static=True, **plans)["tpot_s"]
    assert drafted == pytest.approx(none * (1.0 + draft), rel=1e-12)
    assert verifying >= drafted * (1 - 1e-12)


@CHEAP
@given(model_ids, versions, devices, one_batch, st.lists(st.floats(1.0, 64.0), min_size=2, max_size=10).map(sorted))
def test_more_accepted_tokens_never_make_a_client_slower(
    model: str, engine: str, device: str, batch: int, accepted: list[float]
) -> None:
    """The same steps yield more."""
    made = timed(model, engine, device, "tpot_s", "ttft_s", batch=batch, accepted_tokens=accepted)
    assert rises(made["tpot_s"].reverse())
    assert made["ttft_s"].to_list() == pytest.approx([made["ttft_s"][0]] * len(accepted), rel=1e-12)


@CHEAP
@given(model_ids, versions, devices, kinds, one_batch, one_prompt, st.lists(ratio, min_size=2, max_size=20).map(sorted))
def test_a_prompt_that_is_cached_in_part_is_never_read_later(
    model: str, engine: str, device: str, served: dict[str, bool], batch: int, prompt: int, cached: list[float]
) -> None:
    """Fewer tokens are read, one's own and the others'."""
    plans = {"batch": batch, "prompt_tokens": prompt, "cached_prompt_ratio": cached} | served
    made = timed(model, engine, device, "ttft_s", "tpot_s", **plans)
    assert rises(made["ttft_s"].reverse())
    assert rises(made["tpot_s"].reverse())


@CHEAP
@given(model_ids, versions, devices, kinds, one_batch, one_prompt)
def test_prompts_that_are_read_elsewhere_are_not_in_the_way_of_tokens(
    model: str, engine: str, device: str, served: dict[str, bool], batch: int, prompt: int
) -> None:
    """Workers of their own take prompts out of the steps, and must hand their cache over."""
    plans = {"batch": batch, "prompt_tokens": prompt, "is_disaggregated": [False, True]} | served
    made = timed(model, engine, device, "tpot_s", "kv_transfer_s", "prefill_replicas", **plans)
    assert rises(made["tpot_s"].reverse())
    assert made.select("kv_transfer_s", "prefill_replicas").row(0) == (0.0, 0.0)
    assert min(made.select("kv_transfer_s", "prefill_replicas").row(1)) > 0


@CHEAP
@given(model_ids, versions, devices, one_batch, st.lists(st.integers(1, 10_000), min_size=1, max_size=10).map(sorted))
def test_clients_wait_where_they_are_more_than_the_batch(
    model: str, engine: str, device: str, batch: int, more: list[int]
) -> None:
    """With a place for each nobody waits, and the client sees the replica; each one more waits longer."""
    wanted = ("waiting_s", "client_ttft_s", "ttft_s", "client_output_tokens_per_s", "output_tokens_per_s")
    made = timed(model, engine, device, *wanted, batch=batch, clients=[batch, *(batch + each for each in more)])
    first = made.row(0, named=True)
    assert first["waiting_s"] == 0
    assert first["client_ttft_s"] == first["ttft_s"]
    assert first["client_output_tokens_per_s"] == pytest.approx(first["output_tokens_per_s"], rel=1e-12)
    assert (made["waiting_s"][1:] > 0).all()
    assert rises(made["client_ttft_s"])
