"""`PerParameterRatioClip`: clip each gradient by the ratio of its norm to its parameter's norm."""

from typing import Self

from lightning_clip._checks import check_fraction, check_positive_finite
from lightning_clip.core.actions import Action, ScaleEach
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.scaling import clip_coef


class PerParameterRatioClip(ClipStrategy):
    r"""Limit the norm of each gradient to a fraction of its parameter's norm: `AGC` with whole tensors as units.

    $$\hat g_i = \min\left(1, \lambda \frac{\max(\lVert w_i \rVert, \epsilon)}{\lVert g_i \rVert}\right) g_i$$

    The parameter norms are taken before the step. A parameter that starts at zero still moves, because `eps` is a floor
    for its norm. A NaN or infinite gradient is left unchanged, and the others are still clipped.

    Args:
        clip_factor: λ, the largest ratio of gradient norm to parameter norm.
        eps: Floor for the norm of a parameter; positive.
        min_scale: Smallest scaling factor, in [0, 1]. Above 0, a gradient never vanishes, but its norm may stay above
            the limit.

    Raises:
        ArgumentTypeError: An argument is not a number.
        ArgumentError: `clip_factor` or `eps` is not positive, or `min_scale` is outside [0, 1].

    Example:
        >>> PerParameterRatioClip(0.1)
        PerParameterRatioClip(clip_factor=0.1, eps=0.001, min_scale=0.0)

    References:
        Danijar Hafner, Jurgis Pasukonis, Jimmy Ba, Timothy Lillicrap, "Mastering Diverse Domains through World Models",
        2023, https://arxiv.org/abs/2301.04104.
    """

    def __init__(self, clip_factor: float = 0.3, *, eps: float = 1e-3, min_scale: float = 0.0) -> None:
        super().__init__()
        check_positive_finite("PerParameterRatioClip", clip_factor=clip_factor, eps=eps)
        check_fraction("PerParameterRatioClip", min_scale=min_scale)
        self.clip_factor = clip_factor
        self.eps = eps
        self.min_scale = min_scale

    @classmethod
    def reference(cls, clip_factor: float = 0.3, *, eps: float = 1e-3) -> Self:
        """DreamerV3's `clip_by_agc` with its constants, up to rounding; a NaN or infinite gradient differs, and stays.

        Args:
            clip_factor: The source's `clip`.
            eps: The source's `pmin`.

        Returns:
            The strategy.
        """
        return cls(clip_factor, eps=eps)

    def decide(self, grads: Gradients) -> Action:
        """Scale each gradient by `min(1, max(min_scale, clip_factor * max(parameter norm, eps) / gradient norm))`."""
        limits = self.clip_factor * grads.param_norms().clamp(min=self.eps)
        return ScaleEach(clip_coef(grads.norms(), limits, min_scale=self.min_scale))
