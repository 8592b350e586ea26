"""`AdaptiveMaxClip`: clip the largest elements of each gradient to a moving average of its largest element."""

import math
from typing import Self

import torch
from torch import Tensor

from lightning_clip._checks import check_choice, check_decay, check_fraction
from lightning_clip.core.actions import Action
from lightning_clip.core.element_actions import Multiply
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.state import PerParameter, has_signal, to_store
from lightning_clip.core.state.element_magnitudes import ELEMENT_HISTORIES, ElementHistory
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.averaging import next_average
from lightning_clip.functional.blocks import Blocks
from lightning_clip.functional.reading import is_free_to_read
from lightning_clip.functional.scaling import clip_coef


class AdaptiveMaxClip(ClipStrategy):
    r"""Scale down the elements of each gradient that exceed the moving average of its largest element.

    $$T \leftarrow \text{decay} \cdot T + (1 - \text{decay}) M, \qquad
    \hat g_j = \begin{cases} g_j \hat T / M & |g_j| > \hat T \\ g_j & \text{otherwise} \end{cases}$$

    $M = \max_j |g_j|$ and $\hat T = T / (1 - \text{decay}^k)$ are numbers per parameter. The average includes the
    gradient that it limits. Elements above it keep their proportions and elements just below it stay unchanged, so the
    map is not monotonic. With the default history, a spike enters the average as twice the previous average, which it
    raises by 0.1%. With the paper's `"observed"`, a thousandth of a spike stays in the average for long, and an
    explosion carries the limit away. The default decay is slow: a rise of the level to 8 times is followed within 2,500
    steps, and with `decay=0.7` within 12. Zero gradients are skipped. A step with a NaN or infinite gradient does not
    change any average.

    Args:
        decay: Weight of the past, in [0, 1); the paper's γ3 (`theta` in its code).
        history: How the largest element enters the average: `"observed"` stores it unchanged, `"clipped"` limits it to
            the previous average, and `"winsorized"` to twice the previous average.
        min_scale: Smallest scaling factor, in [0, 1].

    Raises:
        ArgumentTypeError: An argument has the wrong type.
        ArgumentError: An argument is out of range.

    Example:
        >>> AdaptiveMaxClip(0.9)
        AdaptiveMaxClip(decay=0.9, history='winsorized', min_scale=0.0)

    References:
        Tianjin Huang, Haotian Hu, Zhenyu Zhang, Gaojie Jin, Xiang Li, Li Shen, Tianlong Chen, Lu Liu, Qingsong Wen,
        Zhangyang Wang, Shiwei Liu, "Stable-SPAM: How to Train in 4-Bit More Stably than 16-Bit Adam", 2025,
        https://arxiv.org/abs/2502.17055 (AdaClip, a part of GradientStabilizer). `AdaptiveMaxClip.reference()` is
        the paper's rule. We differ in the default history, and in counting the steps of each parameter separately. The
        paper's code shares a counter with Adam's moments, and resetting it makes the average jump.
    """

    def __init__(self, decay: float = 0.999, *, history: ElementHistory = "winsorized", min_scale: float = 0.0) -> None:
        super().__init__()
        check_decay("AdaptiveMaxClip", decay=decay)
        check_choice("AdaptiveMaxClip", ELEMENT_HISTORIES, history=history)
        check_fraction("AdaptiveMaxClip", min_scale=min_scale)
        self.decay = decay
        self.history = history
        self.min_scale = min_scale
        self.state = PerParameter(mean=0.0, steps=0.0)
        self._blocks = Blocks()

    @classmethod
    def reference(cls, decay: float = 0.999) -> Self:
        """The paper's rule with its constant, equal to its code up to rounding.

        Three things differ on purpose: a NaN or infinite gradient changes no average, zero gradients are not averaged,
        and a parameter without a gradient at a step does not count it.

        Args:
            decay: Weight of the past; the paper's γ3.

        Returns:
            The strategy.
        """
        return cls(decay, history="observed")

    def decide(self, grads: Gradients) -> Action:
        """Scale down the elements above the average, which includes this step."""
        peaks = grads.norms(math.inf)
        limits = self._next_limits(grads, peaks)
        coefs = clip_coef(peaks, limits, min_scale=self.min_scale)
        factors: list[Tensor | None] = [None] * len(grads)
        exceeded = (coefs < 1).tolist() if is_free_to_read(coefs) else [True] * len(grads)
        for block in self._blocks.of(grads.locals) if any(exceeded) else ():
            if not any(exceeded[i] for i in block.members):
                continue
            flat = block.gather(grads.locals)
            sizes, limit = block.beside(flat.abs() if flat.is_complex() else flat.abs_(), limits)
            # 1 for an element within the limit and 0 above it: at least the factor, this is 1 or the factor.
            within, coef = block.beside(sizes.le_(limit).view(-1).to(coefs.dtype), coefs)
            coef = torch.maximum(within, coef).view(-1)
            for i, factor in zip(block.members, block.unflatten(coef, grads.locals), strict=True):
                factors[i] = factor if exceeded[i] else None
        return Multiply(factors, acts=True)

    def _next_limits(self, grads: Gradients, peaks: Tensor) -> Tensor:
        """The averages including this step, `(n,)`; `inf` for a parameter without a history."""
        mean, steps = self.state.take(grads)
        before = torch.where(steps > 0, mean, math.inf)
        value, _ = to_store(self.history, peaks, before)
        observed = has_signal(grads, peaks)
        average = next_average(mean, value, decay=self.decay, count=steps)
        mean, steps = torch.where(observed, average, mean), steps + observed
        self.state.put(grads, mean, steps)
        return torch.where(steps > 0, mean, math.inf)
