"""What holds of the numbers whatever the plan: linear, monotone, split, replicated, exactly solved.

Every law goes through the expressions that fill the tables, on facts of the bundled catalogs.
"""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import pipeline
from pipeline.core.quantity import at
from pipeline.estimators.kernels import distinct_experts
from pipeline.grid.axes import KEYS
from pipeline.grid.tables import capacity_of
from tests.support import axes, every, facts, models, plan, rows, texts

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
        [model],
        batches=batch,
        accelerators=[accelerator],
        engines=[engine],
        workloads=[workload],
        parallel=[parallel],
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
    "full and chunked": ("llama-4-scout-17b-16e", "int4-awq", "a100-sxm-80gb"),
    "mla": ("deepseek-v2-lite", "bf16", "l40s"),
    "full and linear": ("nemotron-3-nano-30b-a3b", "bf16", "a100-sxm-80gb"),
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
    )
    solved = texts(capacity_of(grid)).sort(KEYS).select(*KEYS, "batch_max", "batch_slo")
    grid["batch"] = pl.DataFrame({"batch": range(1, max(solved["batch_max"].to_list()) + 3)})
    tried = texts(rows(grid, "fits", "slo_load_ratio", "sequences_max"))
    runs = pl.col("fits") & (pl.col("batch") <= pl.col("sequences_max"))
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
    frame = pl.DataFrame({"sequence_bytes": size, "kv_pool_bytes": pool, "batch": [batch, batch + 1]})
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


@CHEAP
@given(model_ids, st.sampled_from([2, 4, 8, 16]), bits)
def test_ranks_share_the_weights(model: str, tp: int, width: float) -> None:
    """All but the towers is dealt out: the ranks together hold the model once, but for a byte of rounding each."""
    formats = dict.fromkeys(("dense_weight_bits", "expert_weight_bits", "table_weight_bits"), width)
    made = pipeline.estimate(facts(model, tp=[1, tp], **formats), ["weight_bytes"])
    one, each = made.select(pl.col("weight_bytes") - 2 * pl.col("tower_parameter_count")).to_series()
    assert 0 <= tp * each - one < tp


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
    plans = {"prompt_tokens": context, "tp": tp, "kv_bytes_per_element": element}
    wanted = ["kv_bytes_per_sequence", "window_bytes_per_token"]
    paged = pipeline.estimate(facts(model, block_tokens=block, **plans), wanted)
    exact = pipeline.estimate(facts(model, block_tokens=1, **plans), wanted)
    excess = paged["kv_bytes_per_sequence"] - exact["kv_bytes_per_sequence"]
    layers = models().filter(model=model)["layer_count"].item()
    assert paged["kv_bytes_per_sequence"].is_sorted()
    assert excess.min() >= 0
    assert excess.max() <= (block - 1) * paged["window_bytes_per_token"][0] + layers


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
    pools = data.draw(st.lists(st.integers(0, 2**40) | st.integers(0, 2**32), min_size=1, max_size=20))
    plans = {
        "tp": data.draw(st.sampled_from(RANKS)),
        "pp": data.draw(st.sampled_from([1, 2, 3])),
        "kv_bytes_per_element": data.draw(elements),
        "block_tokens": block,
    }
    solved = pipeline.estimate(facts(model, kv_pool_bytes=pools, **plans), ["context_max_tokens"])["context_max_tokens"]
    assert (solved % block == 0).all()
    at_most, beyond = (
        pipeline.estimate(facts(model, prompt_tokens=tokens.to_list(), **plans), ["kv_bytes_per_sequence"])
        for tokens in (solved, solved + block)
    )
    pool = pl.Series(pools)
    assert ((at_most["kv_bytes_per_sequence"] <= pool) | (solved == 0)).all()
    assert (beyond["kv_bytes_per_sequence"] > pool).all()


