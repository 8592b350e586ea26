"""Adam with a learning rate of 1e-7: after 120 steps the loss is where it was."""

import torch
from torch import nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of

KIND = "no-traction"
SAYS = ["did not fall"]


def train() -> RunRecord:
    torch.manual_seed(6)
    inputs, targets = linear_task(320, 8, seed=6)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    module = Trained(net, nn.functional.mse_loss, lambda params: torch.optim.Adam(params, lr=1e-7))
    return fitted(module, rows_of(inputs, targets, shuffle=True), epochs=6)
