"""capgrid: batch capacity planning for LLM inference.

Three functions for notebooks and services; everything else is behind the command `capgrid`.

>>> import pipeline
>>> pipeline.point("llama-7b", "a100-sxm-80gb", weights="fp16", kv="fp16", batch=1)["fits"]
True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.api import catalogs, estimate, point

__all__ = ["catalogs", "estimate", "point"]


def __getattr__(name: str) -> Any:
    """A function of pipeline.api, imported when it is first asked for: help waits for no data frames."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("pipeline.api"), name)


def __dir__() -> list[str]:
    """The names that people type, functions that are not imported yet included."""
    return sorted({*globals(), *__all__})
