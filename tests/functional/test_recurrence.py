"""Recurrent layers on packed rows."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from lightning_clip.functional.recurrence import gate_activations, previous_states, run_depth


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("lengths", [(4, 4, 4), (5, 3, 1), (1,), (1, 1)], ids=str)
def test_the_state_before_a_step_is_that_of_the_neighboring_step(lengths, backwards):
    """It is the state of the neighboring step of the same sequence, or the start state at its first step."""
    states = [torch.tensor([[10.0 * row + step] for step in range(length)]) for row, length in enumerate(lengths)]
    start = torch.tensor([[-1.0 - row] for row in range(len(lengths))])
    packed = pack_sequence(states)
    found = previous_states(packed.data, packed.batch_sizes.tolist(), start, backwards=backwards)
    shifted = [
        torch.cat([sequence[1:], start[row : row + 1]] if backwards else [start[row : row + 1], sequence[:-1]])
        for row, sequence in enumerate(states)
    ]
    assert torch.equal(found, pack_sequence(shifted).data)


@pytest.mark.parametrize("cls", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_layer_run_from_its_parameters_is_the_layer(cls, bias, bidirectional):
    """The result equals that of the layer, on sequences of several lengths and from a given state."""
    torch.manual_seed(0)
    layer, packed = cls(3, 4, bias=bias, bidirectional=bidirectional), pack_sequence(list(torch.randn(2, 5, 3)))
    state = torch.randn(2 if bidirectional else 1, 2, 4)
    start = (state, 2 * state) if cls is nn.LSTM else (state,)
    output = run_depth(layer.mode, packed.data, packed.batch_sizes, start, list(layer.parameters()))
    torch.testing.assert_close(output, layer(packed, start if cls is nn.LSTM else state)[0].data)


def test_gates_are_sigmoids_of_their_blocks():
    """Gates come in the requested order, with and without biases."""
    torch.manual_seed(0)
    w_ih, w_hh, b_ih, b_hh = torch.randn(6, 3), torch.randn(6, 2), torch.randn(6), torch.randn(6)
    x, h = torch.randn(7, 3), torch.randn(7, 2)
    z = x @ w_ih.T + h @ w_hh.T
    biased = (z + b_ih + b_hh).sigmoid()
    found = gate_activations(x, h, (w_ih, w_hh), (b_ih, b_hh), [2, 0], 2)
    torch.testing.assert_close(found, torch.stack([biased[:, 4:], biased[:, :2]]))
    torch.testing.assert_close(gate_activations(x, h, (w_ih, w_hh), None, [1], 2), z[None, :, 2:4].sigmoid())
