"""`WindowRows`: windows of a series, as rows of a data set."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset


class WindowRows(Dataset[tuple[Tensor, ...]]):
    """Windows of a series and the values to predict. Windows are cut out on demand, not stored.

    A whole batch is fetched with one indexing operation, as in `TensorRows`. Pass the loader `collate_fn=as_is`.

    Args:
        inputs: `(steps, in_features)`.
        targets: `(steps, out_features)`; NaN where a value is missing.
        window: Length of a window, in time steps.
        horizon: How far ahead the targets are, in time steps.
        stride: Distance between the starts of two windows, in time steps.
        last_step_only: Whether only the last step of a window has a target; windows whose target is missing are
            dropped.
        with_mask: Whether to return a third tensor, true where the target is present.
    """

    def __init__(
        self,
        inputs: NDArray[np.float64],
        targets: NDArray[np.float64],
        *,
        window: int,
        horizon: int,
        stride: int,
        last_step_only: bool,
        with_mask: bool,
    ) -> None:
        self.inputs = torch.from_numpy(inputs.astype(np.float32))
        self.targets = torch.from_numpy(np.nan_to_num(targets, nan=0.0).astype(np.float32))
        self.present = torch.from_numpy(np.isfinite(targets).all(axis=1))
        self.horizon = horizon
        self.last_step_only = last_step_only
        self.with_mask = with_mask
        self._steps = torch.arange(window)
        starts = torch.arange(0, max(len(inputs) - window - horizon + 1, 0), stride)
        self.starts = starts[self.present[starts + window - 1 + horizon]] if last_step_only else starts

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, row: int) -> tuple[Tensor, ...]:
        return tuple(part[0] for part in self.__getitems__([row]))

    def __getitems__(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        steps = self.starts[torch.tensor(rows)][:, None] + self._steps
        ahead = (steps[:, -1] if self.last_step_only else steps) + self.horizon
        batch = self.inputs[steps], self.targets[ahead]
        return (*batch, self.present[ahead]) if self.with_mask else batch
