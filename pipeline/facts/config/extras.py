"""Tensors that few architectures have: per-layer inputs, alternating updates, hyper-connections, shared blocks."""

from __future__ import annotations

from pipeline.facts.config.layers import Stack
from pipeline.facts.config.read import Reader


def extra_parameters(reader: Reader, stack: Stack) -> int:
    """All of them together; each is there where its keys are."""
    return per_layer_inputs(reader, stack) + alternating_updates(reader, stack) + hyper_connections(reader, stack)


def per_layer_inputs(reader: Reader, stack: Stack) -> int:
    """A small table and a gate for each layer. Source: Gemma 3n, hidden_size_per_layer_input."""
    width = reader.number("hidden_size_per_layer_input", least=0) or 0
    if not width:
        return 0
    rows = reader.number("vocab_size_per_layer_input", least=0) or stack.vocab
    count, hidden = len(stack.layers), stack.hidden
    return (rows + hidden) * count * width + width + count * (2 * hidden * width + hidden)


def alternating_updates(reader: Reader, stack: Stack) -> int:
    """Several copies of the residual, and a low-rank path. Source: Gemma 3n, altup and laurel."""
    copies = reader.number("altup_num_inputs", least=0) or 0
    rank = reader.number("laurel_rank", least=0) or 0
    count, hidden = len(stack.layers), stack.hidden
    updates = hidden + copies**2 + copies**3 + hidden * copies + hidden
    projections = 2 * (copies - 1) * hidden * hidden
    low_rank = 2 * hidden * rank + hidden
    return (count * updates + projections if copies else 0) + (count * low_rank if rank else 0)


def hyper_connections(reader: Reader, stack: Stack) -> int:
    """Several residual streams, mixed before and after each part. Source: DeepSeek-V4, hc_mult; arXiv:2512.24880."""
    streams = reader.number("hc_mult", least=0) or 0
    if not streams:
        return 0
    mixes = (2 + streams) * streams
    per_part = mixes * streams * stack.hidden + mixes + 3
    return 2 * len(stack.layers) * per_part + streams * streams * stack.hidden + streams + 1


def shared_block_parameters(reader: Reader, stack: Stack) -> int:
    """Attention blocks that many layers share, with a projection and adapters of each layer's own. Source: Zamba 2."""
    blocks = reader.number("num_mem_blocks") or 1
    users = [layer for layer in stack.layers if layer.attention != "none"]
    if not users:
        return 0
    heads, width, hidden = users[0].heads, users[0].block.width, stack.hidden
    attention = 2 * hidden * (heads.query_width + heads.cached) + heads.heads * heads.value_dim * hidden
    block = attention + 3 * hidden * width + 2 * hidden + hidden
    rank = reader.number("adapter_rank", least=0) or 0
    adapters = rank * (hidden + 2 * width)
    if reader.flag("use_shared_attention_adapter"):
        adapters += 3 * rank * 4 * hidden
    return min(blocks, len(users)) * block + len(users) * (hidden * hidden + adapters)
