"""One recurrent unit whose error has a wall: its error over weight and bias, with derivatives."""

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", float, NDArray[np.float64])

STEPS = 50
FIRST_STATE = 0.5
TARGET = 0.7
BOX = (4.5, 7.0), (-3.5, -2.0)
"""The weights and biases among which the wall is."""

_AT_THE_WALL = (0.5, 5.0)
_DRAWN_AT_ONCE = 4_000


def error_and_gradient(w: Number, b: Number, steps: int = STEPS) -> tuple[Number, Number, Number]:
    """The error after some steps, `E = (s(x_T) - 0.7)²` of `x_t = w s(x_{t-1}) + b` from `x_0 = 0.5`, s logistic.

    Derivatives go forward in time, `∂x_t/∂w = s(x_{t-1}) + w s'(x_{t-1}) ∂x_{t-1}/∂w`.

    Args:
        w: The recurrent weight; a number, or numbers of any shape.
        b: The bias, of the same shape.
        steps: T.

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
    state = 0.0 * w + FIRST_STATE
    by_w = by_b = 0.0 * w
    for _ in range(steps):
        output = _logistic(state)
        slope = w * output * (1.0 - output)
        by_w = output + slope * by_w
        by_b = 1.0 + slope * by_b
        state = w * output + b
    output = _logistic(state)
    miss = output - TARGET
    slope = 2.0 * miss * output * (1.0 - output)
    return miss * miss, slope * by_w, slope * by_b


def start_at_the_wall(seed: int) -> tuple[float, float]:
    """A weight and a bias at random in the box, where the norm of the gradient is between 0.5 and 5.

    Args:
        seed: Decides which.

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


def _logistic(x: Number) -> Number:
    if isinstance(x, float):
        return 0.5 + 0.5 * math.tanh(0.5 * x)  # exp(-x) would overflow
    return 0.5 + 0.5 * np.tanh(0.5 * x)
