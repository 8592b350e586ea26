"""Bias correction for exponential moving averages."""

import math

import torch
from torch import Tensor


def bias_correction(decay: float | Tensor, count: Tensor) -> Tensor:
    """`1 - decay^count`: the total weight in a moving average that started at zero, after `count` values.

    Computed as `-expm1(count · log(decay))`, because the plain difference loses four digits in float32 for `decay =
    0.999, count = 1`.

    Args:
        decay: Weight of the past, in [0, 1). Some optimizers keep it as a tensor, `()`.
        count: The number of values, any shape, floating point.

    Returns:
        A tensor of the shape of `count`, in [0, 1].

    Example:
        >>> bias_correction(0.9, torch.tensor([1.0, 2.0]))
        tensor([0.1000, 0.1900])
    """
    if isinstance(decay, Tensor):
        return -torch.expm1(count * decay.log())
    return -torch.expm1(count * (math.log(decay) if decay else -math.inf))


def average_gain(decay: float, count: Tensor) -> Tensor:
    """The weight of the latest of `count` values in a bias-corrected moving average.

    The update `mean ← mean + gain · (value - mean)` keeps the average itself unbiased, so it needs no correction when
    it is read. The gain is 1 for the first value, at least 1/2 for the second, and approaches `1 - decay`.

    Args:
        decay: Weight of the past, in [0, 1).
        count: The number of values including the latest, at least 1, any shape, floating point.

    Returns:
        A tensor of the shape of `count`, each value in [1 - decay, 1].

    Example:
        >>> average_gain(0.5, torch.tensor([1.0, 2.0, 40.0]))
        tensor([1.0000, 0.6667, 0.5000])
    """
    return (1 - decay) / bias_correction(decay, count)


def next_average(mean: Tensor, value: Tensor, *, decay: float, count: Tensor) -> Tensor:
    """Add one value to a bias-corrected moving average.

    Args:
        mean: The average of the earlier values, any shape.
        value: The new values, of the same shape.
        decay: Weight of the past, in [0, 1).
        count: The number of earlier values, of the same shape, floating point.

    Returns:
        The new average, of the same shape.

    Example:
        >>> next_average(torch.tensor(1.0), torch.tensor(4.0), decay=0.5, count=torch.tensor(1.0))
        tensor(3.)
    """
    return mean + average_gain(decay, count + 1) * (value - mean)
