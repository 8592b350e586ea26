"""Recurrent modules on generated sequences, covering every way to call a layer."""

from collections.abc import Callable
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.data import DataLoader, TensorDataset

from lightning_clip.datamodules import TemporalOrderDataModule
from lightning_clip.modules import RecurrentModule
from tests.support.training import quiet_trainer

STEPS, FEATURES, HIDDEN = 24, 3, 8


def sequences(rows: int = 24, steps: int = STEPS, batch_size: int = 4) -> DataLoader:
    """Random sequences with the sum of their first feature as target."""
    x = torch.randn(rows, steps, FEATURES, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(x, x[..., :1].sum(1)), batch_size=batch_size)


class Recurrent(pl.LightningModule):
    """A recurrent layer and a head with dropout; the head reads the last step."""

    def __init__(self, layer: Callable[..., nn.RNNBase] = nn.LSTM, *, lr: float = 0.01, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn = layer(FEATURES, HIDDEN, **{"batch_first": True, **options})
        self.head = nn.Sequential(nn.Dropout(0.3), nn.LazyLinear(1))
        self.lr = lr
        self(torch.zeros(1, STEPS, FEATURES))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.last(x))

    def last(self, x: Tensor) -> Tensor:
        return self.rnn(x)[0][:, -1]

    def training_step(self, batch, batch_idx):
        x, y = batch
        return nn.functional.mse_loss(self(x), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


class Manual(Recurrent):
    """The same in manual optimization."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(super().training_step(batch, batch_idx))
        optimizer.step()


class TimeFirst(Recurrent):
    """Calls a time-first layer with a state, by keyword arguments."""

    def __init__(self) -> None:
        super().__init__(nn.GRU, batch_first=False)

    def last(self, x: Tensor) -> Tensor:
        return self.rnn(input=x.transpose(0, 1), hx=torch.ones(1, len(x), HIDDEN))[0][-1]


class Unbatched(Recurrent):
    """Calls the layer for one sequence at a time, without a batch dimension and with a state."""

    def last(self, x: Tensor) -> Tensor:
        return torch.stack([self.rnn(row, (torch.ones(1, HIDDEN), torch.ones(1, HIDDEN)))[0][-1] for row in x])


class Packed(Recurrent):
    """Calls the layer with packed rows of different lengths, in any order."""

    def last(self, x: Tensor) -> Tensor:
        lengths = torch.tensor([10, 24, 9, 17])[: len(x)]
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        state = torch.arange(len(x), dtype=x.dtype).reshape(1, -1, 1).expand(1, -1, HIDDEN)
        return self.rnn(packed, (state, state))[1][0][-1]


class StepByStep(Recurrent):
    """Calls the layer for one step at a time."""

    def last(self, x: Tensor) -> Tensor:
        hiddens = None
        for step in x.split(1, dim=1):
            output, hiddens = self.rnn(step, hiddens)
        return output[:, -1]


def notices(told: Any) -> list[str]:
    """Return those of the recorded warnings that come from a monitor."""
    return [text for one in told if "Monitor" in (text := str(one.message))]


def fit(module, *callbacks, data=None, **options):
    trainer = quiet_trainer(callbacks=list(callbacks), **{"max_epochs": 1, **options})
    validates = data is None and is_overridden("validation_step", module)
    trainer.fit(module, sequences() if data is None else data, sequences() if validates else None)
    return trainer


def everything_after(make, data, tmp_path, *callbacks, **options):
    """Return everything in a checkpoint but the callbacks, and the state of the random number generator."""
    torch.manual_seed(7)
    module = make()
    trainer = fit(module, *callbacks, data=data and data(), **options)
    drawn = torch.get_rng_state()
    trainer.save_checkpoint(tmp_path / "all.ckpt")
    saved = torch.load(tmp_path / "all.ckpt", weights_only=False)
    del saved["callbacks"]
    return {**saved, "drawn": drawn, "mode": module.training, "grads": [p.grad for p in module.parameters()]}


def small(data: type[pl.LightningDataModule], **options) -> pl.LightningDataModule:
    """A few short sequences."""
    return data(12, batches_per_epoch=2, n_val=7, n_test=9, seed=0, **options)


def first_gradients(model: RecurrentModule) -> dict[str, Tensor]:
    """The gradients of one training step with learning rate 0."""
    model.optimizer = partial(torch.optim.SGD, lr=0.0)
    torch.manual_seed(0)
    quiet_trainer(max_steps=1, limit_val_batches=0, log_every_n_steps=1).fit(model, small(TemporalOrderDataModule))
    return {name: param.grad.clone() for name, param in model.named_parameters()}
