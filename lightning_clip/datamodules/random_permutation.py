"""`RandomPermutationDataModule`: the first symbol, after many random ones."""

import numpy as np

from lightning_clip.datamodules._generated_batches import Arrays, one_hot
from lightning_clip.datamodules.sequence_task import SequenceTaskDataModule


class RandomPermutationDataModule(SequenceTaskDataModule):
    """One of two symbols, then random ones; at the end the first is to be told.

    Of 100 symbols the first is 0 or 1 with equal chance, all others are uniform in 2 to 99. After the last step the
    network tells the first symbol, as one of 100 classes.

    Args:
        length: Length of the sequences, in time steps.
        max_length: With it, each batch draws its length uniformly from `length` to `max_length`.
        batch_size: Sequences in a training batch.
        batches_per_epoch: Training batches in an epoch: how often Lightning validates.
        n_val: Sequences to validate on.
        n_test: Sequences to test on.
        seed: Seeds the sequences; `None` takes torch's global seed (`seed_everything`).

    Attributes:
        in_features: 100, the symbols as unit vectors.
        out_features: 100 classes.

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument is not a whole number.

    Example:
        >>> data = RandomPermutationDataModule(length=50, seed=0)
        >>> inputs, targets = next(iter(data.train_dataloader()))
        >>> inputs.shape, bool((inputs[:, 0].argmax(dim=1) == targets).all())
        (torch.Size([20, 50, 100]), True)

    References:
        James Martens and Ilya Sutskever, "Learning Recurrent Neural Networks with Hessian-Free Optimization", 2011,
        https://icml.cc/2011/papers/532_icmlpaper.pdf. They ask for the next symbol at every step.
        Razvan Pascanu, Tomas Mikolov and Yoshua Bengio, "On the difficulty of training recurrent neural networks",
        2013, https://arxiv.org/abs/1211.5063. As in its released code, only the last symbol is asked for.
    """

    in_features = 100
    out_features = 100

    def draw(self, generator: np.random.Generator, size: int, length: int) -> Arrays:
        """Sequences `(size, length, 100)` and classes `(size,)`."""
        symbols = generator.integers(2, 100, (size, length))
        symbols[:, 0] = generator.integers(0, 2, size)
        return one_hot(symbols, 100), symbols[:, 0].copy()
