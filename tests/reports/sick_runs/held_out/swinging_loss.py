"""A classifier with a rate of 5: the loss jumps between 0.02 and 18 from update to update, and started at 0.7."""

import torch
from torch import nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of

KIND = "swinging-loss"
SAYS = ["update to update"]


def train() -> RunRecord:
    torch.manual_seed(5)
    inputs, targets = linear_task(128, 6, noise=0.8, seed=5)
    net = nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 2))
    module = Trained(net, nn.functional.cross_entropy, lambda params: torch.optim.SGD(params, lr=5.0))
    return fitted(module, rows_of(inputs, (targets[:, 0] > 0).long(), batch_size=8), epochs=8)
