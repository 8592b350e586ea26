"""Small networks in every mode of training, on batches of which some can be poisoned."""

from collections.abc import Callable, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_clip import TruncatedBPTTMixin
from tests.support.training import quiet_trainer

Batch = tuple[Tensor, Tensor]
BATCHES = 20


class Network(pl.LightningModule):
    """A regression with running statistics."""

    def __init__(self, kind: str = "adamw") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind = kind
        self.net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 1))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return nn.functional.mse_loss(self.net(x), y)

    def configure_optimizers(self):
        return self.optimizer(self)

    def optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        if self.kind == "sgd":
            return torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
        return torch.optim.AdamW(module.parameters(), lr=0.05)


class Manual(Network):
    def __init__(self, kind: str = "adamw") -> None:
        super().__init__(kind)
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        loss, optimizer = super().training_step(batch, batch_idx), self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return loss


class TwoOptimizers(Manual):
    """The second half of the network has an optimizer of its own, which sees stale gradients of the first."""

    def training_step(self, batch, batch_idx):
        x, y = batch
        for optimizer in self.optimizers():
            loss = nn.functional.mse_loss(self.net(x), y)
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        return loss

    def configure_optimizers(self):
        return self.optimizer(self.net[:2]), self.optimizer(self.net[2:])


class Truncated(TruncatedBPTTMixin, Network):
    """A recurrent network on sequences of 12 steps in chunks of four."""

    def __init__(self, kind: str = "adamw") -> None:
        super().__init__(kind, truncated_bptt_steps=4)
        self.rnn = nn.GRU(4, 3, batch_first=True)

    def tbptt_step(self, chunk, hiddens):
        x, y = chunk
        outputs, hiddens = self.rnn(x, hiddens)
        return nn.functional.mse_loss(self.net[3](self.net[1](outputs.flatten(0, 1))), y.flatten(0, 1)), hiddens

    training_step = TruncatedBPTTMixin.training_step


MODES: dict[str, tuple[type[Network], dict[str, Any]]] = {
    "automatic": (Network, {}),
    "manual": (Manual, {}),
    "accumulation": (Network, {"accumulate_grad_batches": 2}),
    "bf16": (Network, {"precision": "bf16-mixed"}),
    "two optimizers": (TwoOptimizers, {}),
    "TBPTT": (Truncated, {}),
}

POISONS: dict[str, Callable[[Batch], Batch]] = {
    "nan": lambda batch: (batch[0] * float("nan"), batch[1]),
    "inf": lambda batch: (batch[0] * float("inf"), batch[1]),
    "nan target": lambda batch: (batch[0], batch[1] * float("nan")),
    "one nan": lambda batch: (batch[0].clone().index_fill_(0, torch.tensor(2), float("nan")), batch[1]),
    "huge": lambda batch: (batch[0], batch[1] * 1e9),
}


def batches(mode: str) -> list[Batch]:
    """The batches of a run; a sequence has a time dimension."""
    generator = torch.Generator().manual_seed(0)
    shape = (6, 12, 4) if mode == "TBPTT" else (6, 4)
    inputs = [torch.randn(shape, generator=generator) for _ in range(BATCHES)]
    return [(x, x.sum(dim=-1, keepdim=True)) for x in inputs]


def fit(mode: str, kind: str, data: Sequence[Batch], callbacks: list[pl.Callback]) -> tuple[Network, pl.Trainer]:
    module, options = MODES[mode]
    net = module(kind)
    trainer = quiet_trainer(callbacks=callbacks, max_epochs=1, **options)
    trainer.fit(net, DataLoader(list(data), batch_size=None))
    return net, trainer
