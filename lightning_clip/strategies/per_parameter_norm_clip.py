"""`PerParameterNormClip`: clip each gradient by its own norm."""

from typing import Self

from lightning_clip._checks import check_fraction, check_non_negative, check_positive, check_positive_finite
from lightning_clip.core.actions import Action, ScaleEach
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.scaling import clip_coef


class PerParameterNormClip(ClipStrategy):
    r"""Scale the gradient of each parameter so that its own norm is at most `max_norm`.

    $$\hat g_i = \min\left(1, \frac{\text{max\_norm}}{\lVert g_i \rVert_p}\right) g_i$$

    The direction within each tensor is kept; the overall direction is not. Keras calls this rule `clipnorm`. A shared
    limit favors small tensors, because a norm grows with the square root of the number of elements.

    Args:
        max_norm: Largest norm of one gradient, in the unit of the loss gradient.
        norm_type: p of the p-norm, greater than 0; `inf` for the largest absolute element.
        eps: Added to the norm. 0 is exact and Keras' `clipnorm`; 1e-6 matches torch's `clip_grad_norm_` on each
            parameter by itself.
        min_scale: Smallest scaling factor, in [0, 1]. Above 0, a gradient never vanishes, but its norm may stay above
            the limit.

    Raises:
        ArgumentTypeError: An argument has the wrong type.
        ArgumentError: `max_norm` or `norm_type` is not positive, or `min_scale` is outside [0, 1].

    Example:
        >>> PerParameterNormClip(1.0)
        PerParameterNormClip(max_norm=1.0, norm_type=2.0, eps=0.0, min_scale=0.0)

    References:
        François Chollet and others, "Keras", 2015, `clipnorm`, https://keras.io/api/optimizers/.

        Matteo Tucat, Anirbit Mukherjee, Procheta Sen, Mingfei Sun, Omar Rivasplata, "Regularized Gradient Clipping
        Provably Trains Wide and Deep Neural Networks", 2024, https://arxiv.org/abs/2404.08624, for `min_scale`.
    """

    scheduled_arg = "max_norm"

    def __init__(
        self, max_norm: float = 1.0, *, norm_type: float = 2.0, eps: float = 0.0, min_scale: float = 0.0
    ) -> None:
        super().__init__()
        check_positive_finite("PerParameterNormClip", max_norm=max_norm)
        check_positive("PerParameterNormClip", norm_type=norm_type)
        check_fraction("PerParameterNormClip", min_scale=min_scale)
        check_non_negative("PerParameterNormClip", eps=eps)
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.eps = eps
        self.min_scale = min_scale

    @classmethod
    def reference(cls, max_norm: float = 1.0) -> Self:
        """Keras' `clipnorm`, up to rounding; only a NaN or infinite norm differs, and leaves its gradient unchanged.

        Args:
            max_norm: Keras' `clipnorm`.

        Returns:
            The strategy.
        """
        return cls(max_norm)

    def decide(self, grads: Gradients) -> Action:
        """Scale each gradient by `min(1, max_norm / norm)`."""
        coefs = clip_coef(grads.norms(self.norm_type), self.max_norm, eps=self.eps, min_scale=self.min_scale)
        return ScaleEach(coefs, self.max_norm)
