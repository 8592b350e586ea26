"""`GradientMonitor`: records without clipping."""

import lightning.pytorch as pl
import pytest

from lightning_clip import CsvSink, GradientClipping, GradientMonitor, JsonlSink
from lightning_clip.callbacks import _gradient_observer
from lightning_clip.callbacks._gradient_observer import observers
from lightning_clip.core import Measurement
from lightning_clip.core.clip import clip_
from lightning_clip.sinks import read_jsonl
from tests.support.training import Net, assert_same_weights, loader, quiet_trainer


def test_it_records_without_clipping(tmp_path):
    """The history and both sinks have one row per step, and nothing is clipped."""
    sinks = [JsonlSink(tmp_path / "run.jsonl"), CsvSink(tmp_path / "run.csv")]
    monitor = GradientMonitor(sinks=sinks, group_by={"first": ["net.0.*"]})
    trainer = quiet_trainer(callbacks=[monitor], log_every_n_steps=1)
    trainer.fit(Net(), loader())
    assert len(monitor.history) == 12
    assert monitor.history.aggregates[0].clipped == 0
    assert 0 < float(trainer.callback_metrics["grad_norm/first"]) <= float(trainer.callback_metrics["grad_norm/total"])
    run, history = read_jsonl(tmp_path / "run.jsonl")
    assert (run.model, run.strategy) == ("Net", "NoClip()")
    assert [record.norm_before for record in history] == [record.norm_before for record in monitor.history]
    assert len((tmp_path / "run.csv").read_text().splitlines()) == 1 + 12


class Steps:
    """A sink that does not accept measurements."""

    def __init__(self) -> None:
        self.seen = []

    def open(self, run):
        self.seen.append("open")

    def write(self, records):
        self.seen.extend(record.step for record in records)

    def event(self, event):
        self.seen.append(event.kind)

    def close(self, run, parameters):
        self.seen.append("close")


class Measuring(pl.Callback):
    """Adds a measurement after each batch."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        for callback in observers(trainer):
            callback.add_measurement(Measurement(trainer.global_step, "batch", {"index": batch_idx}))


def test_measurements_reach_the_history_and_the_sinks_that_accept_them(tmp_path):
    """A sink that does not accept measurements still works."""
    sinks = [JsonlSink(tmp_path / "run.jsonl"), CsvSink(tmp_path / "run.csv"), Steps()]
    monitor = GradientMonitor(sinks=sinks)
    quiet_trainer(callbacks=[monitor, Measuring()], max_steps=3).fit(Net(), loader())
    expected = [Measurement(step, "batch", {"index": step - 1}) for step in (1, 2, 3)]
    assert list(monitor.history.measurements) == expected
    assert list(read_jsonl(tmp_path / "run.jsonl")[1].measurements) == expected
    assert sinks[2].seen == ["open", 0, 1, 2, "close"]


def test_measurements_are_in_the_checkpoint(tmp_path):
    """A resumed run still has the earlier measurements."""
    path, monitor = tmp_path / "first.ckpt", GradientMonitor()
    trainer = quiet_trainer(callbacks=[monitor, Measuring()], max_epochs=1)
    trainer.fit(Net(), loader())
    trainer.save_checkpoint(path)
    again = GradientMonitor()
    quiet_trainer(callbacks=[again, Measuring()]).fit(Net(), loader(), ckpt_path=path, weights_only=True)
    assert [one.step for one in again.history.measurements.of("batch")] == list(range(1, 13))


def failing_at(step):
    """A way to measure and clip that fails once."""

    def measure(grads, strategy, **options):
        if grads.step == step:
            raise RuntimeError("these gradients\ncannot be measured")
        return clip_(grads, strategy, **options)

    return measure


def test_a_monitor_that_cannot_measure_warns_once_and_stands_aside(monkeypatch):
    """The training goes on with the same updates, and the steps measured before are kept."""
    expected, module, monitor = Net(), Net(), GradientMonitor()
    quiet_trainer().fit(expected, loader())
    monkeypatch.setattr(_gradient_observer, "clip_", failing_at(3))
    trainer = quiet_trainer(callbacks=[monitor])
    message = r"^GradientMonitor cannot measure step 3 and stands aside: these gradients cannot be measured$"
    with pytest.warns(UserWarning, match=message) as caught:
        trainer.fit(module, loader())
    assert sum("stands aside" in str(warning.message) for warning in caught) == 1
    assert [record.step for record in monitor.history] == [0, 1, 2]
    assert_same_weights(module, expected)


def test_the_next_run_is_measured_again(monkeypatch):
    """A monitor that stood aside in one run measures in the next one."""
    monitor = GradientMonitor()
    with monkeypatch.context() as patch:
        patch.setattr(_gradient_observer, "clip_", failing_at(0))
        with pytest.warns(UserWarning, match="stands aside"):
            quiet_trainer(callbacks=[monitor]).fit(Net(), loader())
    quiet_trainer(callbacks=[monitor]).fit(Net(), loader())
    assert len(monitor.history) == 12


def test_clipping_that_fails_ends_the_training(monkeypatch):
    """A step that `GradientClipping` cannot clip is an error."""
    monkeypatch.setattr(_gradient_observer, "clip_", failing_at(3))
    with pytest.raises(RuntimeError, match="cannot be measured"):
        quiet_trainer(callbacks=[GradientClipping()]).fit(Net(), loader())
