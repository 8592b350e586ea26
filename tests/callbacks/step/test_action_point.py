"""`StepCallback`: this package acts exactly where Lightning clips."""

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.tuner import Tuner

from lightning_clip import (
    Chain,
    DivergenceRollback,
    GradientClipping,
    GradientMonitor,
    NonFiniteGuard,
    NormClip,
    RichGradientReport,
    ValueClip,
)
from lightning_clip import _compat as compat
from tests.support.training import ManualNet, Net, assert_same_weights, loader, quiet_trainer


def fit(module, *callbacks, **options):
    trainer = quiet_trainer(callbacks=list(callbacks), max_epochs=1, **options)
    trainer.fit(module, loader())
    return trainer


class AddsNoise(Callback):
    """Adds the same noise to every gradient."""

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        for param in pl_module.parameters():
            param.grad.add_(0.5)


class Doubling(Net):
    """Doubles its gradients in its own hook."""

    def on_before_optimizer_step(self, optimizer):
        for param in self.parameters():
            param.grad.mul_(2.0)


class ManualDoubling(ManualNet, Doubling):
    """The same in manual optimization."""


class ClipsItself(Net):
    """Clips in the hook that Lightning has for it."""

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None):
        torch.nn.utils.clip_grad_norm_(self.parameters(), 0.01)


class WithRate(Net):
    """Has a learning rate that a tuner can set."""

    lr = 0.05

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def test_it_clips_what_the_hooks_of_callbacks_and_module_leave():
    """The weights are those of Lightning's own clipping, wherever the callback is in the list."""
    expected = Doubling()
    fit(expected, AddsNoise(), gradient_clip_val=0.3)
    for callbacks in ([AddsNoise(), GradientClipping(NormClip(0.3))], [GradientClipping(NormClip(0.3)), AddsNoise()]):
        module = Doubling()
        fit(module, *callbacks)
        assert_same_weights(module, expected)


def test_manual_optimization_is_clipped_at_the_same_place():
    """What Lightning refuses to clip gets the same weights as in automatic optimization."""
    automatic, manual = Doubling(), ManualDoubling()
    clipping = GradientClipping(NormClip(0.3))
    fit(automatic, AddsNoise(), gradient_clip_val=0.3)
    fit(manual, clipping, AddsNoise())
    assert_same_weights(manual, automatic)
    assert all(record.norm_after == pytest.approx(0.3, rel=1e-5) for record in clipping.history)


def test_the_record_holds_what_the_modules_own_clipping_leaves():
    """Before, after, who clipped, and how often."""
    monitor = GradientMonitor()
    fit(ClipsItself(), monitor)
    assert monitor.run.strategy == "ClipsItself.configure_gradient_clipping()"
    for record in monitor.history:
        assert record.strategy == "ClipsItself.configure_gradient_clipping()"
        assert record.norm_after == pytest.approx(0.01, rel=1e-3)
        assert record.norm_before > 0.1
        assert record.clipped
        assert record.threshold is None


def test_two_clippings_in_a_row_are_recorded_as_one():
    """The callback clips first and the module's hook second; the record shows the end of both."""
    clipping = GradientClipping(NormClip(0.3))
    fit(ClipsItself(), clipping)
    assert clipping.run.strategy == f"{NormClip(0.3)!r}, then ClipsItself.configure_gradient_clipping()"
    assert {record.strategy for record in clipping.history} == {"NormClip(0.3)"}
    assert [record.norm_after for record in clipping.history] == pytest.approx([0.01] * len(clipping.history), rel=1e-3)


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_a_monitor_sees_the_trainers_clipping(algorithm):
    """It records what `GradientClipping` with the same rule records, and changes no weight."""
    strategy = NormClip(0.3) if algorithm == "norm" else ValueClip(0.05)
    limit, ours, theirs, alone = (0.3 if algorithm == "norm" else 0.05), Net(), Net(), Net()
    options = {"gradient_clip_val": limit, "gradient_clip_algorithm": algorithm}
    clipping, monitor = GradientClipping(strategy), GradientMonitor()
    fit(ours, clipping)
    fit(theirs, monitor, **options)
    fit(alone, **options)
    assert_same_weights(theirs, alone)
    assert_same_weights(theirs, ours)
    assert monitor.run.strategy.startswith(f"Trainer(gradient_clip_val={limit}")
    seen, own = list(monitor.history), list(clipping.history)
    for field in ("norm_before", "norm_after", "threshold", "clipped"):
        values = [getattr(record, field) for record in seen]
        assert values == pytest.approx([getattr(record, field) for record in own], rel=1e-6), field
    assert any(record.clipped for record in seen)


