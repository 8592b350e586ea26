"""`TemporalOrderDataModule`: classify the order of symbols seen a long time ago."""

from typing import Any, Literal

import numpy as np

from lightning_clip._checks import check_choice
from lightning_clip.datamodules._generated_batches import Arrays, one_hot
from lightning_clip.datamodules.sequence_task import SequenceTaskDataModule


class TemporalOrderDataModule(SequenceTaskDataModule):
    """Classify the order of two or three relevant symbols, A or B, hidden among distractors.

    There are six symbols: A, B and four distractors, which are drawn uniformly. One relevant symbol, A or B with equal
    probability, is in each of these stretches: [0.1, 0.2) and [0.5, 0.6) of the length for two bits; [0.1, 0.2),
    [0.3, 0.4) and [0.6, 0.7) for three. The class is `v0 + 2 v1 (+ 4 v2)`, where A counts as 0 and B as 1. Guessing is
    right in 1/4 of cases for two bits, and in 1/8 for three.

    Args:
        length: Length of the sequences, in time steps; at least 10.
        n_bits: Number of relevant symbols, 2 or 3.
        **options: The options of `SequenceTaskDataModule`.

    Attributes:
        in_features: 6, the one-hot symbols.
        out_features: 4 or 8 classes.

    Raises:
        ArgumentError: An argument is out of range.
        ArgumentTypeError: An argument is not a whole number.

    Example:
        >>> data = TemporalOrderDataModule(length=50, seed=0)
        >>> inputs, targets = next(iter(data.train_dataloader()))
        >>> inputs.shape, targets.shape
        (torch.Size([20, 50, 6]), torch.Size([20]))

    References:
        Sepp Hochreiter and Jürgen Schmidhuber, "Long Short-Term Memory", 1997, tasks 6a and 6b,
        https://doi.org/10.1162/neco.1997.9.8.1735.
        Razvan Pascanu, Tomas Mikolov and Yoshua Bengio, "On the difficulty of training recurrent neural networks",
        2013, https://arxiv.org/abs/1211.5063. As there, and unlike the first paper, there are no start and end symbols.
    """

    in_features = 6
    min_length = 10

    def __init__(self, length: int = 100, *, n_bits: Literal[2, 3] = 2, **options: Any) -> None:
        super().__init__(length, **options)
        check_choice("TemporalOrderDataModule", _TENTHS, n_bits=n_bits)
        self.n_bits = n_bits
        self.out_features = 2**n_bits

    def draw(self, generator: np.random.Generator, size: int, length: int) -> Arrays:
        """Sequences `(size, length, 6)` and classes `(size,)`."""
        symbols = generator.integers(2, 6, (size, length))
        rows, classes = np.arange(size), np.zeros(size, dtype=np.int64)
        for bit, tenths in enumerate(_TENTHS[self.n_bits]):
            steps = length * tenths // 10 + generator.integers(0, length // 10, size)
            values = generator.integers(0, 2, size)
            symbols[rows, steps] = values
            classes += values << bit
        return one_hot(symbols, 6), classes


_TENTHS = {2: (1, 5), 3: (1, 3, 6)}
"""Start of each stretch that holds A or B, in tenths of the length. Each stretch is one tenth long."""
