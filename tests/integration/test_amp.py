"""Mixed precision with a gradient scaler, fused optimizers, and gradients in half precision."""

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import nn

from lightning_clip import (
    AutoClip,
    DivergenceRollback,
    GradientClipping,
    GradientMonitor,
    NonFiniteGuard,
    NormClip,
    SkipSpikes,
    ValueClip,
)
from tests.support.training import ManualNet, Net, assert_same_weights, loader, quiet_trainer, weights_of

SCALE = 1024.0
KINDS = ["sgd", "adam", "adamw"]
MODES = pytest.mark.parametrize("mode", [Net, ManualNet], ids=["automatic", "manual"])
FUSED = pytest.mark.parametrize("fused", [False, True], ids=["unfused", "fused"])


def fit(module, *callbacks, scale=SCALE, **options):
    plugin = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=scale))
    trainer = quiet_trainer(callbacks=list(callbacks), plugins=[plugin], max_epochs=1, **options)
    trainer.fit(module, loader())
    return trainer


def factors(bad: dict[int, float], mode: type[Net] = Net) -> type[Net]:
    """Return a module whose loss is multiplied by a factor at some batches."""

    class Multiplied(mode):
        def manual_backward(self, loss, *args, **kwargs):
            super().manual_backward(loss * bad.get(self.trainer.global_step, 1.0), *args, **kwargs)

        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            return loss * bad.get(batch_idx, 1.0) if self.automatic_optimization else loss

    return Multiplied


def norms(callback):
    return [record.norm_before for record in callback.history]