def test_a_report_beside_the_trainers_clipping_tells_of_it(capsys):
    """The report adds its monitor there too."""
    fit(Net(), RichGradientReport(), gradient_clip_val=0.3)
    printed = capsys.readouterr().out
    assert "Trainer(gradient_clip_val=0.3)" in printed
    assert "no clipping" not in printed


def test_gradients_that_the_modules_clipping_removes_count_as_zero():
    """Some modules drop a gradient there."""

    class Dropping(Net):
        def configure_gradient_clipping(self, *args, **kwargs):
            self.net[0].weight.grad = None

    monitor = GradientMonitor()
    fit(Dropping(), monitor)
    record = monitor.history.records[-1]
    assert 0 < record.norm_after < record.norm_before


@pytest.mark.parametrize("order", [1, -1])
def test_the_facts_do_not_depend_on_the_order_of_callbacks(order):
    """A value clamp hides an infinite gradient from whoever measures it afterwards."""

    class Infinite(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            if trainer.global_step == 2:
                pl_module.net[0].weight.grad[0, 0] = float("inf")

    guard, rollback = NonFiniteGuard("skip"), DivergenceRollback(patience=1)
    clamp = GradientClipping(Chain([ValueClip(0.5), NormClip(1.0)]))
    callbacks = [clamp, guard, rollback, Infinite()]
    with pytest.warns(UserWarning, match="rolled back"):
        fit(Net(), *callbacks[::order])
    assert (guard.total, rollback.restores) == (1, 1)
    assert [record.step for record in clamp.history if record.skipped] == [2]


def test_trial_steps_of_a_tuner_are_clipped_too():
    """Lightning takes callbacks away while it tunes; the losses are those of `gradient_clip_val`, and none is kept."""
    found = []
    for options in ({"gradient_clip_val": 1e-3}, {"callbacks": [GradientClipping(NormClip(1e-3))]}, {}):
        trainer, module = quiet_trainer(max_epochs=1, **options), WithRate()
        finder = Tuner(trainer).lr_find(module, loader(), num_training=20, early_stop_threshold=None)
        found.append(finder.results["loss"])
        if "callbacks" in options:
            trainer.fit(module, loader())
            assert len(options["callbacks"][0].history) == 6
    assert found[0] == found[1] != found[2]


def test_nothing_stays_behind_after_a_fit():
    """The Trainer clips by itself again, also after an exception."""

    class Failing(Net):
        def on_train_batch_start(self, batch, batch_idx):
            raise RuntimeError("out of luck")

    trainer = fit(Net(), GradientClipping(), GradientMonitor(), NonFiniteGuard())
    assert "_clip_gradients" not in vars(trainer.precision_plugin)
    trainer = quiet_trainer(callbacks=[GradientMonitor()])
    with pytest.raises(RuntimeError, match="out of luck"):
        trainer.fit(Failing(), loader())
    assert "_clip_gradients" not in vars(trainer.precision_plugin)


def test_a_lightning_without_one_place_to_clip(monkeypatch):
    """The callbacks act in the last of their own hooks then, in the same way."""
    expected, module = Net(), Net()
    fit(expected, GradientClipping(NormClip(0.3)), NonFiniteGuard())
    monkeypatch.setattr(compat, "CLIPPING_METHOD", "not_there")
    clipping = GradientClipping(NormClip(0.3))
    fit(module, clipping, NonFiniteGuard())
    assert_same_weights(module, expected)
    assert len(clipping.history) == 6
