"""`SpikeClip`: clip each element relative to its own second moment."""

from typing import Literal, Self

import torch
from torch import Tensor

from lightning_clip._checks import check_choice, check_count, check_flag, check_positive, check_rule
from lightning_clip.core.actions import Action, Keep
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
        bias_correction: Whether the `"optimizer"`'s average is corrected for its start at zero. Without it, as in the
            paper, the limit is tighter soon after a start or a reset, and an element whose average is zero never moves.
        reset_every: How many steps lie between resets of both of the optimizer's moments, as in the paper; `None` for
            no reset. Elements are not limited in the `warmup_steps` steps after a reset.
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
        Reset for Stable LLM Training", 2025, https://arxiv.org/abs/2501.06842. `SpikeClip.reference()` is the paper's
        clipping and momentum reset, beside Adam. By default we use the clipping alone, with an average of our own that
        is bias-corrected, and leave elements with a zero average alone.
    """

    def __init__(
        self,
        theta: float = 5000.0,
        *,
        decay: float = 0.999,
        warmup_steps: int = 20,
        source: Literal["own", "optimizer"] = "own",
        history: ElementHistory = "winsorized",
        bias_correction: bool = True,
        reset_every: int | None = None,
        min_scale: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive("SpikeClip", theta=theta)
        check_element_rule("SpikeClip", decay=decay, warmup_steps=warmup_steps, history=history, min_scale=min_scale)
        check_choice("SpikeClip", ("own", "optimizer"), source=source)
        check_flag("SpikeClip", bias_correction=bias_correction)
        if reset_every is not None:
            check_count("SpikeClip", reset_every=reset_every)
        given = f"SpikeClip(source={source!r}, bias_correction={bias_correction!r}, reset_every={reset_every!r})"
        rule = "bias_correction=False and reset_every are about the optimizer's moments; use source='optimizer'"
        check_rule(given, rule, holds=source == "optimizer" or (bias_correction and reset_every is None))
        self.theta = theta
        self.decay = decay
        self.warmup_steps = warmup_steps
        self.source = source
        self.history = history
        self.bias_correction = bias_correction
        self.reset_every = reset_every
        self.min_scale = min_scale
        self.magnitudes = ElementMagnitudes(decay, power=2.0, warmup_steps=warmup_steps, history=history)

    @classmethod
    def reference(cls, theta: float = 5000.0, *, warmup_steps: int = 20, reset_every: int = 500) -> Self:
        """The paper's clipping and momentum reset with its constants, beside Adam; equal to its code up to rounding.

        Two things are left to the training: the source warms the learning rate up for 150 steps after a reset, and
        updates a random part of each matrix if its `density` is below 1. A NaN or infinite gradient is left unchanged.

        Args:
            theta: The source's `threshold`.
            warmup_steps: The source's `grad_accu_steps`.
            reset_every: The source's `update_proj_gap`.

        Returns:
            The strategy.
        """
        return cls(theta, warmup_steps=warmup_steps, source="optimizer", bias_correction=False, reset_every=reset_every)

    def decide(self, grads: Gradients) -> Action:
        """Multiply each element by `min(1, sqrt(theta * v) / |g|)`."""
        if self.source == "own":
            return self.magnitudes.factors(grads, multiple=self.theta**0.5, min_scale=self.min_scale)
        if self.reset_every is None:
            return self._of_optimizer(grads)
        now = (grads.own_step + 1) % self.reset_every
        if now == 0:
            return ResetMoments()
        return self._of_optimizer(grads) if now >= self.warmup_steps else Keep()

    def _of_optimizer(self, grads: Gradients) -> Action:
        moments, locals_ = second_moments(grads, asked_by=self), grads.locals
        # The source counts the current step too.
        known = max(1, self.warmup_steps - (not self.bias_correction))
        ready = (moments.steps >= known) & grads.norms().isfinite()
        corrections = moments.corrections() if self.bias_correction else torch.ones_like(moments.steps)
        scales = torch.where(ready, self.theta / corrections, torch.inf)
        factors: list[Tensor | None] = [None] * len(grads)
        for block in blocks_of(locals_):
            values = block.flatten(moments.values)
            values = values.to(torch.promote_types(values.dtype, torch.float32))
            scale = block.spread(scales, like=values)
            limited = values > 0 if self.bias_correction else scale < torch.inf
            squares = torch.where(limited, values * scale, torch.inf)
            sizes = block.flatten(locals_).abs().to(values.dtype)
            coefs = element_coef_(squares.sqrt_(), sizes, min_scale=self.min_scale)
            if not is_free_to_read(coefs) or bool(coefs.amin() < 1):
                for i, factor in zip(block.members, block.unflatten(coefs, locals_), strict=True):
                    factors[i] = factor
        return Multiply(factors, acts=True)


class ResetMoments(Action):
    """Set both moments that an optimizer keeps for the parameters with a gradient to zero; its step count goes on."""

    def __init__(self) -> None:
        self.coefs = torch.ones(())

    def apply_(self, grads: Gradients) -> None:
        """Fill the moments with zeros in place."""
        states = [grads.optimizer.state.get(param, {}) for param in grads.params] if grads.optimizer else []
        moments = [state[name] for state in states for name in ("exp_avg", "exp_avg_sq") if name in state]
        if moments:
            torch._foreach_zero_(moments)

    def preview(self, grads: Gradients) -> Gradients:
        """Return the same gradients."""
        return grads
