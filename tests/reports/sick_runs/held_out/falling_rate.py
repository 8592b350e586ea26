"""A rate that is too high makes the loss jump until a scheduler has cut it ten thousandfold; then nothing moves."""

import torch
from torch import nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of

KIND = "falling-rate"
SAYS = ["learning rate fell"]


def train() -> RunRecord:
    torch.manual_seed(8)
    inputs, targets = linear_task(160, 8, seed=8)
    net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))

    def optimizer(params):
        adam = torch.optim.Adam(params, lr=1.0)
        return [adam], [torch.optim.lr_scheduler.ExponentialLR(adam, gamma=0.2)]

    module = Trained(net, nn.functional.mse_loss, optimizer)
    return fitted(module, rows_of(inputs, targets, shuffle=True), epochs=8)
