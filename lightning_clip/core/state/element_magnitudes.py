"""`ElementMagnitudes`: the usual magnitude of each gradient element, and the arguments of the rules that use it."""

from typing import Literal

import torch
from torch import Tensor, nn

from lightning_clip._checks import check_choice, check_count, check_decay, check_fraction
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.state.per_element import PerElement
from lightning_clip.core.state.per_parameter import PerParameter
from lightning_clip.core.state.policy import has_signal
from lightning_clip.functional.averaging import average_gain

ElementHistory = Literal["observed", "clipped", "winsorized"]

ELEMENT_HISTORIES: tuple[ElementHistory, ...] = ("observed", "clipped", "winsorized")

RISE = 1.05
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
            `"winsorized"` at most what raises the magnitude by 5%.

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

    def take(self, grads: Gradients) -> list[Tensor]:
        """The usual magnitude of each element, from earlier steps.

        Args:
            grads: The gradients of this step.

        Returns:
            `n` new tensors of the (local) shapes of the gradients. Elements without a history, elements of parameters
            in warmup, and gradients that are NaN or infinite get `inf`.
        """
        means = self.means.take(grads)
        self._start_counts(self.means.started, grads.norms())
        (steps,) = self.counts.take(grads)
        scales = torch.where((steps >= self.warmup_steps) & grads.norms().isfinite(), 1.0, torch.inf).unbind()
        return [mean.pow(1 / self.power) * scale.to(mean) for mean, scale in zip(means, scales, strict=True)]

    def push(self, grads: Gradients, usual: list[Tensor], *, multiple: float = 1.0) -> None:
        """Learn from the gradients of this step.

        Args:
            grads: The gradients of this step.
            usual: The magnitudes that `take` returned.
            multiple: The limit on an element, as a multiple of its usual magnitude.
        """
        (steps,) = self.counts.take(grads)
        learns = has_signal(grads, grads.norms())
        gains = average_gain(self.decay, steps + 1)
        rows = zip(
            self.means.take(grads),
            grads.locals,
            usual,
            gains.unbind(),
            self._most(gains, multiple).unbind(),
            learns.unbind(),
            strict=True,
        )
        for mean, gradient, magnitude, gain, most, learn in rows:
            # An average must become neither `inf` (no value yet) nor 0, which would lock out all later values.
            limits = torch.finfo(mean.dtype)
            stored = torch.minimum(gradient.abs().to(mean.dtype), magnitude * most.to(mean))
            value = stored.pow(self.power).clamp_(max=limits.max)
            value = torch.where((value > 0) & learn.to(mean.device), value, mean)
            averaged = torch.where(mean < torch.inf, mean.lerp(value, gain.to(mean)), value)
            mean.copy_(averaged.clamp_(min=limits.tiny))
        self.counts.put(grads, steps + learns)

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
