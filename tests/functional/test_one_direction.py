"""Layers with given weights compute what the layer or cell that the weights come from computes."""

import pytest
import torch
from torch import nn

from lightning_clip.functional.gradient_flow import run_layer
from lightning_clip.functional.one_direction import directions_of, layer_of_cell

X = torch.randn(7, 2, 3, generator=torch.Generator().manual_seed(0))
LAYERS = {
    "tanh": lambda **options: nn.RNN(3, 4, **options),
    "relu": lambda **options: nn.RNN(3, 4, nonlinearity="relu", **options),
    "lstm": lambda **options: nn.LSTM(3, 4, **options),
    "gru": lambda **options: nn.GRU(3, 4, **options),
    "projected": lambda **options: nn.LSTM(3, 4, proj_size=2, **options),
}


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN.*")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_the_directions_of_a_layer_compute_its_halves(kind, bias):
    """The outputs of a bidirectional layer are those of its two directions, the second from the end."""
    whole = LAYERS[kind](bidirectional=True, bias=bias)
    forward, backward = directions_of(whole)
    with torch.no_grad():
        halves = [run_layer(forward, X)[0], run_layer(backward, X.flip(0))[0].flip(0)]
        assert torch.allclose(torch.cat(halves, dim=-1), whole(X)[0], atol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "make",
    [nn.RNNCell, lambda *a, **o: nn.RNNCell(*a, nonlinearity="relu", **o), nn.LSTMCell, nn.GRUCell],
    ids=["tanh", "relu", "lstm", "gru"],
)
def test_the_layer_of_a_cell_computes_the_loop(make, bias):
    """One call of the layer equals a loop over the steps."""
    cell, state = make(3, 4, bias=bias), None
    with torch.no_grad():
        for x in X:
            state = cell(x, state)
        last = state[0] if isinstance(state, tuple) else state
        assert torch.allclose(run_layer(layer_of_cell(cell), X)[0][-1], last, atol=1e-6)


def test_the_weights_are_not_copied():
    """A layer of given weights holds the very tensors, and draws no random numbers."""
    cell, before = nn.GRUCell(3, 4), torch.get_rng_state()
    assert layer_of_cell(cell)._flat_weights[0] is cell.weight_ih
    assert torch.equal(torch.get_rng_state(), before)
