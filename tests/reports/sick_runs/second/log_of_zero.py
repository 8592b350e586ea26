"""A handwritten cross-entropy takes the logarithm of a probability that becomes exactly 0: the loss is infinite."""

import torch
from torch import nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of

KIND = "non-finite"
SAYS = ["step"]


def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    chance = torch.sigmoid(outputs)
    return -(targets * chance.log() + (1 - targets) * (1 - chance).log()).mean()


def train() -> RunRecord:
    torch.manual_seed(13)
    inputs, targets = linear_task(320, 8, seed=13)
    inputs[201] *= 1_000.0
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    module = Trained(net, loss, lambda params: torch.optim.Adam(params, lr=0.01))
    return fitted(module, rows_of(inputs, (targets > 0).float()), epochs=3)
