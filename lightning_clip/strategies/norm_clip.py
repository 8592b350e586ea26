"""`NormClip`: scale all gradients by one factor, from their total norm."""

from typing import Self

from lightning_clip._checks import check_fraction, check_non_negative, check_positive, check_positive_finite
from lightning_clip.core.actions import Action, Scale
from lightning_clip.core.total_norm_strategy import TotalNormStrategy
from lightning_clip.functional.scalars import Scalar
from lightning_clip.functional.scaling import clip_coef


class NormClip(TotalNormStrategy):
    r"""Scale all gradients by one factor so that their total norm is at most `max_norm`.

    $$\hat g = \min\left(1, \frac{\text{max\_norm}}{\lVert g \rVert_p + \epsilon}\right) g$$

    The direction is kept. With the defaults, the resulting weights equal those of `Trainer(gradient_clip_val=max_norm)`
    bit for bit. Keras calls this rule `global_clipnorm`. A NaN or infinite norm leaves the gradients unchanged.

    Args:
        max_norm: Largest total norm, in the unit of the loss gradient.
        norm_type: p of the p-norm, greater than 0; `inf` for the largest absolute element.
        eps: Added to the norm. 1e-6 matches torch; 0 gives the exact rule, which leaves a norm equal to the limit
            unchanged.
        min_scale: Smallest scaling factor, in [0, 1]. Above 0, the gradient never vanishes, but its norm may stay above
            the limit.

    Raises:
        ArgumentTypeError: An argument has the wrong type.
        ArgumentError: `max_norm` or `norm_type` is not positive, `eps` is negative, or `min_scale` is outside [0, 1].

    Example:
        >>> NormClip(0.5)
        NormClip(max_norm=0.5, norm_type=2.0, eps=1e-06, min_scale=0.0)

    References:
        Razvan Pascanu, Tomas Mikolov, Yoshua Bengio, "On the difficulty of training recurrent neural networks", 2013,
        https://arxiv.org/abs/1211.5063. The paper also clips a norm that equals the limit, which changes nothing.

        Matteo Tucat, Anirbit Mukherjee, Procheta Sen, Mingfei Sun, Omar Rivasplata, "Regularized Gradient Clipping
        Provably Trains Wide and Deep Neural Networks", 2024, https://arxiv.org/abs/2404.08624, for `min_scale`.
    """

    scheduled_arg = "max_norm"

    def __init__(
        self, max_norm: float = 1.0, *, norm_type: float = 2.0, eps: float = 1e-6, min_scale: float = 0.0
    ) -> None:
        super().__init__()
        check_positive_finite("NormClip", max_norm=max_norm)
        check_positive("NormClip", norm_type=norm_type)
        check_non_negative("NormClip", eps=eps)
        check_fraction("NormClip", min_scale=min_scale)
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.eps = eps
        self.min_scale = min_scale

    @classmethod
    def reference(cls, max_norm: float = 1.0) -> Self:
        """`torch.nn.utils.clip_grad_norm_`, bit for bit; a NaN or infinite norm differs, and changes nothing.

        Args:
            max_norm: Largest total norm.

        Returns:
            The strategy.
        """
        return cls(max_norm)

    def decide_on(self, norm: Scalar) -> Action:
        """Scale by `min(1, max_norm / (total norm + eps))`."""
        return Scale(clip_coef(norm, self.max_norm, eps=self.eps, min_scale=self.min_scale), self.max_norm)
