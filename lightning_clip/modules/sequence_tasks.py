"""The tasks of recurrent networks: classification, regression and next-token prediction.

A task defines the loss and the metrics. `RecurrentModule` looks tasks up by name in `TASKS`.
"""

import math
from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

TaskName = Literal["classification", "regression", "next_token"]


class SequenceTask(ABC):
    """A loss and metrics of outputs `(batch, out_features)` or `(batch, steps, out_features)`.

    Attributes:
        every_step: Whether there is a target at every step by default.
        measured: Names of the metrics; schedulers monitor the first.
    """

    every_step = False
    measured: tuple[str, ...]

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss to minimize, `()`: a mean over all targets of the batch."""

    @abstractmethod
    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """The values of each metric by name, in any shape; the metric is their mean."""


class Classification(SequenceTask):
    """Cross-entropy, in nats. A sequence is wrong if a predicted class is, or if an output is NaN or infinite.

    Targets are classes, `(batch,)` or `(batch, steps)`.
    """

    measured = ("loss", "error")

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over sequences and steps."""
        return _cross_entropy(outputs, targets, "mean")

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """The loss of each target, and which sequences are wrong."""
        misses = (outputs.argmax(dim=-1) != targets) | ~outputs.isfinite().all(dim=-1)
        wrong = misses.reshape(len(misses), -1).any(dim=1)
        return {"loss": _cross_entropy(outputs, targets, "none"), "error": wrong}


class Regression(SequenceTask):
    """Squared error, in squared units of the target.

    Targets have the shape of the outputs, or that shape without the last dimension if it is 1.
    """

    measured = ("mse",)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over all elements."""
        return F.mse_loss(outputs, targets.reshape(outputs.shape))

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """The squared error of each element."""
        return {"mse": (outputs - targets.reshape(outputs.shape)).square()}


class NextToken(SequenceTask):
    """Cross-entropy of the next symbol at every step. The metric is in bits per symbol.

    Targets are symbols, `(batch, steps)`.
    """

    every_step = True
    measured = ("bits_per_char",)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over sequences and steps, in nats."""
        return _cross_entropy(outputs, targets, "mean")

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of each symbol, in bits."""
        return {"bits_per_char": _cross_entropy(outputs, targets, "none") / math.log(2)}


TASKS: dict[str, SequenceTask] = {
    "classification": Classification(),
    "regression": Regression(),
    "next_token": NextToken(),
}


def _cross_entropy(outputs: Tensor, targets: Tensor, reduction: str) -> Tensor:
    return F.cross_entropy(outputs.reshape(-1, outputs.shape[-1]), targets.reshape(-1), reduction=reduction)
