"""`TemporalGradientMonitor`: which rows and which calls of a layer it measures."""

from contextlib import nullcontext

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from lightning_clip import TemporalGradientMonitor
from lightning_clip.functional import gradient_flow, norms_by_lag
from lightning_clip.functional.gradient_flow import random_directions
from tests.support.recurrent import FEATURES, HIDDEN, STEPS, Packed, Recurrent, TimeFirst, fit, sequences


class FirstCall(pl.Callback):
    """Keeps the arguments of the layer's calls, and a copy of its initial weights."""

    def on_train_start(self, trainer, pl_module):
        self.calls = []
        layer = next(module for module in pl_module.modules() if isinstance(module, nn.RNNBase))
        layer.register_forward_pre_hook(lambda _, args, kwargs: self.calls.append((args, kwargs)), with_kwargs=True)
        self.layer = type(layer)(
            FEATURES, HIDDEN, batch_first=layer.batch_first, num_layers=layer.num_layers, dropout=layer.dropout
        )
        self.layer.load_state_dict(layer.state_dict())


def test_a_profile_is_the_gradient_flow_of_the_first_rows_of_the_batch():
    """It uses the weights before the step, the last steps of the sequence and a fixed direction."""
    first, monitor = FirstCall(), TemporalGradientMonitor(rows=3, max_steps=20, exact=True)
    fit(Recurrent(num_layers=2, dropout=0.4), first, monitor)
    (inputs,), _ = first.calls[0]
    flow = gradient_flow(
        first.layer,
        inputs[:3].transpose(0, 1),
        direction=random_directions(3, HIDDEN),
        max_steps=20,
        exact=True,
    )
    assert monitor.latest.norms == tuple(norms_by_lag(flow).tolist())
    assert monitor.latest.window == 20
    assert monitor.latest.layer == "rnn"


def test_the_initial_state_is_used():
    """A state passed by name is used; without it the profile differs."""
    first, monitor = FirstCall(), TemporalGradientMonitor()
    fit(TimeFirst(), first, monitor)
    _, given = first.calls[0]
    options = {"direction": random_directions(4, HIDDEN), "probes": 32 - FEATURES}
    expected = norms_by_lag(gradient_flow(first.layer, given["input"], given["hx"], **options))
    assert monitor.latest.norms == tuple(expected.tolist())
    without = norms_by_lag(gradient_flow(first.layer, given["input"], **options))
    assert not torch.allclose(without, expected)


def test_the_longest_rows_of_a_packed_batch_are_used():
    """Two rows of 24 and 17 steps are measured over 17 steps, each from its own state."""
    first, monitor = FirstCall(), TemporalGradientMonitor(rows=2)
    fit(Packed(), first, monitor)
    x, _ = next(iter(sequences()))
    state = torch.tensor([1.0, 3.0]).reshape(1, 2, 1).expand(1, 2, HIDDEN)
    flow = gradient_flow(
        first.layer,
        x[[1, 3], :17].transpose(0, 1),
        (state, state),
        direction=random_directions(2, HIDDEN),
        probes=32 - FEATURES,
    )
    assert monitor.latest.norms == pytest.approx(norms_by_lag(flow).tolist(), rel=1e-6)


@pytest.mark.parametrize(("lengths", "window"), [((24, 2, 20, 7), 20), ((2, 8, 3, 1), 8), ((7, 2, 1, 3), None)])
def test_short_rows_of_a_packed_batch_are_left_out(lengths, window):
    """The profile is taken on the rows of at least eight steps; without such a row the batch is skipped."""

    class Short(Recurrent):
        def last(self, x):
            packed = pack_padded_sequence(x, torch.tensor(lengths)[: len(x)], batch_first=True, enforce_sorted=False)
            return self.rnn(packed)[1][0][-1]

    monitor = TemporalGradientMonitor(every_n_steps=2)
    with nullcontext() if window else pytest.warns(UserWarning, match="measured nothing: in 6 batches"):
        fit(Short(), monitor)
    assert [profile.step for profile in monitor.profiles] == ([0, 2, 4] if window else [])
    assert {profile.window for profile in monitor.profiles} == ({window} if window else set())
    assert monitor.skipped == (0 if window else 6)


def test_calls_that_continue_one_another_are_one_sequence():
    """A layer that runs on the sequence and then on one more step is measured over both; alone, on the longer call."""

    class OneMore(Recurrent):
        def last(self, x):
            output, state = self.rnn(x)
            return self.rnn(output[:, -1:, :FEATURES], state)[0][:, -1]

    class Apart(OneMore):
        def last(self, x):
            output, state = self.rnn(x)
            return self.rnn(output[:, -9:, :FEATURES], tuple(part.detach() for part in state))[0][:, -1]

    for kind, window in ((OneMore, STEPS + 1), (Apart, STEPS)):
        monitor = TemporalGradientMonitor(every_n_steps=2)
        fit(kind(), monitor)
        assert [(profile.step, profile.window) for profile in monitor.profiles] == [
            (0, window),
            (2, window),
            (4, window),
        ]


def test_the_window_is_the_whole_of_a_short_sequence():
    """A short sequence has as many lags as steps."""
    fit(Recurrent(), monitor := TemporalGradientMonitor())
    assert monitor.latest.window == STEPS
