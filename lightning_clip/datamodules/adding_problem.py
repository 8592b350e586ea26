"""`AddingProblemDataModule`: predict the mean of two numbers that were marked a long time ago."""

import numpy as np
from numpy.typing import NDArray

from lightning_clip.datamodules._marked_values import MarkedValuesDataModule


class AddingProblemDataModule(MarkedValuesDataModule):
    """Predict the mean of two marked numbers of a long sequence, after its last step.

    Each step has a mark, 0 or 1, and a number, uniform in [0, 1). Each batch draws its number of steps T uniformly
    from `length` up to, but below, 1.1 times `length`. One mark is in the first tenth of T, the other in [0.1, 0.5).
    Always predicting the mean of all targets is wrong in 36% of cases.

    Args:
        length: Smallest number of time steps; at least 10.
        **options: The options of `SequenceTaskDataModule`.

    Example:
        >>> data = AddingProblemDataModule(length=50, seed=0)
        >>> inputs, targets = next(iter(data.train_dataloader()))
        >>> tuple(inputs.shape[::2]), targets.shape
        ((20, 2), torch.Size([20, 1]))

    References:
        Sepp Hochreiter and Jürgen Schmidhuber, "Long Short-Term Memory", 1997, task 4,
        https://doi.org/10.1162/neco.1997.9.8.1735.
        Razvan Pascanu, Tomas Mikolov and Yoshua Bengio, "On the difficulty of training recurrent neural networks",
        2013, https://arxiv.org/abs/1211.5063. As in its released code, the target is half the sum, and a prediction
        within 0.2 is right; the first paper requires 0.04.
    """

    def combine(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
        """Half their sum."""
        return np.float32(0.5) * (first + second)
