"""`GradientClamp`: bounds a derivative on its way back."""

from typing import Any

import torch
from torch import Tensor


class GradientClamp:
    """Leaves a tensor as it is in the forward pass, and clamps its derivative to [-bound, bound] in the backward pass.

    A bound is compared with the derivative of the loss as it is: where the loss is a mean over B sequences and T steps,
    derivatives are B·T times smaller than with a sum, and so should the bound be.

    Args:
        bound: The largest absolute value of an element of the derivative; `None` lets all pass.

    Attributes:
        loss_scale: What the loss was multiplied by before the backward pass, a number or `()`; the bound is multiplied
            by it too. Automatic mixed precision scales the loss.

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
        """Have the derivative of a tensor clamped.

        Args:
            x: Any shape.

        Returns:
            The same tensor.
        """
        if self.bound is not None and x.requires_grad:
            x.register_hook(self._clamp)  # type: ignore[no-untyped-call]
        return x

    @property
    def clamped_fraction(self) -> Tensor:
        """Share of the elements that were beyond the bound since the last `reset`, `()`; a NaN is not."""
        return torch.as_tensor(self._clamped / max(self._elements, 1))

    def reset(self) -> None:
        """Count from zero."""
        self._clamped: float | Tensor = 0.0
        self._elements = 0

    def _clamp(self, gradient: Tensor) -> Tensor:
        assert self.bound is not None
        limit: Any = self.bound * self.loss_scale
        self._clamped = (gradient.abs() > limit).sum() + self._clamped
        self._elements += gradient.numel()
        return gradient.clamp(-limit, limit)
