"""A network of your own: `class_path: network.SeriesLSTM` in run.yaml and study.yaml, an import in train.py."""

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn


class SeriesLSTM(LightningModule):
    """An LSTM that predicts the next value of a series at each step.

    Args:
        in_features: The number of input columns.
        out_features: The number of columns to predict.
        hidden_size: The number of units.
        lr: The learning rate.
    """

    def __init__(self, in_features: int = 1, out_features: int = 1, hidden_size: int = 32, lr: float = 0.01) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr = lr
        self.lstm = nn.LSTM(in_features, hidden_size, batch_first=True)
        self.head = nn.Linear(hidden_size, out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Return predictions `(batch, steps, out_features)` for inputs `(batch, steps, in_features)`."""
        return self.head(self.lstm(x)[0])

    def _loss(self, batch: tuple[Tensor, Tensor], name: str) -> Tensor:
        x, y = batch
        loss = nn.functional.mse_loss(self(x), y)
        self.log(name, loss)
        return loss

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        return self._loss(batch, "train_mse")

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log the loss on validation data."""
        self._loss(batch, "val_mse")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log the loss on test data."""
        self._loss(batch, "test_mse")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Use Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)
