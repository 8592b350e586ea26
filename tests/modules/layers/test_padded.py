"""`run_padded`: a padded batch gives the results of its sequences one by one."""

import pytest
import torch
from torch import nn

from lightning_clip.modules.layers.padded import run_padded
from lightning_clip.modules.tbptt.hiddens import map_hiddens

LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
layers = pytest.mark.parametrize("cell", LAYERS)


def made(cell, **options):
    torch.manual_seed(0)
    return LAYERS[cell](2, 4, num_layers=2, batch_first=True, **options)


def row_of(hiddens, row):
    return map_hiddens(lambda state: state[:, row : row + 1].contiguous(), hiddens)


@layers
@pytest.mark.parametrize("lengths", [[5, 2, 7, 1], [7, 7, 7, 7], [0, 3, 0, 7], [0, 0, 0, 0]])
@pytest.mark.parametrize("with_state", [True, False])
def test_each_row_is_run_as_if_it_were_alone(cell, lengths, with_state):
    """Outputs are zero at padding, and the state is that after the last real step, or the old one without steps."""
    layer, inputs = made(cell), torch.randn(4, 7, 2)
    start = layer(torch.randn(4, 3, 2))[1] if with_state else None
    for row, length in enumerate(lengths):
        inputs[row, length:] = float("nan")
    outputs, last = run_padded(layer, inputs, start, torch.tensor(lengths))
    zeros = map_hiddens(torch.zeros_like, layer(torch.randn(4, 1, 2))[1])
    for row, length in enumerate(lengths):
        before = row_of(start if with_state else zeros, row)
        expected, after = layer(inputs[row : row + 1, :length], before) if length else (torch.zeros(1, 0, 4), before)
        torch.testing.assert_close(outputs[row, :length], expected[0])
        assert not outputs[row, length:].any()
        torch.testing.assert_close(row_of(last, row), after)


@layers
def test_full_rows_are_run_as_they_are(cell):
    """Rows without padding give the layer's results bit for bit."""
    layer, inputs = made(cell), torch.randn(4, 7, 2)
    state = layer(torch.randn(4, 3, 2))[1]
    outputs, last = run_padded(layer, inputs, state, torch.full((4,), 7))
    expected, expected_last = layer(inputs, state)
    assert torch.equal(outputs, expected)
    torch.testing.assert_close(last, expected_last, rtol=0, atol=0)


@layers
def test_chunks_of_a_padded_batch_are_the_whole(cell):
    """Rows that end in different chunks keep their last state to the end."""
    layer, inputs, lengths = made(cell), torch.randn(4, 12, 2), torch.tensor([12, 5, 4, 1])
    hiddens = None
    for start in range(0, 12, 4):
        part = inputs[:, start : start + 4]
        _, hiddens = run_padded(layer, part, hiddens, (lengths - start).clamp(0, 4))
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(row_of(hiddens, row), layer(inputs[row : row + 1, :length])[1])


@layers
def test_padding_has_no_gradient(cell):
    """Padding gets no gradient, and a row without steps passes the gradient of its state through."""
    layer, inputs = made(cell), torch.randn(2, 5, 2, requires_grad=True)
    start = map_hiddens(lambda state: state.detach().requires_grad_(), layer(torch.randn(2, 1, 2))[1])
    outputs, last = run_padded(layer, inputs, start, torch.tensor([3, 0]))
    total = []
    map_hiddens(lambda state: (total.append(state.sum()), state)[1], last)
    (outputs.sum() + sum(total)).backward()
    assert inputs.grad[0, :3].all()
    assert not inputs.grad[0, 3:].any()
    assert not inputs.grad[1].any()
    map_hiddens(lambda state: (torch.testing.assert_close(state.grad[:, 1], torch.ones(2, 4)), state)[1], start)


def test_other_shapes_of_the_output():
    """Projected and bidirectional layers have the right output and state shapes."""
    inputs, lengths = torch.randn(2, 5, 2), torch.tensor([0, 0])
    assert run_padded(made("lstm", proj_size=3), inputs, None, lengths)[0].shape == (2, 5, 3)
    both = made("lstm", proj_size=3, bidirectional=True)
    outputs, (hidden, memory) = run_padded(both, inputs, None, lengths)
    assert (outputs.shape, hidden.shape, memory.shape) == ((2, 5, 6), (4, 2, 3), (4, 2, 4))
    assert run_padded(both, inputs, None, torch.tensor([2, 0]))[0].shape == (2, 5, 6)
