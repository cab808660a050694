"""Where formulas of a replica under load are entered, each as the maker of the column that it is named after."""

from pipeline.core.quantity import Formula, Quantity, entered

LOAD: dict[str, Quantity] = {}
"""Formulas of a replica under load: of their own, since a pass makes some columns again."""


def of_load(formula: Formula) -> Formula:
    """Enter a formula of a replica under load."""
    LOAD[formula.__name__] = entered(formula)
    return formula
