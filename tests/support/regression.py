"""The training of the examples without a Trainer, repeated with a Trainer."""

from dataclasses import replace

import lightning.pytorch as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from lightning_clip import (
    AGC,
    AutoClip,
    Chain,
    ClipStrategy,
    GradientClipping,
    NormClip,
    SkipSpikes,
    UpdateRMSClip,
    ValueClip,
    ZClip,
)
from lightning_clip.core import History
from tests.support.training import quiet_trainer

STEPS = 60
STRATEGIES = [
    NormClip(0.5),
    ValueClip(0.1),
    AutoClip(50),
    ZClip(),
    AGC(0.05),
    UpdateRMSClip(0.5),
    SkipSpikes(window=8, max_fraction=1.0),
    Chain([ValueClip(0.5), NormClip(0.5)]),
]


class Regression(pl.LightningModule):
    """The network, loss and optimizer of the examples."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def training_step(self, batch, batch_idx):
        x, y = batch
        return nn.functional.mse_loss(self.net(x), y)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.01)


def with_a_trainer(net: nn.Module, batches: list, strategy: ClipStrategy) -> History:
    """Train the network in place with the Trainer on the same batches, and return its history."""
    callback = GradientClipping(strategy)
    quiet_trainer(callbacks=[callback], max_epochs=1).fit(Regression(net), DataLoader(batches, batch_size=None))
    return callback.history


def as_of_a_loop(history):
    """The records without what a loop does not know of a step, and with the loop's own names."""
    unknown = dict.fromkeys(("epoch", "first_batch", "batch"))
    return [replace(record, **unknown, top_param=record.top_param.removeprefix("net.")) for record in history]
