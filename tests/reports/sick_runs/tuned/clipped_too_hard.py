"""A threshold of a ten-thousandth of the norms: SGD makes steps so short that the loss stays where it is."""

import torch
from torch import nn

from lightning_clip import NormClip, RunRecord
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of

KIND = "clips-mostly"
SAYS = ["clipped", "max_norm"]


def train() -> RunRecord:
    torch.manual_seed(5)
    inputs, targets = linear_task(320, 8, seed=5)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    module = Trained(net, nn.functional.mse_loss, lambda params: torch.optim.SGD(params, lr=0.05))
    return fitted(module, rows_of(inputs, targets, shuffle=True), epochs=5, strategy=NormClip(1e-4))
