"""Runs in which one sample is bad, and the modules that train on it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_clip import BadStepCapture, TBPTTSequenceModule
from tests.support.training import quiet_trainer

BAD, ROWS, BATCH = 83, 160, 16
"""Sample 83 is at position 3 of batch 5 if the data is not shuffled."""


def rows(*, shape: tuple[int, ...] = (4,), bad: float = 1e4, targets: tuple[int, ...] = (1,)) -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(ROWS, *shape, generator=generator)
    target = torch.randn(ROWS, *targets, generator=generator)
    target[BAD] = bad
    return TensorDataset(inputs, target)


def loader(dataset: Any = None, *, shuffle: bool = False, **options: Any) -> DataLoader[Any]:
    return DataLoader(rows() if dataset is None else dataset, batch_size=BATCH, shuffle=shuffle, **options)


class Plain(pl.LightningModule):
    """A network with what a step may depend on: dropout and BatchNorm, if asked for."""

    def __init__(self, *, dropout: float = 0.0, norm: bool = False, manual: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        middle = nn.BatchNorm1d(6) if norm else nn.Tanh()
        self.net = nn.Sequential(nn.Linear(4, 6), middle, nn.Dropout(dropout), nn.Linear(6, 1))
        self.automatic_optimization = not manual

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
        self.log("loss", loss)
        if not self.automatic_optimization:
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class TwoHeads(Plain):
    """Two optimizers in manual optimization; the second one reads what the first has changed."""

    def __init__(self) -> None:
        super().__init__(manual=True)
        self.head = nn.Linear(1, 1)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        first, second = self.optimizers()
        inputs, targets = batch
        for optimizer, goal in ((first, inputs[:, :1]), (second, targets)):
            loss = nn.functional.mse_loss(self.head(self.net(inputs)), goal)
            first.zero_grad()
            second.zero_grad()
            self.manual_backward(loss)
            optimizer.step()

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.net.parameters(), lr=1e-2), torch.optim.Adam(self.head.parameters(), lr=1e-2)


class Recurrent(Plain):
    """An LSTM whose last state is read."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Identity()
        self.lstm, self.head = nn.LSTM(2, 3, batch_first=True), nn.Linear(3, 1)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return nn.functional.mse_loss(self.head(self.lstm(batch[0])[0][:, -1]), batch[1])


class Chunked(TBPTTSequenceModule):
    """Truncated BPTT without validation."""

    validation_step = None


def chunked(**options: Any) -> Chunked:
    torch.manual_seed(0)
    return Chunked(2, 1, truncated_bptt_steps=4, task="regression", many_to_many=True, hidden_size=3, **options)


def captured(
    module: pl.LightningModule,
    folder: Path,
    data: Any = None,
    *,
    also: Iterable[pl.Callback] = (),
    capture: BadStepCapture | None = None,
    **options: Any,
) -> BadStepCapture:
    """Train one epoch and return the callback, which has written the bad step."""
    capture = capture or BadStepCapture(folder=folder)
    defaults = {"max_epochs": 1, "limit_val_batches": 0}
    quiet_trainer(callbacks=[*also, capture], **{**defaults, **options}).fit(module, loader() if data is None else data)
    return capture
