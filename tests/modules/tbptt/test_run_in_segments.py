"""`run_in_segments`: a layer over a sequence, with changes of its state on the way."""

import pytest
import torch
from torch import nn

from lightning_clip.modules.tbptt.stateful_mixin import run_in_segments

cells = pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])


LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("at", [[], [3], [0, 1, 9]])
def test_segments_are_the_whole(cell, at):
    """Changes that return the state unchanged give the outputs and state of the whole sequence."""
    layer, inputs = LAYERS[cell](2, 4, num_layers=2, batch_first=True), torch.randn(3, 10, 2)
    outputs, last = run_in_segments(layer, inputs, None, dict.fromkeys(at, lambda hiddens: hiddens))
    expected, expected_last = layer(inputs)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(last, expected_last)


def test_without_changes_the_cell_runs_once():
    """Without changes, the cell runs once and its outputs are returned as they are."""
    calls = []

    def cell(inputs, hiddens):
        calls.append(inputs.shape[1])
        return inputs, hiddens

    inputs = torch.randn(1, 5, 2)
    assert run_in_segments(cell, inputs, None, {})[0].data_ptr() == inputs.data_ptr()
    assert calls == [5]


def test_each_change_is_made_before_its_step():
    """Each change applies before its step, including the first; changes beyond the end are ignored."""

    def add_up(inputs, hiddens):
        sums = inputs.cumsum(1) + hiddens
        return sums, sums[:, -1:]

    changes = {0: lambda h: h + 100, 2: torch.zeros_like, 3: lambda h: -h, 5: torch.zeros_like}
    outputs, last = run_in_segments(add_up, torch.ones(1, 5, 1), torch.zeros(1, 1, 1), changes)
    assert outputs.flatten().tolist() == [101, 102, 1, 0, 1]
    assert last.item() == 1
