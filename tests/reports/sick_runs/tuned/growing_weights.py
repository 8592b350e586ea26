"""Adam with a rate of 0.5 on small weights: every step changes the weights by more than they are."""

import torch
from torch import nn

from lightning_clip import RunRecord, UpdateMonitor
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of

KIND = "large-updates"
SAYS = ["of the weights"]


def train() -> RunRecord:
    torch.manual_seed(7)
    inputs, targets = linear_task(320, 8, seed=7)
    net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    module = Trained(net, nn.functional.mse_loss, lambda params: torch.optim.Adam(params, lr=0.5))
    return fitted(module, rows_of(inputs, targets, shuffle=True), epochs=4, also=[UpdateMonitor(every_n_steps=10)])
