"""A healthy run that a rule could easily mistake for a sick one, written with the rule."""

import torch
from torch import nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import fitted, rows_of
from tests.reports.sick_runs.second.winning_critic import GAN


class Balanced(GAN):
    """The two players of the sick run, at the same rate and with a loss that does not saturate."""

    def generator_loss(self, scores: torch.Tensor) -> torch.Tensor:
        return nn.functional.softplus(-scores).mean()

    def configure_optimizers(self):
        return [torch.optim.Adam(part.parameters(), lr=1e-3) for part in (self.generator, self.critic)]


def balanced_gan() -> RunRecord:
    """Neither player wins, so neither loss falls."""
    return fitted(Balanced(), rows_of(1.0 + torch.randn(320, 2)), epochs=10)


HEALTHY = [balanced_gan]
