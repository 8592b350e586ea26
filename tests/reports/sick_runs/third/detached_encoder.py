"""The output of the first layers is detached by mistake, so only the head learns."""

import torch
from torch import Tensor, nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of

KIND = "dead-parameters"
SAYS = ["encoder.0.weight", "detached"]


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = nn.Sequential(nn.Linear(8, 16), nn.ReLU()), nn.Linear(16, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.encoder(inputs).detach())


def train() -> RunRecord:
    torch.manual_seed(32)
    inputs, targets = linear_task(320, 8, seed=32)
    module = Trained(Detached(), nn.functional.mse_loss, lambda params: torch.optim.Adam(params, lr=3e-3))
    return fitted(module, rows_of(inputs, targets, shuffle=True), epochs=8)
