"""`RegressionDataModule`: regression on rows of numbers, synthetic or real."""

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from lightning_clip._checks import check_count, check_rule
from lightning_clip.datamodules._tensor_rows import Batch, TensorRows, evaluation_loader, training_loader

Rows = tuple[NDArray[np.float64], NDArray[np.float64]]


class RegressionDataModule(LightningDataModule):
    """Rows of features and one number to predict: the first half to train on, the other half to validate and test on.

    `"synthetic"` is scikit-learn's `make_regression`: normal features and a linear target whose standard deviation,
    around 200, is what makes gradients explode. Its rows are taken as they come. `"diabetes"` is the data set of 442
    patients that scikit-learn ships; 10 features, target 25 to 346. Its rows are shuffled by `random_state` before
    they are split, since nothing is known about the order of the file, and its features, which are in units from
    millilitres to years, are brought to mean 0 and standard deviation 1 of the training rows.

    Validation and test rows are the same, as in the reference below: select nothing by the one if you report the other.
    The training order follows torch's global seed (`seed_everything`), the data follow `random_state`.

    Args:
        source: Where the rows come from.
        n_samples: Number of rows; synthetic only.
        n_features: Number of features; synthetic only.
        n_informative: Number of features that the target depends on; synthetic only.
        noise: Standard deviation of the noise on the target, in its unit; synthetic only.
        random_state: Seeds the synthetic rows, or the shuffle of the real ones.
        batch_size: Rows in a training batch; evaluation takes at least 1,024.
        standardize_target: Whether the target is brought to mean 0 and standard deviation 1 of the training rows. Then
            no gradient explodes, and errors count in squared standard deviations.

    Attributes:
        in_features: Number of features of either source.
        out_features: Number of targets, 1.
        train_rows: Inputs `(rows, in_features)`, targets `(rows, 1)`; after `setup`.
        eval_rows: Inputs `(rows, in_features)`, targets `(rows, 1)`; after `setup`.
        target_mean: Subtracted from the target; 0 where it is not standardised; after `setup`.
        target_std: The target was divided by it; 1 where it is not standardised; after `setup`.

    Raises:
        ValueError: An argument is out of range.
        TypeError: A count is not a whole number.

    Example:
        >>> data = RegressionDataModule()
        >>> data.setup("fit")
        >>> inputs, targets = next(iter(data.train_dataloader()))
        >>> inputs.shape, targets.shape, len(data.train_rows), len(data.eval_rows)
        (torch.Size([32, 20]), torch.Size([32, 1]), 500, 500)

    References:
        Jason Brownlee, "How to Avoid Exploding Gradients With Gradient Clipping", 2019 (updated 2020),
        https://machinelearningmastery.com/how-to-avoid-exploding-gradients-in-neural-networks-with-gradient-clipping/.
        Bradley Efron and others, "Least Angle Regression", 2004, https://arxiv.org/abs/math/0406456 (diabetes).
    """

    def __init__(
        self,
        source: Literal["synthetic", "diabetes"] = "synthetic",
        *,
        n_samples: int = 1000,
        n_features: int = 20,
        n_informative: int = 10,
        noise: float = 0.1,
        random_state: int = 1,
        batch_size: int = 32,
        standardize_target: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        sources = ", ".join(repr(known) for known in _SOURCES)
        check_rule(f"{name}(source={source!r})", f"source must be one of {sources}", holds=source in _SOURCES)
        check_count(name, n_samples=n_samples, at_least=2)
        check_count(name, n_features=n_features, batch_size=batch_size)
        check_count(name, n_informative=n_informative, random_state=random_state, at_least=0)
        pair = f"{name}(n_features={n_features!r}, n_informative={n_informative!r})"
        check_rule(pair, "n_informative must be at most n_features", holds=n_informative <= n_features)
        check_rule(f"{name}(noise={noise!r})", "noise must be a number of at least 0", holds=0 <= noise < math.inf)
        self.save_hyperparameters()
        self.source = source
        self.n_samples = n_samples
        self.n_features = n_features
        self.n_informative = n_informative
        self.noise = noise
        self.random_state = random_state
        self.batch_size = batch_size
        self.standardize_target = standardize_target
        self.in_features = {"synthetic": n_features, "diabetes": 10}[source]
        self.out_features = 1

    def setup(self, stage: str) -> None:
        """Make or load the rows, once.

        Args:
            stage: Not used; all stages have the same rows.
        """
        if hasattr(self, "train_rows"):
            return
        inputs, target = _SOURCES[self.source](self)
        half = len(target) // 2
        if self.standardize_target:
            self.target_mean, self.target_std = float(target[:half].mean()), float(target[:half].std()) or 1.0
        else:
            self.target_mean, self.target_std = 0.0, 1.0
        targets = ((target - self.target_mean) / self.target_std)[:, None]
        self.train_rows = TensorRows(inputs[:half], targets[:half])
        self.eval_rows = TensorRows(inputs[half:], targets[half:])

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled batches of the first half."""
        return training_loader(self.train_rows, self.batch_size)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Batches of the second half, in order."""
        return evaluation_loader(self.eval_rows, self.batch_size)

    def test_dataloader(self) -> DataLoader[Batch]:
        """The same as for validation."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The same as for validation."""
        return self.val_dataloader()


def _synthetic(data: RegressionDataModule) -> Rows:
    from sklearn.datasets import make_regression

    rows: Any = make_regression(
        n_samples=data.n_samples,
        n_features=data.n_features,
        n_informative=data.n_informative,
        noise=data.noise,
        random_state=data.random_state,
    )
    return rows[0], rows[1]


def _diabetes(data: RegressionDataModule) -> Rows:
    from sklearn.datasets import load_diabetes

    inputs, target = load_diabetes(return_X_y=True, scaled=False)
    order = np.random.default_rng(data.random_state).permutation(len(target))
    inputs, target = inputs[order], target[order]
    train = inputs[: len(target) // 2]
    return (inputs - train.mean(axis=0)) / train.std(axis=0), target


_SOURCES: dict[str, Callable[[RegressionDataModule], Rows]] = {"synthetic": _synthetic, "diabetes": _diabetes}
