"""Batches 30 to 33 of every 40 come from a shard whose labels are noise, 100 times as large as the others."""

import torch
from torch import nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of

KIND = "spikes"
SAYS = ["of each epoch"]


def train() -> RunRecord:
    torch.manual_seed(14)
    inputs, targets = linear_task(320, 6, seed=14)
    targets[30 * 8 : 34 * 8] = 100.0 * torch.randn(32, 1)
    net = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 1))
    module = Trained(net, nn.functional.mse_loss, lambda params: torch.optim.Adam(params, lr=1e-3))
    return fitted(module, rows_of(inputs, targets, batch_size=8), epochs=5)
