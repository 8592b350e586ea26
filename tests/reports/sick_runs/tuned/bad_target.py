"""Sample 333 of 640 has a bad target, so batch 20 of every 40 has a spike: six in six epochs."""

import torch
from torch import nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of

KIND = "spikes"
SAYS = ["6 spikes", "batch 20 of each epoch"]


def train() -> RunRecord:
    torch.manual_seed(0)
    inputs, targets = linear_task(640, 8)
    targets[333] = 1e4
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    module = Trained(net, nn.functional.mse_loss, lambda params: torch.optim.Adam(params, lr=1e-3))
    return fitted(module, rows_of(inputs, targets), epochs=6)
