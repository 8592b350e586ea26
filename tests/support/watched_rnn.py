"""A small recurrent network and random sequences to train it on."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence
from torch.utils.data import DataLoader, TensorDataset

from tests.support.training import quiet_trainer

CELLS = {"tanh": nn.RNN, "relu": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def recurrent_batches(rows: int = 24, batch_size: int = 4, steps: int = 9) -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(rows, steps, 3, generator=generator), torch.randn(rows, 1, generator=generator)
    return DataLoader(TensorDataset(x, y), batch_size=batch_size)


class RecurrentNet(pl.LightningModule):
    """One recurrent layer (`cell` with its options) and a linear head; `embedded` adds a linear layer before it."""

    def __init__(
        self, cell: str = "lstm", *, packed: bool = False, embedded: bool = False, scale: float = 1.0, **options: Any
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        own = {"nonlinearity": cell} if cell in ("tanh", "relu") else {}
        self.rnn = CELLS[cell](3, 6, **own, **{"batch_first": True, **options})
        self.embedding = nn.Linear(3, 3) if embedded else nn.Identity()
        self.head = nn.LazyLinear(1)
        self.packed = packed
        self.head(self.states(torch.zeros(2, 9, 3))[:, -1])
        with torch.no_grad():
            for name, weight in self.rnn.named_parameters():
                weight.mul_(scale if "weight_hh" in name else 1.0)

    def states(self, x: Tensor) -> Tensor:
        """Return the states, `(batch, steps, …)`; packed sequences are cut to different lengths."""
        x = self.embedding(x)
        if self.packed:
            rows = [row[: len(row) - 2 * (i % 3)] for i, row in enumerate(x)]
            return pad_packed_sequence(self.rnn(pack_sequence(rows, enforce_sorted=False))[0], batch_first=True)[0]
        if self.rnn.batch_first:
            return self.rnn(x)[0]
        return self.rnn(x.transpose(0, 1))[0].transpose(0, 1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return nn.functional.mse_loss(self.head(self.states(x)[:, -1]), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


class ManualRecurrentNet(RecurrentNet):
    """Three optimizer steps per batch in manual optimization."""

    def __init__(self, cell: str = "lstm", **options: Any) -> None:
        super().__init__(cell, **options)
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        for _ in range(3):
            optimizer.zero_grad()
            loss = super().training_step(batch, batch_idx)
            self.manual_backward(loss)
            optimizer.step()
        return loss


def fit(module: pl.LightningModule, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    """Train for two epochs on `recurrent_batches`, unless the options of the Trainer say otherwise."""
    trainer = quiet_trainer(**{"callbacks": list(callbacks), "max_epochs": 2, **options})
    trainer.fit(module, recurrent_batches())
    return trainer
