"""Special functions as expressions over columns: what queueing formulas need and Polars does not have."""

import math

from polars import Expr

LEAST = 1e-12


def normal_cdf(x: Expr) -> Expr:
    """Standard normal distribution, within 1.5e-4: short, since an expression is written out wherever it is used.

    Source: Bowling et al. 2009, a logistic of an odd cubic.

    >>> import polars as pl
    >>> round(pl.select(normal_cdf(pl.lit(1.6448536))).item(), 3)
    0.95
    """
    return 1.0 / (1.0 + (x * (-1.5976 - 0.07056 * x * x)).exp())


def erfc(x: Expr) -> Expr:
    """Complementary error function, by the normal distribution.

    Definition.

    >>> import polars as pl
    >>> round(pl.select(erfc(pl.lit(0.5))).item(), 3)
    0.479
    """
    return 2.0 * normal_cdf(x * -math.sqrt(2.0))


def gamma_deviate(x: Expr, mean: Expr, variance: Expr) -> Expr:
    """Normal deviate of a gamma variable of a mean and a variance: its `normal_cdf` is the gamma's, within 0.01.

    From a shape of 0.5.

    Source: Wilson and Hilferty 1931: the cube root is nearly normal.

    >>> import polars as pl
    >>> round(pl.select(gamma_deviate(pl.lit(4.743865), pl.lit(2.0), pl.lit(2.0))).item(), 2)
    1.65
    """
    shape = mean * mean / variance.clip(LEAST * LEAST)
    root = (x.clip(0.0) / mean.clip(LEAST)).cbrt()
    return (root - 1.0 + 1.0 / (9.0 * shape)) * 3.0 * shape.sqrt()


def gamma_quantile(mean: Expr, variance: Expr, normal_quantile: float) -> Expr:
    """Quantile of a gamma distribution of a mean and a variance; the quantile's normal deviate says which.

    Source: Wilson and Hilferty 1931.

    >>> import polars as pl
    >>> round(pl.select(gamma_quantile(pl.lit(2.0), pl.lit(2.0), 1.6448536)).item(), 2)
    4.73
    """
    shape = mean * mean / variance.clip(LEAST * LEAST)
    root = 1.0 - 1.0 / (9.0 * shape) + normal_quantile / (3.0 * shape.sqrt())
    return mean * root.clip(0.0).pow(3)


def ln_gamma(x: Expr) -> Expr:
    """Natural logarithm of the gamma function for x > 0, within 1e-7.

    Source: Stirling's series at x + 3, stepped down by the recurrence.

    >>> import polars as pl
    >>> round(pl.select(ln_gamma(pl.lit(5.0)).exp()).item(), 4)
    24.0
    """
    y = x + 3.0
    stirling = (y - 0.5) * y.log() - y + 0.5 * math.log(2 * math.pi) + 1.0 / (12.0 * y) - 1.0 / (360.0 * y * y * y)
    return stirling - (x * (x + 1.0) * (x + 2.0)).log()
