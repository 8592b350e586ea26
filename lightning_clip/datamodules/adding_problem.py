"""`AddingProblemDataModule`: the mean of two numbers that were marked a long time ago."""

import numpy as np
from numpy.typing import NDArray

from lightning_clip.datamodules._marked_values import MarkedValuesDataModule


class AddingProblemDataModule(MarkedValuesDataModule):
    """Two numbers of a long sequence are marked; at the end their mean is to be told.

    Each step has a mark, 0 or 1, and a number, uniform in [0, 1). A batch draws the number of its steps T uniformly
    from `length` to below 1.1 times `length`; the marks are at one step of the first tenth and one of [0.1, 0.5) of T.
    Always answering the mean of all targets is wrong in 36 % of all cases.

    Args:
        length: Smallest number of time steps; at least 10.
        max_length: With it, each batch draws its `length` uniformly from `length` to `max_length`.
        batch_size: Sequences in a training batch.
        batches_per_epoch: Training batches in an epoch: how often Lightning validates.
        n_val: Sequences to validate on.
        n_test: Sequences to test on.
        seed: Seeds the sequences; `None` takes torch's global seed (`seed_everything`).

    Attributes:
        in_features: 2, mark and number.
        out_features: 1.

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument is not a whole number.

    Example:
        >>> data = AddingProblemDataModule(length=50, seed=0)
        >>> inputs, targets = next(iter(data.train_dataloader()))
        >>> tuple(inputs.shape[::2]), targets.shape
        ((20, 2), torch.Size([20, 1]))

    References:
        Sepp Hochreiter and Jürgen Schmidhuber, "Long Short-Term Memory", 1997, task 4,
        https://doi.org/10.1162/neco.1997.9.8.1735.
        Razvan Pascanu, Tomas Mikolov and Yoshua Bengio, "On the difficulty of training recurrent neural networks",
        2013, https://arxiv.org/abs/1211.5063. As in its released code, the target is half the sum, and a sequence is
        right within 0.2, where the first asks for 0.04.
    """

    def combine(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
        """Half their sum."""
        return np.float32(0.5) * (first + second)
