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
from lightning_clip.functional.blocks import Block, only
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
        blocks, tensors = self.means.blocks(grads), grads.locals
        self._start_counts(self.means.started, grads.norms())
        (steps,) = self.counts.take(grads)
        gains, finite = average_gain(self.decay, steps + 1), grads.total_norm().isfinite()
        ready = (steps >= self.warmup_steps) & grads.norms().isfinite()
        scales = torch.where(ready, torch.full_like(gains, multiple), torch.inf)
        caps = torch.where(ready, self._most(gains, multiple), torch.inf)
        shared = [(values, only(values)) for values in (scales, caps, gains)]
        known_finite = is_free_to_read(finite) and bool(finite)  # and an average is never 0
        factors: list[Tensor | None] = [None] * len(grads)
        for own in blocks:
            block, means = own.block, own.values
            scale, cap, gain = (
                block.spread(values, like=means) if number is None else number for values, number in shared
            )
            memory, spare = own.scratch()
            powers = None
            if known_finite and not eps and memory is not None:
                powers = self._squares_within(own, tensors, scale, memory, spare)
            if powers is None:
                sizes = self._sizes(block, tensors, memory)
                coefs = self._coefs(own, sizes, scale, eps, min_scale, spare, known_finite=known_finite)
                if coefs is not None:
                    for i, factor in zip(block.members, block.unflatten(coefs, tensors), strict=True):
                        factors[i] = factor
                powers = self._powers(sizes)
            if known_finite or not is_free_to_read(finite):
                if cap != torch.inf if isinstance(cap, float) else True:
                    powers = torch.minimum(torch.mul(means, cap, out=spare), powers, out=spare)
                self._learn(own, powers, gain, finite)
        self.counts.put(grads, steps + has_signal(grads, grads.norms()))
        return Multiply(factors, acts=True)

    def _squares_within(
        self, own: ElementBlock, tensors: list[Tensor], multiple: Tensor | float, memory: Tensor, spare: Tensor | None
    ) -> Tensor | None:
        """The squares of the elements of a block if all are within the limit, as nearly always for a rule on spikes.

        To see this takes half of the passes over memory that the factors take.
        """
        is_alike = tensors[own.block.members[0]].dtype == memory.dtype
        if self.power != 2 or not is_alike or isinstance(multiple, Tensor):
            return None
        squares = own.block.flatten(tensors, out=memory)
        squares.mul_(squares)
        if multiple < torch.inf and not bool(torch.sub(squares, own.values, alpha=multiple**2, out=spare).amax() <= 0):
            return None  # also where one is NaN, as with an average that has no value yet
        return squares

    def _sizes(self, block: Block, tensors: list[Tensor], memory: Tensor | None) -> Tensor:
        """The absolute values of the elements of a block."""
        if memory is not None and tensors[block.members[0]].dtype == memory.dtype:
            return block.flatten(tensors, out=memory).abs_()
        flat = block.flatten(tensors).abs()
        return flat.to(torch.promote_types(flat.dtype, torch.float32))

    def _powers(self, sizes: Tensor) -> Tensor:
        """The powers that are averaged, in the memory of `sizes`."""
        return sizes if self.power == 1 else sizes.mul_(sizes) if self.power == 2 else sizes.pow_(self.power)

    def _coefs(
        self,
        own: ElementBlock,
        sizes: Tensor,
        scale: Tensor | float,
        eps: float,
        min_scale: float,
        spare: Tensor | None,
        *,
        known_finite: bool,
    ) -> Tensor | None:
        """The factors on the elements of a block; `None` if it is free to see that all are 1."""
        means = own.values
        limit, above = self._limit(means, scale), torch.add(sizes, eps, out=spare) if eps else sizes
        if known_finite and isinstance(scale, float) and scale < torch.inf and self._is_complete(own):
            # No quotient is undefined, and this one is never above 1: nothing has to be clamped, nor looked at again.
            above = torch.maximum(above, limit, out=spare)
            if torch.equal(above, limit):
                return None
            coefs = torch.div(limit, above, out=None if limit is means else limit)
            return coefs.clamp_(min=min_scale) if min_scale else coefs
        limit = limit.clone() if limit is means else limit
        coefs = element_coef_(limit, above, min_scale=min_scale, defined=known_finite)
        return coefs if not is_free_to_read(coefs) or bool(coefs.amin() < 1) else None

    def _is_complete(self, own: ElementBlock) -> bool:
        """Whether it is free to see that each average has a value; then this holds at all later steps."""
        own.complete = own.complete or (is_free_to_read(own.values) and bool(own.values.amax() < torch.inf))
        return own.complete

    def _limit(self, means: Tensor, scale: Tensor | float) -> Tensor:
        """The largest magnitudes that are left: `means` if they are these, otherwise in memory of their own."""
        if self.power == 1:
            return means if isinstance(scale, float) and scale == 1 else means * scale
        return (means.sqrt() if self.power == 2 else means.pow(1 / self.power)).mul_(scale)

    def _learn(self, own: ElementBlock, value: Tensor, gain: Tensor | float, finite: Tensor) -> None:
        """Move the averages toward the powers that are stored of this step."""
        means, limits = own.values, torch.finfo(own.values.dtype)
        # An average must become neither `inf` (no value yet) nor 0, which would lock out all later values. Where it is
        # free to see that no element needs it, two thirds of the work are left out.
        if (
            self._is_complete(own)
            and bool(value.amin() >= limits.tiny)
            and (self.power == 1 or bool(value.amax() < torch.inf))
        ):
            means.lerp_(value, gain)
            return
        if self.power != 1:
            value = value.clamp(max=limits.max)
        value = torch.where((value > 0) & finite.to(means.device), value, means)
        averaged = torch.where(means < torch.inf, means.lerp(value, gain), value)
        means.copy_(averaged.clamp_(min=limits.tiny))

    def _start_counts(self, names: tuple[str, ...], like: Tensor) -> None:
        """Reset the counts of parameters without magnitudes; a checkpoint may hold the counts alone."""
        if names:
            (steps,) = self.counts.take_rows(names, like)
            self.counts.put_rows(names, torch.zeros_like(steps))

    def _most(self, gains: Tensor, multiple: float) -> Tensor:
        """The largest power to store, as a multiple of the average, `(n,)`."""
        if self.history == "winsorized":
            most: Tensor = 1 + (RISE**self.power - 1) / gains
            return most
        return torch.full_like(gains, multiple**self.power if self.history == "clipped" else torch.inf)
