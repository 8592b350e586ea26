"""`GRUModule`: the initial bias of its update gates."""

import math

import pytest
import torch
from lightning.pytorch import LightningModule

from lightning_clip.modules import GRUModule
from tests.support.building import built


def update_bias(model: GRUModule) -> torch.Tensor:
    both = model.recurrent.bias_ih_l0 + model.recurrent.bias_hh_l0
    return both.detach()[50:100]


@pytest.mark.parametrize("value", [0, 3.5, "chrono"])
@pytest.mark.parametrize("init", ["default", "orthogonal"])
def test_update_gates_start_at_the_bias(value, init):
    """Update gates have the given initial bias, a number or `"chrono"`, with any weight initialization."""
    torch.manual_seed(0)
    model = built(LightningModule, "GRUModule", update_bias=value, max_lag=100, init=init)
    assert model.update_bias == value
    values = update_bias(model)
    if value == "chrono":
        assert 0 <= values.min() < 1.5 < 4 < values.max() <= math.log(99)
    else:
        torch.testing.assert_close(values, torch.full((50,), float(value)))


def test_without_an_update_bias_torch_draws_it():
    """Without `update_bias`, biases are torch's, near zero."""
    assert 0 < update_bias(GRUModule()).abs().max() < 2 / math.sqrt(50)


def test_chrono_needs_the_longest_lag():
    """`"chrono"` without `max_lag` raises an error that names the argument."""
    with pytest.raises(
        ValueError, match="bias='chrono', max_lag=None: max_lag, the longest lag in steps, must be at least 3"
    ):
        GRUModule(update_bias="chrono")
