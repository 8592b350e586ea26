"""`RecurrentSpectrumMonitor` on networks that diverge, run a layer twice or never, or have no layer to measure."""

import math

import pytest
import torch
from torch import nn

from lightning_clip import RecurrentSpectrumMonitor
from tests.support.recurrent import notices
from tests.support.training import Net, loader, quiet_trainer
from tests.support.watched_rnn import RecurrentNet, fit, recurrent_batches


def test_a_network_that_has_diverged_is_measured_without_an_error():
    """NaN in the weights gives NaN in the sample and no metric."""
    net, monitor = RecurrentNet("tanh"), RecurrentSpectrumMonitor()
    with torch.no_grad():
        net.rnn.weight_hh_l0[0, 0] = math.inf
    trainer = fit(net, monitor, max_steps=1)
    assert math.isnan(monitor.latest.data["sigma_max"][0])
    assert math.isnan(monitor.latest.data["spectral_radius"][0])
    assert not {"rnn/sigma_max", "rnn/spectral_radius"} & set(trainer.callback_metrics)


def test_the_first_run_of_a_layer_in_a_batch_counts():
    """It counts for states and gradients, although the second run comes first in the backward pass."""

    class Twice(RecurrentNet):
        def training_step(self, batch, batch_idx):
            first = super().training_step(batch, batch_idx)
            return first + 1e-40 * self.head(self.states(100 * batch[0])[:, -1]).sum()

    twice, once = RecurrentSpectrumMonitor(), RecurrentSpectrumMonitor()
    fit(Twice("tanh"), twice, max_steps=1)
    fit(RecurrentNet("tanh"), once, max_steps=1)
    assert str(twice.latest) == str(once.latest)
    assert twice.latest.data["denormal_fraction"] == [0.0]


def test_only_the_gradient_through_the_layer_counts():
    """A gradient that reaches the layer's input another way is not measured."""

    class Skipping(RecurrentNet):
        def __init__(self) -> None:
            super().__init__("tanh", scale=0.1)
            self.front = nn.Linear(3, 3)

        def training_step(self, batch, batch_idx):
            x = self.front(batch[0])
            return super().training_step((x, batch[1]), batch_idx) + x.sum()

    monitor = RecurrentSpectrumMonitor()
    trainer = quiet_trainer(callbacks=[monitor], max_steps=1)
    trainer.fit(Skipping(), recurrent_batches(steps=80))
    assert monitor.latest.data["denormal_fraction"][0] > 0.01


def test_a_layer_that_is_not_run_has_spectra_only():
    """An unused layer raises no error."""

    class Unused(RecurrentNet):
        def __init__(self):
            super().__init__("tanh")
            self.spare = nn.GRU(2, 3)

    monitor = RecurrentSpectrumMonitor()
    fit(Unused(), monitor, max_steps=1)
    data = monitor.latest.data
    assert data["weights"] == ["rnn.weight_hh_l0", *["spare.weight_hh_l0"] * 3]
    assert all(math.isfinite(value) for value in data["sigma_max"])
    assert math.isnan(data["update_gate_mean"][1])
    assert math.isnan(data["denormal_fraction"][1])


@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed", "64-true"])
def test_it_works_in_every_precision(precision):
    """Weights and states may be in half or double precision."""
    monitor = RecurrentSpectrumMonitor(1)
    fit(RecurrentNet("gru", num_layers=2), monitor, precision=precision)
    assert all(0 < value < 1 for value in monitor.latest.data["update_gate_mean"])
    assert all(0 < value < 5 for value in monitor.latest.data["sigma_max"])


def test_the_run_goes_on_without_recurrent_layers():
    """One warning says what to use instead."""
    trainer = quiet_trainer(callbacks=[monitor := RecurrentSpectrumMonitor()], max_epochs=1)
    with pytest.warns(
        UserWarning, match=r"Net has no nn\.RNN, nn\.LSTM or nn\.GRU .*Remove it; Gradient.*The training goes on"
    ) as told:
        trainer.fit(Net(), loader())
    assert (len(notices(told)), trainer.global_step, monitor.latest) == (1, len(loader()), None)


def test_the_run_goes_on_with_sharded_weights(monkeypatch):
    """No process holds the whole matrix, and one warning names the layer to leave out."""
    monkeypatch.setattr(
        "lightning_clip.callbacks.monitors.recurrent_spectrum_monitor.is_sharded", lambda parameter: True
    )
    with pytest.warns(UserWarning, match=r"rnn\.weight_hh_l0 of RecurrentNet is sharded.* Leave 'rnn' out") as told:
        trainer = fit(RecurrentNet(), monitor := RecurrentSpectrumMonitor())
    assert (len(notices(told)), trainer.global_step, monitor.latest) == (1, 12, None)
