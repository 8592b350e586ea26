"""One of six features is in a unit 10,000 times as small, so its numbers are 10,000 times as large; SGD explodes."""

import torch
from torch import nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of

KIND = "explosion"
SAYS = ["exploded"]


def train() -> RunRecord:
    torch.manual_seed(11)
    inputs, targets = linear_task(320, 6, seed=11)
    inputs[:, 2] *= 1e4
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
    module = Trained(net, nn.functional.mse_loss, lambda params: torch.optim.SGD(params, lr=1e-3))
    return fitted(module, rows_of(inputs, targets, shuffle=True), epochs=3)
