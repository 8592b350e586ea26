"""`GradientClipping` in the training loop."""

import re
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn

from lightning_clip import GradientClipping, GradientMonitor, NoClip, NormClip, PerParameterNormClip, ValueClip
from lightning_clip.core.record.step_buffer import StepBuffer
from tests.support.training import (
    ManualNet,
    Net,
    TwoOptimizers,
    assert_same_weights,
    loader,
    quiet_trainer,
    weights_of,
)

KINDS = ["sgd", "adam", "adamw", "rmsprop", "lbfgs"]


def fit(module, *callbacks, **options):
    trainer = quiet_trainer(callbacks=list(callbacks), **options)
    trainer.fit(module, loader())
    return trainer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("strategy", "algorithm", "value"), [(NormClip, "norm", 0.7), (ValueClip, "value", 0.3)])
def test_it_gives_the_weights_of_the_trainers_own_clipping(kind, strategy, algorithm, value):
    """`NormClip(c)` and `ValueClip(c)` equal `Trainer(gradient_clip_val=c)`, bit for bit."""
    ours, theirs = Net(kind), Net(kind)
    fit(ours, GradientClipping(strategy(value)))
    fit(theirs, gradient_clip_val=value, gradient_clip_algorithm=algorithm)
    assert_same_weights(ours, theirs)


def test_it_clips_in_manual_optimization_where_the_trainer_refuses():
    """Manual and automatic optimization end with the same weights."""
    manual, automatic = ManualNet(), Net()
    fit(manual, GradientClipping(NormClip(0.7)))
    fit(automatic, gradient_clip_val=0.7)
    assert_same_weights(manual, automatic)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("watcher", [GradientMonitor, lambda: GradientClipping(NoClip())])
def test_monitoring_changes_no_bit(kind, watcher):
    """Weights and optimizer state are those of an unmonitored run."""
    watched, alone = Net(kind), Net(kind)
    a, b = fit(watched, watcher()), fit(alone)
    assert_same_weights(watched, alone)
    first, second = a.optimizers[0].state_dict()["state"], b.optimizers[0].state_dict()["state"]
    assert repr(first) == repr(second)


def test_the_record_says_what_happened():
    """There is one record per step with the norms before and after, whether it was clipped, and the loss."""
    callback = GradientClipping(NormClip(0.7))
    trainer = fit(Net(), callback)
    records = list(callback.history)
    assert [record.step for record in records] == list(range(trainer.global_step))
    assert all(record.norm_after <= 0.7 * (1 + 1e-6) for record in records)
    assert any(record.clipped for record in records)
    assert all(record.clipped == (record.norm_before > 0.7 - 1e-6) for record in records)
    assert all(record.loss is not None and record.loss > 0 for record in records)
    assert callback.history.aggregates[0].steps == len(records)


def test_accumulated_gradients_are_clipped_once():
    """With accumulation there is one record per optimizer step, and the weights equal the trainer's own clipping."""
    callback, ours, theirs = GradientClipping(NormClip(0.7)), Net(), Net()
    trainer = fit(ours, callback, accumulate_grad_batches=4)
    fit(theirs, accumulate_grad_batches=4, gradient_clip_val=0.7)
    assert len(callback.history) == trainer.global_step == 4
    assert_same_weights(ours, theirs)


def test_each_optimizer_has_its_own_strategy_and_parameters():
    """Stale gradients of the other optimizer are neither recorded nor clipped."""
    callback = GradientClipping(NormClip(1.0))
    fit(TwoOptimizers(), callback, max_epochs=1)
    assert len(callback.strategies) == 2
    assert callback.strategies[0] is not callback.strategies[1]
    assert callback.strategies[0] is not callback.strategy
    assert {record.optimizer for record in callback.history} == {0, 1}
    assert callback.history.aggregates[0].steps == callback.history.aggregates[1].steps == 6
    assert callback.history.aggregates[1].max > 10 * callback.history.aggregates[0].max


