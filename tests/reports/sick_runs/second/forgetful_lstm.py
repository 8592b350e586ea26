"""The forget gates of an LSTM begin at a bias of -5: it has to remember its first input, and forgets it at once."""

import torch
from torch import nn

from lightning_clip import RunRecord, TemporalGradientMonitor
from tests.reports.sick_runs.kit import LastState, Trained, fitted, rows_of

KIND = "temporal-vanishing"
SAYS = ["step"]


def train() -> RunRecord:
    torch.manual_seed(15)
    inputs = torch.randn(160, 24, 2)
    lstm = nn.LSTM(2, 12, batch_first=True)
    with torch.no_grad():
        lstm.bias_ih_l0[12:24] = -5.0
    module = Trained(LastState(lstm), nn.functional.mse_loss, lambda params: torch.optim.Adam(params, lr=1e-3))
    monitor = TemporalGradientMonitor(every_n_steps=10)
    return fitted(module, rows_of(inputs, inputs[:, 0, :1], shuffle=True), epochs=10, also=[monitor])
