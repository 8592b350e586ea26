"""Targets around 20,000 under Adam: nothing explodes, but at this rate the outputs need a million steps."""

import torch
from torch import nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of

KIND = "unscaled-targets"
SAYS = ["targets"]


def train() -> RunRecord:
    torch.manual_seed(8)
    inputs, targets = linear_task(320, 8, seed=8)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    module = Trained(net, nn.functional.mse_loss, lambda params: torch.optim.Adam(params, lr=1e-3))
    return fitted(module, rows_of(inputs, 20_000 + 5_000 * targets, shuffle=True), epochs=5)
