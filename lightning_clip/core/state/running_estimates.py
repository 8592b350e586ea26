"""`RunningEstimates`: estimates that start from the first values and then follow later ones."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from lightning_clip.core.state.first_values import FirstValues
from lightning_clip.core.state.state import State
from lightning_clip.functional.scalars import Scalar


class RunningEstimates(State, ABC):
    """Estimates, such as a moving mean and variance, that start from the first values and are updated by later ones.

    The estimates are provisional during the first `warmup_steps` values; `read` says whether they still are.
    Subclasses define how the estimates start and how one more value updates them.

    Args:
        warmup_steps: How many values the estimates start from.
        **before: The name of each estimate and its value before the first update.

    Attributes:
        first: The first `warmup_steps` values.
    """

    def __init__(self, warmup_steps: int, **before: float) -> None:
        super().__init__()
        self.first = FirstValues(warmup_steps)
        self._names = tuple(before)
        for name, number in before.items():
            self.register_buffer(name, torch.tensor(number))

    @abstractmethod
    def initial(self) -> tuple[Scalar, ...]:
        """The estimates from the first values alone, in the order of the constructor."""

    @abstractmethod
    def updated(self, value: Scalar) -> tuple[Scalar, ...]:
        """The estimates after one more value, in the order of the constructor.

        Args:
            value: The new value. It may be NaN or infinite: `push` then discards the result.
        """

    def read(self, norm: Scalar) -> tuple[Scalar, ...]:
        """The estimates before the current step.

        Args:
            norm: The norm of the current step; the buffers take on its dtype and device.

        Returns:
            Each estimate, then whether the warmup is over.
        """
        self.match(norm)
        return (*[self.number(name) for name in self._names], self.first.full())

    def push(self, value: Scalar, keep: Scalar, started: Scalar) -> None:
        """Store a value if `keep` is true.

        Args:
            value: A number or a tensor `()`.
            keep: A boolean or a boolean tensor `()`.
            started: Whether the warmup was over before this value; the last item that `read` returned.
        """
        self.first.push(value, keep)
        if isinstance(started, Tensor):
            new = tuple(
                torch.where(started, torch.where(keep, updated, self.get_buffer(name)), initial)
                for name, initial, updated in zip(self._names, self.initial(), self.updated(value), strict=True)
            )
        elif not keep:
            return
        else:
            new = self.updated(value) if started else self.initial()
        for name, number in zip(self._names, new, strict=True):
            self.set_number(name, number)
