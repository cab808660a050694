"""What can go wrong, in the words of the person who can put it right."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class PipelineError(Exception):
    """What a user can put right; the command line prints it without a traceback."""

    exit_code = 1


class CatalogError(PipelineError):
    """One or more things in catalog files that cannot be true: every one of them, a line each."""

    def __init__(self, problems: Iterable[str]) -> None:
        """Join the problems, one a line, each once."""
        self.problems = list(dict.fromkeys(problems))
        super().__init__("\n".join(self.problems))


class GridError(PipelineError):
    """A grid that names nothing to cross, or nothing that can run."""


class RunError(PipelineError):
    """A run folder that is missing, unfinished, damaged, or cannot be written."""


class SqlError(PipelineError):
    """SQL that DuckDB refuses."""


class MissingInputError(PipelineError):
    """Columns that a wanted quantity needs and that nobody gave."""

    def __init__(self, needs: dict[str, str]) -> None:
        """Name each missing column with the quantity that asks for it."""
        lines = [f"no column named '{name}', which {asker} needs" for name, asker in needs.items()]
        super().__init__("\n".join(lines))


class UsageError(PipelineError):
    """A command asked for something that does not exist; nothing was tried."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that no catalog and no estimator knows.

    >>> str(UnknownNameError("field", "hbm_byte", ["hbm_bytes", "usd_per_hour"]))
    "no field named 'hbm_byte'. Did you mean hbm_bytes?"
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        """Say what was asked for, the three nearest names, and where to see all."""
        super().__init__(" ".join(filter(None, [f"no {kind} named '{name}'.", nearest(name, known), hint])))


def nearest(name: str, known: Iterable[str]) -> str:
    """Up to three known names that look like this one, as a question.

    >>> nearest("h10", ["h100", "h200", "a100"])
    'Did you mean h100, h200 or a100?'
    """
    folded = {each.casefold(): each for each in known}
    near = [folded[each] for each in get_close_matches(name.casefold(), folded, n=3, cutoff=0.4)]
    if not near:
        return ""
    return f"Did you mean {' or '.join(filter(None, [', '.join(near[:-1]), near[-1]]))}?"
