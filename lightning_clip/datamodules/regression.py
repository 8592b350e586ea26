"""`RegressionDataModule`: synthetic or real tabular regression."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lightning_clip._checks import check_choice, check_count, check_flag, check_non_negative, check_rule
from lightning_clip.datamodules._tensor_rows import RowsDataModule, TensorRows

Rows = tuple[NDArray[np.float64], NDArray[np.float64]]


class RegressionDataModule(RowsDataModule):
    """Rows of features with one value to predict. The first half is for training, the second for validation and test.

    `"synthetic"` is scikit-learn's `make_regression`: normally distributed features and a linear target, whose standard
    deviation of about 150 makes gradients explode. The rows stay in the order in which they were generated.

    `"diabetes"` is the data set of 442 patients that ships with scikit-learn: 10 features, targets from 25 to 346. The
    order of that file is not documented, so the rows are shuffled by `random_state` before they are split. Its features
    have units from milliliters to years, so they are standardized by the mean and standard deviation of the training
    rows.

    Validation and test rows are the same, as in the first reference: if you report test results, do not use validation
    results to select models. Torch's global seed (`seed_everything`) sets the training order; `random_state` sets the
    data.

    Args:
        source: Where the rows come from.
        n_samples: Number of rows; synthetic only.
        n_features: Number of features; synthetic only.
        n_informative: Number of features that the target depends on; synthetic only.
        noise: Standard deviation of the noise on the target, in the unit of the target; synthetic only.
        standardize_target: Whether to standardize the target by the mean and standard deviation of the training rows.
            Gradients then do not explode, and errors are in squared standard deviations.
        random_state: Seeds the synthetic rows, or the shuffle of the real ones.
        batch_size: Rows in a training batch; evaluation batches have at least 1,024.

    Attributes:
        in_features: Number of features of the chosen source.
        out_features: Number of targets, 1.
        train_rows: Inputs `(rows, in_features)`, targets `(rows, 1)`; available after `setup`.
        eval_rows: Inputs `(rows, in_features)`, targets `(rows, 1)`, to validate and test on; available after `setup`.
        target_mean: Mean subtracted from the target, 0 without `standardize_target`; available after `setup`.
        target_std: Standard deviation that the target is divided by, 1 without `standardize_target`; available after
            `setup`.

    Raises:
        ArgumentError: An argument is out of range.
        ArgumentTypeError: An argument has the wrong type.

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
        standardize_target: bool = False,
        random_state: int = 1,
        batch_size: int = 32,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_choice(name, _SOURCES, source=source)
        check_count(name, n_samples=n_samples, at_least=2)
        check_count(name, n_features=n_features, batch_size=batch_size)
        check_count(name, n_informative=n_informative, random_state=random_state, at_least=0)
        pair = f"{name}(n_features={n_features!r}, n_informative={n_informative!r})"
        check_rule(pair, "n_informative must be at most n_features", holds=n_informative <= n_features)
        check_non_negative(name, noise=noise)
        check_flag(name, standardize_target=standardize_target)
        self.save_hyperparameters()
        self.source = source
        self.n_samples, self.n_features, self.n_informative = n_samples, n_features, n_informative
        self.noise = noise
        self.standardize_target = standardize_target
        self.random_state = random_state
        self.batch_size = batch_size
        self.in_features = {"synthetic": n_features, "diabetes": 10}[source]
        self.out_features = 1

    def setup(self, stage: str) -> None:
        """Generate or load the rows, once.

        Args:
            stage: Not used; all stages use the same rows.
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
        self.eval_rows = self.val_rows = self.test_rows = TensorRows(inputs[half:], targets[half:])


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
