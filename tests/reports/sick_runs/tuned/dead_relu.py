"""The biases of a ReLU layer start at -20: no unit is ever active, and only the last bias learns."""

import torch
from torch import nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of

KIND = "dead-parameters"
SAYS = ["net.0.weight"]


def train() -> RunRecord:
    torch.manual_seed(6)
    inputs, targets = linear_task(320, 8, seed=6)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    nn.init.constant_(net[0].bias, -20.0)
    module = Trained(net, nn.functional.mse_loss, lambda params: torch.optim.SGD(params, lr=0.05))
    return fitted(module, rows_of(inputs, targets + 1.0, shuffle=True), epochs=4)
