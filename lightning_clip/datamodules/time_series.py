"""`TimeSeriesDataModule`: forecast a time series from windows of it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_clip._checks import (
    check_choice,
    check_count,
    check_each,
    check_flag,
    check_path,
    check_rule,
    did_you_mean,
)
from lightning_clip._errors import InputError
from lightning_clip.datamodules._splits import check_fractions, split_edges
from lightning_clip.datamodules._tensor_rows import as_is
from lightning_clip.datamodules.mackey_glass import mackey_glass
from lightning_clip.datamodules.table import RowPlaces, Table, read_table
from lightning_clip.datamodules.window_rows import WindowRows

_LARGEST = 1e38
"""Networks compute in float32, and squares of more than 1e154 overflow float64 too."""

Loader = DataLoader[tuple[Tensor, ...]]


class TimeSeriesDataModule(LightningDataModule):
    """Windows of a series. At every step, or after the last, the network predicts the value some steps ahead.

    The series is split into training, validation and test parts, in that order, and no window crosses a boundary. Each
    column is standardized by the mean and standard deviation of the training part only. Errors are in these units;
    `unscale` converts back.

    Evaluation uses windows that do not overlap, so that each target counts once. With `last_step_only`, where every
    window has a single target, it uses all windows.

    Args:
        path: A CSV file, or an `.npy` array `(steps,)` or `(steps, columns)`; `None` uses 10,000 values of the
            Mackey-Glass series.
        columns: Names of the input columns; `None` for all. Columns without names are called `"0"`, `"1"`, ….
        targets: Names of the columns to predict; `None` for the input columns.
        window: Length of a window, in time steps.
        horizon: How far ahead the targets are, in time steps.
        stride: Distance between the starts of two training windows, in time steps.
        last_step_only: Whether only the last step of a window has a target.
        missing: `"refuse"` raises an error at the first missing value. `"mask"` replaces missing values with the mean,
            adds an input for each column that is 1 where the value is present, and ignores missing targets: batches
            have a third tensor, true where there is a target. With `last_step_only`, windows without a target are
            dropped instead.
        scale: Whether to standardize the columns.
        val_fraction: Fraction of the series to validate on, just before the test part.
        test_fraction: Fraction of the series to test on, at its end.
        batch_size: Windows in a batch.
        delimiter: Separator between two cells of a CSV file.

    Attributes:
        mean: `(out_features,)`, mean of the targets; available after `setup`.
        std: `(out_features,)`, standard deviation of the targets; available after `setup`.
        train_rows: The training windows; available after `setup`.
        val_rows: The validation windows; available after `setup`.
        test_rows: The test windows; available after `setup`.

    Raises:
        ArgumentError: An argument is out of range.
        ArgumentTypeError: A size is not a whole number.
        InputError: In `setup`, if the file cannot be used.

    Example:
        >>> data = TimeSeriesDataModule(window=50, batch_size=8)
        >>> data.setup("fit")
        >>> inputs, targets = next(iter(data.train_dataloader()))
        >>> inputs.shape, targets.shape
        (torch.Size([8, 50, 1]), torch.Size([8, 50, 1]))

    References:
        Zhengping Che and others, "Recurrent Neural Networks for Multivariate Time Series with Missing Values", 2018,
        https://arxiv.org/abs/1606.01865: `missing="mask"` imputes the mean and adds their missingness indicator.
    """

    def __init__(
        self,
        path: str | Path | None = None,
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
        check_choice(name, ("refuse", "mask"), missing=missing)
        check_flag(name, last_step_only=last_step_only, scale=scale)
        if path is not None:
            check_path(name, path=path)
        check_each(name, str, columns=() if columns is None else columns, targets=() if targets is None else targets)
        is_one = isinstance(delimiter, str) and len(delimiter) == 1
        check_rule(f"{name}(delimiter={delimiter!r})", "delimiter must be one character", holds=is_one)
        check_fractions(name, val_fraction, test_fraction)
        self.save_hyperparameters()
        self.path, self.delimiter = None if path is None else os.fspath(path), delimiter
        self.columns, self.targets = columns, targets
        self.window, self.horizon, self.stride = window, horizon, stride
        self.last_step_only = last_step_only
        self.missing = missing
        self.scale = scale
        self.val_fraction, self.test_fraction = val_fraction, test_fraction
        self.batch_size = batch_size

    @property
    def in_features(self) -> int:
        """Number of inputs at each step: that of the columns, doubled by `missing="mask"`. Reads the file."""
        self.setup("fit")
        return self.train_rows.inputs.shape[1]

    @property
    def out_features(self) -> int:
        """Number of values to predict. Reads the file."""
        self.setup("fit")
        return self.train_rows.targets.shape[1]

    def setup(self, stage: str) -> None:
        """Read, scale and split the series, once.

        Args:
            stage: Not used; all stages come from the same file.
        """
        if hasattr(self, "train_rows"):
            return
        table = self._table()
        edges = split_edges(len(table.values), self.val_fraction, self.test_fraction)
        inputs, _, _ = self._scaled(table.take(self.columns), edges[0])
        targets, mean, std = self._scaled(table.take(self.targets or self.columns), edges[0])
        if self.missing == "mask":
            inputs = np.concatenate([np.nan_to_num(inputs, nan=0.0), np.isfinite(inputs)], axis=1)
        self.mean, self.std = torch.from_numpy(mean).float(), torch.from_numpy(std).float()
        parts = list(zip(np.split(inputs, edges), np.split(targets, edges), strict=True))
        stride = 1 if self.last_step_only else self.window
        self.train_rows = self._windows(*parts[0], self.stride)
        self.val_rows, self.test_rows = (self._windows(*part, stride) for part in parts[1:])
        named = f"path={self.path!r}, " if self.path else ""
        check_rule(
            f"{type(self).__name__}({named}window={self.window}, horizon={self.horizon})",
            f"the training part has {edges[0]} step{'s' * (edges[0] != 1)}, too few for a window and its target",
            holds=len(self.train_rows) > 0,
        )

    def train_dataloader(self) -> Loader:
        """Shuffled windows of the training part."""
        return DataLoader(self.train_rows, batch_size=self.batch_size, shuffle=True, collate_fn=as_is)

    def val_dataloader(self) -> Loader | list[Loader]:
        """Windows of the validation part, in order; no loader if `val_fraction` is 0."""
        return self._evaluation_loader(self.val_rows) if self.val_fraction else []

    def test_dataloader(self) -> Loader | list[Loader]:
        """Windows of the test part, in order; no loader if `test_fraction` is 0."""
        return self._evaluation_loader(self.test_rows) if self.test_fraction else []

    def predict_dataloader(self) -> Loader | list[Loader]:
        """The test windows."""
        return self.test_dataloader()

    def unscale(self, values: Tensor) -> Tensor:
        """Convert outputs or targets back to the units of the file.

        Args:
            values: `(…, out_features)`.

        Returns:
            `(…, out_features)`.
        """
        return values * self.std.to(values) + self.mean.to(values)

    def _evaluation_loader(self, rows: WindowRows) -> Loader:
        return DataLoader(rows, batch_size=self.batch_size, collate_fn=as_is)

    def _table(self) -> Table:
        """The columns to use, checked for infinite and missing values."""
        if self.path is None:
            return Table(("0",), mackey_glass(10_000)[:, None], RowPlaces(10_000))
        wanted = None if self.columns is None else list(dict.fromkeys([*self.columns, *(self.targets or ())]))
        table = read_table(self.path, columns=wanted, delimiter=self.delimiter)
        if unknown := [name for name in self.targets or () if name not in table.names]:
            similar = did_you_mean(unknown[0], table.names)
            raise InputError(f"{self.path}: no column {unknown[0]!r} to predict{similar or '.'}")
        infinite, missing = table.first(np.isinf(table.values)), table.first(np.isnan(table.values))
        if infinite:
            raise InputError(f"{self.path}, {infinite}: the value is infinite.")
        if huge := table.first(np.abs(table.values) > _LARGEST):
            raise InputError(f"{self.path}, {huge}: the value is larger than {_LARGEST:g}, too large for float32.")
        if missing and self.missing == "refuse":
            raise InputError(f"{self.path}, {missing}: the value is missing; fill it in, or set missing='mask'.")
        return table

    def _scaled(
        self, values: NDArray[np.float64], n_train: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Standardized values, and the means and standard deviations of the training part."""
        mean, std = np.zeros(values.shape[1]), np.ones(values.shape[1])
        train = values[:n_train]
        rule = "a column has no values in the training part"
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
