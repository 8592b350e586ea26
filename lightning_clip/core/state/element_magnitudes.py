"""`ElementMagnitudes`: how large each element of each gradient usually is."""

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
"""The most that one winsorized value may raise a magnitude, as a factor."""


def check_element_rule(call: str, *, decay: float, warmup_steps: int, history: str, min_scale: float) -> None:
    """Raise unless the arguments that all rules per element share are in range.

    Args:
        call: The name of the strategy that was constructed with them, for instance `"SpikeClip"`.
        decay: See `ElementMagnitudes`.
        warmup_steps: See `ElementMagnitudes`.
        history: See `ElementMagnitudes`.
        min_scale: Smallest factor on an element.

    Raises:
        ArgumentTypeError: An argument is not a number.
        ArgumentError: An argument is out of its range.
    """
    check_decay(call, decay=decay)
    check_count(call, at_least=0, warmup_steps=warmup_steps)
    check_choice(call, ELEMENT_HISTORIES, history=history)
    check_fraction(call, min_scale=min_scale)


class ElementMagnitudes(nn.Module):
    r"""The moving average of $|g|^p$ for each element, without bias, and its p-th root.

    A tensor learns at a step with a signal (some element is not zero) where no gradient is NaN or infinite. An element
    that is exactly zero there, as the embedding of a token that was not in the batch, keeps its average, and the first
    value that is not zero starts it: so an average never ratchets up from zero, and never fades while it waits.

    Args:
        decay: Weight of the past, in [0, 1).
        power: p, positive.
        warmup_steps: How many steps a parameter learns before its magnitudes count.
        history: What is stored of $|g|$: `"observed"` as it was, `"clipped"` what the limit left of it, `"winsorized"`
            no more than raises the magnitude by 5 percent.

    Attributes:
        means: The average of $|g|^p$ of each element; `inf` where no value has come yet.
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
            `n` new tensors of the (local) shapes of the gradients; `inf` where nothing is known yet, and for a
            gradient that is not finite.
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
            usual: What `take` returned.
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
            # `inf` stands for an element without a value, and 0 would let none in: an average must become neither
            limits = torch.finfo(mean.dtype)
            stored = torch.minimum(gradient.abs().to(mean.dtype), magnitude * most.to(mean))
            value = stored.pow(self.power).clamp_(max=limits.max)
            value = torch.where((value > 0) & learn.to(mean.device), value, mean)
            averaged = torch.where(mean < torch.inf, mean.lerp(value, gain.to(mean)), value)
            mean.copy_(averaged.clamp_(min=limits.tiny))
        self.counts.put(grads, steps + learns)

    def _start_counts(self, names: tuple[str, ...], like: Tensor) -> None:
        """What has no magnitudes has learned nothing, whatever a checkpoint says: it may have left them out."""
        if names:
            (steps,) = self.counts.take_rows(names, like)
            self.counts.put_rows(names, torch.zeros_like(steps))

    def _most(self, gains: Tensor, multiple: float) -> Tensor:
        """The largest magnitude that is stored, as a multiple of the usual one, `(n,)`."""
        if self.history == "winsorized":
            most: Tensor = (1 + (RISE**self.power - 1) / gains).pow(1 / self.power)
            return most
        return torch.full_like(gains, multiple if self.history == "clipped" else torch.inf)
