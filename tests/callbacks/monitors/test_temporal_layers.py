"""`TemporalGradientMonitor`: which layers it measures, and what it does where it cannot."""

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import nn

from lightning_clip import (
    TemporalGradientMonitor,
)
from lightning_clip.modules import LayerNormRNN
from tests.support.recurrent import (
    FEATURES,
    HIDDEN,
    Recurrent,
    StepByStep,
    everything_after,
    fit,
    notices,
)
from tests.support.values import assert_same_values


def test_one_of_several_layers_has_to_be_named():
    """Two monitors measure one layer each with separate state; without a name none is measured; a wrong name raises."""

    class Two(Recurrent):
        def __init__(self):
            super().__init__()
            self.decoder = nn.ModuleDict({"gru": nn.GRU(HIDDEN, HIDDEN, batch_first=True)})

        def last(self, x):
            return self.decoder["gru"](self.rnn(x)[0])[0][:, -1] if hasattr(self, "decoder") else super().last(x)

    monitors = [TemporalGradientMonitor(layer=name) for name in ("rnn", "decoder.gru")]
    trainer = fit(Two(), *monitors, log_every_n_steps=1)
    assert {"rnn/rnn/horizon", "decoder.gru/rnn/horizon"} <= trainer.callback_metrics.keys()
    assert [monitor.latest.layer for monitor in monitors] == ["rnn", "decoder.gru"]
    assert monitors[0].latest.norms != monitors[1].latest.norms
    assert monitors[0].state_key != monitors[1].state_key
    with pytest.warns(
        UserWarning,
        match=r"TemporalGradientMonitor\(\): Two has 2 recurrent layers: 'rnn', 'decoder\.gru'\. "
        r"Name one of them: TemporalGradientMonitor\(layer='rnn'\)",
    ) as told:
        trainer = fit(Two(), unnamed := TemporalGradientMonitor())
    assert (len(notices(told)), trainer.global_step, unnamed.latest) == (1, 6, None)
    with pytest.raises(
        MisconfigurationException, match=r"\(layer='lstm'\): Two has no such recurrent layer; it has 'rnn'"
    ):
        fit(Two(), TemporalGradientMonitor(layer="lstm"))


class Halves(nn.RNN):
    """A layer that overrides `forward`."""

    def forward(self, inputs, hx=None):
        output, hidden = super().forward(inputs, hx)
        return output / 2, hidden


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Recurrent(bidirectional=True), r"'rnn' \(LSTM\) is bidirectional.*bidirectional=False"),
        (lambda: Recurrent(LayerNormRNN), r"'rnn' \(LayerNormRNN\) does not compute the same outputs as torch's layer"),
        (
            lambda: Recurrent(Halves),
            r"'rnn' \(Halves\) does not compute the same outputs as torch's layer.*Name an nn.RNN",
        ),
    ],
)
def test_the_run_goes_on_where_a_layer_cannot_be_measured(make, message):
    """One warning names the layer, the reason and the remedy; the layer's mode is unchanged."""
    module, monitor = make(), TemporalGradientMonitor()
    with pytest.warns(UserWarning, match=message) as told:
        trainer = fit(module, monitor)
    assert (len(notices(told)), trainer.global_step, monitor.latest, monitor.skipped) == (1, 6, None, 0)
    assert module.rnn.training


def test_the_run_goes_on_without_a_recurrent_layer():
    """One warning says that the module has none; a layer that was named and is not there is a mistake, and raises."""
    from tests.support.training import Net, loader

    with pytest.warns(
        UserWarning, match=r"TemporalGradientMonitor\(\): Net has no nn\.RNN, nn\.LSTM or .*The training goes on"
    ) as told:
        trainer = fit(Net(), TemporalGradientMonitor(), data=loader())
    assert len(notices(told)) == 1
    assert trainer.global_step == len(loader())
    with pytest.raises(MisconfigurationException, match=r"\(layer='rnn'\): Net has no nn\.RNN, nn\.LSTM or nn\.GRU"):
        fit(Net(), TemporalGradientMonitor(layer="rnn"), data=loader())


@pytest.mark.parametrize("cell", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_cells_called_by_hand_are_refused_before_training(cell):
    """Nothing could be measured, and a layer computes the same: it says so before the first batch."""
    module = Recurrent()
    module.rnn = cell(FEATURES, HIDDEN)
    with pytest.raises(MisconfigurationException, match=rf"Recurrent calls 'rnn' \({cell.__name__}\) .*Use nn\.RNN"):
        fit(module, TemporalGradientMonitor())
    assert module.trainer.global_step == 0


def test_the_random_numbers_of_an_unusual_forward_are_not_used_up(tmp_path):
    """A layer that draws random numbers in `forward` is tried out, and draws the same ones in training."""

    class Noisy(nn.LSTM):
        def forward(self, inputs, hx=None):
            return super().forward(inputs + 1e-6 * torch.randn_like(inputs), hx)

    plain = everything_after(lambda: Recurrent(Noisy), None, tmp_path)
    monitor = TemporalGradientMonitor(every_n_steps=1)
    assert_same_values(everything_after(lambda: Recurrent(Noisy), None, tmp_path, monitor), plain, equal_nan=False)
    assert len(monitor.profiles) == 6


def test_a_layer_that_is_called_step_by_step_is_skipped_with_a_warning():
    """Each skipped batch is counted, and a warning at the end says why there is no profile."""
    monitor = TemporalGradientMonitor()
    with pytest.warns(
        UserWarning, match=r"measured nothing: in 6 batches 'rnn' was not called with gradients on a seq"
    ):
        fit(StepByStep(), monitor)
    assert (monitor.skipped, monitor.latest) == (6, None)


def test_batches_that_do_not_run_the_layer_are_skipped():
    """The profile is taken at the first batch that runs the layer."""

    class Sometimes(Recurrent):
        def last(self, x):
            batch = getattr(self, "batch", 3)
            self.batch = batch + 1 if self._trainer else batch
            return super().last(x) if batch >= 3 else self.head_input(x)

        def head_input(self, x):
            return x[:, -1, :1].expand(-1, HIDDEN) * self.head[1].weight.mean()

        def on_train_start(self):
            self.batch = 0

    monitor = TemporalGradientMonitor(every_n_steps=100)
    fit(Sometimes(), monitor)
    assert (monitor.skipped, [profile.step for profile in monitor.profiles]) == (3, [3])
