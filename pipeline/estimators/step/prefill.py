"""Prefill: reading a prompt, alone on an idle replica or joining a batch that decodes."""

import polars as pl
from polars import Expr

from pipeline.core.quantity import Book, again, quantity, summed
from pipeline.estimators.attention import PROJECTIONS, kind_instance
from pipeline.estimators.step.decode import tokens_of_each


@quantity
def read_prompt_tokens(prompt_tokens: Expr, cached_prompt_ratio: Expr) -> Expr:
    """Tokens of a prompt that must be read: all but those whose cache is found from before, and one at least.

    Source: SGLang, arXiv:2312.07104, RadixAttention; catalogs/workloads.

    >>> from pipeline.core.quantity import at
    >>> at(read_prompt_tokens, prompt_tokens=1000, cached_prompt_ratio=0.25)
    750
    """
    unread = (prompt_tokens * (1.0 - cached_prompt_ratio)).round(6)  # 1000 x 0.3 is not a whole number to a computer
    return unread.ceil().clip(1.0).cast(pl.Int64)


@quantity
def joining_prompts(
    read_prompt_tokens: Expr, chunk_tokens: Expr, asked_batched_tokens_max: Expr, microbatch: Expr
) -> Expr:
    """Prompts that join one decode step together, where many wait: as many as its tokens allow.

    Source: step-time study, section 1, j = clip(chunk / s, 1, b).

    >>> from pipeline.core.quantity import at
    >>> chunks = {"read_prompt_tokens": 2048, "chunk_tokens": 8192, "asked_batched_tokens_max": None}
    >>> [at(joining_prompts, microbatch=batch, **chunks) for batch in (2.0, 64.0)]
    [2.0, 4.0]
    """
    tokens = pl.coalesce(asked_batched_tokens_max, chunk_tokens)
    return pl.min_horizontal((tokens / read_prompt_tokens).clip(1.0), microbatch)


def score_s(
    heads: Expr,
    tp: Expr,
    head_dim: Expr,
    value_head_dim: Expr,
    prompt_tokens: Expr,
    scored_keys: Expr,
    reached_half_flop_per_s: Expr,
    attention_flop_ratio: Expr,
    attention_ramp_tokens: Expr,
) -> Expr:
    """Prefill attention of one {kind} layer for one prompt: scores and values of every pair seen.

    2 (H / tp) (d_qk + d_v) s x keys, at a share e s / (s + ramp) of the 16-bit peak.

    Source: step-time study, section 1, prefill attention.
    """
    work = 2.0 * (heads / tp) * (head_dim + value_head_dim) * scored_keys * (prompt_tokens + attention_ramp_tokens)
    return work / (attention_flop_ratio * reached_half_flop_per_s)


@quantity
def read_score_s(prompt_score_s: Expr, cached_prompt_ratio: Expr) -> Expr:
    """Prefill attention of the tokens that must be read: they still see the whole prompt.

    Source: pairs of a causal mask: s^2 / 2 less (c s)^2 / 2.
    """
    return prompt_score_s * (1.0 - cached_prompt_ratio * cached_prompt_ratio)


@quantity
def prompt_s(prompt_kernels_s: Expr, read_score_s: Expr) -> Expr:
    """What the devices do to read one prompt on an idle replica.

    Definition.
    """
    return prompt_kernels_s + read_score_s


@quantity
def joining_prompt_s(
    mixed_kernels_s: Expr, decode_kernels_s: Expr, joining_prompts: Expr, read_score_s: Expr, pp: Expr
) -> Expr:
    """Device time that one more prompt adds to a decoding batch: its marginal cost.

    Pipeline stages work on different prompts at once.

    Source: step-time study, section 1, t_p = (step(b decode + j prompts) - step(b)) / j.
    """
    return ((mixed_kernels_s - decode_kernels_s) / joining_prompts + read_score_s) / pp


def with_prefill(book: Book, kinds: list[str]) -> Book:
    """The book with a prompt's step in it, alone and joining a batch."""
    score = {f"{kind}_score_s": f"{kind}_layers" for kind in kinds}
    widths = {kind: "sliding_" if PROJECTIONS[kind] == "sliding_gqa" else "" for kind in kinds}
    scores = [
        kind_instance(score_s, kind, "scored_keys", head_dim=f"{own}head_dim", value_head_dim=f"{own}value_head_dim")
        for kind, own in widths.items()
    ]
    made = [*scores, summed("prompt_score_s", score, "Prefill attention of all layers for one prompt.")]
    book = {**book, **{q.name: q for q in made}}
    book = again(book, "prompt", "kernels_s", step_tokens=whole_prompt, step_sequences=one_sequence)
    return again(book, "mixed", "kernels_s", step_tokens=mixed_tokens, step_sequences=tokens_of_each)


def whole_prompt(read_prompt_tokens: Expr) -> Expr:
    """A prompt's step has all of its tokens that must be read.

    Definition.
    """
    return read_prompt_tokens


def one_sequence(prompt_tokens: Expr) -> Expr:
    """A single prompt passes the output table once.

    Definition.
    """
    return prompt_tokens.clip(1, 1)


def mixed_tokens(microbatch: Expr, verified_tokens: Expr, joining_prompts: Expr, read_prompt_tokens: Expr) -> Expr:
    """Tokens of a step in which prompts join a decoding batch.

    Definition.
    """
    return microbatch * verified_tokens + joining_prompts * read_prompt_tokens
