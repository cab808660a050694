"""Vision and audio towers of a config.json: their exact parameter counts, projectors and mergers included.

A tower is a stack of equal blocks between a patch embedding and a merger; the kinds differ in biases, norms, gates and
tables. `KINDS` says of each kind how, sizes.toml which sizes its configuration class falls back to, `FAMILIES` of each
model type which towers it has and what joins them to the text model. Parameters only: buffers, such as the bounds of
clipped linears, and a language model's own cross-attention are not counted here.

Source: the model classes of Hugging Face transformers 5.23; each entry names its configuration class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.core.errors import CatalogError
from pipeline.facts.config.towers.families import FAMILIES, WHOLE, Family, Side
from pipeline.facts.config.towers.keys import TEXT_KEYS, Keys, Parts, class_sizes
from pipeline.facts.config.towers.kinds import KINDS
from pipeline.facts.config.towers.others import PARTS, Part
from pipeline.facts.config.towers.pieces import Tower, class_and_grid_table, two_layers


def config_part(config: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """A nested part of a config; nothing where it is missing or null."""
    value = config.get(name)
    if value is not None and not isinstance(value, Mapping):
        raise CatalogError([f"{name} = {str(value)[:40]!r} is not a table of keys"])
    return value


def text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The text model's part, or the whole config where it is not nested."""
    return next((found for key in TEXT_KEYS if (found := config_part(config, key)) is not None), config)


def inner_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part that thinks, where a config holds one that speaks beside it; else the config."""
    thinker = config_part(config, "thinker_config")
    return config if thinker is None else {"model_type": config.get("model_type"), **thinker}


def tower_of(side: Side, values: Mapping[str, Any]) -> Tower | Part | None:
    """The kind of a tower: its family's, or where the family is open, the one that the part names."""
    named = values.get("model_type") if side.is_open else None
    kind = str(named) if named else side.kind
    return KINDS.get(kind) or PARTS.get(kind)


def side_parameters(side: Side, family: Family, config: Mapping[str, Any]) -> tuple[int, list[str]]:
    """Parameters of one tower and of what joins it, with a warning where something was assumed."""
    stated = config_part(config, side.key)
    if stated is None and side.absent is None:
        return 0, []
    values = stated if stated is not None else side.absent or {}
    tower = tower_of(side, values)
    if tower is None:
        return estimate_tower(side.key, values, config)
    p = tower_parts(side.key, values, tower, family, config)
    assumed = f"{side.key} is missing: the tower of {tower.source}'s defaults was counted"
    return tower.parameters(p) + side.join(p), [assumed] if stated is None else []


def tower_parts(
    key: str, values: Mapping[str, Any], tower: Tower | Part, family: Family, config: Mapping[str, Any]
) -> Parts:
    """The sizes that one tower's count needs, with the defaults of each class."""
    text = text_part(config)
    own = Keys(values, class_sizes(tower.source), key, tower.names)
    return Parts(own, Keys(text, family.text, "text part"), Keys(config, family.defaults))


UNKNOWN_SIDES = ("vision_config", "audio_config", "visual", "vision_encoder_config", "audio_encoder_config")
GENERIC = Tower(
    "a plain vision transformer",
    positions=class_and_grid_table,
    inner_width=lambda p: p.own.size("intermediate_size") if p.own.raw("intermediate_size") else 4 * p.width,
    outer_norms=1,
    rest=lambda p: two_layers(p.width, p.text_width, p.text_width),
)


def estimate_tower(key: str, values: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[int, list[str]]:
    """A tower of an unknown kind, counted as a plain one with a projector of two matrices; a warning says so."""
    named = str(values.get("model_type") or config.get("model_type") or "no name")[:60]
    family = Family(())
    known = KINDS.get(str(values.get("model_type")))
    tower = replace(known, rest=GENERIC.rest) if known and key == "vision_config" else GENERIC
    try:
        count = tower.parameters(tower_parts(key, values, tower, family, config))
    except CatalogError as error:
        return 0, [f"{key} ({named}): no tower of this kind is known, and it was not counted: {error.problems[0]}"]
    return count, [f"{key} ({named}): no tower of this kind is known; counted as {tower.source} with two matrices"]


def is_text_only(family: Family, config: Mapping[str, Any]) -> bool:
    """Whether the config names a class that has no tower."""
    classes = config.get("architectures")
    return isinstance(classes, list) and any(each in family.text_only for each in classes if isinstance(each, str))


def tower_parameter_count(config: Mapping[str, Any]) -> tuple[int, list[str]]:
    """Parameters of all vision and audio towers with their projectors, and what was assumed.

    Args:
        config: a config.json as read; text-only models have none of these parts, and give 0.

    >>> tower_parameter_count({"model_type": "llama", "hidden_size": 4096})
    (0, [])
    """
    config = inner_config(config)
    model_type = config.get("model_type")
    family = FAMILIES.get(model_type) if isinstance(model_type, str) else None
    if family is not None and is_text_only(family, config):
        return 0, []
    if family is None:
        counted = [estimate_tower(key, values, config) for key in UNKNOWN_SIDES if (values := config_part(config, key))]
    else:
        counted = [side_parameters(side, family, config) for side in family.sides]
    return sum(count for count, _ in counted), [text for _, texts in counted for text in texts]


def tower_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Whether vLLM splits the towers over ranks, where it does not; and the tokens of the largest image, where known.

    >>> tower_facts({"model_type": "gemma3", "mm_tokens_per_image": 256})
    {'tower_is_split': None, 'tower_tokens_max': 256}
    >>> tower_facts({"model_type": "deepseek_vl_v2"})
    {'tower_is_split': False, 'tower_tokens_max': None}
    """
    config = inner_config(config)
    model_type = config.get("model_type")
    family = FAMILIES.get(model_type, Family(())) if isinstance(model_type, str) else Family(())
    is_whole = not family.is_split or model_type in WHOLE
    said: dict[str, Any] = {"tower_is_split": False if is_whole else None, "tower_tokens_max": None}
    if family.tokens is None:
        return said
    side = family.sides[0]
    values = config_part(config, side.key) or side.absent or {}
    tower = tower_of(side, values)
    if tower is None:
        return said
    return said | {"tower_tokens_max": family.tokens(tower_parts(side.key, values, tower, family, config))}
