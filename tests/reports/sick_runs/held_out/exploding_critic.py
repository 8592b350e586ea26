"""Two optimizers in turn: the loss of the critic has no lower bound, so its gradient explodes; the actor is calm."""

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import fitted, linear_task, rows_of

KIND = "explosion"
SAYS = ["Optimizer 1"]


class TwoPlayers(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.actor = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4), nn.Tanh())
        self.critic = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        first, second = self.optimizers()
        inputs = batch[0]
        loss = nn.functional.mse_loss(self.actor(inputs), inputs)
        first.zero_grad()
        self.manual_backward(loss)
        first.step()
        margin = self.critic(self.actor(inputs).detach()).square().mean() - self.critic(inputs).square().mean()
        second.zero_grad()
        self.manual_backward(margin)
        second.step()
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.actor.parameters(), lr=1e-3), torch.optim.SGD(self.critic.parameters(), lr=0.1)


def train() -> RunRecord:
    torch.manual_seed(9)
    inputs, targets = linear_task(240, 4, seed=9)
    return fitted(TwoPlayers(), rows_of(inputs, targets, batch_size=8), epochs=2)
