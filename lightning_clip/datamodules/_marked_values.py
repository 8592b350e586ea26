"""`MarkedValuesDataModule`: the base class of the adding and the multiplication problem."""

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lightning_clip.datamodules._generated_batches import Arrays
from lightning_clip.datamodules.sequence_task import SequenceTaskDataModule


class MarkedValuesDataModule(SequenceTaskDataModule):
    """Compute something from two marked numbers of a long sequence, after its last step.

    Each step has a mark, 0 or 1, and a number, uniform in [0, 1). Each batch draws its number of steps T uniformly
    from `length` up to, but below, 1.1 times `length`. One mark is in the first tenth of T, the other in [0.1, 0.5).

    Args:
        length: Smallest number of time steps; at least 10.
        **options: The options of `SequenceTaskDataModule`.

    Attributes:
        in_features: 2, the mark and the number.
        out_features: 1.
    """

    in_features = 2
    out_features = 1
    min_length = 10

    @abstractmethod
    def combine(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
        """The targets `(size,)`, computed from the marked numbers, each `(size,)`."""

    def draw(self, generator: np.random.Generator, size: int, length: int) -> Arrays:
        """Sequences `(size, T, 2)` of marks and numbers, and targets `(size, 1)`."""
        steps = length + int(generator.integers(0, length // 10))
        rows = np.arange(size)
        first = generator.integers(0, steps // 10, size)
        second = steps // 10 + generator.integers(0, steps * 4 // 10, size)
        inputs = np.zeros((size, steps, 2), dtype=np.float32)
        inputs[:, :, 1] = generator.random((size, steps), dtype=np.float32)
        inputs[rows, first, 0] = inputs[rows, second, 0] = 1.0
        return inputs, self.combine(inputs[rows, first, 1], inputs[rows, second, 1])[:, None]

    def wrong(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Which sequences the network got wrong: outputs off by more than 0.2, that is, a squared error above 0.04.

        Args:
            outputs: `(batch, 1)`.
            targets: `(batch, 1)`.

        Returns:
            Boolean, `(batch,)`.
        """
        right = (outputs - targets) ** 2 <= 0.04  # false for NaN
        return ~right[:, 0]
