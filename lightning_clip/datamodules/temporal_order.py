"""`TemporalOrderDataModule`: which of two symbols came first, a long time ago."""

from typing import Literal

import numpy as np

from lightning_clip._checks import check_rule
from lightning_clip.datamodules._generated_batches import Arrays, one_hot
from lightning_clip.datamodules.sequence_task import SequenceTaskDataModule


class TemporalOrderDataModule(SequenceTaskDataModule):
    """Two or three symbols, A or B, are hidden among distractors; at the end their order is to be told.

    Of six symbols the first two are A and B, the others distractors, drawn uniformly. A or B, with equal chance, stand
    at one step of each stretch: [0.1, 0.2) and [0.5, 0.6) of the length for two bits; [0.1, 0.2), [0.3, 0.4) and
    [0.6, 0.7) for three. The class is `v0 + 2 v1 (+ 4 v2)`, where A counts 0 and B counts 1. Guessing is right in a
    quarter, or an eighth, of all cases.

    Args:
        length: Length of the sequences, in time steps; at least 10.
        n_bits: How many symbols count: 2 or 3.
        max_length: With it, each batch draws its length uniformly from `length` to `max_length`.
        batch_size: Sequences in a training batch.
        batches_per_epoch: Training batches in an epoch: how often Lightning validates.
        n_val: Sequences to validate on.
        n_test: Sequences to test on.
        seed: Seeds the sequences; `None` takes torch's global seed (`seed_everything`).

    Attributes:
        in_features: 6, the symbols as unit vectors.
        out_features: 4 or 8 classes.

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument is not a whole number.

    Example:
        >>> data = TemporalOrderDataModule(length=50, seed=0)
        >>> inputs, targets = next(iter(data.train_dataloader()))
        >>> inputs.shape, targets.shape
        (torch.Size([20, 50, 6]), torch.Size([20]))

    References:
        Sepp Hochreiter and Jürgen Schmidhuber, "Long Short-Term Memory", 1997, tasks 6a and 6b,
        https://doi.org/10.1162/neco.1997.9.8.1735.
        Razvan Pascanu, Tomas Mikolov and Yoshua Bengio, "On the difficulty of training recurrent neural networks",
        2013, https://arxiv.org/abs/1211.5063. As there, and unlike in the first, there are no start and end symbols.
    """

    in_features = 6
    min_length = 10

    def __init__(
        self,
        length: int = 100,
        *,
        n_bits: Literal[2, 3] = 2,
        max_length: int | None = None,
        batch_size: int = 20,
        batches_per_epoch: int = 250,
        n_val: int = 1_000,
        n_test: int = 10_000,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            length,
            max_length=max_length,
            batch_size=batch_size,
            batches_per_epoch=batches_per_epoch,
            n_val=n_val,
            n_test=n_test,
            seed=seed,
        )
        check_rule(f"TemporalOrderDataModule(n_bits={n_bits!r})", "n_bits must be 2 or 3", holds=n_bits in _TENTHS)
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
"""The stretches that hold A or B, each a tenth long: where they begin, in tenths of the length."""
