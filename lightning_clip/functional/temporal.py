"""How fast gradients grow or vanish on their way back through time, and how far they reach; from their norms by lag."""

import math

import torch
from torch import Tensor

SKIPPED_LAGS = 4
"""The first lags are left out of the fit: there the direction of the loss decides, not the network."""

SMALLEST_NORM = 1e-25
"""Smaller norms are left out of the fit: near the smallest numbers of single precision they are inaccurate."""

FEWEST_POINTS = 3
"""Of fewer norms no growth rate is told."""


def norms_by_lag(gradients: Tensor) -> Tensor:
    """2-norms in double precision, in which squares of single precision do not overflow.

    Args:
        gradients: `(lags, batch, size)`.

    Returns:
        `(lags,)`.
    """
    norms: Tensor = torch.linalg.vector_norm(gradients.flatten(1), dim=1, dtype=_double(gradients))
    return norms


def growth_rate(norms: Tensor) -> tuple[float, float]:
    """The slope of the logarithm of the norm over lag, by least squares.

    Below 0 gradients vanish on their way back, above 0 they explode. The first `SKIPPED_LAGS` are left out, and norms
    that are not finite or below `SMALLEST_NORM`.

    Args:
        norms: `(lags,)`, on the host.

    Returns:
        The rate per step, and how well one rate fits, R² in [0, 1]; both NaN for fewer than `FEWEST_POINTS` norms.

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
    """Steps over which the gradient halves; infinite where it does not vanish.

    Args:
        rate: Growth rate per step.

    Example:
        >>> round(half_life(-0.1), 2), half_life(0.1)
        (6.93, inf)
    """
    return math.log(2) / -rate if rate < 0 else math.inf


def horizon(norms: Tensor, fraction: float = 0.01) -> int:
    """The largest lag at which the norm is above a fraction of that at lag 0; a norm that is not finite is above.

    Args:
        norms: `(lags,)`, on the host.
        fraction: In [0, 1].

    Example:
        >>> horizon(0.5 ** torch.arange(20.0))
        6
    """
    sizes = _sizes(norms)
    above = (sizes.isinf() | (sizes > fraction * sizes[0])).nonzero()
    return int(above[-1]) if len(above) else 0


def span(norms: Tensor, fraction: float = 0.99) -> int:
    """The smallest lag up to which the norms add up to a fraction of their sum; norms that are not finite decide alone.

    Args:
        norms: `(lags,)`, on the host.
        fraction: In [0, 1].

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
    """In double precision; a norm that is not finite is infinite."""
    return norms.double().nan_to_num(nan=math.inf, posinf=math.inf)
