"""Sizes of one part of a config: aliases, defaults of its class, values that cannot be."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.core.errors import CatalogError

LARGEST = 2**31 - 1
"""No size of a layer is larger."""

ALIASES: dict[str, tuple[str, ...]] = {
    # name here: other names of the same size; the first that a config states counts
    "hidden_size": ("d_model", "width", "vt_hidden_size", "n_embd", "n_embed"),
    "intermediate_size": ("encoder_ffn_dim", "vt_intermediate_size"),
    "num_hidden_layers": ("depth", "encoder_layers", "layers", "vt_num_hidden_layers", "conf_num_hidden_layers"),
    "num_attention_heads": (
        "num_heads",
        "attention_heads",
        "encoder_attention_heads",
        "heads",
        "conf_num_attention_heads",
    ),
    "num_channels": ("in_channels", "in_chans"),
    "attention_bias": ("qkv_bias",),
    "use_qk_norm": ("qk_normalization",),
    "pos_emb_height": ("init_pos_emb_height",),
    "pos_emb_width": ("init_pos_emb_width",),
    "conv_kernel_size": ("conf_conv_kernel_size",),
    "subsampling_conv_channels": ("sscp_conv_channel_size",),
}
TEXT_KEYS = ("text_config", "llm_config", "language_config")


@cache
def class_sizes(name: str) -> dict[str, Any]:
    """The sizes that a configuration class falls back to, on top of those of the one that it is like.

    >>> class_sizes("CLIPVisionConfig")["patch_size"], class_sizes("CLIPVisionConfig")["image_size"]
    (32, 224)
    """
    own = dict(sizes()[name])
    like = own.pop("like", None)
    return {**class_sizes(like), **own} if like else own


@cache
def sizes() -> dict[str, dict[str, Any]]:
    """The sizes of all classes, read once."""
    return tomllib.loads((Path(__file__).parent / "sizes.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Keys:
    """The sizes of one part of a config, with the defaults of its class."""

    values: Mapping[str, Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    where: str = "config"
    names: Mapping[str, str] = field(default_factory=dict)
    """What this kind of part calls a size, where it differs from all others."""

    def raw(self, name: str) -> Any:
        """What the config says under this name or another; null and missing keys mean the default."""
        names = (self.names[name],) if name in self.names else (name, *ALIASES.get(name, ()))
        stated = (self.values.get(each) for each in names)
        return next((each for each in stated if each is not None), self.defaults.get(name))

    def wrong(self, name: str, value: object, wanted: str) -> CatalogError:
        """The error of a value that cannot be true."""
        said = "is missing" if value is None else f"= {str(value)[:40]!r} is not {wanted}"
        return CatalogError([f"{self.where}: {name} {said}"])

    def whole(self, name: str, value: Any, least: int = 1) -> int:
        """A whole number in the range of sizes."""
        number = int(value) if isinstance(value, float) and value.is_integer() else value
        if type(number) is not int or not least <= number <= LARGEST:
            raise self.wrong(name, value, f"a whole number from {least} to {LARGEST}")
        return number

    def size(self, name: str) -> int:
        """A size: a whole number, 1 or more."""
        return self.whole(name, self.raw(name))

    def count(self, name: str) -> int:
        """How many of something, or none."""
        return self.whole(name, self.raw(name), least=0)

    def number(self, name: str) -> float:
        """A ratio above zero."""
        value = self.raw(name)
        if type(value) not in {int, float} or not 1e-6 < value < 1e6:  # noqa: PLR2004
            raise self.wrong(name, value, "a number above zero")
        return float(value)

    def flag(self, name: str) -> bool:
        """A setting that is on or off; off where nobody says."""
        value = self.raw(name)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(name, value, "true or false")
        return bool(value)

    def pair(self, name: str) -> tuple[int, int]:
        """Height and width, where a config gives one number for both or a list of two."""
        value = self.raw(name)
        both = [value, value] if not isinstance(value, list | tuple) else list(value)
        if len(both) != 2:  # noqa: PLR2004
            raise self.wrong(name, value, "a size or a list of two")
        return self.whole(name, both[0]), self.whole(name, both[1])

    def entries(self, name: str) -> int:
        """How many entries a list has; a single number is one."""
        value = self.raw(name)
        if not isinstance(value, list | tuple | int) or isinstance(value, bool):
            raise self.wrong(name, value, "a list")
        return 1 if isinstance(value, int) else len(value)


@dataclass(frozen=True)
class Parts:
    """One tower's own sizes, those of the text model it feeds, and those of the whole config."""

    own: Keys
    text: Keys
    top: Keys

    @property
    def width(self) -> int:
        """Numbers per token inside the tower."""
        return self.own.size("hidden_size")

    @property
    def text_width(self) -> int:
        """Numbers per token of the text model."""
        return self.text.size("hidden_size")


Count = Callable[[Parts], int]
