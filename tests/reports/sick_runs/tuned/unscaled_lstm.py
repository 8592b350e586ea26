"""Two LSTM layers on targets of about 1,000, SGD with momentum: three steps explode, then the layers are saturated."""

import torch
from torch import nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import LastState, Trained, fitted, rows_of

KIND = "exploded-early"
SAYS = ["exploded at steps 0–2"]


def data(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = torch.randn(160, 8, 2, generator=torch.Generator().manual_seed(seed))
    return inputs, 1_000 + 300 * inputs.mean(dim=1)[:, :1]


def module(seed: int = 0) -> Trained:
    torch.manual_seed(seed)
    net = LastState(nn.LSTM(2, 64, num_layers=2, batch_first=True))
    return Trained(net, nn.functional.mse_loss, lambda params: torch.optim.SGD(params, lr=0.01, momentum=0.9))


def train(seed: int = 0) -> RunRecord:
    return fitted(module(seed), rows_of(*data(seed)), epochs=5)
