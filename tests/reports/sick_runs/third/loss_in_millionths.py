"""The loss is divided by a million, so the steps of SGD are too short to move anything."""

import torch
from torch import Tensor, nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of

KIND = "no-traction"
SAYS = ["scale"]


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return 1e-6 * nn.functional.mse_loss(outputs, targets)


def train() -> RunRecord:
    torch.manual_seed(33)
    inputs, targets = linear_task(320, 8, seed=33)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    module = Trained(net, loss, lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9))
    return fitted(module, rows_of(inputs, targets, shuffle=True), epochs=8)
