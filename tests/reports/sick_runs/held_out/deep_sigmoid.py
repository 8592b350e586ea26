"""Nine sigmoid layers: the gradient of the first layers is a ten-thousandth of the total."""

import torch
from torch import nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of

KIND = "vanishing-parameters"
SAYS = ["net.0.weight"]


def train() -> RunRecord:
    torch.manual_seed(7)
    inputs, targets = linear_task(128, 8, seed=7)
    layers = [layer for _ in range(9) for layer in (nn.Linear(8, 8), nn.Sigmoid())]
    net = nn.Sequential(*layers, nn.Linear(8, 2))
    module = Trained(net, nn.functional.cross_entropy, lambda params: torch.optim.SGD(params, lr=0.1))
    return fitted(module, rows_of(inputs, (targets[:, 0] > 0).long(), shuffle=True), epochs=6)
