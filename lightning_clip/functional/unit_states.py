"""What the states of units say: saturated, dead, open or closed gates, denormal gradients."""

import torch
from torch import Tensor

SATURATED = 0.95
"""A tanh unit beyond it passes less than a tenth of a derivative back."""

CLOSED, OPEN = 0.05, 0.95
"""A gate outside of them hardly learns."""


def saturated_fraction(states: Tensor, limit: float = SATURATED) -> Tensor:
    """The share of states whose absolute value is above a limit.

    Args:
        states: Outputs of tanh units, any shape.
        limit: In [0, 1).

    Returns:
        `()`; NaN where a state is not finite.

    Example:
        >>> saturated_fraction(torch.tensor([0.99, -0.99, 0.5, 0.0]))
        tensor(0.5000)
    """
    return _if_finite(states, (states.abs() > limit).float().mean())


def dead_fraction(states: Tensor) -> Tensor:
    """The share of units that are not above zero for any row.

    Args:
        states: Outputs of ReLU units, `(rows, units)`.

    Returns:
        `()`; NaN where a state is not finite.

    Example:
        >>> dead_fraction(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
        tensor(0.5000)
    """
    return _if_finite(states, (states <= 0).all(dim=0).float().mean())


def saturated_gate_fraction(gates: Tensor) -> Tensor:
    """The share of gates that are closed (below 0.05) or open (above 0.95).

    Args:
        gates: Activations of sigmoid gates, any shape.

    Returns:
        `()`; NaN where one is not finite.

    Example:
        >>> saturated_gate_fraction(torch.tensor([0.01, 0.99, 0.5, 0.5]))
        tensor(0.5000)
    """
    return _if_finite(gates, ((gates < CLOSED) | (gates > OPEN)).float().mean())


def denormal_fraction(tensor: Tensor) -> Tensor:
    """The share of numbers that are too small for full precision: below 1.18e-38 in float32 and not zero.

    Arithmetic with them takes many CPUs several times as long, unless `torch.set_flush_denormal(True)` makes them zero.

    Args:
        tensor: Any shape; in half precision the limit is that of float32.

    Returns:
        `()`.

    Example:
        >>> denormal_fraction(torch.tensor([1e-40, 1e-30, 0.0, 1.0]))
        tensor(0.2500)
    """
    smallest = torch.finfo(torch.promote_types(tensor.dtype, torch.float32)).tiny
    return ((tensor != 0) & (tensor.abs() < smallest)).float().mean()


def _if_finite(states: Tensor, value: Tensor) -> Tensor:
    return torch.where(states.isfinite().all(), value, torch.nan)
