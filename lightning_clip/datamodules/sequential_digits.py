"""`SequentialDigitsDataModule`: handwritten digits, one pixel after the other."""

import numpy as np
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from lightning_clip._checks import check_count
from lightning_clip.datamodules._tensor_rows import Batch, TensorRows, evaluation_loader, training_loader


class SequentialDigitsDataModule(LightningDataModule):
    """The 1,797 digits of 8 by 8 pixels that scikit-learn ships, as sequences of 64 grey values, row by row.

    The digit is to be told after the last pixel. Grey values are divided by 16, their largest. Images are shuffled by
    `random_state` and split into 1,198 to train, 299 to validate and 300 to test on; the same people wrote all three.

    The training order follows torch's global seed (`seed_everything`), the split follows `random_state`.

    Args:
        batch_size: Images in a training batch; evaluation takes at least 1,024.
        random_state: Seeds the shuffle before the split.

    Attributes:
        in_features: 1, a grey value in [0, 1] at each step.
        out_features: 10 classes.
        train_rows: Inputs `(1198, 64, 1)`, classes `(1198,)`; after `setup`.
        val_rows: Inputs `(299, 64, 1)`, classes `(299,)`; after `setup`.
        test_rows: Inputs `(300, 64, 1)`, classes `(300,)`; after `setup`.

    Raises:
        ValueError: An argument is too small.
        TypeError: An argument is not a whole number.

    Example:
        >>> data = SequentialDigitsDataModule()
        >>> data.setup("fit")
        >>> inputs, targets = next(iter(data.train_dataloader()))
        >>> inputs.shape, targets.shape
        (torch.Size([32, 64, 1]), torch.Size([32]))

    References:
        Ethem Alpaydin and Cenk Kaynak, "Optical Recognition of Handwritten Digits", 1998,
        https://doi.org/10.24432/C50P49.
        Quoc Le, Navdeep Jaitly and Geoffrey Hinton, "A Simple Way to Initialize Recurrent Networks of Rectified Linear
        Units", 2015, https://arxiv.org/abs/1504.00941, reads the larger digits of MNIST in this way.
    """

    in_features = 1
    out_features = 10

    def __init__(self, *, batch_size: int = 32, random_state: int = 1) -> None:
        super().__init__()
        check_count("SequentialDigitsDataModule", batch_size=batch_size)
        check_count("SequentialDigitsDataModule", random_state=random_state, at_least=0)
        self.save_hyperparameters()
        self.batch_size = batch_size
        self.random_state = random_state

    def setup(self, stage: str) -> None:
        """Load the images, once.

        Args:
            stage: Not used; all stages need little memory.
        """
        if hasattr(self, "train_rows"):
            return
        from sklearn.datasets import load_digits

        pixels, digits = load_digits(return_X_y=True)
        order = np.random.default_rng(self.random_state).permutation(len(digits))
        self.train_rows, self.val_rows, self.test_rows = (
            TensorRows(pixels[part, :, None] / 16.0, digits[part]) for part in np.split(order, [1198, 1497])
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled batches."""
        return training_loader(self.train_rows, self.batch_size)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Batches in order."""
        return evaluation_loader(self.val_rows, self.batch_size)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches in order."""
        return evaluation_loader(self.test_rows, self.batch_size)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The same as for testing."""
        return self.test_dataloader()
