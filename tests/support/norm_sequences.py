"""Sequences of total norms, and what a strategy does with them."""

import numpy as np
import torch
from torch import nn

from lightning_clip import ClipStrategy, Gradients, clip_

Norms = np.ndarray


def usual(steps: int, *, seed: int = 0) -> Norms:
    """Log-normal norms around 1 with a standard deviation of 0.25 in the logarithm."""
    return np.exp(0.25 * np.random.default_rng(seed).standard_normal(steps))


def thresholds_and_coefs(
    strategy: ClipStrategy, norms: Norms, *, dtype: torch.dtype = torch.float64
) -> tuple[Norms, Norms]:
    """Feed one gradient of one element a step; the limit in force and the factor applied at each."""
    param = nn.Parameter(torch.zeros(1, dtype=dtype))
    thresholds, coefs = [], []
    for step, norm in enumerate(norms):
        param.grad = torch.tensor([norm], dtype=dtype)
        event = clip_(Gradients(["p"], [param], step=step), strategy)
        thresholds.append(float(event.threshold))
        coefs.append(float(event.coefs))
    return np.array(thresholds), np.array(coefs)


def steps_to_follow_a_jump(
    strategy: ClipStrategy, *, before: int, factor: float = 8.0, within: int = 500, seed: int = 0
) -> float:
    """After `before` usual norms all are `factor` times as large: how long until clipping is rare again.

    That is the steps until fewer than one in five of the next 50 are clipped; `inf` for longer than `within`.
    """
    norms = usual(before + within + 50, seed=seed)
    norms[before:] *= factor
    clipped = thresholds_and_coefs(strategy, norms)[1][before:] < 1
    return next((float(k) for k in range(within + 1) if clipped[k : k + 50].mean() < 0.2), np.inf)


def shift_by_a_spike(strategy: ClipStrategy, *, before: int, seed: int = 0) -> float:
    """After `before` usual norms comes one of a thousand: by which factor it moves the limit of the next step."""
    norms = usual(before + 2, seed=seed)
    norms[before] *= 1000
    thresholds, coefs = thresholds_and_coefs(strategy, norms)
    assert coefs[before] < 0.01
    return float(thresholds[before + 1] / thresholds[before])
