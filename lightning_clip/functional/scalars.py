"""Arithmetic on single numbers: numpy numbers where a tensor is free to read, tensors where it is not."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_clip.functional.reading import is_free_to_read

Scalar = Any
"""A numpy number or a tensor. Both have the same operators and, for the same dtype, round in the same way.

An operation on numpy numbers takes a hundredth of the time of one on tensors. A formula that uses operators and the
functions here works on both, so it needs no branch of its own.
"""

_NUMBERS = {torch.float32: np.float32, torch.float64: np.float64, torch.int64: np.int64, torch.bool: np.bool_}


def scalar(value: Scalar) -> Scalar:
    """A tensor as a number of the same dtype if it is free to read; otherwise, what was given.

    Args:
        value: `()`, float32, float64, int64 or boolean.

    Returns:
        The number or the tensor.

    Example:
        >>> scalar(torch.tensor(0.1)) * 3.0
        np.float32(0.3)
    """
    if isinstance(value, Tensor) and is_free_to_read(value):
        return _NUMBERS[value.dtype](value.item())
    return value


def like(value: float, other: Scalar) -> Scalar:
    """A Python number in the type of another scalar; beside a tensor it may stay as it is."""
    return value if isinstance(other, Tensor) else type(other)(value)


def as_tensor(value: Scalar) -> Tensor:
    """A scalar as a tensor `()`, with the dtype of its number."""
    return value if isinstance(value, Tensor) else torch.from_numpy(np.asarray(value))


def where(condition: Scalar, yes: Scalar, no: Scalar) -> Scalar:
    """Return `yes` if the condition holds, otherwise `no`."""
    if isinstance(condition, Tensor):
        return torch.where(condition, yes, no)
    return yes if condition else no


def choose(condition: Scalar, yes: Callable[[], Scalar], no: Callable[[], Scalar]) -> Scalar:
    """Like `where`, but of two functions: both are called only if the condition cannot be read."""
    if isinstance(condition, Tensor):
        return torch.where(condition, yes(), no())
    return yes() if condition else no()


def maximum(a: Scalar, b: Scalar) -> Scalar:
    """The larger of two scalars; NaN if one is NaN. A Python number comes second."""
    if isinstance(a, Tensor):
        return torch.maximum(a, b) if isinstance(b, Tensor) else a.clamp(min=b)
    return a if a >= b or a != a else b


def minimum(a: Scalar, b: Scalar) -> Scalar:
    """The smaller of two scalars; NaN if one is NaN. A Python number comes second."""
    if isinstance(a, Tensor):
        return torch.minimum(a, b) if isinstance(b, Tensor) else a.clamp(max=b)
    return a if a <= b or a != a else b


def sqrt(value: Scalar) -> Scalar:
    """The square root."""
    return value.sqrt() if isinstance(value, Tensor) else np.sqrt(value)


def invert(condition: Scalar) -> Scalar:
    """The opposite of a boolean; `~` turns Python's `True` into -2."""
    return ~condition if isinstance(condition, Tensor) else not condition


def lerp(start: Scalar, end: Scalar, weight: float) -> Scalar:
    """`start + weight · (end - start)`, as torch rounds it: from the nearer end."""
    if isinstance(start, Tensor):
        return torch.lerp(start, end.to(start.dtype), weight)
    return start + weight * (end - start) if weight < 0.5 else end - (end - start) * (1 - weight)


def is_finite(value: Scalar) -> Scalar:
    """Whether a scalar is neither NaN nor infinite."""
    return value.isfinite() if isinstance(value, Tensor) else math.isfinite(value)


def hypot(value: Scalar, other: float) -> Scalar:
    """The root of the sum of squares, which do not overflow."""
    return torch.hypot(value, torch.full_like(value, other)) if isinstance(value, Tensor) else np.hypot(value, other)


def tanh(value: Scalar) -> Scalar:
    """The hyperbolic tangent."""
    return value.tanh() if isinstance(value, Tensor) else np.tanh(value)
