"""`Action` and its subclasses: what a strategy decides to do with gradients, as data that is applied separately.

`core/element_actions.py` has those that change the elements of a gradient by different factors.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor

from lightning_clip.core.gradients import Gradients
from lightning_clip.functional.elementwise import clamp_
from lightning_clip.functional.reading import is_free_to_read
from lightning_clip.functional.scalars import Scalar, as_tensor


class Action(ABC):
    """A decision about the gradients of one optimizer at one step.

    Attributes:
        threshold: The limit in force, a number or `()`; `None` if there is no single limit.
        coefs: The factor on all gradients, `()`, or one per gradient, `(n,)`; `None` if the effect must be measured.
        factor: The one factor on all gradients as a number, where it is known without reading a device.
        skipped: Whether the optimizer step is skipped, `()` or a `bool`.
        watched: The factors that shadowed strategies would have applied, each `()`, by strategy label.
        is_idle: Whether the action changes nothing on this process; on another one it may, if gradients are sharded.
    """

    is_idle: bool = False
    threshold: Tensor | float | None = None
    coefs: Tensor | None = None
    factor: float | None = None
    skipped: Tensor | bool = False
    watched: Mapping[str, Tensor] = {}

    @abstractmethod
    def apply_(self, grads: Gradients) -> None:
        """Change the gradients in place.

        On the CPU, an action without effect does not write to memory. On an accelerator, only `Skip` reads the device.

        Args:
            grads: The gradients that the decision is about.
        """

    def preview(self, grads: Gradients) -> Gradients:
        """Return the gradients as the action would leave them; see `Gradients.previewed`.

        Args:
            grads: The gradients that the decision is about; they are not changed.
        """
        return grads.previewed(self.apply_, self.coefs)


class Keep(Action):
    """Leave the gradients unchanged.

    Args:
        threshold: The limit that was not exceeded, a number or `()`.
    """

    factor = 1.0

    def __init__(self, threshold: Tensor | float | None = None) -> None:
        self.threshold = threshold

    @property
    def coefs(self) -> Tensor:  # type: ignore[override]  # the same attribute, made when it is asked for
        """1, float32 `()`."""
        return torch.ones(())

    def apply_(self, grads: Gradients) -> None:
        """Do nothing."""

    def preview(self, grads: Gradients) -> Gradients:
        """Return the same gradients."""
        return grads


class Scale(Action):
    """Multiply all gradients by one factor, which keeps the direction.

    Args:
        coef: The factor, a number of numpy or `()`.
        threshold: The limit on the total norm, a number or `()`.
    """

    def __init__(self, coef: Scalar, threshold: Scalar = None) -> None:
        self._coef = coef
        if not isinstance(coef, Tensor):
            self.factor = float(coef)
        elif is_free_to_read(coef):
            self.factor = coef.item()
        self.threshold = threshold if threshold is None or isinstance(threshold, Tensor) else float(threshold)

    @property
    def coefs(self) -> Tensor:  # type: ignore[override]  # the same attribute, made when it is asked for
        """The factor as a tensor `()`, with the dtype of its number."""
        return as_tensor(self._coef)

    def apply_(self, grads: Gradients) -> None:
        """Multiply in place."""
        if self.factor == 1.0 or not len(grads):
            return
        coef = self.coefs
        for device, tensors in _by_device(grads.locals).items():
            torch._foreach_mul_(tensors, coef if coef.device == device else coef.to(device))


class ScaleEach(Action):
    """Multiply each gradient by its own factor.

    Args:
        coefs: The factors, `(n,)`.
        threshold: The limit on the norm of each gradient, a number or `()`; `None` if the limits differ.
    """

    def __init__(self, coefs: Tensor, threshold: Tensor | float | None = None) -> None:
        self.coefs: Tensor = coefs
        self.threshold = threshold

    def apply_(self, grads: Gradients) -> None:
        """Multiply in place."""
        # Factors stay tensors: torch rounds a Python number to the gradient's dtype, in float16 to 0 or infinity.
        tensors, coefs = grads.locals, list(self.coefs.unbind())
        if is_free_to_read(self.coefs):
            changed = [i for i, coef in enumerate(self.coefs.tolist()) if coef != 1.0]
            tensors, coefs = [tensors[i] for i in changed], [coefs[i] for i in changed]
        if tensors:
            torch._foreach_mul_(tensors, coefs)


class Clamp(Action):
    """Clamp every element to [-limit, limit], which may change the direction; a complex element keeps its phase.

    Args:
        limit: The largest absolute value allowed, positive.
        peak: The largest absolute element of all gradients, `()`; the action does nothing if it is within the limit.
    """

    def __init__(self, limit: float, peak: Tensor) -> None:
        self.limit = limit
        self.threshold = limit
        if is_free_to_read(peak) and bool(peak <= limit):
            self.coefs = torch.ones(())

    def apply_(self, grads: Gradients) -> None:
        """Clamp in place."""
        if self.coefs is None:
            clamp_(grads.locals, self.limit)


class Zero(Action):
    """Set all gradients to zero if a condition holds. Unlike a skip, momentum and weight decay still act.

    Args:
        condition: Whether to zero the gradients, boolean `()`.
    """

    def __init__(self, condition: Tensor) -> None:
        self.condition = condition

    def apply_(self, grads: Gradients) -> None:
        """Fill the gradients with zeros in place."""
        if is_free_to_read(self.condition) and not bool(self.condition):
            return
        for tensor in grads.locals:
            tensor.masked_fill_(self.condition.to(tensor.device), 0.0)


class Skip(Action):
    """Skip the optimizer step if a condition holds: parameters and optimizer state stay exactly as they are.

    An exact skip removes the gradients (`grad = None`), and only the host can decide that. This is the one action that
    reads the device, once per step.

    Args:
        condition: Whether to skip the step, a boolean or a boolean tensor `()`.
    """

    def __init__(self, condition: Scalar) -> None:
        self.skipped: Tensor = as_tensor(condition)
        self.coefs = torch.ones((), device=self.skipped.device)

    def apply_(self, grads: Gradients) -> None:
        """Remove the gradients if the condition holds."""
        if bool(self.skipped):
            for param in grads.params:
                param.grad = None

    def preview(self, grads: Gradients) -> Gradients:
        """Return the same gradients, so that a later action in a chain still sees what was skipped."""
        return grads


class Sequential(Action):
    """Several actions in order, each decided on the gradients that the previous one would leave.

    Args:
        actions: The actions, in the order in which they apply.
    """

    def __init__(self, actions: Sequence[Action]) -> None:
        self.actions = list(actions)
        thresholds = [action.threshold for action in self.actions if action.threshold is not None]
        self.threshold = thresholds[-1] if thresholds else None
        known = [action.coefs for action in self.actions if action.coefs is not None]
        self.coefs = (
            (reduce(torch.mul, known) if known else torch.ones(())) if len(known) == len(self.actions) else None
        )
        for action in actions:
            if action.skipped is not False:
                self.skipped = action.skipped if self.skipped is False else self.skipped | action.skipped
            self.watched = {**self.watched, **action.watched}

    def apply_(self, grads: Gradients) -> None:
        """Apply the actions in order."""
        for action in self.actions:
            action.apply_(grads)

    def preview(self, grads: Gradients) -> Gradients:
        """Return the gradients as the last action would leave them."""
        for action in self.actions:
            grads = action.preview(grads)
        return grads


def _by_device(tensors: Sequence[Tensor]) -> dict[torch.device, list[Tensor]]:
    if {tensor.is_cpu for tensor in tensors} == {True}:
        return {tensors[0].device: list(tensors)}
    groups: dict[torch.device, list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.device, []).append(tensor)
    return groups
