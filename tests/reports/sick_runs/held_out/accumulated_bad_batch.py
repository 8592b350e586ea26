"""Batch 13 of every 24 has inputs in another unit; four batches are accumulated, so batches 12 to 15 make the spike."""

import torch
from torch import nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of

KIND = "spikes"
SAYS = ["8 spikes", "batches 12–15 of each epoch"]


def train() -> RunRecord:
    torch.manual_seed(1)
    inputs, targets = linear_task(24 * 8, 6, seed=1)
    inputs[13 * 8 : 14 * 8] *= 1_000.0
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
    module = Trained(net, nn.functional.smooth_l1_loss, lambda params: torch.optim.SGD(params, lr=1e-5))
    return fitted(module, rows_of(inputs, targets, batch_size=8), epochs=8, accumulate_grad_batches=4)
