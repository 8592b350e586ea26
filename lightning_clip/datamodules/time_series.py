"""`TimeSeriesDataModule`: windows of a time series, to tell what comes next."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_clip._checks import check_count, check_rule
from lightning_clip._errors import InputError
from lightning_clip.datamodules._tensor_rows import as_is
from lightning_clip.datamodules.mackey_glass import mackey_glass
from lightning_clip.datamodules.table import RowPlaces, Table, read_table
from lightning_clip.datamodules.window_rows import WindowRows

Loader = DataLoader[tuple[Tensor, ...]]


class TimeSeriesDataModule(LightningDataModule):
    """Windows of a series; at each step, or after the last, the value some steps ahead is to be told.

    The series is cut in the order train, validation, test, and no window reaches from one into another. Each column is
    brought to mean 0 and standard deviation 1 of the training part, and of nothing else; errors count in these units,
    and `unscale` leads back.

    Evaluation takes windows that do not overlap, so that each target counts once; and all windows where each of them
    has one target.

    Args:
        path: A CSV file, or an `.npy` array `(steps,)` or `(steps, columns)`. `None` takes 10,000 values of the
            Mackey-Glass series.
        columns: Names of the input columns; `None` for all. Columns without names are `"0"`, `"1"`, ….
        targets: Names of the columns to tell; `None` for the input columns.
        window: Steps of a window.
        horizon: How many steps ahead a target is.
        stride: Steps between the starts of two training windows.
        last_step_only: Whether only the last step of a window has a target.
        missing: `"refuse"` names the first missing value and stops. `"mask"` puts the mean in its place, adds to the
            inputs one number for each column that is 1 where the value was there, and leaves missing targets out:
            batches have a third tensor, true where there is a target, unless `last_step_only`, where windows without
            target are left out.
        scale: Whether to scale; otherwise the numbers are taken as they are.
        val_fraction: Fraction of the series to validate on, the one before the last.
        test_fraction: Fraction of the series to test on, the last.
        batch_size: Windows in a batch.
        delimiter: What stands between two cells of a CSV file.

    Attributes:
        mean: `(out_features,)`, subtracted from the targets; after `setup`.
        std: `(out_features,)`, what they were divided by; after `setup`.
        train_rows: The training windows; after `setup`.
        val_rows: The validation windows; after `setup`.
        test_rows: The test windows; after `setup`.

    Raises:
        ValueError: An argument is out of range, or at `setup` the file cannot be used.
        TypeError: A size is not a whole number.

    Example:
        >>> data = TimeSeriesDataModule(window=50, batch_size=8)
        >>> data.setup("fit")
        >>> inputs, targets = next(iter(data.train_dataloader()))
        >>> inputs.shape, targets.shape
        (torch.Size([8, 50, 1]), torch.Size([8, 50, 1]))

    References:
        Zhengping Che and others, "Recurrent Neural Networks for Multivariate Time Series with Missing Values", 2018,
        https://arxiv.org/abs/1606.01865: `missing="mask"` is what they call the mean with an indicator.
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        columns: Sequence[str] | None = None,
        targets: Sequence[str] | None = None,
        window: int = 64,
        horizon: int = 1,
        stride: int = 1,
        last_step_only: bool = False,
        missing: Literal["refuse", "mask"] = "refuse",
        scale: bool = True,
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        batch_size: int = 32,
        delimiter: str = ",",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_count(name, window=window, horizon=horizon, stride=stride, batch_size=batch_size)
        known = missing in ("refuse", "mask")
        check_rule(f"{name}(missing={missing!r})", "missing must be 'refuse' or 'mask'", holds=known)
        check_rule(
            f"{name}(val_fraction={val_fraction!r}, test_fraction={test_fraction!r})",
            "both must be at least 0, and their sum below 1",
            holds=val_fraction >= 0 and test_fraction >= 0 and val_fraction + test_fraction < 1,
        )
        self.save_hyperparameters()
        self.path = path
        self.columns = columns
        self.targets = targets
        self.window = window
        self.horizon = horizon
        self.stride = stride
        self.last_step_only = last_step_only
        self.missing = missing
        self.scale = scale
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.batch_size = batch_size
        self.delimiter = delimiter

    @property
    def in_features(self) -> int:
        """Numbers at each step: the columns, twice as many with `missing="mask"`; reads the file."""
        self.setup("fit")
        return self.train_rows.inputs.shape[1]

    @property
    def out_features(self) -> int:
        """Numbers to tell; reads the file."""
        self.setup("fit")
        return self.train_rows.targets.shape[1]

    def setup(self, stage: str) -> None:
        """Read the series, scale it and cut it, once.

        Args:
            stage: Not used; all stages come from the same file.
        """
        if hasattr(self, "train_rows"):
            return
        table = self._table()
        length = len(table.values)
        edges = [round(length * (1 - self.val_fraction - self.test_fraction)), round(length * (1 - self.test_fraction))]
        inputs, _, _ = self._scaled(table.take(self.columns), edges[0])
        targets, mean, std = self._scaled(table.take(self.targets or self.columns), edges[0])
        if self.missing == "mask":
            inputs = np.concatenate([np.nan_to_num(inputs, nan=0.0), np.isfinite(inputs)], axis=1)
        self.mean, self.std = torch.from_numpy(mean).float(), torch.from_numpy(std).float()
        parts = list(zip(np.split(inputs, edges), np.split(targets, edges), strict=True))
        stride = 1 if self.last_step_only else self.window
        self.train_rows = self._windows(*parts[0], self.stride)
        self.val_rows, self.test_rows = (self._windows(*part, stride) for part in parts[1:])
        check_rule(
            f"{type(self).__name__}(window={self.window}, horizon={self.horizon})",
            f"the training part has {edges[0]} steps, too few for a window with a target",
            holds=len(self.train_rows) > 0,
        )

    def train_dataloader(self) -> Loader:
        """Shuffled windows of the training part."""
        return DataLoader(self.train_rows, batch_size=self.batch_size, shuffle=True, collate_fn=as_is)

    def val_dataloader(self) -> Loader | list[Loader]:
        """Windows of the validation part, in order; no loader where `val_fraction` is 0."""
        return self._evaluation_loader(self.val_rows) if self.val_fraction else []

    def test_dataloader(self) -> Loader | list[Loader]:
        """Windows of the test part, in order; no loader where `test_fraction` is 0."""
        return self._evaluation_loader(self.test_rows) if self.test_fraction else []

    def predict_dataloader(self) -> Loader | list[Loader]:
        """The same as for testing."""
        return self.test_dataloader()

    def unscale(self, values: Tensor) -> Tensor:
        """Lead outputs or targets back to the units of the file.

        Args:
            values: `(…, out_features)`.

        Returns:
            `(…, out_features)`.
        """
        return values * self.std.to(values) + self.mean.to(values)

    def _evaluation_loader(self, rows: WindowRows) -> Loader:
        return DataLoader(rows, batch_size=self.batch_size, collate_fn=as_is)

    def _table(self) -> Table:
        """The columns that are used, checked for values that cannot be."""
        if self.path is None:
            return Table(("0",), mackey_glass(10_000)[:, None], RowPlaces(10_000))
        wanted = None if self.columns is None else list(dict.fromkeys([*self.columns, *(self.targets or ())]))
        table = read_table(self.path, columns=wanted, delimiter=self.delimiter)
        infinite, missing = table.first(np.isinf(table.values)), table.first(np.isnan(table.values))
        if infinite:
            raise InputError(f"{self.path}, {infinite}: the value is infinite.")
        if missing and self.missing == "refuse":
            raise InputError(f"{self.path}, {missing}: the value is missing; fill it, or take missing='mask'.")
        return table

    def _scaled(
        self, values: NDArray[np.float64], n_train: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Values in standard deviations of the training part, its means, and its standard deviations."""
        mean, std = np.zeros(values.shape[1]), np.ones(values.shape[1])
        train = values[:n_train]
        rule = "a column has no value at all in the training part"
        check_rule(f"{type(self).__name__}(path={self.path!r})", rule, holds=bool((~np.isnan(train)).any(axis=0).all()))
        if self.scale:
            mean, std = np.nanmean(train, axis=0), np.nanstd(train, axis=0)
            std[std == 0] = 1.0
        return (values - mean) / std, mean, std

    def _windows(self, inputs: NDArray[np.float64], targets: NDArray[np.float64], stride: int) -> WindowRows:
        return WindowRows(
            inputs,
            targets,
            window=self.window,
            horizon=self.horizon,
            stride=stride,
            last_step_only=self.last_step_only,
            with_mask=self.missing == "mask" and not self.last_step_only,
        )
