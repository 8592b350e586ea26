"""`TemporalGradientMonitor`: which layers it measures, and what it does where it cannot."""

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import nn

from lightning_clip import (
    TemporalGradientMonitor,
)
from lightning_clip.functional.gradient_flow import gradient_flow, random_directions
from lightning_clip.functional.temporal import norms_by_lag
from lightning_clip.modules import LayerNormRNN
from tests.support.recurrent import (
    FEATURES,
    HIDDEN,
    Recurrent,
    StepByStep,
    everything_after,
    fit,
    notices,
    sequences,
)
from tests.support.values import assert_same_values


class Two(Recurrent):
    """An encoder and a decoder."""

    def __init__(self):
        super().__init__()
        self.decoder = nn.ModuleDict({"gru": nn.GRU(HIDDEN, HIDDEN, batch_first=True)})

    def last(self, x):
        return self.decoder["gru"](self.rnn(x)[0])[0][:, -1] if hasattr(self, "decoder") else super().last(x)


def test_every_layer_is_measured_by_default():
    """One monitor measures both layers as two monitors would; a name that does not exist raises."""
    names = ("rnn", "decoder.gru")
    monitors = [TemporalGradientMonitor(layer=name) for name in names]
    trainer = fit(Two(), *monitors, log_every_n_steps=1)
    assert {"rnn/rnn/horizon", "decoder.gru/rnn/horizon"} <= trainer.callback_metrics.keys()
    assert [monitor.latest.layer for monitor in monitors] == list(names)
    assert monitors[0].state_key != monitors[1].state_key
    trainer = fit(Two(), both := TemporalGradientMonitor(), log_every_n_steps=1)
    assert {"rnn/rnn/horizon", "decoder.gru/rnn/horizon"} <= trainer.callback_metrics.keys()
    assert [profile.norms for profile in both.profiles] == [monitor.latest.norms for monitor in monitors]
    with pytest.raises(
        MisconfigurationException, match=r"\(layer='lstm'\): Two has no such recurrent layer; it has 'rnn'"
    ):
        fit(Two(), TemporalGradientMonitor(layer="lstm"))


def test_a_layer_that_cannot_be_measured_leaves_the_others():
    """One warning names it; the other layer is measured."""

    class Mixed(Two):
        def __init__(self):
            super().__init__()
            self.decoder["gru"] = Halves(HIDDEN, HIDDEN, batch_first=True)

    with pytest.warns(UserWarning, match=r"'decoder\.gru' \(Halves\) does not compute .* other layers are m") as told:
        fit(Mixed(), monitor := TemporalGradientMonitor())
    assert len(notices(told)) == 1
    assert [profile.layer for profile in monitor.profiles] == ["rnn"]


def test_a_layer_that_is_never_called_is_named():
    """The other layer is measured, and one warning at the end names the one that was not."""

    class Unused(Two):
        def last(self, x):
            return self.rnn(x)[0][:, -1]

    with pytest.warns(UserWarning, match=r"measured nothing: .* 'decoder\.gru' was not called with gradients") as told:
        fit(Unused(), monitor := TemporalGradientMonitor())
    assert len(notices(told)) == 1
    assert [profile.layer for profile in monitor.profiles] == ["rnn"]


class Halves(nn.RNN):
    """A layer that overrides `forward`."""

    def forward(self, inputs, hx=None):
        output, hidden = super().forward(inputs, hx)
        return output / 2, hidden


