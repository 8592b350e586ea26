"""`NormalizeGradient`: always the same norm."""

from typing import Literal

import torch
from torch import Tensor

from lightning_clip._checks import check_choice, check_positive_finite
from lightning_clip.core.actions import Action, Scale, ScaleEach
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy


def normalizing_coef(norm: Tensor, target: float) -> Tensor:
    """The factor that brings a norm to a target, up or down; 1 where the norm is 0 or not finite.

    Args:
        norm: Any shape, non-negative.
        target: The norm wanted, positive.

    Returns:
        A tensor of the shape of `norm`, each value positive and finite.

    Example:
        >>> normalizing_coef(torch.tensor([0.5, 4.0, 0.0, float("inf")]), 1.0)
        tensor([2.0000, 0.2500, 1.0000, 1.0000])
    """
    coef = (target / norm).clamp(max=torch.finfo(norm.dtype).max)  # 1e20 of 1e-20 is more than float32 holds
    return torch.where(norm.isfinite() & (norm > 0), coef, 1.0)


class NormalizeGradient(ClipStrategy):
    r"""Scale the gradients so that their norm is always `norm`: large ones down, **and small ones up**.

    $$\hat g = \text{norm} \cdot \frac{g}{\lVert g \rVert}$$

    This is the one family that may amplify: near a minimum the gradient no longer fades, so the learning rate has to.
    The direction is kept. A gradient of all zeros stays zero, and so does one whose elements are below 1e-23, where the
    norm in float32 is zero; one that is not finite is left as it is.

    Args:
        norm: The norm after scaling, in the unit of the gradient of the loss.
        per: `"global"` normalizes all gradients as one vector, `"parameter"` each on its own.

    Raises:
        ValueError: `norm` is not positive and finite, or `per` is unknown.

    Example:
        >>> NormalizeGradient(0.1)
        NormalizeGradient(norm=0.1, per='global')

    References:
        Elad Hazan, Kfir Y. Levy, Shai Shalev-Shwartz, "Beyond Convexity: Stochastic Quasi-Convex Optimization", 2015,
        https://arxiv.org/abs/1507.02030.
    """

    def __init__(self, norm: float = 1.0, *, per: Literal["global", "parameter"] = "global") -> None:
        super().__init__()
        check_positive_finite("NormalizeGradient", norm=norm)
        check_choice("NormalizeGradient", ("global", "parameter"), per=per)
        self.norm = norm
        self.per = per

    def decide(self, grads: Gradients) -> Action:
        """Scale by `norm / total norm`, or each by `norm / its own norm`."""
        if self.per == "parameter":
            return ScaleEach(normalizing_coef(grads.norms(), self.norm), self.norm)
        return Scale(normalizing_coef(grads.total_norm(), self.norm), self.norm)
