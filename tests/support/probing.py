"""Looking into an adaptive rule from outside: what it would leave of a gradient that is far too large."""

from collections.abc import Iterable
from copy import deepcopy

import numpy as np
import torch

from lightning_clip import ClipStrategy
from tests.support.tensors import clipped

HUGE = 1e9


def lognormal_norms(steps: int, *, seed: int = 0) -> np.ndarray:
    """Norms around 1, log-normal with a spread of 0.25."""
    return np.exp(0.25 * np.random.default_rng(seed).standard_normal(steps))


def play(strategy: ClipStrategy, norms: Iterable[float]) -> list[float]:
    """Feed gradients of one element with the given norms, and return what was left of each."""
    return [float(clipped(strategy, w=torch.tensor([x], dtype=torch.float64))["w"].abs()) for x in norms]


def limit_of(strategy: ClipStrategy) -> float:
    """The largest norm that the rule would let through at the next step; the rule itself learns nothing."""
    return play(deepcopy(strategy), [HUGE])[0]
