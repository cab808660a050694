"""All formulas of a replica under load together."""

from pipeline.core.quantity import Book
from pipeline.estimators.load import capacity, latency, passes, prefill, queue, tokens  # noqa: F401  (enter theirs)
from pipeline.estimators.load.registry import LOAD


def load_book() -> Book:
    """Every formula of a replica under load."""
    return LOAD
