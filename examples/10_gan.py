"""Two optimizers in manual optimization: a GAN on a ring of points, each network with a limit of its own.

`GradientClipping` keeps one strategy, one record and one section of the report for each optimizer.
"""

import math
import sys
import warnings

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import nn
from torch.utils.data import DataLoader

from lightning_clip import AutoClip, GradientClipping, RichGradientReport

warnings.filterwarnings("ignore", message=".*does not have many workers.*")


class GAN(LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
        self.critic = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    def training_step(self, real, batch_idx):
        generator, critic = self.optimizers()
        fake, loss = self.generator(torch.randn_like(real)), nn.functional.softplus

        critic.zero_grad()
        self.manual_backward(loss(self.critic(fake.detach())).mean() + loss(-self.critic(real)).mean())
        critic.step()  # clipped here

        generator.zero_grad()
        self.manual_backward(loss(-self.critic(fake)).mean())
        generator.step()  # and here, without the critic's gradients

    def configure_optimizers(self):
        return [torch.optim.Adam(net.parameters(), lr=2e-3, betas=(0.5, 0.9)) for net in (self.generator, self.critic)]


seed_everything(0, verbose=False)
angles = torch.rand(1024) * 2 * math.pi
trainer = Trainer(
    max_epochs=int(sys.argv[1]) if len(sys.argv) > 1 else 20,
    accelerator="cpu",
    callbacks=[GradientClipping(AutoClip(percentile=90)), RichGradientReport()],
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(GAN(), DataLoader(torch.stack([angles.cos(), angles.sin()], 1), batch_size=64, shuffle=True))
