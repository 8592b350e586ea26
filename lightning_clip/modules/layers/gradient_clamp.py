"""`GradientClamp`: clamps the gradient of a tensor in the backward pass."""

from typing import Any

import torch
from torch import Tensor


class GradientClamp:
    """Identity in the forward pass; clamps the gradient of a tensor to [-bound, bound] in the backward pass.

    Choose the bound for the loss in use: if it is a mean over B sequences and T steps, gradients are B·T times smaller
    than for a sum, and the bound should be too.

    Args:
        bound: The largest absolute value of an element of the gradient; `None` for no clamping.

    Attributes:
        loss_scale: Factor by which the loss is scaled before the backward pass, a number or a tensor `()`, for instance
            by automatic mixed precision. The bound is multiplied by it too.

    Example:
        >>> clamp = GradientClamp(0.5)
        >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> (clamp(x * 1.0) * torch.tensor([0.2, 3.0])).sum().backward()
        >>> x.grad
        tensor([0.2000, 0.5000])
        >>> clamp.clamped_fraction
        tensor(0.5000)

    References:
        Alex Graves, "Generating Sequences With Recurrent Neural Networks", 2013, https://arxiv.org/abs/1308.0850.
    """

    def __init__(self, bound: float | None) -> None:
        self.bound = bound
        self.loss_scale: float | Tensor = 1.0
        self.reset()

    def __call__(self, x: Tensor) -> Tensor:
        """Clamp the gradient of a tensor in the backward pass.

        Args:
            x: A tensor of any shape.

        Returns:
            The same tensor.
        """
        if self.bound is not None and x.requires_grad:
            x.register_hook(self._clamp)  # type: ignore[no-untyped-call]
        return x

    @property
    def clamped_fraction(self) -> Tensor:
        """Fraction of gradient elements beyond the bound since the last `reset`, `()`; NaN does not count."""
        return torch.as_tensor(self._clamped / max(self._elements, 1))

    def reset(self) -> None:
        """Restart the count of clamped elements."""
        self._clamped: float | Tensor = 0.0
        self._elements = 0

    def _clamp(self, gradient: Tensor) -> Tensor:
        assert self.bound is not None
        limit: Any = self.bound * self.loss_scale
        self._clamped = (gradient.abs() > limit).sum() + self._clamped
        self._elements += gradient.numel()
        return gradient.clamp(-limit, limit)
