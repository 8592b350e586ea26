"""`NormalizeGradient`: scale gradients to a fixed norm."""

from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

from lightning_clip._checks import check_choice, check_non_negative, check_positive_finite
from lightning_clip.core.actions import Action, Scale, ScaleEach
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.total_norm_strategy import TotalNormStrategy
from lightning_clip.functional.scalars import Scalar, like, minimum, where


def normalizing_coef(norm: Scalar, target: float, *, eps: float = 0.0) -> Scalar:
    """The factor that brings a norm to a target, up or down; 1 if the norm is 0, NaN or infinite.

    Args:
        norm: A number or a tensor of any shape, non-negative.
        target: The target norm, positive.
        eps: Added to the norm.

    Returns:
        A number or a tensor like `norm`, each value positive and finite.

    Example:
        >>> normalizing_coef(torch.tensor([0.5, 4.0, 0.0, float("inf")]), 1.0)
        tensor([2.0000, 0.2500, 1.0000, 1.0000])
    """
    largest = torch.finfo(norm.dtype).max if isinstance(norm, Tensor) else np.finfo(norm.dtype).max
    coef = minimum(target / (norm + eps if eps else norm), largest)  # 1e20 / 1e-20 overflows float32
    return where((norm < torch.inf) & (norm > 0), coef, like(1.0, norm))


class NormalizeGradient(TotalNormStrategy):
    r"""Scale the gradients so that their norm is always `norm`: large ones down, **and small ones up**.

    $$\hat g = \text{norm} \cdot \frac{g}{\lVert g \rVert}$$

    This is the only family of rules that may amplify. Gradients no longer fade near a minimum, so the learning rate has
    to decay. The direction is kept. An all-zero gradient stays zero, and so does one with all elements below 1e-23,
    where the float32 norm is zero. A NaN or infinite gradient is left unchanged.

    Args:
        norm: The norm after scaling, in the unit of the loss gradient.
        per: `"global"` normalizes all gradients as one vector, `"parameter"` each one separately.
        eps: Added to the norm in the quotient. 0 is exact; above 0, gradients far below it stay small.

    Raises:
        ArgumentTypeError: `norm` is not a number.
        ArgumentError: `norm` is not positive and finite, or `per` is unknown.

    Example:
        >>> NormalizeGradient(0.1)
        NormalizeGradient(norm=0.1, per='global', eps=0.0)

    References:
        Elad Hazan, Kfir Y. Levy, Shai Shalev-Shwartz, "Beyond Convexity: Stochastic Quasi-Convex Optimization", 2015,
        https://arxiv.org/abs/1507.02030.

        The Optax authors, `normalize_by_update_norm`, 2023, https://github.com/google-deepmind/optax, which adds 1e-6
        to the norm: `NormalizeGradient.reference()`.
    """

    def __init__(self, norm: float = 1.0, *, per: Literal["global", "parameter"] = "global", eps: float = 0.0) -> None:
        super().__init__()
        check_positive_finite("NormalizeGradient", norm=norm)
        check_choice("NormalizeGradient", ("global", "parameter"), per=per)
        self.norm = norm
        check_non_negative("NormalizeGradient", eps=eps)
        self.per = per
        self.eps = eps

    @classmethod
    def reference(cls, norm: float = 1.0) -> Self:
        """Optax' `normalize_by_update_norm`, up to rounding; only a NaN or infinite norm differs, and changes nothing.

        Args:
            norm: The source's `scale_factor`.

        Returns:
            The strategy.
        """
        return cls(norm, eps=1e-6)

    def decide(self, grads: Gradients) -> Action:
        """Scale all gradients by `norm / total norm`, or each by `norm / own norm`."""
        if self.per == "parameter":
            return ScaleEach(normalizing_coef(grads.norms(), self.norm, eps=self.eps), self.norm)
        return super().decide(grads)

    def decide_on(self, norm: Scalar) -> Action:
        """Scale all gradients by `norm / total norm`."""
        return Scale(normalizing_coef(norm, self.norm, eps=self.eps), self.norm)
