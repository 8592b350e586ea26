"""`CoordinateClip`: clip each element to a moving average of its own magnitude."""

from typing import Self

from lightning_clip._checks import check_non_negative, check_positive_finite
from lightning_clip.core.actions import Action
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.state.element_magnitudes import ElementHistory, ElementMagnitudes, check_element_rule
from lightning_clip.core.strategy import ClipStrategy


class CoordinateClip(ClipStrategy):
    r"""Limit each element of each gradient to the moving average of its magnitude.

    $$\hat g_j = \min\left(1, \frac{\tau_j}{|g_j| + \epsilon}\right) g_j, \qquad
    \tau_j^\alpha = \operatorname{EMA}(|g_j|^\alpha)$$

    $\tau$ is a bias-corrected average over earlier steps. It is tight on purpose: about four in ten elements of
    normally distributed gradients exceed their average. An element that is exactly zero keeps its average, and one that
    has always been zero is not limited. A step with a NaN or infinite gradient does not change any average. It takes
    one float32 of memory per element.

    Args:
        alpha: The power to average, the paper's alpha; 1 for the mean, 2 for the root mean square.
        decay: Weight of the past, in [0, 1); the paper's beta 2.
        eps: Added to each magnitude, in the unit of the loss gradient; 0 gives the exact limit. A value far above the
            gradients shrinks all of them.
        warmup_steps: How many steps a parameter learns before its elements are limited.
        history: How a magnitude enters the average: `"observed"` stores it unchanged, `"clipped"` after clipping, and
            `"winsorized"` so that no value raises τ by more than 2%.
        min_scale: Smallest scaling factor, in [0, 1].

    Raises:
        ArgumentTypeError: An argument has the wrong type.
        ArgumentError: An argument is out of range. At a step: a gradient is sparse.

    Example:
        >>> CoordinateClip(2.0).label
        'CoordinateClip(2.0)'

    References:
        Jingzhao Zhang, Sai Praneeth Karimireddy, Andreas Veit, Seungyeon Kim, Sashank Reddi, Sanjiv Kumar, Suvrit Sra,
        "Why are Adaptive Methods Good for Attention Models?", 2020, https://arxiv.org/abs/1912.03194 (ACClip). The
        paper clips a momentum, with averages that start at zero. We clip the gradient, so that it works with any
        optimizer, correct the bias of the averages, and winsorize spikes. `history="observed"` stores what the paper
        stores.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        decay: float = 0.99,
        eps: float = 1e-5,
        warmup_steps: int = 20,
        history: ElementHistory = "winsorized",
        min_scale: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive_finite("CoordinateClip", alpha=alpha)
        check_non_negative("CoordinateClip", eps=eps)
        check_element_rule(
            "CoordinateClip", decay=decay, warmup_steps=warmup_steps, history=history, min_scale=min_scale
        )
        self.alpha = alpha
        self.decay = decay
        self.eps = eps
        self.warmup_steps = warmup_steps
        self.history = history
        self.min_scale = min_scale
        self.magnitudes = ElementMagnitudes(decay, power=alpha, warmup_steps=warmup_steps, history=history)

    @classmethod
    def reference(cls, alpha: float = 1.0, *, decay: float = 0.99) -> Self:
        """ACClip's limit with its constants, but on the gradient instead of a momentum, and with bias correction.

        Args:
            alpha: The paper's α.
            decay: The paper's β2.

        Returns:
            The strategy.
        """
        return cls(alpha, decay=decay, warmup_steps=0, history="observed")

    def decide(self, grads: Gradients) -> Action:
        """Multiply each element by `min(1, τ / (|g| + eps))`."""
        return self.magnitudes.factors(grads, eps=self.eps, min_scale=self.min_scale)
