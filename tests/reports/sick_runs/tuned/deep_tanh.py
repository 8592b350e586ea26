"""Ten tanh layers with small weights: hardly any gradient reaches the first layers."""

import torch
from torch import nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of

KIND = "vanishing-parameters"
SAYS = ["net.0.weight"]


def train() -> RunRecord:
    torch.manual_seed(3)
    inputs, targets = linear_task(160, 10, seed=3)
    layers = [layer for _ in range(10) for layer in (nn.Linear(10, 10), nn.Tanh())]
    net = nn.Sequential(*layers, nn.Linear(10, 1))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.05)
    module = Trained(net, nn.functional.mse_loss, lambda params: torch.optim.SGD(params, lr=0.05))
    return fitted(module, rows_of(inputs, targets, shuffle=True), epochs=4)
