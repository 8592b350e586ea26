"""Bounds on the derivatives of recurrent networks: at the outputs and at the states."""

import copy
from functools import partial

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.plugins.precision import MixedPrecision

from lightning_clip.datamodules import (
    TemporalOrderDataModule,
)
from lightning_clip.modules import GRUModule, LSTMModule, RNNModule
from tests.support.recurrent import first_gradients, small
from tests.support.training import quiet_trainer

MODULES = {"rnn": RNNModule, "lstm": LSTMModule, "gru": GRUModule}
each_module = pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)


def test_the_derivative_at_the_outputs_is_clamped():
    """`grad_clip_output` clamps every gradient at the outputs, and the clamped fraction is logged."""
    model = LSTMModule(hidden_size=6, grad_clip_output=1e-6)
    grads = first_gradients(model)
    assert grads["head.bias"].abs().max() <= 20 * 1.01e-6
    assert model.trainer.callback_metrics["clamped_fraction/output"] == 1.0


def test_the_share_of_clamped_derivatives_is_since_the_last_log():
    """The clamped fraction restarts after each log: all gradients in the first step, none in the second."""
    model, shares = LSTMModule(hidden_size=6, grad_clip_output=1e-9), []

    class Loosening(Callback):
        def on_train_batch_end(self, trainer, pl_module, *args) -> None:
            shares.append(float(trainer.callback_metrics["clamped_fraction/output"]))
            pl_module.clamps["output"].bound = 1e9

    trainer = quiet_trainer(max_epochs=1, log_every_n_steps=1, callbacks=[Loosening()])
    trainer.fit(model, small(TemporalOrderDataModule))
    assert shares == [1.0, 0.0]


@pytest.mark.parametrize("module", [RNNModule, LSTMModule])
def test_bounds_on_derivatives_follow_the_scale_of_mixed_precision(module):
    """Unscaled gradients are the same for any scale of the loss."""
    torch.manual_seed(0)
    first = module(hidden_size=6, grad_clip_gates=2e-4, grad_clip_output=1e-2)
    second, grads = copy.deepcopy(first), []
    for model, scale in ((first, 1.0), (second, 2.0**12)):
        model.optimizer = partial(torch.optim.SGD, lr=0.0)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        trainer = quiet_trainer(
            max_steps=1,
            limit_val_batches=0,
            log_every_n_steps=1,
            plugins=MixedPrecision("16-mixed", "cpu", scaler=scaler),
        )
        trainer.fit(model, small(TemporalOrderDataModule))
        grads.append([param.grad for param in model.parameters()])
        assert model.loss_scale() == scale
        for name in ("gates", "output"):
            assert 0.02 < trainer.callback_metrics[f"clamped_fraction/{name}"] < 1
    for plain, scaled in zip(*grads, strict=True):
        torch.testing.assert_close(scaled, plain, rtol=0.05, atol=1e-4)  # half precision
