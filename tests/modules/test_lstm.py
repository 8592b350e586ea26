"""`LSTMModule`: the initial bias of its forget gates, and gradient clamping at its gates."""

import math

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import nn

from lightning_clip.datamodules import TemporalOrderDataModule
from lightning_clip.modules import ClippedLSTM, LSTMModule
from tests.support.building import built
from tests.support.training import quiet_trainer


def forget_bias(model: LSTMModule) -> torch.Tensor:
    size = model.hidden_size
    both = model.recurrent.bias_ih_l0 + model.recurrent.bias_hh_l0
    return both.detach()[size : 2 * size]


@pytest.mark.parametrize("bias", [0.0, 1.0, 4.6])
@pytest.mark.parametrize("init", ["default", "orthogonal"])
def test_the_forget_bias_is_set_after_the_start(bias, init):
    """An initialization that sets biases to zero does not overwrite the forget bias."""
    torch.testing.assert_close(forget_bias(LSTMModule(forget_bias=bias, init=init)), torch.full((50,), bias))


def test_without_a_forget_bias_torch_draws_it():
    """Without `forget_bias`, biases are torch's, near zero."""
    values = forget_bias(LSTMModule())
    assert 0 < values.abs().max() < 2 / math.sqrt(50)


@pytest.mark.parametrize("value", [1, 4.6, "chrono"])
def test_it_is_built_from_plain_values(value):
    """`forget_bias` can be a number or `"chrono"` in YAML."""
    torch.manual_seed(0)
    model = built(LightningModule, "LSTMModule", forget_bias=value, max_lag=100)
    assert model.forget_bias == value
    values = forget_bias(model)
    if value == "chrono":
        assert 0 <= values.min() < 1.5 < 4 < values.max() <= math.log(99)
    else:
        torch.testing.assert_close(values, torch.full((50,), float(value)))


def test_bounds_at_the_gates_need_the_unrolled_layer():
    """`grad_clip_gates` replaces the fused layer by the unrolled one, and logs the fraction of clamped gradients."""
    assert type(LSTMModule().recurrent) is nn.LSTM
    model = LSTMModule(hidden_size=6, grad_clip_gates=1e-12)
    assert type(model.recurrent) is ClippedLSTM
    quiet_trainer(max_epochs=1).fit(model, TemporalOrderDataModule(12, batches_per_epoch=2, n_val=7, seed=0))
    assert model.trainer.callback_metrics["clamped_fraction/gates"] > 0.9 / 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"forget_bias": "chrono"},
            "chrono', max_lag=None: max_lag, the longest lag in steps, must be at least 3",
        ),
        ({"grad_clip_gates": -1.0}, r"LSTMModule\(grad_clip_gates=-1\.0\): grad_clip_gates must be a positive number"),
    ],
)
def test_bad_arguments(arguments, message):
    """Bad arguments raise an error that tells what to set."""
    with pytest.raises(ValueError, match=message):
        LSTMModule(**arguments)