def test_lbfgs_counts_a_step_once():
    """LBFGS evaluates a step several times; the history has one record per step."""
    callback = GradientClipping(NormClip(0.7))
    trainer = fit(Net("lbfgs"), callback)
    assert [record.step for record in callback.history] == list(range(trainer.global_step))


@pytest.mark.filterwarnings("ignore:.*training_step. returned .None.")
def test_a_step_without_a_loss_passes():
    """If `training_step` returns `None`, the step is recorded with a norm of 0, which enters no statistic."""

    class Absent(Net):
        def training_step(self, batch, batch_idx):
            return None if batch_idx == 1 else super().training_step(batch, batch_idx)

    callback = GradientClipping(NormClip(0.7))
    fit(Absent(), callback, max_epochs=1)
    assert [record.norm_before == 0 for record in callback.history] == [False, True, False, False, False, False]
    total = callback.history.aggregates[0]
    assert (total.steps, total.empty) == (5, 1)
    assert total.min == min(record.norm_before for record in callback.history if record.norm_before)


def test_frozen_and_unused_parameters_pass():
    """Parameters without a gradient are not in the record."""
    module = Net()
    module.net[0].requires_grad_(False)
    module.unused = nn.Linear(2, 2)
    callback = GradientClipping(NormClip(0.7))
    fit(module, callback)
    assert callback.history.parameters.names == ["net.2.weight", "net.2.bias"]


def test_a_trainer_that_clips_too_is_rejected():
    """The message names both and says which to remove."""
    with pytest.raises(
        MisconfigurationException, match=r"gradient_clip_val=0\.5.*GradientClipping\(NormClip\(.*Remove"
    ):
        fit(Net(), GradientClipping(NormClip(1.0)), gradient_clip_val=0.5)


def test_a_number_is_rejected_as_a_strategy():
    """The message quotes the call and names the remedy."""
    with pytest.raises(TypeError, match=re.escape("GradientClipping(0.5): strategy must be a ClipStrategy")):
        GradientClipping(0.5)


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (2.5, TypeError)])
def test_flushing_needs_a_whole_number_of_steps(value, error):
    """A bad interval is rejected at construction."""
    with pytest.raises(error, match=r"GradientClipping\(flush_every_n_steps="):
        GradientClipping(flush_every_n_steps=value)


def test_resuming_equals_not_stopping(tmp_path):
    """Weights, history and totals of a resumed run are those of an uninterrupted one."""
    whole, callback = Net(), GradientClipping(PerParameterNormClip(0.5))
    fit(whole, callback, max_epochs=3)

    first = fit(Net(), GradientClipping(PerParameterNormClip(0.5)), max_epochs=1)
    first.save_checkpoint(tmp_path / "half.ckpt")
    resumed, restored = Net(), GradientClipping(PerParameterNormClip(0.5))
    trainer = quiet_trainer(max_epochs=3, callbacks=[restored])
    trainer.fit(resumed, loader(), ckpt_path=tmp_path / "half.ckpt", weights_only=True)

    assert_same_weights(whole, resumed)
    assert list(restored.history) == list(callback.history)
    assert repr(restored.history.aggregates[0].state_dict()) == repr(callback.history.aggregates[0].state_dict())
    assert repr(restored.history.parameters.state_dict()) == repr(callback.history.parameters.state_dict())


def test_resuming_with_another_strategy_warns(tmp_path):
    """The history continues, the state of the other strategy does not, and a warning says so."""
    first = fit(Net(), GradientClipping(NormClip(0.5)), max_epochs=1)
    first.save_checkpoint(tmp_path / "half.ckpt")
    other = GradientClipping(NormClip(2.0))
    with pytest.warns(UserWarning, match=r"saved with NormClip\(max_norm=0\.5"):
        quiet_trainer(max_epochs=2, callbacks=[other]).fit(Net(), loader(), ckpt_path=tmp_path / "half.ckpt")
    assert [record.strategy for record in other.history][5:7] == ["NormClip(0.5)", "NormClip(2.0)"]


