"""One input of epoch 2 is NaN (a sensor that failed): the gradient is NaN at once, after normal norms."""

import torch
from torch import Tensor, nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of

KIND = "non-finite"
SAYS = ["NaN at step 51", "epoch 2, batch 11"]


def train() -> RunRecord:
    torch.manual_seed(1)
    inputs, targets = linear_task(320, 8, seed=1)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    module = Trained(net, nn.functional.mse_loss, lambda params: torch.optim.Adam(params, lr=1e-3))
    original = module.training_step

    def training_step(batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        if (module.trainer.current_epoch, batch_idx) == (2, 11):
            batch[0][3, 2] = torch.nan
        return original(batch, batch_idx)

    module.training_step = training_step
    return fitted(module, rows_of(inputs, targets), epochs=3)
