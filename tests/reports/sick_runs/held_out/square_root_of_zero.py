"""The loss takes a square root; in one batch every error is exactly 0, where its slope is infinite: NaN at once."""

import torch
from torch import Tensor, nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import Trained, fitted, linear_task, rows_of

KIND = "non-finite"
SAYS = ["step 47", "epoch 2, batch 7"]


def root_of_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - torch.where(targets.isinf(), outputs, targets)).square().mean().sqrt()


def train() -> RunRecord:
    torch.manual_seed(3)
    inputs, targets = linear_task(160, 5, seed=3)
    rows = rows_of(inputs, targets, batch_size=8)
    module = Trained(nn.Linear(5, 1), root_of_error, lambda params: torch.optim.SGD(params, lr=0.01))
    original = module.training_step

    def training_step(batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        if module.trainer.current_epoch == 2 and batch_idx == 7:
            batch = batch[0], torch.full_like(batch[1], torch.inf)
        return original(batch, batch_idx)

    module.training_step = training_step
    return fitted(module, rows, epochs=3)
