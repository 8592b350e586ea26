"""`ElementMagnitudes`: the usual magnitude of each gradient element, and the arguments of the rules that use it."""

from typing import Literal

import torch
from torch import Tensor, nn

from lightning_clip._checks import check_choice, check_count, check_decay, check_fraction
from lightning_clip.core.element_actions import Multiply
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.state.per_element import ElementBlock, PerElement
from lightning_clip.core.state.per_parameter import PerParameter
from lightning_clip.core.state.policy import has_signal
from lightning_clip.functional.averaging import average_gain
from lightning_clip.functional.elementwise import element_coef_
from lightning_clip.functional.reading import is_free_to_read

ElementHistory = Literal["observed", "clipped", "winsorized"]

ELEMENT_HISTORIES: tuple[ElementHistory, ...] = ("observed", "clipped", "winsorized")

RISE = 1.02
"""The largest factor by which one winsorized value may raise a magnitude."""


def check_element_rule(call: str, *, decay: float, warmup_steps: int, history: str, min_scale: float) -> None:
    """Raise unless the arguments that all rules per element share are in range.

    Args:
        call: The name of the strategy, for instance `"SpikeClip"`.
        decay: Weight of the past, in [0, 1).
        warmup_steps: A whole number of at least 0.
        history: One of `ELEMENT_HISTORIES`.
        min_scale: Smallest factor on an element, in [0, 1].

    Raises:
        ArgumentTypeError: An argument is not a number.
        ArgumentError: An argument is out of range.
    """
    check_decay(call, decay=decay)
    check_count(call, at_least=0, warmup_steps=warmup_steps)
    check_choice(call, ELEMENT_HISTORIES, history=history)
    check_fraction(call, min_scale=min_scale)


class ElementMagnitudes(nn.Module):
    """The bias-corrected moving average of $|g|^p$ for each element, and its p-th root.

    A parameter learns at each step where its gradient is not all zeros and no gradient is NaN or infinite. An element
    that is exactly zero at such a step, for instance in the embedding of a token that is not in the batch, keeps its
    average. Its first nonzero value starts the average. So an average never has to climb from zero, and never decays
    while its element waits.

    Args:
        decay: Weight of the past, in [0, 1).
        power: p, positive.
        warmup_steps: How many steps a parameter learns before its magnitudes take effect.
        history: What is stored of $|g|$: `"observed"` stores it unchanged, `"clipped"` what the limit left of it, and
            `"winsorized"` at most what raises the magnitude by 2%.

    Attributes:
        means: The average of $|g|^p$ of each element; `inf` before its first value.
        counts: The number of steps that each parameter has learned from.
    """

    def __init__(self, decay: float, *, power: float, warmup_steps: int, history: ElementHistory) -> None:
        super().__init__()
        self.decay = decay
        self.power = power
        self.warmup_steps = warmup_steps
        self.history = history
        self.means = PerElement(start=torch.inf)
        self.counts = PerParameter(steps=0.0)

    def factors(self, grads: Gradients, *, multiple: float = 1.0, eps: float = 0.0, min_scale: float = 0.0) -> Multiply:
        """Limit each element to a multiple of its usual magnitude from earlier steps, and learn from this step.

        Elements without a history, elements of parameters in warmup, and gradients that are NaN or infinite are not
        limited.

        Args:
            grads: The gradients of this step.
            multiple: The limit on an element, as a multiple of its usual magnitude.
            eps: Added to each magnitude.
            min_scale: Smallest factor on an element, in [0, 1].

        Returns:
            The factor `min(1, multiple * usual / (|g| + eps))` on each element.
        """
        blocks = self.means.blocks(grads)
        self._start_counts(self.means.started, grads.norms())
        (steps,) = self.counts.take(grads)
        gains = average_gain(self.decay, steps + 1)
        scales = torch.where((steps >= self.warmup_steps) & grads.norms().isfinite(), 1.0, torch.inf)
        most, finite = self._most(gains, multiple), grads.total_norm().isfinite()
        factors: list[Tensor | None] = [None] * len(grads)
        for own in blocks:
            block, like = own.block, own.values
            sizes = block.flatten(grads.locals).abs().to(like.dtype)
            usual = self._root(like).mul_(block.spread(scales, like=like))
            if not (is_free_to_read(finite) and not finite):
                self._learn(own, sizes, usual * block.spread(most, like=like), block.spread(gains, like=like), finite)
            coefs = element_coef_(usual.mul_(multiple), sizes.add_(eps), min_scale=min_scale)
            if not is_free_to_read(coefs) or bool(coefs.amin() < 1):
                for i, factor in zip(block.members, block.unflatten(coefs, grads.locals), strict=True):
                    factors[i] = factor
        self.counts.put(grads, steps + has_signal(grads, grads.norms()))
        return Multiply(factors, acts=True)

    def _root(self, means: Tensor) -> Tensor:
        return means.clone() if self.power == 1 else means.sqrt() if self.power == 2 else means.pow(1 / self.power)

    def _learn(self, own: ElementBlock, sizes: Tensor, most: Tensor, gain: Tensor, finite: Tensor) -> None:
        """Move the averages toward the absolute values of this step, of which at most `most` count."""
        means, limits = own.values, torch.finfo(own.values.dtype)
        stored = torch.minimum(sizes, most, out=most)
        value = stored if self.power == 1 else stored.pow_(self.power).clamp_(max=limits.max)
        # An average must become neither `inf` (no value yet) nor 0, which would lock out all later values. Where it is
        # free to see that no element needs it, two thirds of the work are left out.
        free = is_free_to_read(means)
        own.complete = own.complete or (free and bool(means.amax() < torch.inf))
        if own.complete and bool(value.amin() >= limits.tiny):
            means.lerp_(value, gain)
            return
        value = torch.where((value > 0) & finite.to(means.device), value, means)
        averaged = torch.where(means < torch.inf, means.lerp(value, gain), value)
        means.copy_(averaged.clamp_(min=limits.tiny))

    def _start_counts(self, names: tuple[str, ...], like: Tensor) -> None:
        """Reset the counts of parameters without magnitudes; a checkpoint may hold the counts alone."""
        if names:
            (steps,) = self.counts.take_rows(names, like)
            self.counts.put_rows(names, torch.zeros_like(steps))

    def _most(self, gains: Tensor, multiple: float) -> Tensor:
        """The largest magnitude to store, as a multiple of the usual one, `(n,)`."""
        if self.history == "winsorized":
            most: Tensor = (1 + (RISE**self.power - 1) / gains).pow(1 / self.power)
            return most
        return torch.full_like(gains, multiple if self.history == "clipped" else torch.inf)
