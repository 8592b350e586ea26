"""A tanh network on large targets with a rate of 0.03: the first steps explode, and then every unit is saturated."""

import torch
from torch import nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import LastState, Trained, fitted, rows_of

KIND = "exploded-early"
SAYS = ["exploded"]


def train() -> RunRecord:
    torch.manual_seed(2)
    inputs = torch.randn(160, 20, 3)
    targets = 300.0 * inputs[:, 0, :1]
    net = LastState(nn.RNN(3, 24, batch_first=True))
    module = Trained(net, nn.functional.mse_loss, lambda params: torch.optim.SGD(params, lr=0.03))
    return fitted(module, rows_of(inputs, targets, batch_size=16), epochs=8)
