"""`ValueClip`: clamp every element to fixed bounds."""

import math
from typing import Self

from lightning_clip._checks import check_positive_finite
from lightning_clip.core.actions import Action, Clamp
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy


class ValueClip(ClipStrategy):
    r"""Limit every element of every gradient to `[-clip_value, clip_value]`.

    $$\hat g_{ij} = \min(\max(g_{ij}, -\text{clip\_value}), \text{clip\_value})$$

    The direction changes. The resulting weights equal those of `Trainer(gradient_clip_val=clip_value,
    gradient_clip_algorithm="value")` bit for bit. An infinite element becomes a finite one, which hides an overflow, so
    combine it with a guard against non-finite gradients. NaN stays NaN.

    Args:
        clip_value: Largest absolute value of an element, in the unit of the loss gradient.

    Raises:
        ArgumentTypeError: `clip_value` is not a number.
        ArgumentError: `clip_value` is not positive.

    Example:
        >>> ValueClip(5.0)
        ValueClip(clip_value=5.0)

    References:
        Tomas Mikolov, "Statistical Language Models Based on Neural Networks", 2012 (PhD thesis, Brno University of
        Technology), https://www.fit.vut.cz/study/phd-thesis/283/. Same rule as `torch.nn.utils.clip_grad_value_`.
    """

    scheduled_arg = "clip_value"

    def __init__(self, clip_value: float = 0.5) -> None:
        super().__init__()
        check_positive_finite("ValueClip", clip_value=clip_value)
        self.clip_value = clip_value

    @classmethod
    def reference(cls, clip_value: float = 1.0) -> Self:
        """`torch.nn.utils.clip_grad_value_`, bit for bit.

        Args:
            clip_value: Largest absolute element.

        Returns:
            The strategy.
        """
        return cls(clip_value)

    def decide(self, grads: Gradients) -> Action:
        """Clamp to the bounds."""
        return Clamp(self.clip_value, grads.total_norm(math.inf))
