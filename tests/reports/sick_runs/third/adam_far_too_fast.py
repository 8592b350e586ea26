"""Adam at 0.1 trains a GRU to tell sequences apart, of which one label in ten is wrong: it never gets below chance."""

import torch
from torch import nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import LastState, Trained, fitted, rows_of

KIND = "overshoot"
SAYS = ["lr=0.01"]


def train() -> RunRecord:
    torch.manual_seed(31)
    inputs = torch.randn(320, 30, 4)
    labels = (inputs[:, :5, 0].sum(1) > 0).long()
    labels = torch.where(torch.rand(320) < 0.1, 1 - labels, labels)
    gru = nn.GRU(4, 64, num_layers=2, batch_first=True)
    module = Trained(LastState(gru, 2), nn.functional.cross_entropy, lambda params: torch.optim.Adam(params, lr=0.1))
    return fitted(module, rows_of(inputs, labels, shuffle=True), epochs=8)
