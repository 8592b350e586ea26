"""`OptimizedModule`: when it logs. The modules built on it test the rest."""

import pytest
import torch
from torch import Tensor

from lightning_clip.modules import OptimizedModule
from tests.support.training import loader, quiet_trainer


class Asking(OptimizedModule):
    """Records at each training step whether a logger is about to write, and checks the same after the backward pass."""

    def __init__(self, *, optimizer=lambda params: torch.optim.SGD(params, lr=0.1)) -> None:
        super().__init__(optimizer=optimizer, scheduler=None, scheduler_interval="epoch", monitor="loss")
        self.layer = torch.nn.Linear(4, 1)
        self.answers: list[tuple[int, bool]] = []

    def training_step(self, batch, batch_idx) -> Tensor:
        self.answers.append((batch_idx, self.logs_now()))
        self.log_step("loss", torch.tensor(float(batch_idx)))
        return self.layer(batch[0]).mean()

    def on_after_backward(self) -> None:
        assert self.logs_now() == self.answers[-1][1]


@pytest.mark.parametrize(("every", "batches"), [(1, [0, 1, 2, 3, 4, 5]), (3, [2, 5]), (4, [3, 5]), (0, [5])])
def test_it_logs_when_a_logger_writes_and_at_the_end_of_an_epoch(every, batches):
    """The answer is right for 6 steps, and the same before and after the backward pass."""
    model = Asking()
    trainer = quiet_trainer(max_epochs=1, log_every_n_steps=every)
    trainer.fit(model, loader())
    assert [batch for batch, now in model.answers if now] == batches
    assert trainer.callback_metrics["loss"] == 5.0
