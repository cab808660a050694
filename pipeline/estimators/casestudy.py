"""The article's closed forms, exactly as printed: the teaching form, and the baseline to beat.

Source of all: J. Chen, "Estimate LLM inference speed and VRAM usage quickly: with a Llama-7B case
study". 16-bit weights and KV cache, one device, no overhead; h is the hidden width (MHA), s the
prompt for time and prompt + output for memory.
"""

from polars import Expr

from pipeline.core.quantity import quantity


@quantity
def simple_sequence_bytes(hidden: Expr, layer_count: Expr, context_tokens: Expr) -> Expr:
    """KV cache of one sequence by the case study: 2 (K and V) x h x L x s x 2 bytes.

    Source: J. Chen, case study, VRAM = 2 N + 2 (2 h L b s).

    >>> from pipeline.core.quantity import at
    >>> at(simple_sequence_bytes, hidden=4096, layer_count=32, context_tokens=764) / 1e6
    400.556032
    """
    return 4 * hidden * layer_count * context_tokens


@quantity
def simple_vram_bytes(parameter_count: Expr, simple_sequence_bytes: Expr, batch: Expr) -> Expr:
    """Memory by the case study: 16-bit weights and KV cache, nothing else.

    Source: J. Chen, case study, VRAM = 2 N + 2 (2 h L b s).
    """
    return 2 * parameter_count + batch * simple_sequence_bytes


@quantity
def simple_weight_read_s(parameter_count: Expr, memory_bytes_per_s: Expr) -> Expr:
    """Seconds to read all 16-bit weights once: 2 N / W.

    Source: J. Chen, case study.
    """
    return 2.0 * parameter_count / memory_bytes_per_s


@quantity
def simple_token_s(parameter_count: Expr, half_peak_flop_per_s: Expr) -> Expr:
    """Seconds of arithmetic per token at peak: 2 N / F.

    Source: J. Chen, case study.
    """
    return 2.0 * parameter_count / half_peak_flop_per_s


@quantity
def simple_ttft_s(simple_token_s: Expr, simple_weight_read_s: Expr, batch: Expr, prompt_tokens: Expr) -> Expr:
    """Time to first token by the case study: 2 N b s / F + 2 N / W.

    Source: J. Chen, case study, TTFT.

    >>> from pipeline.core.quantity import at
    >>> at(simple_ttft_s, simple_token_s=2.0**-14, simple_weight_read_s=2.0**-7, batch=1, prompt_tokens=512)
    0.0390625
    """
    return batch * prompt_tokens * simple_token_s + simple_weight_read_s


@quantity
def simple_tpot_s(simple_token_s: Expr, simple_weight_read_s: Expr, batch: Expr) -> Expr:
    """Time per output token by the case study: 2 N b / F + 2 N / W.

    Source: J. Chen, case study, TPOT.
    """
    return batch * simple_token_s + simple_weight_read_s


@quantity
def simple_batch_max(parameter_count: Expr, simple_sequence_bytes: Expr, device_memory_bytes: Expr) -> Expr:
    """Largest batch by the case study's VRAM formula in the device's memory.

    Source: J. Chen, case study, VRAM solved for b.

    >>> from pipeline.core.quantity import at
    >>> sizes = {"parameter_count": 7_000_000_000, "simple_sequence_bytes": 400_556_032}
    >>> at(simple_batch_max, **sizes, device_memory_bytes=80_000_000_000)
    164
    """
    return ((device_memory_bytes - 2 * parameter_count) // simple_sequence_bytes).clip(0)
