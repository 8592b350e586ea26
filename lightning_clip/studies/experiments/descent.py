"""Gradient descent on the weight and the bias of one recurrent unit, whose error has a wall.

`error_and_gradient` is the error, `start_at_the_wall` a random start, and `descend` the descent, without a Trainer.
"""

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lightning_clip.core.clip import clip_
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.record.step_buffer import StepBuffer
from lightning_clip.core.strategy import ClipStrategy

Number = TypeVar("Number", float, NDArray[np.float64])

PARAMETER = "weight and bias"
"""The name of the one parameter, `(2,)`."""

BOX = (4.5, 7.0), (-3.5, -2.0)
"""The range of weights and the range of biases that contain the wall."""

_STEPS = 50
_FIRST_STATE = 0.5
_TARGET = 0.7
_AT_THE_WALL = (0.5, 5.0)
_DRAWN_AT_ONCE = 4_000


def error_and_gradient(w: Number, b: Number, steps: int = _STEPS) -> tuple[Number, Number, Number]:
    """Compute the error `E = (s(x_T) - 0.7)²` of `x_t = w s(x_{t-1}) + b` from `x_0 = 0.5`; s is the logistic function.

    Derivatives go forward in time: `∂x_t/∂w = s(x_{t-1}) + w s'(x_{t-1}) ∂x_{t-1}/∂w`.

    Args:
        w: The recurrent weight; a number, or an array of any shape.
        b: The bias, of the same shape.
        steps: The number of steps, T.

    Returns:
        E, ∂E/∂w and ∂E/∂b, of the same shape.

    Example:
        >>> error, by_weight, by_bias = error_and_gradient(5.0, -2.0)
        >>> round(error, 4), round(by_weight, 4), round(by_bias, 4)
        (0.0556, 0.0379, 0.0405)

    References:
        Razvan Pascanu, Tomas Mikolov and Yoshua Bengio, "On the difficulty of training recurrent neural networks",
        2013, https://arxiv.org/abs/1211.5063, figure 6.
    """
    state = 0.0 * w + _FIRST_STATE
    by_w = by_b = 0.0 * w
    for _ in range(steps):
        output = _logistic(state)
        slope = w * output * (1.0 - output)
        by_w = output + slope * by_w
        by_b = 1.0 + slope * by_b
        state = w * output + b
    output = _logistic(state)
    miss = output - _TARGET
    slope = 2.0 * miss * output * (1.0 - output)
    return miss * miss, slope * by_w, slope * by_b


def start_at_the_wall(seed: int) -> tuple[float, float]:
    """Draw a weight and a bias from `BOX` at which the norm of the gradient is between 0.5 and 5.

    Args:
        seed: The seed of the draw.

    Returns:
        The weight and the bias.
    """
    generator = np.random.default_rng(seed)
    while True:
        w, b = (generator.uniform(*bounds, _DRAWN_AT_ONCE) for bounds in BOX)
        _, *gradient = error_and_gradient(w, b)
        norm = np.hypot(*gradient)
        found = np.flatnonzero((norm > _AT_THE_WALL[0]) & (norm < _AT_THE_WALL[1]))
        if len(found):
            return float(w[found[0]]), float(b[found[0]])


@dataclass(slots=True)
class Descent:
    """The path of a gradient descent.

    Attributes:
        points: The weight and the bias at the start and after each step.
        errors: The error at each point.
        events: The record of each step, not yet read.
        is_finite: Whether all points and gradients were finite.
    """

    points: list[tuple[float, float]] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    events: StepBuffer = field(default_factory=StepBuffer)
    is_finite: bool = True

    @property
    def longest_step(self) -> float:
        """The largest distance between two consecutive points; 0 without steps."""
        return max((math.dist(before, after) for before, after in pairwise(self.points)), default=0.0)


@torch.no_grad()
def descend(strategy: ClipStrategy, start: tuple[float, float], *, lr: float, steps: int) -> Descent:
    """Run gradient descent from a point.

    Args:
        strategy: The clipping strategy.
        start: The first weight and bias.
        lr: The learning rate.
        steps: The number of steps.

    Returns:
        The path. It ends early at a point that is not finite, or before a step whose gradient is not.
    """
    param = nn.Parameter(torch.tensor(start, dtype=torch.double))
    descent = Descent()
    for step in range(steps + 1):
        w, b = param.tolist()
        error, *gradient = error_and_gradient(w, b)
        descent.points.append((w, b))
        descent.errors.append(error)
        if step == steps:
            break
        param.grad = torch.tensor(gradient, dtype=torch.double)
        grads = Gradients([PARAMETER], [param], step=step)
        descent.events.add(clip_(grads, strategy, loss=torch.tensor(error)))
        descent.is_finite = all(map(math.isfinite, (w, b, *gradient)))
        if not descent.is_finite:
            break
        if param.grad is not None:  # a skipped step has no gradient
            param.sub_(param.grad, alpha=lr)
    return descent


def _logistic(x: Number) -> Number:
    if isinstance(x, float):
        return 0.5 + 0.5 * math.tanh(0.5 * x)  # exp(-x) would overflow
    return 0.5 + 0.5 * np.tanh(0.5 * x)
