"""What a device reaches: products by number format and size, memory, launches; measured, not read off a sheet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Protocol

import polars as pl

from pipeline.core.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.evidence.measure.machine import Machine

Tell = Callable[[str], None]
FORMS = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
SIZES = {"cpu": (256, 512, 1024, 2048), "cuda": (1024, 2048, 4096, 8192)}
COPIED_BYTES = {"cpu": 2**28, "cuda": 2**30}
READ_ELEMENTS = {"cpu": 2**13, "cuda": 2**14}
"""Width and depth of a matrix that no cache holds."""
ENOUGH_S = 0.05
"""Least time of one timing: shorter ones are repeated inside it."""
REPEATS = 5
DECODED, PROMPTED = (4, 16, 512, 64), (1, 16, 512, 64)
"""Sequences, heads, keys and head width of the attention that is timed."""
CACHE_PASSES = 5
"""Times that a decode step moves its cache where it appends by copying.

Source: estimators/step/serving.py, expanding_s.
"""


class Ops(Protocol):
    """The work that is timed; each answers the seconds of one time."""

    def product_s(self, form: str, tokens: int, width: int, depth: int) -> float:
        """One product of `tokens` rows with a matrix."""
        ...

    def copy_s(self, size_bytes: int) -> float:
        """One copy of so many bytes: read once, written once."""
        ...

    def launch_s(self) -> float:
        """One operation on a single number."""
        ...

    def decode_s(self, form: str, sequences: int, heads: int, keys: int, width: int) -> float:
        """One token a sequence: its key and value appended by copying the cache, and attention to all of it."""
        ...

    def prompt_s(self, form: str, sequences: int, heads: int, keys: int, width: int) -> float:
        """Attention of all tokens to those before them."""
        ...


@dataclass
class Probe:
    """What was reached."""

    flop_per_s: dict[str, float] = field(default_factory=dict)
    """By number format, the best of all sizes."""
    copy_bytes_per_s: float = 0.0
    read_bytes_per_s: float = 0.0
    launch_s: float = 0.0
    decode_bytes_per_s: float = 0.0
    """Rate at which decode attention moves the cache."""
    prompt_flop_per_s: float = 0.0
    """Rate of attention over a prompt."""
    rows: list[dict[str, object]] = field(default_factory=list)

    def keep(self, what: str, size: str, value: float, unit: str) -> float:
        """Note a figure for the table."""
        self.rows.append({"measured": what, "size": size, "value": value, "unit": unit})
        return value

    def table(self) -> pl.DataFrame:
        """All figures."""
        types = {"measured": pl.String, "size": pl.String, "value": pl.Float64, "unit": pl.String}
        return pl.DataFrame(self.rows, schema=types)


def faster_half_format(probe: Probe) -> str:
    """The faster 16-bit format.

    Raises:
        PipelineError: the device has none.
    """
    known = [form for form in ("bf16", "fp16") if form in probe.flop_per_s]
    if not known:
        raise PipelineError("this device multiplies no 16-bit format: there is nothing that estimates could use")
    return max(known, key=lambda form: probe.flop_per_s[form])


def probe_device(ops: Ops, kind: str, tell: Tell) -> Probe:
    """Measure everything; a format that the device does not know is left out.

    Args:
        ops: what does and times the work.
        kind: "cpu" or "cuda": how large the work is.
        tell: takes lines of progress.

    Raises:
        PipelineError: no 16-bit product can be measured.
    """
    found = Probe()
    for form in FORMS:
        tell(f"products in {form}")
        rates = list(product_rates(ops, kind, form, found))
        if rates:
            found.flop_per_s[form] = max(rates)
    form = faster_half_format(found)
    tell("memory, launches, attention")
    size, side = COPIED_BYTES[kind], READ_ELEMENTS[kind]
    copied = 2 * size / ops.copy_s(size)
    found.copy_bytes_per_s = found.keep("copying memory", f"{size:,} bytes", copied, "B/s")
    read = 2 * side * side / ops.product_s(form, 1, side, side)
    found.read_bytes_per_s = found.keep(f"reading a matrix in {form}", f"1 x {side} x {side}", read, "B/s")
    found.launch_s = found.keep("launching an operation", "1", ops.launch_s(), "s")
    measure_attention(ops, form, found)
    return found


def product_rates(ops: Ops, kind: str, form: str, found: Probe) -> Iterator[float]:
    """Rates of square products of all sizes."""
    for side in SIZES[kind]:
        try:
            rate = 2 * side**3 / ops.product_s(form, side, side, side)
        except (RuntimeError, TypeError, NotImplementedError):  # how PyTorch says that a device lacks a format
            return
        yield found.keep(f"product in {form}", f"{side} x {side} x {side}", rate, "FLOP/s")


def measure_attention(ops: Ops, form: str, found: Probe) -> None:
    """Rates of attention, one token a sequence and over a prompt."""
    sequences, heads, keys, width = DECODED
    moved = CACHE_PASSES * 2 * 2 * sequences * heads * keys * width
    rate = moved / ops.decode_s(form, sequences, heads, keys, width)
    found.decode_bytes_per_s = found.keep("decode attention", f"{sequences} x {heads} x {keys} x {width}", rate, "B/s")
    sequences, heads, keys, width = PROMPTED
    work = 2 * 2 * sequences * heads * (keys * keys / 2) * width
    rate = work / ops.prompt_s(form, sequences, heads, keys, width)
    size = f"{sequences} x {heads} x {keys} x {keys} x {width}"
    found.prompt_flop_per_s = found.keep("prompt attention", size, rate, "FLOP/s")


class TorchOps:
    """The work by PyTorch."""

    def __init__(self, machine: Machine) -> None:
        """Take the device."""
        self.machine, self.torch = machine, machine.torch

    def tensor(self, form: str, *shape: int) -> object:
        """Random numbers in some format."""
        dtype = getattr(self.torch, FORMS[form])
        return self.torch.randn(*shape, device=self.machine.device).to(dtype)

    def seconds(self, work: Callable[[], object]) -> float:
        """Median time of one piece of work, warmed up, often enough inside each timing."""
        with self.torch.inference_mode():
            self.span(work, 1)
            count = max(1, int(ENOUGH_S / max(self.span(work, 1), 1e-7)))
            return float(median(self.span(work, count) / count for _ in range(REPEATS)))

    def span(self, work: Callable[[], object], count: int) -> float:
        """Time of some pieces of work, one after the other."""
        begun = self.machine.now()
        for _ in range(count):
            work()
        return self.machine.now() - begun

    def product_s(self, form: str, tokens: int, width: int, depth: int) -> float:
        """One product of `tokens` rows with a matrix, as a layer does it."""
        rows, matrix = self.tensor(form, tokens, depth), self.tensor(form, width, depth)
        linear = self.torch.nn.functional.linear
        return self.seconds(lambda: linear(rows, matrix))

    def copy_s(self, size_bytes: int) -> float:
        """One copy between two places of the device's memory."""
        source = self.torch.ones(size_bytes // 4, device=self.machine.device)
        target = self.torch.empty_like(source)
        return self.seconds(lambda: target.copy_(source))

    def launch_s(self) -> float:
        """One addition to a single number, called from Python."""
        number = self.torch.zeros(1, device=self.machine.device)
        return self.seconds(lambda: number.add_(1))

    def decode_s(self, form: str, sequences: int, heads: int, keys: int, width: int) -> float:
        """What transformers does for one token of each sequence."""
        attend, append = self.torch.nn.functional.scaled_dot_product_attention, self.torch.cat
        asked, key, value = (self.tensor(form, sequences, heads, 1, width) for _ in range(3))
        keys_kept, values_kept = (self.tensor(form, sequences, heads, keys, width) for _ in range(2))
        return self.seconds(lambda: attend(asked, append([keys_kept, key], 2), append([values_kept, value], 2)))

    def prompt_s(self, form: str, sequences: int, heads: int, keys: int, width: int) -> float:
        """Attention over a prompt, as transformers calls it."""
        attend = self.torch.nn.functional.scaled_dot_product_attention
        asked, kept, values = (self.tensor(form, sequences, heads, keys, width) for _ in range(3))
        return self.seconds(lambda: attend(asked, kept, values, is_causal=True))
