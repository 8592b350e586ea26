"""`TemporalGradientMonitor`: measures gradients through time and changes nothing else."""

import math

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import MixedPrecision
from torch import nn

from lightning_clip import (
    GradientClipping,
    GradientMonitor,
    GRUModule,
    JsonlSink,
    LSTMModule,
    NormClip,
    RNNModule,
    TBPTTModule,
    TBPTTSequenceModule,
    TemporalGradientMonitor,
    read_jsonl,
)
from lightning_clip.core.recurrent.temporal_profile import Flow, TemporalProfile
from tests.support.recurrent import (
    FEATURES,
    HIDDEN,
    Manual,
    Packed,
    Recurrent,
    TimeFirst,
    Unbatched,
    everything_after,
    fit,
    sequences,
)
from tests.support.streaming import streams_of
from tests.support.training import quiet_trainer
from tests.support.values import assert_same_values

OPTIONS = {"in_features": FEATURES, "out_features": 1, "hidden_size": HIDDEN, "task": "regression"}
MODULES = {
    "rnn": lambda: RNNModule(**OPTIONS),
    "lstm": lambda: LSTMModule(**OPTIONS, num_layers=2, dropout=0.3),
    "clamped": lambda: LSTMModule(**OPTIONS, grad_clip_gates=0.01),
    "gru": lambda: GRUModule(**OPTIONS),
    "chunks": lambda: TBPTTSequenceModule(**OPTIONS, truncated_bptt_steps=12),
    "overlapping": lambda: TBPTTSequenceModule(**OPTIONS, truncated_bptt_steps=8, backward_steps=16),
    "automatic": lambda: Recurrent(num_layers=2, dropout=0.4),
    "manual": lambda: Manual(nn.GRU),
    "time-first": TimeFirst,
    "unbatched": Unbatched,
    "packed": Packed,
}
EXACT = {"clamped", "chunks", "automatic", "packed"}
"""Those that the short form also measures exactly."""


@pytest.mark.parametrize(
    ("kind", "exact"),
    [
        pytest.param(kind, exact, marks=pytest.mark.slow if exact and kind not in EXACT else ())
        for kind in MODULES
        for exact in (False, True)
    ],
)
def test_monitoring_changes_no_bit(kind, exact, tmp_path):
    """Weights, optimizer, gradients and random numbers are the same, even if every step is measured."""
    plain = everything_after(MODULES[kind], None, tmp_path)
    monitor = TemporalGradientMonitor(every_n_steps=1, exact=exact)
    watched = everything_after(MODULES[kind], None, tmp_path, monitor)
    assert_same_values(watched, plain, equal_nan=False)
    assert monitor.skipped == 0
    assert len(monitor.profiles) == 6
    assert all(profile.is_finite for profile in monitor.profiles)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_the_carried_state_stays_unchanged(cell, tmp_path):
    """Training on streams of chunks ends with the same state, weights and optimizer."""

    def make():
        return TBPTTModule(2, 2, cell=cell, task="regression", hidden_size=HIDDEN, num_layers=2, dropout=0.2)

    def data():
        return streams_of(300, truncated_bptt_steps=10, val_fraction=0.2)

    plain = everything_after(make, data, tmp_path)
    monitor = TemporalGradientMonitor(every_n_steps=2)
    assert_same_values(everything_after(make, data, tmp_path, monitor), plain, equal_nan=False)
    assert [profile.step for profile in monitor.profiles] == [0, 2, 4]
    assert {profile.window for profile in monitor.profiles} == {10}


def test_profiles_come_every_so_many_optimizer_steps():
    """With gradient accumulation, profiles count optimizer steps, not batches."""
    monitor = TemporalGradientMonitor(every_n_steps=2)
    fit(Recurrent(), monitor, accumulate_grad_batches=2, max_epochs=3)
    assert [profile.step for profile in monitor.profiles] == [0, 2, 4, 6, 8]


def test_resuming_equals_not_stopping(tmp_path):
    """The next profile comes when it was due, and the usual peak norm is restored."""
    path = tmp_path / "half.ckpt"
    whole, first, second = (TemporalGradientMonitor(every_n_steps=4) for _ in range(3))
    fit(Recurrent(lr=0.0), whole, max_epochs=5)
    fit(Recurrent(lr=0.0), first, max_epochs=4).save_checkpoint(path)
    trainer = quiet_trainer(callbacks=[second], max_epochs=5)
    trainer.fit(Recurrent(lr=0.0), sequences(), ckpt_path=path, weights_only=True)
    assert [profile.step for profile in first.profiles] == [0, 4, 8, 12, 16, 20]
    assert [profile.step for profile in second.profiles] == [24, 28]
    assert whole.state_dict() == second.state_dict()
    assert next(iter(second.profiles)).peak_ratio == list(whole.profiles)[6].peak_ratio > 0


