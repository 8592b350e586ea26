"""What can be done to gradients. A decision is data: it can be inspected, compared and applied later, or not at all."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor

from lightning_clip.core.gradients import Gradients
from lightning_clip.functional.reading import is_free_to_read


class Action(ABC):
    """One decision about the gradients of one optimizer at one step.

    Attributes:
        threshold: The limit in force, a number or `()`; `None` when there is no single one.
        coefs: The factor on all gradients, `()`, or on each, `(n,)`; `None` where the effect has to be measured.
        skipped: Whether the step is skipped, `()` or a `bool`.
        watched: The factors that strategies which were only asked would have applied, each `()`, by strategy label.
    """

    threshold: Tensor | float | None = None
    coefs: Tensor | None = None
    skipped: Tensor | bool = False
    watched: Mapping[str, Tensor] = {}

    @abstractmethod
    def apply_(self, grads: Gradients) -> None:
        """Change the gradients in place.

        On CPU tensors an action that changes nothing does not touch their memory; on an accelerator it never reads
        the device to find out.

        Args:
            grads: The gradients that the decision was made on.
        """

    def preview(self, grads: Gradients) -> Gradients:
        """What the gradients would be once the action is applied; see `Gradients.previewed`.

        Args:
            grads: The gradients that the decision was made on.
        """
        return grads.previewed(self.apply_, self.coefs)


class Keep(Action):
    """Leave the gradients as they are.

    Args:
        threshold: The limit that did not bind, a number or `()`.
    """

    def __init__(self, threshold: Tensor | float | None = None) -> None:
        self.threshold = threshold
        self.coefs = torch.ones(())

    def apply_(self, grads: Gradients) -> None:
        """Do nothing."""

    def preview(self, grads: Gradients) -> Gradients:
        """The same gradients."""
        return grads


class Scale(Action):
    """Multiply every gradient by one factor; the direction is kept.

    Args:
        coef: The factor, `()`.
        threshold: The limit on the total norm that led to it, a number or `()`.
    """

    def __init__(self, coef: Tensor, threshold: Tensor | float | None = None) -> None:
        self.coefs: Tensor = coef
        self.threshold = threshold

    def apply_(self, grads: Gradients) -> None:
        """Multiply in place."""
        if not len(grads) or (is_free_to_read(self.coefs) and self.coefs.item() == 1.0):
            return
        for device, tensors in _by_device(grads.locals).items():
            torch._foreach_mul_(tensors, self.coefs.to(device))


class ScaleEach(Action):
    """Multiply each gradient by a factor of its own.

    Args:
        coefs: The factors, `(n,)`.
        threshold: The limit on the norm of each gradient, a number or `()`; `None` when each has its own.
    """

    def __init__(self, coefs: Tensor, threshold: Tensor | float | None = None) -> None:
        self.coefs: Tensor = coefs
        self.threshold = threshold

    def apply_(self, grads: Gradients) -> None:
        """Multiply in place."""
        # Factors stay tensors: a Python number is first rounded to the gradient's type, in float16 to 0 or infinity.
        tensors, coefs = grads.locals, list(self.coefs.unbind())
        if is_free_to_read(self.coefs):
            changed = [i for i, coef in enumerate(self.coefs.tolist()) if coef != 1.0]
            tensors, coefs = [tensors[i] for i in changed], [coefs[i] for i in changed]
        if tensors:
            torch._foreach_mul_(tensors, coefs)


class Multiply(Action):
    """Multiply each gradient by a tensor of factors that broadcasts to it: per unit, or per element.

    Args:
        factors: `n` tensors; the i-th broadcasts to the shape of the i-th gradient (its local shard where sharded).
            `None` leaves that gradient alone.
        threshold: The limit that led to them, a number or `()`; `None` when there is no single one.
    """

    def __init__(self, factors: Sequence[Tensor | None], threshold: Tensor | float | None = None) -> None:
        self.factors = list(factors)
        self.threshold = threshold

    def apply_(self, grads: Gradients) -> None:
        """Multiply in place."""
        for tensor, factor in zip(grads.locals, self.factors, strict=True):
            if factor is None or (is_free_to_read(factor) and bool((factor == 1.0).all())):
                continue
            tensor.mul_(factor)


class Replace(Action):
    """Put given values in place of each gradient.

    Args:
        values: `n` tensors of the shapes of the gradients; `None` leaves that gradient alone.
        threshold: The limit that led to them, a number or `()`; `None` when there is no single one.
    """

    def __init__(self, values: Sequence[Tensor | None], threshold: Tensor | float | None = None) -> None:
        self.values = list(values)
        self.threshold = threshold

    def apply_(self, grads: Gradients) -> None:
        """Copy in place."""
        for tensor, value in zip(grads.locals, self.values, strict=True):
            if value is not None:
                tensor.copy_(value)


class Clamp(Action):
    """Limit every element to [-limit, limit]; the direction may change.

    Args:
        limit: The largest absolute value, positive.
        peak: The largest absolute element of all gradients, `()`: nothing is done where it is within the limit.
    """

    def __init__(self, limit: float, peak: Tensor) -> None:
        self.limit = limit
        self.threshold = limit
        if is_free_to_read(peak) and bool(peak <= limit):
            self.coefs = torch.ones(())

    def apply_(self, grads: Gradients) -> None:
        """Clamp in place."""
        if not len(grads) or self.coefs is not None:
            return
        tensors = grads.locals
        torch._foreach_clamp_min_(tensors, -self.limit)
        torch._foreach_clamp_max_(tensors, self.limit)


class Zero(Action):
    """Set all gradients to zero where a condition holds. This is not a skip: momentum and weight decay still act.

    Args:
        condition: Whether to act, boolean `()`.
    """

    def __init__(self, condition: Tensor) -> None:
        self.condition = condition

    def apply_(self, grads: Gradients) -> None:
        """Fill with zeros in place."""
        if is_free_to_read(self.condition) and not bool(self.condition):
            return
        for tensor in grads.locals:
            tensor.masked_fill_(self.condition.to(tensor.device), 0.0)


class Skip(Action):
    """Skip the optimizer step where a condition holds: parameters and optimizer state stay exactly as they were.

    An exact skip takes the gradients away (`grad = None`), which the host has to decide: this is the one action that
    reads the device, once a step, on every device.

    Args:
        condition: Whether to skip, boolean `()`.
    """

    def __init__(self, condition: Tensor) -> None:
        self.coefs = torch.ones((), device=condition.device)
        self.skipped: Tensor = condition

    def apply_(self, grads: Gradients) -> None:
        """Take the gradients away."""
        if bool(self.skipped):
            for param in grads.params:
                param.grad = None

    def preview(self, grads: Gradients) -> Gradients:
        """The same gradients: what is decided after a skip sees what was skipped."""
        return grads


class Sequential(Action):
    """Several actions, one after the other, each decided on what the one before would leave.

    Args:
        actions: The actions, in order.
    """

    def __init__(self, actions: Sequence[Action]) -> None:
        self.actions = list(actions)
        thresholds = [action.threshold for action in self.actions if action.threshold is not None]
        self.threshold = thresholds[-1] if thresholds else None
        known = [action.coefs for action in self.actions if action.coefs is not None]
        self.coefs = reduce(torch.mul, known, torch.ones(())) if len(known) == len(self.actions) else None
        for action in actions:
            self.skipped = self.skipped | action.skipped
            self.watched = {**self.watched, **action.watched}

    def apply_(self, grads: Gradients) -> None:
        """Apply each in turn."""
        for action in self.actions:
            action.apply_(grads)

    def preview(self, grads: Gradients) -> Gradients:
        """What is left after the last."""
        for action in self.actions:
            grads = action.preview(grads)
        return grads


def _by_device(tensors: Sequence[Tensor]) -> dict[torch.device, list[Tensor]]:
    groups: dict[torch.device, list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.device, []).append(tensor)
    return groups
