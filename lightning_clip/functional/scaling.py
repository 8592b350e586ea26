"""Clip coefficients: the factor that brings a norm down to its limit."""

import numpy as np
import torch
from torch import Tensor

from lightning_clip.functional.scalars import Scalar


def finite_or(value: Tensor, default: Tensor | float) -> Tensor:
    """Return `value` where it is finite and `default` elsewhere, without reading the device.

    Args:
        value: Any shape.
        default: A number, or a tensor that broadcasts to the shape of `value`.

    Returns:
        A tensor of the shape and dtype of `value`.

    Example:
        >>> finite_or(torch.tensor([2.0, float("nan"), float("inf")]), 1.0)
        tensor([2., 1., 1.])
    """
    fallback = default.to(value.dtype) if isinstance(default, Tensor) else default
    return torch.where(value.isfinite(), value, fallback)


def clip_coef(norm: Scalar, limit: Scalar, *, eps: float = 0.0, min_scale: float = 0.0) -> Scalar:
    """The factor that brings a norm down to a limit, `min(1, max(min_scale, limit / (norm + eps)))`; never above 1.

    The factor is 1 where the norm is NaN or infinite, or where the quotient is undefined (`0 / 0`). Scaling cannot
    repair a non-finite gradient, and zero times infinity would spread NaN.

    Args:
        norm: A number or a tensor of any shape, non-negative.
        limit: A number, or a tensor that broadcasts to the shape of `norm`.
        eps: Added to the norm. `0.0` is the exact rule. `1e-6` matches `torch.nn.utils.clip_grad_norm_`, which also
            shrinks a norm equal to the limit, by a relative 1e-6 / limit.
        min_scale: Smallest factor, in [0, 1]. Above 0, a norm may stay above the limit.

    Returns:
        A number of the type of `norm`, or a tensor of its shape, each value in [min_scale, 1].

    Example:
        >>> clip_coef(torch.tensor([0.5, 4.0, float("inf")]), 1.0)
        tensor([1.0000, 0.2500, 1.0000])
    """
    if isinstance(norm, Tensor):
        # Infinity minus itself is NaN, as for a quotient that is undefined. Comparisons would take five times as long.
        coef = limit / (norm + eps if eps else norm) + (norm - norm)
        return coef.clamp_(min=min_scale or None, max=1.0).nan_to_num_(nan=1.0)
    number = type(norm)
    one = number(1.0)
    size = norm + eps if eps else norm
    if not norm < torch.inf or not size > 0:
        return one
    # As torch computes it: a number over a tensor is the number times the reciprocal, which is rounded first.
    coef = limit / size if isinstance(limit, np.floating) else (one / size) * limit
    if min_scale:
        coef = max(coef, number(min_scale))
    return coef if coef <= one else one
