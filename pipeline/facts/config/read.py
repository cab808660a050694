"""Reading a model's config.json: nesting, other names of a key, wrong values, and keys that nobody read."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from pipeline.core.errors import CatalogError

Switch: TypeAlias = bool | str
"""Fixed, or the name of a key."""

MOST = 10**9
"""Larger than any size in a config; a larger number is a slip or a joke."""

KEYS = tomllib.loads((Path(__file__).parent / "keys.toml").read_text(encoding="utf-8"))
"""What configs call things; the file says of each list what it is."""
ALIASES: dict[str, list[str]] = KEYS["aliases"]
SUSPECT = re.compile(r"layer|head|dim|size|expert|vocab|window|rank|bias|tie|norm|gate|width|inner|shared|block|conv")
INERT = re.compile("|".join(KEYS["inert"]))


class Reader:
    """The language model's part of one config, read by meaning and with every value checked."""

    def __init__(self, config: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        """Flatten what is there; the class's defaults stand behind it."""
        self.top, self.text = config, text_config(config)
        self.own = flat_keys(self.text)
        self.defaults = defaults
        self.read: set[str] = set()
        self.warnings: list[str] = []

    def warn(self, what: str) -> None:
        """Note what was assumed."""
        self.warnings.append(what)

    def find(self, name: str) -> tuple[str, Any]:
        """The key that carries a meaning and its value; an explicit null silences the class's default."""
        keys = ALIASES.get(name, [name])
        there = [key for key in keys if key in self.own]
        self.read.update(there)
        for key in there:
            if self.own[key] is not None:
                return key, self.own[key]
        return ("", None) if there else self.default(keys)

    def default(self, keys: Sequence[str]) -> tuple[str, Any]:
        """What the model class takes where a config says nothing; a size taken so is told."""
        for key in keys:
            if self.defaults.get(key) is not None:
                value = self.defaults[key]
                if type(value) is int and value > 1 and not {*KEYS["quiet"]} & {*keys}:
                    self.warn(f"{key} is not given: the class default {value} was taken")
                return key, value
        return "", None

    def number(self, name: str, *, least: int = 1) -> int | None:
        """A count, or None where the config does not say."""
        key, value = self.find(name)
        return None if value is None else whole_number(key, value, least)

    def need(self, name: str) -> int:
        """A count that no model can do without."""
        value = self.number(name)
        if value is None:
            raise missing(name)
        return value

    def ratio(self, name: str) -> float | None:
        """A positive number that need not be whole."""
        key, value = self.find(name)
        if value is None:
            return None
        if type(value) not in {int, float} or not 0 < value <= MOST:
            raise wrong(key, value, "a positive number")
        return float(value)

    def flag(self, name: str) -> bool:
        """Whether something is switched on; silence is no."""
        key, value = self.find(name)
        if value is not None and value not in (0, 1):
            raise wrong(key, value, "true or false")
        return bool(value)

    def says(self, switch: Switch) -> bool:
        """A family's switch: fixed, or the name of a key, `!` before a key that switches off."""
        if isinstance(switch, bool):
            return switch
        return not self.flag(switch[1:]) if switch.startswith("!") else self.flag(switch)

    def has(self, name: str) -> bool:
        """Whether the config itself, or its class, gives a value."""
        return self.find(name)[1] is not None

    def items(self, name: str) -> list[Any] | None:
        """A list, or None where the config does not say."""
        key, value = self.find(name)
        if value is not None and not isinstance(value, list):
            raise wrong(key, value, "a list")
        return value

    def positions(self, name: str) -> frozenset[int] | None:
        """A set of layer numbers."""
        values = self.items(name)
        return None if values is None else frozenset(whole_number(name, each, 0) for each in values)

    def text_value(self, name: str) -> str:
        """A text; empty where the config does not say."""
        key, value = self.find(name)
        if value is not None and not isinstance(value, str):
            raise wrong(key, value, "text")
        return value or ""

    def tell_default(self, name: str) -> None:
        """Say that a quiet default counts, where the config is silent."""
        if not any(key in self.own for key in ALIASES[name]):
            self.warn(f"{ALIASES[name][0]} is not given: the class default was taken")

    def unread(self) -> list[str]:
        """Keys that look as if they changed a count, switched on, that no rule asked for."""
        left = (key for key in self.own.keys() - self.read if SUSPECT.search(key) and not INERT.search(key))
        return sorted(key for key in left if matters(self.own[key]))


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's own table: nested in multimodal configs, else the whole.

    >>> text_config({"vision_config": {}, "text_config": {"hidden_size": 8}})
    {'hidden_size': 8}
    """
    for name in KEYS["nests"]:
        inner = config.get(name)
        if isinstance(inner, Mapping) and inner:
            return text_config(inner) if any(each in inner for each in KEYS["nests"]) else inner
    return config


def flat_keys(text: Mapping[str, Any]) -> dict[str, Any]:
    """A table with its known sections spread out under dotted names.

    >>> flat_keys({"attn_config": {"kv_n_heads": 8}})
    {'attn_config': {'kv_n_heads': 8}, 'attn_config.kv_n_heads': 8}
    """
    spread = {str(key): value for key, value in text.items()}
    for section in KEYS["sections"]:
        if isinstance(spread.get(section), Mapping):
            spread |= {f"{section}.{key}": value for key, value in spread[section].items()}
    return spread


def whole_number(key: str, value: object, least: int = 1) -> int:
    """A value as a count within bounds; the error names key and value.

    >>> whole_number("n_layer", 12.0)
    12
    """
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if type(number) is not int or not least <= number <= MOST:
        raise wrong(key, value, f"a whole number from {least} to {MOST}")
    return number


def missing(name: str) -> CatalogError:
    """The error for a count that no model can do without.

    >>> str(missing("layers"))
    'config: num_hidden_layers is missing'
    """
    return CatalogError([f"config: {ALIASES.get(name, [name])[0]} is missing"])


def wrong(key: str, value: object, rule: str) -> CatalogError:
    """The error for a value that cannot be.

    >>> str(wrong("n_layer", "many", "a whole number"))
    "config: n_layer = 'many' is not a whole number"
    """
    return CatalogError([f"config: {key} = {repr(value)[:80]} is not {rule}"])


def matters(value: object) -> bool:
    """Whether a value could add a parameter: a number, a switch or a list, not off."""
    return isinstance(value, bool | int | list) and bool(value)
