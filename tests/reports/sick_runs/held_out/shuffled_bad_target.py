"""One target of 320 is 3,000 times too large, and the data is shuffled: one spike in each epoch, at any batch."""

import torch
from torch import nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of

KIND = "spikes"
SAYS = ["5 spikes", "one in each epoch"]


def train() -> RunRecord:
    torch.manual_seed(0)
    inputs, targets = linear_task(320, 8)
    targets[77] = 3_000.0
    net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    module = Trained(net, nn.functional.mse_loss, lambda params: torch.optim.Adam(params, lr=1e-3))
    return fitted(module, rows_of(inputs, targets, shuffle=True), epochs=5)
