"""Shapes that can be built: a model of the catalogs, a config of one's own, or a small one for a processor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.core.errors import PipelineError, UsageError
from pipeline.evidence.measure.entries import model_block, put_entries
from pipeline.facts.adding import check_free, read_config
from pipeline.facts.config.counted import entry_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date
    from pathlib import Path

    from pipeline.facts.catalog import Catalogs

SMALL_NAME, SMALL_ID = "small", "measured-llama-134m"
LLAMA: dict[str, Any] = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
SMALL: dict[str, Any] = (
    {**LLAMA, "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 12}
    | {"num_key_value_heads": 12, "head_dim": 64, "vocab_size": 32_000}
    | {"max_position_embeddings": 4096, "tie_word_embeddings": False}
)
"""134 million parameters in the proportions of Llama 7B."""
FACTS = (  # keys of a Llama's config, and the catalog's fields
    {"hidden_size": "hidden", "intermediate_size": "ffn_width", "num_hidden_layers": "layer_count"}
    | {"num_attention_heads": "heads", "num_key_value_heads": "kv_heads", "head_dim": "head_dim"}
    | {"vocab_size": "vocab", "max_position_embeddings": "context_tokens_max"}
    | {"tie_word_embeddings": "tied_embeddings"}
)
Shape = tuple[str, "Mapping[str, Any]"]


def resolve_shape(
    name: str, config: Path | None, catalogs: Catalogs, folder: Path, on: date, load: Callable[[Path], object]
) -> Shape:
    """The id of a shape, and its config; a shape that no catalog has is written to the folder.

    Args:
        name: a model of the catalogs, "small", or the id that a config of one's own gets.
        config: a config.json.
        catalogs: what is known.
        folder: takes entries.
        on: day that a new entry says.
        load: reads a catalog folder.

    Raises:
        UnknownNameError: no such model.
        UsageError: a config without an id of its own.
        PipelineError: the catalog does not say enough to build the model.
    """
    if config is None and name != SMALL_NAME:
        known = catalogs.resolve("model", name)
        return known, llama_config(catalogs.frames["model"].filter(model=known).row(0, named=True))
    if config is not None and name == SMALL_NAME:
        raise UsageError("--config needs --shape ID: what the model is to be called, such as my-model-8b")
    said, own = (read_config(config), name) if config is not None else (SMALL, SMALL_ID)
    if own not in measured_before(catalogs):
        entry = {"name": f"{own}, as measured here", "family": "measured", **entry_of(said)}
        check_free(catalogs, entry, own)
        put_entries(folder, [model_block(entry, own)], on, load)
    return own, said


def measured_before(catalogs: Catalogs) -> set[str]:
    """Models that an earlier measurement entered."""
    return set(catalogs.frames["model"].filter(family="measured")["model"])


def llama_config(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a model of the catalog, where a plain Llama has its shape.

    Raises:
        PipelineError: it has not; says what to give instead.
    """
    plain = facts["full_layers"] == facts["layer_count"] == facts["dense_layers"] and facts["gated_ffn"]
    if not plain or facts["gated_attention"] or facts["tower_parameter_count"]:
        raise PipelineError(
            f"{facts['model']}: is no plain Llama, so that the catalog does not say how to build it: "
            f"give its config with --config CONFIG.json --shape ID"
        )
    return LLAMA | {key: facts[field] for key, field in FACTS.items()}
