"""`recurrent_layer` and `start_gates_`: layers by name, and the bias of their gates."""

import pytest
import torch
from torch import nn

from lightning_clip.modules.layers.factory import recurrent_layer, start_gates_


@pytest.mark.parametrize(("cell", "kind"), [("rnn", nn.RNN), ("lstm", nn.LSTM), ("gru", nn.GRU)])
def test_each_name_is_a_layer(cell, kind):
    """Each name builds the layer of torch with the given sizes."""
    layer = recurrent_layer("Net", cell, "tanh")(3, 4, num_layers=2, batch_first=True)
    assert type(layer) is kind
    assert (layer.input_size, layer.hidden_size, layer.num_layers) == (3, 4, 2)


def test_a_plain_rnn_has_a_nonlinearity():
    """Only a plain RNN accepts a nonlinearity."""
    assert recurrent_layer("Net", "rnn", "relu")(3, 4).nonlinearity == "relu"
    with pytest.raises(ValueError, match=r"Net\(cell='gru', nonlinearity='relu'\): nonlinearity applies only to ce"):
        recurrent_layer("Net", "gru", "relu")


@pytest.mark.parametrize(
    ("cell", "nonlinearity", "message"),
    [
        ("cnn", "tanh", r"Net\(cell='cnn'\): cell must be one of 'rnn', 'lstm', 'gru'"),
        ("rnn", "elu", "one of 'tanh', 'r"),
    ],
)
def test_bad_names(cell, nonlinearity, message):
    """Unknown names raise an error that lists the known ones."""
    with pytest.raises(ValueError, match=message):
        recurrent_layer("Net", cell, nonlinearity)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_the_bias_of_the_gate_that_keeps(kind):
    """The bias applies to the second block: the forget gates of an LSTM and the update gates of a GRU."""
    layer = kind(3, 4)
    others = layer.bias_ih_l0.detach().clone()
    start_gates_("Net", layer, 2.5, None)
    total = (layer.bias_ih_l0 + layer.bias_hh_l0).detach()
    assert (total[4:8] == 2.5).all()
    assert torch.equal(layer.bias_ih_l0[8:].detach(), others[8:])


def test_no_bias_leaves_the_layer_alone():
    """`None` keeps torch's initialization, and `"chrono"` draws biases."""
    layer = nn.LSTM(3, 400)
    before = layer.bias_ih_l0.detach().clone()
    start_gates_("Net", layer, None, None)
    assert torch.equal(layer.bias_ih_l0, before)
    start_gates_("Net", layer, "chrono", 50)
    bias = layer.bias_ih_l0[400:800].exp()
    assert 1 <= bias.min() < 3
    assert 45 < bias.max() <= 49


def test_a_plain_rnn_has_no_gates():
    """A plain RNN raises an error that names the cells with gates."""
    with pytest.raises(
        ValueError, match=r"Net\(cell='rnn', forget_bias=1\.0\): a plain RNN has no gates; use cell='ls"
    ):
        start_gates_("Net", nn.RNN(3, 4), 1.0, None)
