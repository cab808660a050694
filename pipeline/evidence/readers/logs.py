"""A start-up log of vLLM, SGLang or llama.cpp becomes measured rows: what was started, and where its memory went."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from operator import mul
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.core.errors import PipelineError
from pipeline.evidence.readers.log_shapes import (
    COLOUR,
    COLUMNS,
    ENDS,
    FLOATS,
    FORMATS,
    IMPLIED,
    KEYS,
    OTHER_RANK,
    PAIR,
    PREFIX,
    QUANTITIES,
    RESOLVED,
    SHAPES,
    TEXTS,
    UNIT,
    UNSAID,
    Shape,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class StartUp:
    """One start of an engine, as its log tells it: only what stands there."""

    engine: str
    settings: dict[str, Any]
    numbers: dict[str, float]
    lines: dict[str, str]


@dataclass
class Facts:
    """Every fact by where it came from; the least source counts: rank 0 before others, then the upper shape."""

    engine: str = ""
    known: dict[str, dict[tuple[bool, int], tuple[Any, str]]] = field(default_factory=dict)

    def read(self, line: str) -> bool:
        """Keep what a line says; false where the start is over."""
        prefix, message = split_prefix(line)
        other = bool(OTHER_RANK.search(prefix))
        if any(end in message for end in ENDS):
            self.known.pop("oom", None)  # what ran out of memory was tried again
            return False
        if RESOLVED in message and not other and self.known.keys() & set(QUANTITIES):
            return False  # the next start
        for place, each in enumerate(SHAPES):
            if each.marker in message and each.engine in ("", self.engine or each.engine):
                self.keep(each, (other, place), message)
        return True

    def keep(self, shape: Shape, source: tuple[bool, int], message: str) -> None:
        """Keep the first value of each name in lines of one shape, or the sum where several lines make a whole."""
        for name, text in shape_values(shape, message):
            self.engine = self.engine or shape.engine
            value = text if name in TEXTS else logged_number(text, UNIT[shape.engine] if name.endswith("_bytes") else 1)
            values = self.known.setdefault(name, {})
            if value is not None and shape.adds and source in values:
                values[source] = (values[source][0] + value, values[source][1])
            elif value is not None:
                values.setdefault(source, (value, message))

    def best(self) -> dict[str, tuple[Any, str]]:
        """The value of every name, and the line in which it stands."""
        return {name: values[min(values)] for name, values in self.known.items() if values}


def split_prefix(line: str) -> tuple[str, str]:
    """A line without colours, as prefix and message.

    >>> split_prefix("(Worker_TP1 pid=7) INFO 11-05 12:00:00 [gpu_worker.py:298] Model loading took 5.38 GiB")[1]
    'Model loading took 5.38 GiB'
    """
    plain = COLOUR.sub("", line).strip()
    prefix = PREFIX.match(plain)
    end = prefix.end() if prefix else 0
    return plain[:end], plain[end:]


def shape_values(shape: Shape, message: str) -> Iterator[tuple[str, str]]:
    """The names and words that a message of some shape holds."""
    if shape.text:
        found = shape.text.search(message)
        yield from ((name, text) for name, text in (found.groupdict() if found else {}).items() if text is not None)
        return
    for key, *words in PAIR.findall(message):
        text = "".join(words).removeprefix("torch.")
        if text not in UNSAID or (key == "quantization" and shape.marker == RESOLVED):
            yield KEYS[key], text


def logged_number(text: str, unit: float) -> float | bool | None:
    """A number as engines print it, in base units; a truth stays one, and no text at all means one.

    >>> [logged_number(text, 2**30) for text in ("1.5", "True", "", "32k")], logged_number("78,384", 1)
    ([1610612736.0, True, 1073741824.0, None], 78384.0)
    """
    if text in {"True", "False"}:
        return text == "True"
    try:
        return float(text.replace(",", "") or 1) * unit
    except ValueError:
        return None


def weights_of(said: dict[str, Any]) -> str | None:
    """The format of the weights, where the engine's words and the model's name tell it.

    >>> weights_of({"quantization": "None", "dtype": "bfloat16"}), weights_of({"dtype": "float16"})
    ('bf16', None)
    >>> weights_of({"quantization": "compressed-tensors", "model": "a/Llama-3.1-8B-Instruct-quantized.w8a8"})
    'int8-w8a8'
    >>> weights_of({"file_type": "Q4_K - Medium"})
    'gguf-q4_k_m'
    """
    if "file_type" in said:
        name, _, size = said["file_type"].casefold().strip().partition(" - ")
        return f"gguf-{name}{f'_{size[0]}' if size in {'small', 'medium', 'large'} else ''}"
    word, model = str(said.get("quantization")), str(said.get("model")).casefold()
    if word == "None" and "quantization" in said:
        return FLOATS.get(said.get("dtype", ""))
    return next((ours for how, name, ours in FORMATS if re.fullmatch(how, word) and re.search(name, model)), None)


def kv_of(word: str | None) -> str | None:
    """The format of the KV cache in our words.

    >>> kv_of("fp8_e4m3"), kv_of("f16"), kv_of(None)
    ('fp8', 'fp16', None)
    """
    return "fp8" if word and word.startswith("fp8") else FLOATS.get(word or "")


def start_settings(said: dict[str, Any], engine: str) -> dict[str, Any]:
    """What a start was asked for, under our names; what nobody said is missing."""
    version = said.get("engine_version") or (f"b{said['build']}" if "build" in said else None)
    formats = {"weights": weights_of(said), "kv": kv_of(said.get("kv_cache_dtype"))}
    every = {**{name: said.get(name) for name in COLUMNS}, "engine": engine, "engine_version": version, **formats}
    return {name: value for name, value in every.items() if value is not None}


def implied_quantities(best: dict[str, tuple[Any, str]]) -> dict[str, tuple[float, str]]:
    """Quantities that a log only implies: a sum, a difference or a product of what it states."""
    found = {
        name: (rule(best[one][0], best[other][0]), best[one][1])
        for name, one, rule, other in IMPLIED
        if one in best and other in best and (name not in best or rule is mul)
    }
    if "peak_bytes" in best and "activation_bytes" not in best:
        graphs = best.get("graph_estimate_bytes", (0.0,))[0] if "graph_estimate_counts" in best else 0.0
        found["activation_bytes"] = (best["peak_bytes"][0] - graphs, best["peak_bytes"][1])
    return found


def read_log(path: Path) -> StartUp:
    """The first start in a log of vLLM, SGLang or llama.cpp, per device, of rank 0 where several ranks speak.

    Raises:
        PipelineError: the file cannot be read, or says nothing that such a log says.
    """
    facts = Facts()
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if not facts.read(line):
                    break
    except OSError as error:
        raise PipelineError(f"{path}: cannot be read: {error.strerror or error}") from error
    best = facts.best()
    best |= implied_quantities(best)
    numbers = {name: best[name] for name in QUANTITIES if name in best}
    if not facts.engine or not (numbers or "model" in best):
        why = "no line says what one of them says"
        raise PipelineError(f"{path}: is no start-up log of vllm, sglang or llama.cpp: {why}")
    settings = start_settings({name: value for name, (value, _) in best.items()}, facts.engine)
    values = {name: value for name, (value, _) in numbers.items()}
    return StartUp(facts.engine, settings, values, {name: text for name, (_, text) in numbers.items()})


def as_rows(start: StartUp) -> pl.DataFrame:
    """Tidy rows, one measured number each, as an import reads them."""
    rows = [{**start.settings, "quantity": name, "value": value} for name, value in start.numbers.items()]
    return pl.DataFrame(rows, schema={**COLUMNS, "quantity": pl.String, "value": pl.Float64})