def test_metrics_reach_the_logger_and_monitors(tmp_path):
    """Norms, coefficient, activity and counters are logged at Lightning's own cadence."""
    callback = GradientClipping(NormClip(0.7), group_by="module")
    trainer = fit(Net(), callback, logger=CSVLogger(tmp_path), log_every_n_steps=2)
    trainer.logger.save()
    header, *rows = Path(trainer.logger.experiment.metrics_file_path).read_text().splitlines()
    for key in ("grad_norm/total", "grad_norm/total_clipped", "clip/coef", "clip/active", "clip/threshold", "net.0"):
        assert key in header
    assert len(rows) == 6
    assert float(trainer.callback_metrics["grad_norm/total_clipped"]) <= 0.7 * (1 + 1e-6)


def test_the_second_optimizers_metrics_have_a_suffix():
    """The suffix of the second optimizer is `-1`, as in `LearningRateMonitor`."""
    trainer = fit(TwoOptimizers(), GradientClipping(NormClip(1.0)), log_every_n_steps=1)
    assert {"grad_norm/total", "grad_norm/total-1"} <= trainer.callback_metrics.keys()


def test_norms_are_computed_once_per_step_however_many_callbacks_there_are(monkeypatch):
    """A monitor, a guard and a clipping callback share one measurement."""
    from lightning_clip import NonFiniteGuard

    calls = []
    original = torch._foreach_norm
    monkeypatch.setattr(torch, "_foreach_norm", lambda *args, **kwargs: calls.append(1) or original(*args, **kwargs))
    trainer = fit(Net(), GradientMonitor(), NonFiniteGuard(), GradientClipping(NormClip(0.7)))
    assert len(calls) == trainer.global_step


def test_the_device_is_read_at_flushes_only(monkeypatch):
    """Between flushes no tensor is read: every 5 steps here, and at the end of each epoch."""
    flushes = []
    original = StepBuffer.flush
    monkeypatch.setattr(
        StepBuffer, "flush", lambda buffer, *count: flushes.append(len(buffer)) or original(buffer, *count)
    )
    fit(Net(), GradientClipping(NormClip(0.7), flush_every_n_steps=5), log_every_n_steps=100)
    assert [count for count in flushes if count] == [5, 1, 5, 1]


def test_two_instances_have_separate_records(tmp_path):
    """Two named instances save and restore their own records; the second sees the gradients that the first leaves."""
    callbacks = [GradientClipping(NormClip(2.0), name="wide"), GradientClipping(NormClip(0.7), name="tight")]
    trainer = fit(Net(), *callbacks)
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    assert callbacks[1].history[0].norm_before == pytest.approx(callbacks[0].history[0].norm_after, rel=1e-5)
    state = torch.load(tmp_path / "two.ckpt", weights_only=True)["callbacks"]
    assert len([key for key in state if key.startswith("GradientClipping")]) == 2


def test_the_record_survives_an_exception():
    """Steps made before the training fails are in the history."""

    class Failing(Net):
        def training_step(self, batch, batch_idx):
            if batch_idx == 3:
                raise RuntimeError("out of luck")
            return super().training_step(batch, batch_idx)

    callback = GradientClipping(NormClip(0.7))
    with pytest.raises(RuntimeError, match="out of luck"):
        fit(Failing(), callback)
    assert len(callback.history) == 3


def test_a_non_finite_gradient_is_recorded_and_left_alone():
    """A NaN ends up in the weights as without clipping: `NonFiniteGuard` is there to prevent that."""

    class Poisoned(Net):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) * (float("nan") if batch_idx == 2 else 1.0)

    callback, module = GradientClipping(NormClip(0.7)), Poisoned()
    fit(module, callback, max_epochs=1)
    total = callback.history.aggregates[0]
    assert total.first_nonfinite == 2
    assert total.first_bad_names == ["net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias"]
    assert all(value.isnan().all() for value in weights_of(module).values())
