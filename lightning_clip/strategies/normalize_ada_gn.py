"""`NormalizeAdaGN`: give each gradient the norm that its own recent norms make likely."""

from typing import Self

import torch
from torch import Tensor

from lightning_clip._checks import check_choice, check_decay, check_positive, check_positive_finite
from lightning_clip.core.actions import Action, Keep, ScaleEach
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.state import EXPLOSION, PerParameter, has_signal, to_store
from lightning_clip.core.state.element_magnitudes import ELEMENT_HISTORIES, ElementHistory
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.averaging import average_gain, next_average
from lightning_clip.functional.scaling import finite_or


class NormalizeAdaGN(ClipStrategy):
    r"""Scale each gradient to the ratio of the mean to the root mean square of its own norms, **up or down**.

    $$\hat g = \text{norm} \cdot \frac{g}{\lVert g \rVert} \cdot \frac{\hat m}{\sqrt{\hat v} + \epsilon}, \qquad
    m \leftarrow \gamma_1 m + (1 - \gamma_1) n, \quad v \leftarrow \gamma_2 v + (1 - \gamma_2) n^2$$

    n is the norm of the gradient, after the `history` policy; $\hat m$ and $\hat v$ are bias-corrected averages per
    parameter that include the current step. What is left of a gradient is about `norm` while its norms are steady, less
    while they fluctuate, and hardly depends on their scale. Like `NormalizeGradient`, the rule may amplify, so the
    learning rate has to decay. The direction of each gradient is kept; the overall direction is not.

    With the source's history, `"observed"`, a spike of a thousand times the level enters the average of squares
    unchanged, and seven steps later less than a tenth of the norm is left, for 50 steps. By default, it enters as twice
    the average norm, and a fall below a 32nd of the root mean square starts the averages anew.
    Zero gradients stay zero and are not averaged. A step with a NaN or infinite gradient changes no average, and leaves
    such gradients unchanged.

    The paper applies it after `AdaptiveMaxClip`: `Chain([AdaptiveMaxClip(), NormalizeAdaGN()])`.

    Args:
        gamma1: $\gamma_1$, the weight of the past in the average norm, in [0, 1).
        gamma2: $\gamma_2$, the weight of the past in the average of squared norms, in [0, 1).
        norm: The norm after scaling while norms are steady, in the unit of the loss gradient.
        history: How a norm enters the averages: `"observed"` stores it unchanged, `"clipped"` at most as the average
            norm, and `"winsorized"` at most as twice the average norm.
        eps: $\epsilon$, added to the root mean square, in the unit of the loss gradient.

    Raises:
        ArgumentTypeError: An argument has the wrong type.
        ArgumentError: An argument is out of range, or `history` is unknown.

    Example:
        >>> NormalizeAdaGN(0.9).label
        'NormalizeAdaGN(0.9)'

    References:
        Tianjin Huang, Haotian Hu, Zhenyu Zhang, Gaojie Jin, Xiang Li, Li Shen, Tianlong Chen, Lu Liu, Qingsong Wen,
        Zhangyang Wang, Shiwei Liu, "Stable-SPAM: How to Train in 4-Bit More Stably than 16-Bit Adam", 2025,
        https://arxiv.org/abs/2502.17055 (AdaGN). `NormalizeAdaGN.reference()` is the paper's rule. We differ in the
        default history, and in counting the steps of each parameter separately.
    """

    def __init__(
        self,
        gamma1: float = 0.7,
        *,
        gamma2: float = 0.9,
        norm: float = 1.0,
        history: ElementHistory = "winsorized",
        eps: float = 1e-8,
    ) -> None:
        super().__init__()
        check_decay("NormalizeAdaGN", gamma1=gamma1, gamma2=gamma2)
        check_positive_finite("NormalizeAdaGN", norm=norm)
        check_positive("NormalizeAdaGN", eps=eps)
        check_choice("NormalizeAdaGN", ELEMENT_HISTORIES, history=history)
        self.gamma1 = gamma1
        self.gamma2 = gamma2
        self.norm = norm
        self.history = history
        self.eps = eps
        self.averages = PerParameter(mean=0.0, root=0.0, steps=0.0)

    @classmethod
    def reference(cls, gamma1: float = 0.7, *, gamma2: float = 0.9) -> Self:
        """The paper's rule, equal to its code up to rounding, with its constants.

        Two things differ on purpose: a NaN or infinite gradient changes no average, and a parameter without a gradient
        at a step does not count it.

        Args:
            gamma1: Weight of the past in the average norm.
            gamma2: Weight of the past in the average of squared norms.

        Returns:
            The strategy.
        """
        return cls(gamma1, gamma2=gamma2, history="observed")

    def decide(self, grads: Gradients) -> Action:
        """Scale each gradient by `norm * mean / (root mean square + eps) / its norm`."""
        if not len(grads):
            return Keep()
        norms = grads.norms()
        mean, root = self._averaged(grads, norms)
        target = self.norm * mean / (root + self.eps)
        coefs = finite_or(target / norms, 1.0)  # a zero or non-finite gradient, or none before it
        return ScaleEach(torch.where((norms > 0) & norms.isfinite() & (root > 0), coefs, 1.0))

    def _averaged(self, grads: Gradients, norms: Tensor) -> tuple[Tensor, Tensor]:
        """The mean and the root mean square of the norms including this step, each `(n,)`."""
        mean, root, steps = self.averages.take(grads)
        if self.history != "observed":  # an explosion among the first norms must not hold down all later ones
            fell = has_signal(grads, norms) & (EXPLOSION * norms < root)
            mean, steps = (torch.where(fell, 0.0, one) for one in (mean, steps))
        value, _ = to_store(self.history, norms, torch.where(steps > 0, mean, torch.inf))
        observed = has_signal(grads, norms)
        gain = average_gain(self.gamma2, steps + 1)
        # Roots and not squares are kept, because the square of a finite norm can overflow.
        mean = torch.where(observed, next_average(mean, value, decay=self.gamma1, count=steps), mean)
        root = torch.where(observed, torch.hypot((1 - gain).sqrt() * root, gain.sqrt() * value), root)
        self.averages.put(grads, mean, root, steps + observed)
        return mean, root
