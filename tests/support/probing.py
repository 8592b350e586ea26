"""Measures the limit of an adaptive strategy from outside, with a gradient that is far too large."""

from collections.abc import Iterable
from copy import deepcopy

import numpy as np
import torch

from lightning_clip import ClipStrategy
from tests.support.tensors import clipped

HUGE = 1e9


def lognormal_norms(steps: int, *, seed: int = 0) -> np.ndarray:
    """Return log-normal norms around 1 with a standard deviation of 0.25 in the logarithm."""
    return np.exp(0.25 * np.random.default_rng(seed).standard_normal(steps))


def play(strategy: ClipStrategy, norms: Iterable[float]) -> list[float]:
    """Feed single-element gradients with the given norms, and return the norm of each after clipping."""
    return [float(clipped(strategy, w=torch.tensor([x], dtype=torch.float64))["w"].abs()) for x in norms]


def limit_of(strategy: ClipStrategy) -> float:
    """Return the largest norm that the strategy would allow at the next step, without changing its state."""
    return play(deepcopy(strategy), [HUGE])[0]
