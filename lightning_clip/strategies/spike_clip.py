"""`SpikeClip`: clip each element relative to its own second moment."""

from typing import Literal

import torch
from torch import Tensor

from lightning_clip._checks import check_choice, check_positive
from lightning_clip.core.actions import Action
from lightning_clip.core.element_actions import Multiply
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.optimizer_state import second_moments
from lightning_clip.core.state.element_magnitudes import ElementHistory, ElementMagnitudes, check_element_rule
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.blocks import blocks_of
from lightning_clip.functional.elementwise import element_coef_
from lightning_clip.functional.reading import is_free_to_read


class SpikeClip(ClipStrategy):
    r"""Limit each element of each gradient to a multiple of its own root mean square.

    $$|\hat g_j| \le \sqrt{\theta\, \hat v_j}, \qquad \hat v_j = \operatorname{EMA}(g_j^2)$$

    $\hat v$ is a bias-corrected average over earlier steps. With the defaults, 70 times the root mean square of an
    element is a spike. An element whose average is still zero is not limited. An element that is exactly zero keeps its
    own average, so it is not held down when it moves again after a long time. A step with a NaN or infinite gradient
    does not change any average. It takes one float32 of memory per element, and none with `source="optimizer"`.

    Args:
        theta: Largest squared element relative to its average square; the paper's θ.
        decay: Weight of the past in the strategy's own average, in [0, 1).
        warmup_steps: How many steps to average before elements are limited.
        source: Which average to use: the strategy's `"own"`, or the `"optimizer"`'s `exp_avg_sq`, which decays for an
            element without a gradient.
        history: How an element enters the strategy's own average: `"observed"` stores it unchanged; `"clipped"` stores
            it after clipping (the paper's choice: a spike of any size then raises the limit to 2.5 times itself);
            `"winsorized"` lets no value raise the limit by more than 2%.
        min_scale: Smallest scaling factor, in [0, 1].

    Raises:
        ArgumentTypeError: An argument has the wrong type.
        ArgumentError: An argument is out of range. At a step: a gradient is sparse, or `source="optimizer"` and the
            optimizer keeps no second moments.

    Example:
        >>> SpikeClip(1000.0, source="optimizer").label
        "SpikeClip(1000.0, source='optimizer')"

    References:
        Tianjin Huang, Ziquan Zhu, Gaojie Jin, Lu Liu, Zhangyang Wang, Shiwei Liu, "SPAM: Spike-Aware Adam with Momentum
        Reset for Stable LLM Training", 2025, https://arxiv.org/abs/2501.06842. We use the clipping alone, without the
        reset. The paper's averages are not bias-corrected, and its elements with a zero average never move again.
    """

    def __init__(
        self,
        theta: float = 5000.0,
        *,
        decay: float = 0.999,
        warmup_steps: int = 20,
        source: Literal["own", "optimizer"] = "own",
        history: ElementHistory = "winsorized",
        min_scale: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive("SpikeClip", theta=theta)
        check_element_rule("SpikeClip", decay=decay, warmup_steps=warmup_steps, history=history, min_scale=min_scale)
        check_choice("SpikeClip", ("own", "optimizer"), source=source)
        self.theta = theta
        self.decay = decay
        self.warmup_steps = warmup_steps
        self.source = source
        self.history = history
        self.min_scale = min_scale
        self.magnitudes = ElementMagnitudes(decay, power=2.0, warmup_steps=warmup_steps, history=history)

    def decide(self, grads: Gradients) -> Action:
        """Multiply each element by `min(1, sqrt(theta * v) / |g|)`."""
        if self.source == "own":
            return self.magnitudes.factors(grads, multiple=self.theta**0.5, min_scale=self.min_scale)
        return self._of_optimizer(grads)

    def _of_optimizer(self, grads: Gradients) -> Action:
        moments, locals_ = second_moments(grads, asked_by=self), grads.locals
        ready = (moments.steps >= max(1, self.warmup_steps)) & grads.norms().isfinite()
        scales = torch.where(ready, self.theta / moments.corrections(), torch.inf)
        factors: list[Tensor | None] = [None] * len(grads)
        for block in blocks_of(locals_):
            values = block.flatten(moments.values)
            values = values.to(torch.promote_types(values.dtype, torch.float32))
            squares = torch.where(values > 0, values * block.spread(scales, like=values), torch.inf)
            sizes = block.flatten(locals_).abs().to(values.dtype)
            coefs = element_coef_(squares.sqrt_(), sizes, min_scale=self.min_scale)
            if not is_free_to_read(coefs) or bool(coefs.amin() < 1):
                for i, factor in zip(block.members, block.unflatten(coefs, locals_), strict=True):
                    factors[i] = factor
        return Multiply(factors, acts=True)
