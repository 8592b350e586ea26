"""`Multiply` and `Replace`: actions that change each element, unit or matrix of a gradient in its own way."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_clip.core.actions import Action
from lightning_clip.core.gradients import Gradients
from lightning_clip.functional.reading import is_free_to_read


class Multiply(Action):
    """Multiply each gradient by a tensor of factors that broadcasts to it, per unit or per element.

    Args:
        factors: `n` tensors; the i-th broadcasts to the shape of the i-th gradient, or of its local shard. `None`
            leaves that gradient unchanged.
        threshold: The limit in force, a number or `()`; `None` if there is no single limit.
        acts: Whether the factors are known to change something. Otherwise the action looks, where that is free, and
            skips those that are all 1.
    """

    def __init__(
        self,
        factors: Sequence[Tensor | None],
        threshold: Tensor | float | None = None,
        *,
        acts: bool = False,
    ) -> None:
        self.factors = list(factors)
        self.threshold = threshold
        self.acts = acts
        self.is_idle = all(factor is None for factor in self.factors)

    def apply_(self, grads: Gradients) -> None:
        """Multiply in place."""
        pairs = [
            (tensor, factor)
            for tensor, factor in zip(grads.locals, self.factors, strict=True)
            if factor is not None and (self.acts or not is_free_to_read(factor) or not bool((factor == 1.0).all()))
        ]
        if pairs:
            torch._foreach_mul_([tensor for tensor, _ in pairs], [factor for _, factor in pairs])


class Replace(Action):
    """Replace each gradient by given values.

    Args:
        values: `n` tensors, each of its gradient's shape; `None` leaves that gradient unchanged.
        threshold: The limit in force, a number or `()`; `None` if there is no single limit.
    """

    def __init__(self, values: Sequence[Tensor | None], threshold: Tensor | float | None = None) -> None:
        self.values = list(values)
        self.threshold = threshold

    def apply_(self, grads: Gradients) -> None:
        """Copy in place."""
        pairs = [(t, value) for t, value in zip(grads.locals, self.values, strict=True) if value is not None]
        if pairs:
            torch._foreach_copy_([tensor for tensor, _ in pairs], [value for _, value in pairs])
