"""Where formulas of a replica under load are entered, each as the maker of the column that it is named after."""

from collections.abc import Mapping
from typing import Any

from pipeline.core.quantity import Formula, Quantity, entered, instance

LOAD: dict[str, Quantity] = {}
"""Formulas of a replica under load: of their own, since a pass makes some columns again."""


def of_load(formula: Formula) -> Formula:
    """Enter a formula of a replica under load."""
    LOAD[formula.__name__] = entered(formula)
    return formula


def enter_instances(template: Formula, words: Mapping[str, Mapping[str, Any]]) -> None:
    """Enter a template once for each column that it makes, with the words and constants of each."""
    LOAD.update({name: instance(template, name, own) for name, own in words.items()})
