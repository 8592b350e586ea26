"""`feed_forward`: activations, initializations, normalization and residual blocks."""

import math

import pytest
import torch
from torch import nn

from lightning_clip.modules.layers.feed_forward import ACTIVATIONS, feed_forward

SIZES = [6, 40, 40, 2]


def hidden_weights(**options):
    torch.manual_seed(0)
    return [layer.weight.detach() for layer in feed_forward(SIZES, **options).modules() if isinstance(layer, nn.Linear)]


@pytest.mark.parametrize(("name", "kind"), ACTIVATIONS.items())
def test_each_hidden_layer_has_its_activation(name, kind):
    """The activation follows each hidden layer, and nothing follows the output layer."""
    layers = list(feed_forward(SIZES, activation=name))
    assert [type(layer) for layer in layers] == [nn.Linear, kind, nn.Linear, kind, nn.Linear]


def test_initializations_have_the_variance_of_their_source():
    """He: 2 / fan_in; Xavier: 2 / (fan_in + fan_out); orthogonal: singular values of 1. Uniform ones are bounded."""
    for init, variance in (("he", 2 / 40), ("he_normal", 2 / 40), ("xavier", 2 / 80)):
        assert float(hidden_weights(init=init)[1].var()) == pytest.approx(variance, rel=0.1), init
    assert hidden_weights(init="he")[1].abs().max() <= math.sqrt(6 / 40)
    assert hidden_weights(init="he_normal")[1].abs().max() > math.sqrt(6 / 40)
    torch.testing.assert_close(torch.linalg.svdvals(hidden_weights(init="orthogonal")[1]), torch.ones(40))


def test_output_weights_do_not_depend_on_the_initialization():
    """The output layer is Glorot-uniform whatever the hidden layers are."""
    for init in ("he", "orthogonal"):
        assert hidden_weights(init=init)[-1].abs().max() <= math.sqrt(6 / 42)


def test_batch_norm_normalizes_before_the_activation():
    """In training, the units of a hidden layer have mean 0 and variance 1 over the batch before the activation."""
    net = feed_forward(SIZES, batch_norm=True)
    assert [type(layer) for layer in net][:3] == [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    normalized = net[:2](torch.randn(64, 6) * 100 + 7)
    torch.testing.assert_close(normalized.mean(0), torch.zeros(40), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalized.var(0, unbiased=False), torch.ones(40), atol=1e-3, rtol=0)


def test_a_residual_block_adds_its_inputs():
    """Only the layer with as many inputs as units is a block: it computes `x + relu(W x + b)`."""
    net = feed_forward(SIZES, residual=True)
    block, inputs = net[2], torch.randn(3, 40)
    linear = block.inner[0]
    expected = inputs + (inputs @ linear.weight.T + linear.bias).clamp(min=0)
    torch.testing.assert_close(block(inputs), expected)
    assert [type(layer).__name__ for layer in net] == ["Linear", "ReLU", "Residual", "Linear"]
