"""`WindowRows`: overlapping stretches of a series, as rows."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset


class WindowRows(Dataset[tuple[Tensor, ...]]):
    """Windows of a series and the values that follow each of their steps; no window is stored.

    A batch is one indexing operation, as in `TensorRows`. Give the loader `collate_fn=as_is`.

    Args:
        inputs: `(steps, in_features)`.
        targets: `(steps, out_features)`; NaN where a value is missing.
        window: Steps of a window.
        horizon: How many steps ahead a target is.
        stride: Steps between the starts of two windows.
        last_step_only: Whether only the last step of a window has a target; windows in which it is missing are left
            out.
        with_mask: Whether a third tensor says which targets there are.
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
