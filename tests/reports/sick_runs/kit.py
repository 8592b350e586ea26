"""What the sick runs share: a module made of any network, loss and optimizer, loaders of rows, and a short fit."""

from collections.abc import Callable, Iterable
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_clip import ClipStrategy, GradientClipping, GradientMonitor, RunRecord
from tests.support.training import quiet_trainer

Loss = Callable[[Tensor, Tensor], Tensor]


class Trained(pl.LightningModule):
    """A network, a loss and an optimizer."""

    def __init__(self, net: nn.Module, loss: Loss, optimizer: Callable[[Iterable[nn.Parameter]], Any]) -> None:
        super().__init__()
        self.net, self.loss, self.optimizer = net, loss, optimizer

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self.loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return self.optimizer(self.parameters())


class LastState(nn.Module):
    """Recurrent layers and a linear layer on the last state."""

    def __init__(self, layer: nn.RNNBase, out_features: int = 1) -> None:
        super().__init__()
        self.recurrent, self.head = layer, nn.Linear(layer.hidden_size, out_features)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.recurrent(inputs)[0][:, -1])


def rows_of(*tensors: Tensor, batch_size: int = 16, shuffle: bool = False) -> DataLoader:
    return DataLoader(TensorDataset(*tensors), batch_size=batch_size, shuffle=shuffle)


def linear_task(rows: int, features: int, *, noise: float = 0.1, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return normal inputs `(rows, features)` and a noisy linear target `(rows, 1)` of standard deviation 1."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(rows, features, generator=generator)
    weight = torch.randn(features, 1, generator=generator)
    targets = inputs @ (weight / weight.norm()) + noise * torch.randn(rows, 1, generator=generator)
    return inputs, targets


def fitted(
    module: pl.LightningModule,
    data: Any,
    *,
    epochs: int,
    strategy: ClipStrategy | None = None,
    also: Iterable[pl.Callback] = (),
    **options: Any,
) -> RunRecord:
    """Train and return the record; without a strategy, gradients are only watched."""
    observer = GradientMonitor() if strategy is None else GradientClipping(strategy)
    trainer = quiet_trainer(callbacks=[observer, *also], max_epochs=epochs, limit_val_batches=0, **options)
    trainer.fit(module, data)
    return RunRecord(observer.run, observer.history)
