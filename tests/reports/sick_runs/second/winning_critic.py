"""A discriminator wins within an epoch: the saturating loss leaves the generator almost no gradient."""

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import fitted, rows_of

KIND = "lost-gradient"
SAYS = ["Optimizer 0 (generator)"]


class GAN(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
        self.critic = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    def training_step(self, batch: tuple[Tensor], batch_idx: int) -> None:
        first, second = self.optimizers()
        fake = self.generator(torch.randn(len(batch[0]), 4))
        first.zero_grad()
        self.manual_backward(self.generator_loss(self.critic(fake)))
        first.step()
        second.zero_grad()
        real, made = self.critic(batch[0]), self.critic(fake.detach())
        self.manual_backward(nn.functional.softplus(-real).mean() + nn.functional.softplus(made).mean())
        second.step()

    def generator_loss(self, scores: Tensor) -> Tensor:
        return -nn.functional.softplus(scores).mean()

    def configure_optimizers(self):
        slow, fast = (
            torch.optim.Adam(part.parameters(), lr=lr) for part, lr in ((self.generator, 1e-5), (self.critic, 0.05))
        )
        return slow, fast


def train() -> RunRecord:
    torch.manual_seed(16)
    return fitted(GAN(), rows_of(6.0 + torch.randn(320, 2)), epochs=10)