@pytest.mark.parametrize(
    ("make", "message"),
    [
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


class Cells(Recurrent):
    """Calls a cell with the weights of the layer that `Recurrent` has, in a loop over the steps."""

    def __init__(self, layer, cell):
        super().__init__(layer)
        one = cell(FEATURES, HIDDEN)
        one.load_state_dict({name.removesuffix("_l0"): value for name, value in self.rnn.state_dict().items()})
        self.rnn = one

    def last(self, x):
        if isinstance(self.rnn, nn.RNNBase):
            return super().last(x)
        state = None
        for step in x.unbind(1):
            state = self.rnn(step, state)
        return state[0] if isinstance(state, tuple) else state


@pytest.mark.parametrize(
    ("layer", "cell"), [(nn.RNN, nn.RNNCell), (nn.LSTM, nn.LSTMCell), (nn.GRU, nn.GRUCell)], ids=["rnn", "lstm", "gru"]
)
def test_cells_called_in_a_loop_are_measured_as_a_layer(layer, cell, tmp_path):
    """A cell has the profile of a layer with its weights, and every step of the training stays the same."""
    fit(Recurrent(layer), whole := TemporalGradientMonitor())
    fit(Cells(layer, cell), looped := TemporalGradientMonitor())
    assert looped.latest.norms == pytest.approx(whole.latest.norms, rel=1e-5)
    assert (looped.latest.layer, looped.latest.cell) == ("rnn", whole.latest.cell)
    plain = everything_after(lambda: Cells(layer, cell), None, tmp_path)
    monitor = TemporalGradientMonitor(every_n_steps=1)
    assert_same_values(everything_after(lambda: Cells(layer, cell), None, tmp_path, monitor), plain, equal_nan=False)


@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_bidirectional_layer_has_two_profiles(layer, tmp_path):
    """Each direction has the profile of a layer with its weights that reads the sequence in that direction."""
    two = Recurrent(layer, bidirectional=True, num_layers=2)
    weights = {name: value.clone() for name, value in two.rnn.state_dict().items()}
    fit(two, monitor := TemporalGradientMonitor())
    x, _ = next(iter(sequences()))
    for profile, end, steps in zip(monitor.profiles, ("", "_reverse"), (x, x.flip(1)), strict=True):
        one = layer(FEATURES, HIDDEN)
        one.load_state_dict({name: weights[name + end] for name in one.state_dict()})
        flow = gradient_flow(
            one, steps[:4].transpose(0, 1), direction=random_directions(4, HIDDEN), probes=32 - FEATURES
        )
        assert profile.norms == pytest.approx(norms_by_lag(flow).tolist(), rel=1e-5)
    assert [profile.layer for profile in monitor.profiles] == ["rnn (forward)", "rnn (backward)"]
    assert {"rnn-forward/rnn/horizon", "rnn-backward/rnn/horizon"} <= two.trainer.callback_metrics.keys()


class Block(nn.Module):
    """A block of one's own with a time axis: a gated average over the steps."""

    def __init__(self):
        super().__init__()
        self.gate, self.value = nn.Linear(FEATURES, HIDDEN), nn.Linear(FEATURES, HIDDEN)

    def forward(self, x):
        state, states = torch.zeros(len(x), HIDDEN), []
        for gate, value in zip(self.gate(x).sigmoid().unbind(1), self.value(x).unbind(1), strict=True):
            state = gate * state + (1 - gate) * value
            states.append(state)
        return torch.stack(states, 1)


class Mixer(Recurrent):
    """A block in the place of a recurrent layer."""

    def __init__(self):
        super().__init__(lambda *_, **__: Block())

    def last(self, x):
        return self.rnn(x)[:, -1]


def test_any_module_with_a_time_axis_is_measured_if_it_is_named(tmp_path):
    """The profile is the gradient of the block's last output, and every step of the training stays the same."""
    plain = everything_after(Mixer, None, tmp_path)
    monitor = TemporalGradientMonitor(every_n_steps=1, layer="rnn")
    assert_same_values(everything_after(Mixer, None, tmp_path, monitor), plain, equal_nan=False)
    first, model, x = next(iter(monitor.profiles)), Mixer(), next(iter(sequences()))[0].requires_grad_()
    last = model.rnn(x)[:4, -1]
    (gradient,) = torch.autograd.grad((last * random_directions(4, HIDDEN)).sum(), x)
    assert first.norms == pytest.approx(norms_by_lag(gradient[:4].transpose(0, 1).flip(0)).tolist(), rel=1e-5)
    assert (first.layer, first.cell, len(monitor.profiles)) == ("rnn", "Block", 6)


def test_a_module_without_a_time_axis_is_told():
    """A named module that is not given sequences is one warning, and the training goes on."""
    with pytest.warns(
        UserWarning, match="measured nothing: in 6 batches 'head' was not called with gradients on a seq"
    ):
        trainer = fit(Recurrent(), TemporalGradientMonitor(layer="head"))
    assert trainer.global_step == 6


def test_the_random_numbers_of_an_unusual_forward_are_not_used_up(tmp_path):
    """A layer that draws random numbers in `forward` is tried out, and draws the same ones in training."""

    class Noisy(nn.LSTM):
        def forward(self, inputs, hx=None):
            return super().forward(inputs + 1e-6 * torch.randn_like(inputs), hx)

    plain = everything_after(lambda: Recurrent(Noisy), None, tmp_path)
    monitor = TemporalGradientMonitor(every_n_steps=1)
    assert_same_values(everything_after(lambda: Recurrent(Noisy), None, tmp_path, monitor), plain, equal_nan=False)
    assert len(monitor.profiles) == 6


def test_a_layer_that_is_called_step_by_step_is_measured_over_the_loop():
    """It has the profile of one call on the whole sequence."""
    fit(Recurrent(), whole := TemporalGradientMonitor())
    fit(StepByStep(), looped := TemporalGradientMonitor())
    assert looped.latest.norms == pytest.approx(whole.latest.norms, rel=1e-5)
    assert looped.skipped == 0


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
