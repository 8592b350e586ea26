"""`RandomPermutationDataModule`: recall the first symbol after many random ones."""

import numpy as np

from lightning_clip.datamodules._generated_batches import Arrays, one_hot
from lightning_clip.datamodules.sequence_task import SequenceTaskDataModule


class RandomPermutationDataModule(SequenceTaskDataModule):
    """Recall the first symbol of a sequence after its last step; all other symbols are random.

    There are 100 symbols. The first is 0 or 1 with equal probability; all others are uniform in 2 to 99. The network
    predicts the first symbol as one of 100 classes.

    Args:
        length: Length of the sequences, in time steps.
        **options: The options of `SequenceTaskDataModule`.

    Attributes:
        in_features: 100, the one-hot symbols.
        out_features: 100 classes.

    Example:
        >>> data = RandomPermutationDataModule(length=50, seed=0)
        >>> inputs, targets = next(iter(data.train_dataloader()))
        >>> inputs.shape, bool((inputs[:, 0].argmax(dim=1) == targets).all())
        (torch.Size([20, 50, 100]), True)

    References:
        James Martens and Ilya Sutskever, "Learning Recurrent Neural Networks with Hessian-Free Optimization", 2011,
        https://icml.cc/2011/papers/532_icmlpaper.pdf. They predict the next symbol at every step.
        Razvan Pascanu, Tomas Mikolov and Yoshua Bengio, "On the difficulty of training recurrent neural networks",
        2013, https://arxiv.org/abs/1211.5063. As in its released code, only the last step has a target.
    """

    in_features = 100
    out_features = 100

    def draw(self, generator: np.random.Generator, size: int, length: int) -> Arrays:
        """Sequences `(size, length, 100)` and classes `(size,)`."""
        symbols = generator.integers(2, 100, (size, length))
        symbols[:, 0] = generator.integers(0, 2, size)
        return one_hot(symbols, 100), symbols[:, 0].copy()
