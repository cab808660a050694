"""Any config.json becomes exact facts: parameters, active parameters, cache and state, and a catalog entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pipeline.core.errors import CatalogError
from pipeline.facts.config.cache import Cache, cache_of
from pipeline.facts.config.checkpoint import checkpoint_facts
from pipeline.facts.config.described import Groups, Model
from pipeline.facts.config.entry import fields_of
from pipeline.facts.config.families import Family, class_defaults, family_name, family_of
from pipeline.facts.config.feedforward import experts_of
from pipeline.facts.config.gemms import gemms_of
from pipeline.facts.config.layers import stack_of
from pipeline.facts.config.parameters import parameters_of, prediction_parameters
from pipeline.facts.config.read import KEYS, Reader, text_config
from pipeline.facts.config.recurrent import mixer_of
from pipeline.facts.config.towers import tower_parameter_count

CONTEXT = 8192
"""Tokens that the whole cache is reported at."""


def config_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a model, from its config.json alone.

    Raises:
        CatalogError: a key that is missing or carries a value that cannot be.
    """
    model = model_of(config)
    towers, said = tower_parameter_count(config)
    groups = parameters_of(model)
    stored = checkpoint_facts(config, groups, len(model.stack.layers), towers)
    told = [*said, *stored.pop("warnings")]
    return {
        **parameter_facts(model, groups, towers),
        **cache_facts(cache_of(model)),
        **stored,
        **layer_facts(model, told),
    }


def model_of(config: Mapping[str, Any]) -> Model:
    """The layers and conventions that a config describes."""
    if not isinstance(config, Mapping) or not config:
        raise CatalogError(["config: is not a table with keys; give the content of a config.json"])
    family, reader = read_family(config)
    stack = stack_of(reader, family)
    experts = experts_of(reader, family)
    mixer = mixer_of(reader, family, stack.hidden) if any(layer.linear for layer in stack.layers) else None
    return Model(reader, family, stack, experts, mixer, tied_of(reader, family))


def read_family(config: Mapping[str, Any]) -> tuple[Family, Reader]:
    """The family of a config, and the config behind its aliases."""
    tables = (text_config(config), config)
    types = [each["model_type"] for each in tables if isinstance(each.get("model_type"), str)]
    name = family_name(types, [each for table in tables for each in architectures_of(table)])
    reader, family = Reader(config, class_defaults(name)), family_of(name)
    reader.read.update(KEYS["switches"] if family.known else ())
    if not family.known:
        reader.warn(f"model_type {(types or ['(none)'])[0][:60]!r} is not known: counted by Llama's conventions")
    return family, reader


def architectures_of(table: Mapping[str, Any]) -> list[str]:
    """The classes that a config names."""
    said = table.get("architectures")
    return [each for each in said if isinstance(each, str)] if isinstance(said, list) else []


def tied_of(reader: Reader, family: Family) -> bool:
    """Whether the head is the input table: the config, the config around it, then the class says."""
    if "tie_word_embeddings" not in reader.own and isinstance(reader.top.get("tie_word_embeddings"), bool):
        return bool(reader.top["tie_word_embeddings"])
    if not family.known and not reader.has("tied"):
        reader.warn("tie_word_embeddings is not given: counted with a head of its own")
    return reader.flag("tied")


# ----- what is told


def parameter_facts(model: Model, groups: Groups, towers: int) -> dict[str, Any]:
    """Parameters: all, active for one token, and those that one token multiplies."""
    text, active = groups.total(), active_of(model, groups)
    return {
        "parameter_count": text + towers,
        "text_parameter_count": text,
        "tower_parameter_count": towers,
        "active_parameter_count": active + towers,
        "active_matmul_parameter_count": active - groups["positions"] - (0 if model.tied else groups["embedding"]),
        "embedding_parameter_count": groups["embedding"],
        "expert_parameter_count": groups["routed_experts"],
        "prediction_parameter_count": prediction_parameters(model),
        "parameter_groups": {name: count for name, count in sorted(groups.items()) if count},
        "tied_embeddings": model.tied,
    }


def active_of(model: Model, groups: Groups) -> int:
    """Parameters without the routed experts that a token is not sent to."""
    if model.experts is None:
        return groups.total()
    routed = groups["routed_experts"]
    return groups.total() - routed + routed // model.experts.number * model.experts.per_token


def cache_facts(cache: Cache) -> dict[str, Any]:
    """What a sequence keeps, in bf16."""
    return {
        "kv_bytes_per_token": cache.full,
        "sliding_layers": cache.sliding_layers,
        "window_tokens": cache.window,
        "sliding_kv_bytes_per_token": cache.sliding,
        "index_bytes_per_token": cache.indexes,
        "compressed_kv_bytes_per_token": cache.compressed,
        "state_bytes_per_sequence": cache.state,
        f"kv_bytes_at_{CONTEXT}": cache.at(CONTEXT),
    }


def layer_facts(model: Model, said: list[str]) -> dict[str, Any]:
    """Layers, class and warnings."""
    reader = model.reader
    classes = [*architectures_of(reader.top), *architectures_of(reader.text)]
    unread = [f"key {key!r} was not understood and might change a count" for key in reader.unread()]
    return {
        "layers": len(model.stack.layers),
        "layer_kinds": layer_kinds(model),
        "gemms": gemms_of(model),
        "architecture": classes[0] if classes else "",
        "warnings": list(dict.fromkeys([*reader.warnings, *unread, *said])),
    }


def layer_kinds(model: Model) -> dict[str, int]:
    """Layers by what they keep: full, sliding, chunked, mla, linear and so on; one may count under two."""
    kinds: Counter[str] = Counter()
    for layer in model.stack.layers:
        kinds[layer.attention] += layer.attention != "none"
        kinds["linear"] += layer.linear
        kinds["none"] += layer.attention == "none" and not layer.linear
    return {name: count for name, count in kinds.items() if count}


def entry_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a [[model]] entry, but for its names.

    Raises:
        CatalogError: the config is wrong, or the catalog has no fields for such a model.
    """
    return fields_of(model_of(config), config_facts(config))
