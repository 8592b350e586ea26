"""Gradient descent on a quadratic with a step somewhat above 2 / curvature: the norm grows by a constant factor."""

import torch
from torch import nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of

KIND = "explosion"
SAYS = ["grows by"]


def train() -> RunRecord:
    torch.manual_seed(4)
    inputs, targets = linear_task(64, 4, seed=4)
    module = Trained(nn.Linear(4, 1), nn.functional.mse_loss, lambda params: torch.optim.SGD(params, lr=0.95))
    return fitted(module, rows_of(inputs, targets, batch_size=64), epochs=60)
