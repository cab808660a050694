"""All formulas together: the book that a plan is evaluated from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.core.quantity import QUANTITIES, Book
from pipeline.estimators import attention, bands, casestudy, feasible, matrices, settings  # noqa: F401  (enter theirs)
from pipeline.estimators.memory import account, activation, pages, runtime, weights  # noqa: F401
from pipeline.estimators.money import cost, energy  # noqa: F401
from pipeline.estimators.step import clients, decode, gemm, kernels, parallel, prefill, rates, serving  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Callable


def book(used: Callable[[str], bool] = lambda _count: True) -> Book:
    """Every quantity; sums run over the kinds of attention and kernels whose layer count is `used`.

    A dense model's book has no experts in it, and never computes one.
    """
    kinds = [kind for kind in attention.KINDS if used(f"{kind}_layers")]
    whole: Book = {
        **QUANTITIES,
        **attention.of_kinds(kinds),
        **rates.achieved_rates(),
        **matrices.with_matrices(used),
        **kernels.with_kernels(used),
    }
    whole = pages.with_pages(whole, kinds)
    whole = prefill.with_prefill(decode.with_decode(whole, kinds), kinds)
    return bands.with_bands(whole)