@MODES
@FUSED
@pytest.mark.parametrize("strategy", [NormClip(0.7), ValueClip(0.3), AutoClip(50)], ids=lambda s: type(s).__name__)
def test_gradients_are_seen_and_clipped_unscaled(mode, fused, strategy):
    """A scale of 1024 gives the same weights and record as a scale of 1."""
    scaled, plain = mode("sgd", fused=fused), mode("sgd", fused=fused)
    with_scale, without = GradientClipping(strategy), GradientClipping(strategy)
    fit(scaled, with_scale)
    fit(plain, without, scale=1.0)
    assert norms(with_scale) == pytest.approx(norms(without), rel=1e-3)  # fp16 rounds subnormals
    for a, b in zip(scaled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    assert any(record.clipped for record in with_scale.history)


@pytest.mark.parametrize("kind", KINDS)
def test_it_gives_the_weights_of_the_trainers_own_clipping(kind):
    """In fp16 the weights are the same, bit for bit."""
    ours, theirs = Net(kind), Net(kind)
    fit(ours, GradientMonitor(), GradientClipping(NormClip(0.7)))
    fit(theirs, gradient_clip_val=0.7)
    assert_same_weights(ours, theirs)


@MODES
@pytest.mark.parametrize("kind", KINDS)
def test_a_fused_optimizer_makes_the_update_of_the_unfused_one(mode, kind):
    """With several callbacks active, gradients are unscaled only once; the weights agree to 6 digits."""
    runs = {}
    for fused in (False, True):
        clipping, monitor = GradientClipping(NormClip(0.7)), GradientMonitor()
        module = mode(kind, fused=fused)
        fit(module, monitor, NonFiniteGuard("skip"), clipping, DivergenceRollback())
        runs[fused] = weights_of(module), norms(monitor), norms(clipping)
    for name, value in runs[False][0].items():
        torch.testing.assert_close(runs[True][0][name], value, rtol=1e-6, atol=1e-6)
    assert runs[True][1] == pytest.approx(runs[False][1], rel=1e-5)
    assert runs[True][2] == pytest.approx(runs[False][1], rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_monitoring_a_fused_optimizer_changes_no_bit(kind):
    """Unscaling before the step gives the same update as unscaling inside the optimizer."""
    watched, alone = Net(kind, fused=True), Net(kind, fused=True)
    fit(watched, GradientMonitor())
    fit(alone)
    assert_same_weights(watched, alone)


@MODES
@FUSED
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_that_the_scaler_skips_is_recorded_as_skipped(mode, fused, bad):
    """The weights stay, the scale falls, the record shows the skip, and the strategy learns nothing from it."""
    module = factors({5: bad}, mode)("adam", fused=fused)
    shorter = mode("adam", fused=fused)
    monitor, clipping, guard = GradientMonitor(), GradientClipping(AutoClip(50)), NonFiniteGuard("skip")
    trainer = fit(module, monitor, clipping, guard)
    fit(shorter, GradientClipping(AutoClip(50)), limit_train_batches=5)
    assert_same_weights(module, shorter)
    assert trainer.precision_plugin.scaler.get_scale() == SCALE / 2
    for callback in (monitor, clipping):
        assert [record.skipped for record in callback.history] == 5 * [False] + [True]
        assert (callback.history[5].finite, callback.history[5].norm_after) == (False, 0.0)
        assert callback.history.aggregates[0].skipped == 1
    assert int(clipping.strategies[0].norms.count) == 5
    assert guard.total == 1


@FUSED
@pytest.mark.parametrize("action", ["skip", "raise", "stop", "zero"])
def test_the_guard_tolerates_overflows_that_the_scaler_handles(fused, action):
    """While the scale is above 1, overflows calibrate it: training continues, and the guard only counts."""
    guard = NonFiniteGuard(action, max_consecutive=1)
    trainer = fit(factors({0: float("inf"), 1: float("inf"), 2: float("inf")})("adam", fused=fused), guard)
    assert trainer.global_step == 6
    assert (guard.total, guard.consecutive) == (3, 0)


@FUSED
def test_the_guard_raises_once_the_scale_has_fallen_below_one(fused):
    """Below a scale of 1 the gradients themselves are bad."""
    module = factors(dict.fromkeys(range(6), float("nan")))("sgd", fused=fused)
    guard, monitor = NonFiniteGuard("raise"), GradientMonitor()
    with pytest.raises(FloatingPointError, match=r"step 3 .*4 in a row.*Lower the learning rate"):
        fit(module, guard, monitor, scale=4.0)
    assert monitor.history.events[0].message.endswith("The gradient scaler skips the step and lowers its scale.")


@MODES
@FUSED
def test_a_strategy_can_skip_with_a_scaler(mode, fused):
    """The skip of a spike is exact, and every callback records it, whatever the order of the callbacks."""
    module = factors({5: 1000.0}, mode)("adam", fused=fused)
    shorter = mode("adam", fused=fused)
    before, clipping = GradientMonitor(), GradientClipping(SkipSpikes(window=4, max_fraction=1.0))
    after = GradientClipping(SkipSpikes(1e6, window=4), name="tolerates everything")
    trainer = fit(module, before, clipping, after, scale=8.0)
    fit(shorter, scale=8.0, limit_train_batches=5)
    assert_same_weights(module, shorter)
    assert trainer.precision_plugin.scaler.get_scale() == 8.0
    for callback in (before, clipping, after):
        assert [record.skipped for record in callback.history] == 5 * [False] + [True]
        assert callback.history[5].finite


@FUSED
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.filterwarnings("ignore:.*training_step. returned .None.")
def test_a_step_that_is_not_made_changes_nothing(fused, accumulate):
    """If `training_step` returns `None`, Lightning makes no step; the next step is unscaled as usual."""

    class Absent(Net):
        def training_step(self, batch, batch_idx):
            return None if batch_idx == 1 else super().training_step(batch, batch_idx)

    monitor, guard = GradientMonitor(), NonFiniteGuard("raise")
    watched, alone = Absent("adam", fused=fused), Absent("adam", fused=fused)
    fit(watched, monitor, guard, accumulate_grad_batches=accumulate)
    fit(alone, accumulate_grad_batches=accumulate)
    assert_same_weights(watched, alone)
    assert max(norms(monitor)) < 60
    if not (fused and accumulate == 2):  # there it shows only at the next step
        assert monitor.history[1 if accumulate == 1 else 0].skipped


class Steep(pl.LightningModule):
    """Has a gradient of 1,000 elements of 3,000, whose norm of 94,868 overflows float16."""

    def __init__(self, automatic: bool) -> None:
        super().__init__()
        self.automatic_optimization = automatic
        self.weight = nn.Parameter(torch.zeros(1000))

    def training_step(self, batch, batch_idx):
        loss = (3000 * self.weight).sum()
        if not self.automatic_optimization:
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


@pytest.mark.parametrize("automatic", [True, False], ids=["automatic", "manual"])
@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("16-true", torch.float16), ("bf16-true", torch.bfloat16), ("bf16-mixed", torch.float32)],
)
def test_norms_are_accumulated_in_float32(precision, dtype, automatic):
    """A finite gradient has a finite norm, is clipped to the limit, and does not trigger the guard."""
    module, clipping, guard = Steep(automatic), GradientClipping(NormClip(10.0)), NonFiniteGuard("raise")
    trainer = quiet_trainer(callbacks=[guard, clipping], precision=precision, max_steps=1)
    trainer.fit(module, loader())
    element = float(torch.tensor(3000.0, dtype=dtype))
    record = clipping.history[0]
    assert module.weight.dtype == dtype
    assert record.norm_before == pytest.approx(element * 1000**0.5, rel=1e-5)
    assert record.norm_after == pytest.approx(10.0, rel=1e-5)
    assert float(module.weight.detach().double().norm()) == pytest.approx(0.01, rel=1e-2)
    assert guard.total == 0
