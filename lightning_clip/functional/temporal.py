"""Growth rate, half-life and reach of gradients through time, computed from their norms by lag."""

import math

import torch
from torch import Tensor

SKIPPED_LAGS = 4
"""The fit skips the first lags, where the norms depend on the direction of the loss more than on the network."""

SMALLEST_NORM = 1e-25
"""The fit skips smaller norms, which are inaccurate near the smallest single-precision numbers."""

FEWEST_POINTS = 3
"""The fewest norms that give a growth rate."""


def norms_by_lag(gradients: Tensor) -> Tensor:
    """The 2-norm at each lag, in double precision, where the squares of single-precision numbers do not overflow.

    Args:
        gradients: `(lags, batch, size)`.

    Returns:
        `(lags,)`.
    """
    norms: Tensor = torch.linalg.vector_norm(gradients.flatten(1), dim=1, dtype=_double(gradients))
    return norms


def growth_rate(norms: Tensor) -> tuple[float, float]:
    """The slope of the logarithm of the norm over lag, by least squares.

    Below 0, gradients vanish on their way back; above 0, they explode. The fit skips the first `SKIPPED_LAGS` lags and
    norms that are NaN, infinite or below `SMALLEST_NORM`.

    Args:
        norms: `(lags,)`, on the host.

    Returns:
        The rate per step, and how well a single rate fits, R² in [0, 1]; both NaN for fewer than `FEWEST_POINTS` norms.

    Example:
        >>> rate, r_squared = growth_rate(0.5 ** torch.arange(20.0))
        >>> round(rate, 3), round(r_squared, 3)
        (-0.693, 1.0)
    """
    norms = norms.double()
    fits = norms.isfinite() & (norms >= SMALLEST_NORM)
    fits[:SKIPPED_LAGS] = False
    lags = fits.nonzero().squeeze(1).double()
    if len(lags) < FEWEST_POINTS:
        return math.nan, math.nan
    lags, logs = lags - lags.mean(), norms[fits].log()
    logs = logs - logs.mean()
    rate = lags.dot(logs) / lags.dot(lags)
    total, rest = float(logs.dot(logs)), logs - rate * lags
    return float(rate), 1.0 - float(rest.dot(rest)) / total if total > 0 else 1.0


def half_life(rate: float) -> float:
    """The number of steps over which the gradient halves; infinite if it does not vanish.

    Args:
        rate: Growth rate per step.

    Example:
        >>> round(half_life(-0.1), 2), half_life(0.1)
        (6.93, inf)
    """
    return math.log(2) / -rate if rate < 0 else math.inf


def horizon(norms: Tensor, fraction: float = 0.01) -> int:
    """The largest lag at which the norm exceeds a fraction of the norm at lag 0.

    A NaN or infinite norm exceeds any fraction.

    Args:
        norms: `(lags,)`, on the host.
        fraction: The fraction of the norm at lag 0, in [0, 1].

    Returns:
        The lag; 0 if no norm exceeds the fraction.

    Example:
        >>> horizon(0.5 ** torch.arange(20.0))
        6
    """
    sizes = _sizes(norms)
    above = (sizes.isinf() | (sizes > fraction * sizes[0])).nonzero()
    return int(above[-1]) if len(above) else 0


def span(norms: Tensor, fraction: float = 0.99) -> int:
    """The smallest lag up to which the norms add up to a fraction of their sum.

    If any norm is NaN or infinite, only those norms count.

    Args:
        norms: `(lags,)`, on the host.
        fraction: The fraction of the sum, in [0, 1].

    Example:
        >>> span(0.5 ** torch.arange(20.0))
        6
    """
    sizes = _sizes(norms)
    largest = sizes.max()
    shares = sizes.isinf().double() if largest.isinf() else sizes / largest.clamp(min=torch.finfo(torch.double).tiny)
    sums = shares.cumsum(0)
    return int((sums >= fraction * sums[-1]).nonzero()[0])


def _double(tensor: Tensor) -> torch.dtype:
    return torch.float32 if tensor.device.type == "mps" else torch.float64  # Apple's GPUs have no double precision


def _sizes(norms: Tensor) -> Tensor:
    """The norms in double precision, with NaN counted as infinite."""
    return norms.double().nan_to_num(nan=math.inf, posinf=math.inf)
