"""Libraries that come with an extra of the package: imported when they are needed, and asked for by name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pipeline.core.errors import PipelineError


def library(name: str, missing: str) -> Any:
    """A library of an extra.

    Args:
        name: the module.
        missing: what to say where it is not installed: what needs it, and how to get it.

    Raises:
        PipelineError: it is not installed.
    """
    try:
        import_module(name.partition(".")[0])  # a part that is loaded already does not stand for the whole
        return import_module(name)
    except ImportError as error:
        raise PipelineError(missing) from error
