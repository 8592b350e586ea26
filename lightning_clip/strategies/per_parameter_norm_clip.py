"""`PerParameterNormClip`: each gradient by its own norm."""

from lightning_clip.core.actions import Action, ScaleEach
from lightning_clip.core.checks import check_positive
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.scaling import clip_coef


class PerParameterNormClip(ClipStrategy):
    r"""Scale the gradient of each parameter so that its own norm is at most `max_norm`.

    $$\hat g_i = \min\left(1, \frac{\text{max\_norm}}{\lVert g_i \rVert_p}\right) g_i$$

    The direction within each tensor is kept, the overall direction is not. Keras calls this rule `clipnorm`. The same
    limit for all favours small tensors: a norm grows like the square root of the number of elements.

    Args:
        max_norm: Largest norm of one gradient, in the unit of the gradient of the loss.
        norm_type: p of the p-norm, greater than 0; `inf` for the largest absolute element.

    Raises:
        ValueError: `max_norm` or `norm_type` is not positive.

    Example:
        >>> PerParameterNormClip(1.0)
        PerParameterNormClip(max_norm=1.0, norm_type=2.0)

    References:
        François Chollet and others, "Keras", 2015, `clipnorm`, https://keras.io/api/optimizers/.
    """

    def __init__(self, max_norm: float = 1.0, *, norm_type: float = 2.0) -> None:
        super().__init__()
        check_positive("PerParameterNormClip", max_norm=max_norm, norm_type=norm_type)
        self.max_norm = max_norm
        self.norm_type = norm_type

    def decide(self, grads: Gradients) -> Action:
        """Scale each by `min(1, max_norm / norm)`."""
        return ScaleEach(clip_coef(grads.norms(self.norm_type), self.max_norm), self.max_norm)
