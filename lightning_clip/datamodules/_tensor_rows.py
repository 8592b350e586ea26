"""`TensorRows`: rows of tensors in memory, taken a batch at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.data import DataLoader, Dataset


class TensorRows(Dataset[tuple[Tensor, Tensor]]):
    """Inputs and targets in memory.

    A batch is one indexing operation, which a standard `DataLoader` asks for through `__getitems__`: four times as
    fast as `TensorDataset`, whose rows are collected and stacked one by one. Give the loader `collate_fn=as_is`.

    Args:
        inputs: `(rows, …)`; floating point numbers become float32.
        targets: `(rows, …)`; floating point numbers become float32.

    Attributes:
        inputs: `(rows, …)`.
        targets: `(rows, …)`.
    """

    def __init__(self, inputs: ArrayLike, targets: ArrayLike) -> None:
        self.inputs = _tensor(inputs)
        self.targets = _tensor(targets)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        return self.inputs[row], self.targets[row]

    def __getitems__(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        index = torch.tensor(rows)
        return self.inputs[index], self.targets[index]


Batch = tuple[Tensor, Tensor]


def as_is(batch: Any) -> Any:
    """The batch, which is already one."""
    return batch


def training_loader(rows: TensorRows, batch_size: int) -> DataLoader[Batch]:
    """Batches in an order that torch's global seed decides, another one each epoch; the last may be smaller.

    Args:
        rows: The training rows.
        batch_size: Rows in a batch.

    Returns:
        A standard loader.
    """
    return DataLoader(rows, batch_size=batch_size, shuffle=True, collate_fn=as_is)


def evaluation_loader(rows: TensorRows, batch_size: int) -> DataLoader[Batch]:
    """Batches in order, of at least 1,024 rows: nothing is learnt from them, so few large ones are cheapest.

    Args:
        rows: The rows to evaluate on.
        batch_size: Rows in a training batch.

    Returns:
        A standard loader.
    """
    return DataLoader(rows, batch_size=max(batch_size, 1024), collate_fn=as_is)


def _tensor(values: ArrayLike) -> Tensor:
    array = np.asarray(values)
    return torch.from_numpy(array.astype(np.float32 if array.dtype.kind == "f" else np.int64))
