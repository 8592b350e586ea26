"""`MarkedValuesDataModule`: the ground of the adding and the multiplication problem."""

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lightning_clip.datamodules._generated_batches import Arrays
from lightning_clip.datamodules.sequence_task import SequenceTaskDataModule


class MarkedValuesDataModule(SequenceTaskDataModule):
    """Two numbers of a long sequence are marked; at the end something is to be computed from them.

    Each step has a mark, 0 or 1, and a number, uniform in [0, 1). A batch draws the number of its steps T uniformly
    from `length` to below 1.1 times `length`; the marks are at one step of the first tenth and one of [0.1, 0.5) of T.
    """

    in_features = 2
    out_features = 1
    min_length = 10

    @abstractmethod
    def combine(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
        """The targets `(size,)` from the marked numbers, each `(size,)`."""

    def draw(self, generator: np.random.Generator, size: int, length: int) -> Arrays:
        """Sequences `(size, T, 2)` of mark and number, and targets `(size, 1)`."""
        steps = length + int(generator.integers(0, length // 10))
        rows = np.arange(size)
        first = generator.integers(0, steps // 10, size)
        second = steps // 10 + generator.integers(0, steps * 4 // 10, size)
        inputs = np.zeros((size, steps, 2), dtype=np.float32)
        inputs[:, :, 1] = generator.random((size, steps), dtype=np.float32)
        inputs[rows, first, 0] = inputs[rows, second, 0] = 1.0
        return inputs, self.combine(inputs[rows, first, 1], inputs[rows, second, 1])[:, None]

    def wrong(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Which sequences a network got wrong: those off by more than 0.2, a squared error above 0.04.

        Args:
            outputs: `(batch, 1)`.
            targets: `(batch, 1)`.

        Returns:
            Boolean, `(batch,)`.
        """
        right = (outputs - targets) ** 2 <= 0.04  # false for a NaN
        return ~right[:, 0]
