"""The rate is warmed up over 100 steps to one that is too high; the loss falls at first and explodes at the end."""

import torch
from torch import nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of

KIND = "explosion"
SAYS = ["exploded"]


def train() -> RunRecord:
    torch.manual_seed(12)
    inputs, targets = linear_task(320, 8, seed=12)

    def optimizer(params):
        sgd = torch.optim.SGD(params, lr=1.2)
        rate = torch.optim.lr_scheduler.LambdaLR(sgd, lambda step: min(1.0, (step + 1) / 100))
        return [sgd], [{"scheduler": rate, "interval": "step"}]

    module = Trained(nn.Linear(8, 1), nn.functional.mse_loss, optimizer)
    return fitted(module, rows_of(inputs, targets, shuffle=True), epochs=8)
