"""Fractions of recurrent units that are saturated or dead, of gates that are stuck, and of denormal numbers."""

import torch
from torch import Tensor

SATURATED = 0.95
"""A tanh unit beyond this limit passes back less than a tenth of the gradient."""

CLOSED, OPEN = 0.05, 0.95
"""A gate outside these limits barely learns."""


def saturated_fraction(states: Tensor, limit: float = SATURATED) -> Tensor:
    """The fraction of states whose absolute value is above a limit.

    Args:
        states: Outputs of tanh units, any shape.
        limit: The limit, in [0, 1).

    Returns:
        `()`; NaN if a state is NaN or infinite.

    Example:
        >>> saturated_fraction(torch.tensor([0.99, -0.99, 0.5, 0.0]))
        tensor(0.5000)
    """
    return _if_finite(states, (states.abs() > limit).float().mean())


def dead_fraction(states: Tensor) -> Tensor:
    """The fraction of units that are not above zero in any row.

    Args:
        states: Outputs of ReLU units, `(rows, units)`.

    Returns:
        `()`; NaN if a state is NaN or infinite.

    Example:
        >>> dead_fraction(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
        tensor(0.5000)
    """
    return _if_finite(states, (states <= 0).all(dim=0).float().mean())


def saturated_gate_fraction(gates: Tensor) -> Tensor:
    """The fraction of gates that are closed (below 0.05) or open (above 0.95).

    Args:
        gates: Activations of sigmoid gates, any shape.

    Returns:
        `()`; NaN if an activation is NaN or infinite.

    Example:
        >>> saturated_gate_fraction(torch.tensor([0.01, 0.99, 0.5, 0.5]))
        tensor(0.5000)
    """
    return _if_finite(gates, ((gates < CLOSED) | (gates > OPEN)).float().mean())


def denormal_fraction(tensor: Tensor) -> Tensor:
    """The fraction of denormal numbers: not zero, but below 1.18e-38 in float32 and so without full precision.

    Arithmetic with denormals is several times slower on many CPUs, unless `torch.set_flush_denormal(True)` turns them
    into zeros.

    Args:
        tensor: Any shape; half precision uses the limit of float32.

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
