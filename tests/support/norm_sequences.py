"""Sequences of total norms, and how a strategy responds to them."""

import numpy as np
import torch
from torch import nn

from lightning_clip import ClipStrategy, Gradients, clip_

Norms = np.ndarray


def usual(steps: int, *, seed: int = 0) -> Norms:
    """Return log-normal norms around 1 with a standard deviation of 0.25 in the logarithm."""
    return np.exp(0.25 * np.random.default_rng(seed).standard_normal(steps))


def thresholds_and_coefs(
    strategy: ClipStrategy, norms: Norms, *, dtype: torch.dtype = torch.float64
) -> tuple[Norms, Norms]:
    """Feed one single-element gradient per step, and return the threshold and the factor at each step."""
    param = nn.Parameter(torch.zeros(1, dtype=dtype))
    thresholds, coefs = [], []
    for step, norm in enumerate(norms):
        param.grad = torch.tensor([norm], dtype=dtype)
        result = clip_(Gradients(["p"], [param], step=step), strategy)
        thresholds.append(float(result.threshold))
        coefs.append(float(result.coefs))
    return np.array(thresholds), np.array(coefs)


def steps_to_follow_a_jump(
    strategy: ClipStrategy, *, before: int, factor: float = 8.0, within: int = 500, seed: int = 0
) -> float:
    """Return how long clipping lasts after the norms jump by `factor`, following `before` usual norms.

    It is the number of steps until fewer than one in five of the next 50 are clipped; `inf` if above `within`.
    """
    norms = usual(before + within + 50, seed=seed)
    norms[before:] *= factor
    clipped = thresholds_and_coefs(strategy, norms)[1][before:] < 1
    return next((float(k) for k in range(within + 1) if clipped[k : k + 50].mean() < 0.2), np.inf)


def shift_by_a_spike(strategy: ClipStrategy, *, before: int, seed: int = 0) -> float:
    """Return the factor by which one spike of 1000 after `before` usual norms changes the next threshold."""
    norms = usual(before + 2, seed=seed)
    norms[before] *= 1000
    thresholds, coefs = thresholds_and_coefs(strategy, norms)
    assert coefs[before] < 0.01
    return float(thresholds[before + 1] / thresholds[before])
