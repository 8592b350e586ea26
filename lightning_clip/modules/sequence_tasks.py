"""What a recurrent network is trained for: the loss, and what is measured of its outputs."""

import math
from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

TaskName = Literal["classification", "regression", "next_token"]


class SequenceTask(ABC):
    """A loss, and measures of outputs `(batch, out_features)` or `(batch, steps, out_features)`.

    Attributes:
        every_step: Whether there is a target at every step, unless the user says otherwise.
        measured: The names of what is measured; the first is what a scheduler watches.
    """

    every_step = False
    measured: tuple[str, ...]

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What is minimised, `()`: a mean over all targets of the batch."""

    @abstractmethod
    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Numbers by name of which a metric is the mean, each of any shape."""


class Classification(SequenceTask):
    """Cross-entropy, in nats; a sequence is wrong if any of its classes is, or an output is not finite.

    Targets are classes, `(batch,)` or `(batch, steps)`.
    """

    measured = ("loss", "error")

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over sequences and steps."""
        return _cross_entropy(outputs, targets, "mean")

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """The loss, and which sequences are wrong."""
        misses = (outputs.argmax(dim=-1) != targets) | ~outputs.isfinite().all(dim=-1)
        wrong = misses.reshape(len(misses), -1).any(dim=1)
        return {"loss": _cross_entropy(outputs, targets, "none"), "error": wrong}


class Regression(SequenceTask):
    """Squared error, in squared units of the target.

    Targets have the shape of the outputs, whose last dimension may be left out where it is 1.
    """

    measured = ("mse",)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over all numbers."""
        return F.mse_loss(outputs, targets.reshape(outputs.shape))

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """The squared error of each number."""
        return {"mse": (outputs - targets.reshape(outputs.shape)).square()}


class NextToken(SequenceTask):
    """Cross-entropy of the next symbol at every step; told in bits, those a symbol costs when coded by the network.

    Targets are symbols, `(batch, steps)`.
    """

    every_step = True
    measured = ("bits_per_char",)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over sequences and steps, in nats."""
        return _cross_entropy(outputs, targets, "mean")

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Bits of each symbol."""
        return {"bits_per_char": _cross_entropy(outputs, targets, "none") / math.log(2)}


TASKS: dict[str, SequenceTask] = {
    "classification": Classification(),
    "regression": Regression(),
    "next_token": NextToken(),
}


def _cross_entropy(outputs: Tensor, targets: Tensor, reduction: str) -> Tensor:
    return F.cross_entropy(outputs.reshape(-1, outputs.shape[-1]), targets.reshape(-1), reduction=reduction)
