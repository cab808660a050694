"""Names as people and logs write them become ids of the catalogs, or a reason why not."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from pipeline.core.errors import UnknownNameError
from pipeline.facts.versions import MARK, version_of, year_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipeline.facts.catalog import Catalogs

PARTS = re.compile(r"[^a-z0-9.]+|(?<=[a-z])\.|\.(?=[a-z])")
"""What parts the words of a model's name; a dot stays inside a number."""
SIZE = re.compile(r"(\d+(?:\.\d+)?)[bm]")
NOISE = re.compile(
    r"instruct|it|chat|hf|base|pt|sft|dpo|meta|preview|latest|"  # how it was trained and released
    r"fp8|fp4|nvfp4|mxfp4|bf16|fp16|float16|bfloat16|int4|int8|[48]bit|bnb|nf4|awq|gptq|autoround|gguf|marlin|"
    r"quantized|quantised|quant|dynamic|static|block|channel|tensor|sym|asym|w[48]a(?:4|8|16)|w8a16|g\d+|"
    r"fp8kv|kv|kvcache|dq|mixed|modelopt|onnx|mlx|unsloth|neuralmagic|redhatai|nvidia|torchao|eagle\d*|"
    r"\d{4}|\d{6}"  # dates of a release
)
"""Words that leave the shape of a model as it is."""


def shape_words(name: str) -> tuple[str, ...]:
    """The words of a model's name that say which shape it has.

    >>> shape_words("/models/RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w8a8")
    ('llama', '3.1', '8b')
    >>> shape_words("llama-3.1-8b"), shape_words("models--Qwen--Qwen3-14B-FP8/snapshots/0123abcd")
    (('llama', '3.1', '8b'), ('qwen3', '14b'))
    """
    tail = re.sub(r"/snapshots/.*", "", name.strip().rstrip("/").casefold())
    last = re.split(r"[/\\]|--", tail)[-1]
    return tuple(word for word in PARTS.split(last) if word and not NOISE.fullmatch(word))


def shapes(catalogs: Catalogs) -> dict[tuple[str, ...], str]:
    """Model ids by the words of every name they go by; words that mean two models mean none."""
    found: dict[tuple[str, ...], set[str]] = {}
    for name, model in catalogs.names("model").ids.items():
        found.setdefault(shape_words(name), set()).add(model)
    return {key: next(iter(ids)) for key, ids in found.items() if len(ids) == 1 and key}


def ids(kind: str, names: Iterable[str], catalogs: Catalogs) -> dict[str, str]:
    """The ids that some names of one catalog mean; a model's also by the words of the base model inside the name."""
    known = catalogs.names(kind)
    if kind == "model":
        by_words = shapes(catalogs)
        meant = {name: known.ids.get(name.casefold()) or by_words.get(shape_words(name)) for name in names}
        return {name: model for name, model in meant.items() if model}
    found = {}
    for name in names:
        with suppress(UnknownNameError):
            found[name] = known.resolve(name)
    return found


def engines(asked: Iterable[tuple[str, str | None]], catalogs: Catalogs) -> Mapping[tuple[str, str | None], str]:
    """The block of an engine in force at a version, or in a year; the newest where neither is stated."""
    known = catalogs.names("engine")
    found = {}
    for engine, version in asked:
        try:
            newest, stated = known.resolve(engine), version_of(version)
        except UnknownNameError:
            continue
        block = known.resolve(f"{newest}{MARK}{stated}") if stated else engine_in_year(newest, version, catalogs)
        found[engine, version] = block
    return found


def engine_in_year(engine: str, version: str | None, catalogs: Catalogs) -> str:
    """The block of an engine that was in force in the middle of a year that a text names; else the newest."""
    year = year_of(version)
    blocks = catalogs.frames["engine"].filter(
        (pl.col("engine").str.split(MARK).list.first() == engine) & pl.col("release_date").is_not_null()
    )
    if year is None or blocks.is_empty():
        return engine
    in_force = blocks.sort("release_date").filter(pl.col("release_date") <= date(year, 7, 1))
    return str((in_force.tail(1) if in_force.height else blocks.sort("release_date").head(1))["engine"].item())
