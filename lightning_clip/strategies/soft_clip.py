"""`SoftClip`: shrink the total norm smoothly toward a limit, without a hard threshold."""

import math
from collections.abc import Callable
from typing import Literal

from lightning_clip._checks import check_choice, check_fraction, check_positive_finite
from lightning_clip.core.actions import Action, Scale
from lightning_clip.core.total_norm_strategy import TotalNormStrategy
from lightning_clip.functional.scalars import Scalar, hypot, is_finite, like, maximum, minimum, tanh, where

Shape = Literal["sqrt", "rational", "tanh"]

_FACTORS: dict[Shape, Callable[[Scalar], Scalar]] = {
    "sqrt": lambda ratio: 1 / hypot(ratio, 1.0),  # squares would overflow
    "rational": lambda ratio: 1 / (1 + ratio),
    "tanh": lambda ratio: tanh(ratio) / ratio,
}


def soft_coef(norm: Scalar, limit: float, shape: Shape) -> Scalar:
    """The factor that brings a norm smoothly below a limit; 1 if the norm is 0, NaN or infinite.

    Args:
        norm: A number or a tensor of any shape, non-negative.
        limit: The value that the clipped norm approaches as the norm grows, positive.
        shape: See `SoftClip`.

    Returns:
        A number or a tensor like `norm`, each value in [0, 1].

    Example:
        >>> import torch
        >>> soft_coef(torch.tensor([0.0, 0.75, 1e6]), 1.0, "sqrt")
        tensor([1.0000e+00, 8.0000e-01, 1.0000e-06])
    """
    factor = minimum(_FACTORS[shape](norm / limit), 1.0)
    return where((norm < math.inf) & is_finite(factor), factor, like(1.0, norm))


class SoftClip(TotalNormStrategy):
    r"""Scale all gradients by one factor that falls smoothly, so that their total norm stays below `max_norm`.

    With r = ‖g‖ / max_norm, the factor is

    $$\frac{1}{\sqrt{1 + r^2}} \;\text{(sqrt)}, \qquad \frac{1}{1 + r} \;\text{(rational)}, \qquad
    \frac{\tanh r}{r} \;\text{(tanh)}$$

    The direction is kept. Every gradient shrinks a little, small ones least: at a tenth of the limit by 0.5%, 9% and
    0.3%, respectively. The order of norms is kept too, so a large gradient still counts more than a small one. A NaN or
    infinite norm leaves the gradients unchanged.

    Args:
        max_norm: The value that the total norm approaches as it grows, in the unit of the loss gradient.
        shape: The shape of the curve: `"sqrt"`, `"rational"` (the most gradual) or `"tanh"` (the closest to a hard
            limit).
        min_scale: Smallest scaling factor, in [0, 1]. Above 0, the gradient never vanishes, but its norm may exceed the
            limit.

    Raises:
        ArgumentTypeError: An argument has the wrong type.
        ArgumentError: `max_norm` is not positive, `shape` is unknown, or `min_scale` is outside [0, 1].

    Example:
        >>> SoftClip(0.5)
        SoftClip(max_norm=0.5, shape='sqrt', min_scale=0.0)

    References:
        Xiaowen Jiang, Andrei Semenov, Sebastian U. Stich, "Enhancing LLM Training via Spectral Clipping", 2026,
        https://arxiv.org/abs/2603.14315, for `"sqrt"`, which the paper gives for vectors.

        Bohang Zhang, Jikai Jin, Cong Fang, Liwei Wang, "Improved Analysis of Clipping Algorithms for Non-convex
        Optimization", 2020, https://arxiv.org/abs/2010.02519, whose code uses `"rational"`. `"tanh"` is ours.
    """

    def __init__(self, max_norm: float = 1.0, *, shape: Shape = "sqrt", min_scale: float = 0.0) -> None:
        super().__init__()
        check_positive_finite("SoftClip", max_norm=max_norm)
        check_choice("SoftClip", tuple(_FACTORS), shape=shape)
        check_fraction("SoftClip", min_scale=min_scale)
        self.max_norm = max_norm
        self.shape: Shape = shape
        self.min_scale = min_scale

    def decide_on(self, norm: Scalar) -> Action:
        """Scale by the smooth factor."""
        coef = soft_coef(norm, self.max_norm, self.shape)
        return Scale(maximum(coef, like(self.min_scale, coef)), self.max_norm)
