"""`SequentialDigitsDataModule`: handwritten digits, read one pixel at a time."""

import numpy as np

from lightning_clip._checks import check_count
from lightning_clip.datamodules._tensor_rows import RowsDataModule, TensorRows


class SequentialDigitsDataModule(RowsDataModule):
    """The 1,797 digits of 8 by 8 pixels that ship with scikit-learn, as sequences of 64 gray values, row by row.

    The network predicts the digit after the last pixel. Gray values are divided by 16, their maximum. `random_state`
    shuffles the images, which are then split into 1,198 for training, 299 for validation and 300 for testing; the same
    writers appear in all three. Torch's global seed (`seed_everything`) sets the training order.

    Args:
        batch_size: Images in a training batch; evaluation batches have at least 1,024.
        random_state: Seeds the shuffle before the split.

    Attributes:
        in_features: 1, a gray value in [0, 1] at each step.
        out_features: 10 classes.
        train_rows: Inputs `(1198, 64, 1)`, classes `(1198,)`; available after `setup`.
        val_rows: Inputs `(299, 64, 1)`, classes `(299,)`; available after `setup`.
        test_rows: Inputs `(300, 64, 1)`, classes `(300,)`; available after `setup`.

    Raises:
        ArgumentError: An argument is too small.
        ArgumentTypeError: An argument is not a whole number.

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
        Units", 2015, https://arxiv.org/abs/1504.00941, who read the larger digits of MNIST in this way.
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
            stage: Not used; all stages are loaded at once.
        """
        if hasattr(self, "train_rows"):
            return
        from sklearn.datasets import load_digits

        pixels, digits = load_digits(return_X_y=True)
        order = np.random.default_rng(self.random_state).permutation(len(digits))
        self.train_rows, self.val_rows, self.test_rows = (
            TensorRows(pixels[part, :, None] / 16.0, digits[part]) for part in np.split(order, [1198, 1497])
        )