def test_a_checkpoint_of_an_earlier_version_continues(tmp_path):
    """It holds the peaks of one layer without its name, and they are those of the layer that is measured."""
    path = tmp_path / "old.ckpt"
    trainer = fit(Recurrent(lr=0.0), monitor := TemporalGradientMonitor(every_n_steps=1))
    trainer.save_checkpoint(path)
    content = torch.load(path, weights_only=True)
    content["callbacks"]["TemporalGradientMonitor"]["peaks"] = [2 * profile.peak for profile in monitor.profiles]
    torch.save(content, path)
    resumed = TemporalGradientMonitor(every_n_steps=1)
    quiet_trainer(callbacks=[resumed], max_epochs=2).fit(Recurrent(lr=0.0), sequences(), ckpt_path=path)
    assert next(iter(resumed.profiles)).peak_ratio == pytest.approx(0.5, rel=0.5)
    assert list(resumed.state_dict()["peaks"]) == ["rnn"]


def test_profiles_reach_every_observer_and_logger(tmp_path):
    """Each profile is in the history, the file and the metrics."""
    monitor, sink = TemporalGradientMonitor(every_n_steps=5), JsonlSink(tmp_path / "run.jsonl")
    first, second = GradientClipping(NormClip(1.0), sinks=[sink]), GradientMonitor()
    trainer = fit(Recurrent(nn.RNN), monitor, first, second, logger=CSVLogger(tmp_path), log_every_n_steps=1)
    expected = [profile.to_measurement() for profile in monitor.profiles]
    assert [one.step for one in expected] == [0, 5]
    for history in (first.history, second.history, read_jsonl(sink.path)[1]):
        assert str(history.measurements.of("temporal-gradient")) == str(expected)
    latest = monitor.latest
    assert str(TemporalProfile.of_measurement(expected[-1])) == str(latest)
    metrics = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("rnn/")}
    assert metrics == pytest.approx(
        {"rnn/growth_rate": latest.growth_rate, "rnn/horizon": latest.horizon, "rnn/half_life": latest.half_life}
    )
    header = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text().splitlines()[0]
    assert {"rnn/growth_rate", "rnn/horizon", "rnn/half_life"} <= set(header.split(","))


def test_non_finite_values_are_not_logged():
    """A layer whose gradient overflows has no half-life, and all logged metrics are finite."""
    module = Recurrent(nn.RNN, nonlinearity="relu", lr=0.0)
    nn.init.constant_(module.rnn.weight_hh_l0, 1e3)
    trainer = fit(module, monitor := TemporalGradientMonitor())
    assert not monitor.latest.is_finite
    assert monitor.latest.flow is Flow.EXPLODING
    assert "rnn/half_life" not in trainer.callback_metrics
    assert all(math.isfinite(float(value)) for key, value in trainer.callback_metrics.items() if "rnn" in key)


def test_denormal_numbers_are_found():
    """Over 256 steps the gradient of an untrained LSTM falls below the smallest normal number."""
    torch.set_flush_denormal(False)
    fit(Recurrent(), monitor := TemporalGradientMonitor(), data=sequences(rows=4, steps=256))
    assert monitor.latest.window == 256
    assert 0.01 < monitor.latest.denormal_fraction < 0.5


def test_hooks_are_there_only_while_they_are_needed():
    """No hook is left after a fit or after an error in a batch."""

    class Failing(Recurrent):
        def training_step(self, batch, batch_idx):
            super().training_step(batch, batch_idx)
            raise RuntimeError("on purpose")

    failing, fine = Failing(), Recurrent()
    with pytest.raises(RuntimeError, match="on purpose"):
        fit(failing, TemporalGradientMonitor())
    fit(fine, TemporalGradientMonitor())
    assert not failing.rnn._forward_hooks
    assert not fine.rnn._forward_hooks


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("mode", [Recurrent, Manual])
def test_mixed_precision_is_measured_in_single_precision(mode, precision):
    """The first profile is that of a run in single precision, and the weights are those without the monitor."""
    weights = []
    for callbacks in ([], [monitor := TemporalGradientMonitor()]):
        scaler = torch.amp.GradScaler("cpu") if precision == "16-mixed" else None
        one = mode(nn.GRU)
        fit(one, *callbacks, plugins=[MixedPrecision(precision, "cpu", scaler=scaler)])
        weights.append(one.state_dict())
    assert_same_values(dict(weights[0]), dict(weights[1]), equal_nan=False)
    fit(Recurrent(nn.GRU), plain := TemporalGradientMonitor())
    assert monitor.latest.norms == pytest.approx(plain.latest.norms, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every_n_steps": 0}, r"every_n_steps=0\): every_n_steps must be at least 1"),
        ({"rows": 0}, r"rows=0\): rows must be at least 1"),
        ({"max_steps": 7}, r"max_steps=7\): max_steps must be at least 8"),
    ],
)
def test_bad_arguments_are_rejected(options, message):
    """The message quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        TemporalGradientMonitor(**options)
