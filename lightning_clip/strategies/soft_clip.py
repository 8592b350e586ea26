"""`SoftClip`: shrink the total norm smoothly toward a limit, without a hard threshold."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from lightning_clip._checks import check_choice, check_fraction, check_positive
from lightning_clip.core.actions import Action, Scale
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.scaling import finite_or

Shape = Literal["sqrt", "rational", "tanh"]

_FACTORS: dict[Shape, Callable[[Tensor], Tensor]] = {
    "sqrt": lambda ratio: 1 / torch.hypot(ratio, torch.ones_like(ratio)),  # squares would overflow
    "rational": lambda ratio: 1 / (1 + ratio),
    "tanh": lambda ratio: ratio.tanh() / ratio,
}


def soft_coef(norm: Tensor, limit: float, shape: Shape) -> Tensor:
    """The factor that brings a norm smoothly below a limit; 1 if the norm is 0, NaN or infinite.

    Args:
        norm: Any shape, non-negative.
        limit: The value that the clipped norm approaches as the norm grows, positive.
        shape: See `SoftClip`.

    Returns:
        A tensor of the shape of `norm`, each value in [0, 1].

    Example:
        >>> soft_coef(torch.tensor([0.0, 0.75, 1e6]), 1.0, "sqrt")
        tensor([1.0000e+00, 8.0000e-01, 1.0000e-06])
    """
    factor = finite_or(_FACTORS[shape](norm / limit), 1.0).clamp(max=1.0)
    return torch.where(norm.isfinite(), factor, 1.0)


class SoftClip(ClipStrategy):
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
        check_positive("SoftClip", max_norm=max_norm)
        check_choice("SoftClip", tuple(_FACTORS), shape=shape)
        check_fraction("SoftClip", min_scale=min_scale)
        self.max_norm = max_norm
        self.shape: Shape = shape
        self.min_scale = min_scale

    def decide(self, grads: Gradients) -> Action:
        """Scale by the smooth factor."""
        coef = soft_coef(grads.total_norm(), self.max_norm, self.shape)
        return Scale(coef.clamp(min=self.min_scale), self.max_norm)