@pytest.mark.parametrize("engine", every("engine"))
@pytest.mark.parametrize("model", ["llama-3.1-8b", "deepseek-v2-lite"])
def test_the_longest_context_runs_as_a_batch_of_one(engine: str, model: str) -> None:
    """context_max_tokens and batch_max answer about one pool: the workload's output after as long a prompt must fit."""
    weights = "gguf-f16" if engine == "llama.cpp" else "bf16"
    grid = axes([model], accelerators=["l40s"], engines=[engine], weights=[weights], kv=["fp16"])
    longest = rows(grid, "context_max_tokens")["context_max_tokens"].max()
    assert isinstance(longest, int)
    prompt = longest - pl.col("output_tokens")
    grid["workload"] = grid["workload"].with_columns(prompt_tokens=prompt)
    assert set(rows(grid, "fits")["fits"]) == {True}


@pytest.mark.parametrize("model", with_kinds("sliding"))
def test_where_nothing_grows_the_model_itself_is_the_limit(model: str) -> None:
    """Full windows in the pool hold any context; one byte less, and the context ends inside the window."""
    full = pipeline.estimate(facts(model, prompt_tokens=10**6), ["kv_bytes_per_sequence"])["kv_bytes_per_sequence"]
    made = pipeline.estimate(facts(model, kv_pool_bytes=[full.item(), full.item() - 1]), ["context_max_tokens"])
    limit, inside = made["context_max_tokens"]
    assert limit == made["context_tokens_max"][0] // 16 * 16
    assert inside < made["window_tokens"][0]


# ----- scale


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
        model, tp=tp, prompt_tokens=prompt, kv_bytes_per_element=[2.0, 2.0 * k], kv_pool_bytes=[2**36, k * 2**36],
        prompt_excess_bytes=0, **scaled,
    ).with_columns(
        (pl.col("state_bytes_per_layer") * factor).cast(pl.Int64),
        tower_parameter_count=pl.lit(0, pl.Int64),
    )  # fmt: skip
    sizes = ["kv_bytes_per_sequence", "kv_bytes_per_token", "window_bytes_per_token", "bounded_kv_bytes",
             "state_kv_bytes", "sequence_bytes"]  # fmt: skip
    answers = ["batch_max", "context_max_tokens"]
    made = pipeline.estimate(frame, [*sizes, *answers, "weight_bytes"])
    one, other = made.select(sizes).rows()
    assert other == tuple(k * each for each in one)
    assert made.select(answers).n_unique() == 1
    light, heavy = made["weight_bytes"]
    assert light * k - k < heavy <= light * k


@CHEAP
@given(st.integers(10**9, 10**12), st.integers(0, 10**12), st.integers(0, 10**10), st.integers(0, 10**10))
def test_the_pool_scales_with_the_device_and_all_charged_to_it(
    device: int, weights: int, activations: int, overhead: int
) -> None:
    """Twice every byte is twice the pool, but for the byte that rounding down takes; and it never holds more."""
    ratios: dict[str, float] = {"pool_device_ratio": 0.9, "pool_weight_ratio": 1.0, "pool_runtime_ratio": 1.0}
    sizes = {
        "device_memory_bytes": device,
        "weight_bytes": weights,
        "activation_bytes": activations,
        "overhead_bytes": overhead,
    }
    frame = pl.DataFrame({name: [size, 2 * size] for name, size in sizes.items()}).with_columns(**ratios)
    one, two = pipeline.estimate(frame, ["kv_pool_bytes"])["kv_pool_bytes"]
    assert 2 * one <= two <= 2 * one + 1
    assert one + weights + activations + overhead <= device


@CHEAP
@given(st.integers(1, 1024).flatmap(lambda e: st.tuples(st.just(e), st.integers(1, e))), st.integers(1, 10**6))
def test_distinct_experts_lie_between_those_of_one_token_and_all(shape: tuple[int, int], tokens: int) -> None:
    """A step reads at least what one token asks for and at most what there is; outside, traffic is nonsense."""
    experts, asked = shape
    plans = {"experts": experts, "experts_per_token": asked}
    first, found, more = (at(distinct_experts, **plans, step_tokens=float(n)) for n in (1, tokens, tokens + 1))
    assert first == pytest.approx(asked, rel=1e-9)
    assert asked * (1 - 1e-9) <= found <= more <= experts
