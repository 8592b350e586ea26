"""`DivergenceRollback`: back to the last good state."""

import math
from functools import cache

import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_clip import DivergenceRollback, GradientClipping, NoClip, NormClip, StrategySwitcher
from tests.support.training import Net, loader, quiet_trainer, weights_of

pytestmark = pytest.mark.filterwarnings("ignore:DivergenceRollback. step")


class Poisoned(Net):
    """At the given steps the loss is multiplied by a factor, NaN by default."""

    def __init__(self, *, steps=(), factor=math.nan, kind="sgd", **options) -> None:
        super().__init__(kind, **{"lr": 0.01, **options})
        self.bad_steps, self.factor = set(steps), factor

    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) * (self.factor if self.global_step in self.bad_steps else 1.0)


@cache
def clean_loss(kind):
    """That of a run without poison."""
    return final_loss(Poisoned(kind=kind))[0]


def final_loss(module, *callbacks, max_steps=600):
    trainer = quiet_trainer(callbacks=list(callbacks), max_epochs=-1, max_steps=max_steps)
    trainer.fit(module, loader(rows=96))
    with torch.no_grad():
        losses = [torch.nn.functional.mse_loss(module.net(x), y) for x, y in loader(rows=96, batch_size=96)]
    return float(losses[0]), trainer


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("factor", [math.nan, 1e20])
def test_a_run_poisoned_at_step_300_ends_like_the_clean_one(kind, factor):
    """The final loss is within 5 % of that of a run without poison."""
    clean = clean_loss(kind)
    rollback, clipping = DivergenceRollback(snapshot_every_n_steps=50), GradientClipping(NoClip())
    saved, _ = final_loss(Poisoned(kind=kind, steps=[300], factor=factor), rollback, clipping)
    assert saved == pytest.approx(clean, rel=0.05)
    if kind == "sgd" or math.isnan(factor):  # Adam shrugs off one large step
        assert rollback.restores == 1
        (event,) = [event for event in clipping.history.events if event.kind == "rollback"]
        assert event.message == "diverged for 3 steps: put back to step 300"
        lost, _ = final_loss(Poisoned(kind=kind, steps=[300], factor=factor), max_steps=320)
        assert not lost < 2 * clean


def test_restores_are_bounded():
    """One divergence more than allowed ends the training, with finite weights."""
    module, rollback = Poisoned(steps=range(100, 600)), DivergenceRollback(max_restores=2)
    _, trainer = final_loss(module, rollback)
    assert rollback.restores == 3
    assert trainer.global_step == 109
    assert all(value.isfinite().all() for value in weights_of(module).values())


def test_the_learning_rate_falls_at_each_restore():
    """Twice put back with a factor of 0.5: a quarter of the rate is left, also in the scheduler's base."""

    class Scheduled(Poisoned):
        def configure_optimizers(self):
            optimizer = super().configure_optimizers()
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, step_size=10_000)]

    module = Scheduled(steps=[150, 250])
    _, trainer = final_loss(module, DivergenceRollback(lr_factor=0.5))
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.01 / 4)
    assert trainer.lr_scheduler_configs[0].scheduler.base_lrs == pytest.approx([0.01 / 4])


def test_the_ladder_is_climbed_by_choice():
    """With `tighten=True` the run goes on a rung higher."""
    clipping, switcher = GradientClipping(NoClip()), StrategySwitcher([NormClip(1.0)])
    silent = StrategySwitcher([NormClip(1.0)])
    switcher.ladder.climb_at = (1e9,)  # deaf to what the detector says
    final_loss(Poisoned(steps=[300]), clipping, switcher, DivergenceRollback(tighten=True), max_steps=320)
    assert switcher.rung == 1
    assert clipping.history[-1].strategy == "NormClip(1.0)"
    assert silent.rung == 0


def test_tightening_needs_a_ladder():
    """The message names the remedy."""
    with pytest.raises(MisconfigurationException, match=r"needs a StrategySwitcher.*Add one"):
        final_loss(Net(), DivergenceRollback(tighten=True), max_steps=2)


def test_a_checkpoint_is_never_saved_with_non_finite_weights(tmp_path):
    """While the weights are NaN, what is saved is the last good state."""
    module = Poisoned(steps=[120])
    rollback = DivergenceRollback(snapshot_every_n_steps=50, patience=10)
    _, trainer = final_loss(module, rollback, max_steps=125)
    assert not all(value.isfinite().all() for value in weights_of(module).values())
    trainer.save_checkpoint(tmp_path / "saved.ckpt")
    saved = torch.load(tmp_path / "saved.ckpt", weights_only=True)
    assert all(value.isfinite().all() for value in saved["state_dict"].values())
    assert all(v["momentum_buffer"].isfinite().all() for v in saved["optimizer_states"][0]["state"].values())


def test_its_counters_are_saved(tmp_path):
    """The number of restores goes on after a resume."""
    first, module = DivergenceRollback(), Poisoned(steps=[100])
    _, trainer = final_loss(module, first, max_steps=192)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    second = DivergenceRollback()
    trainer = quiet_trainer(callbacks=[second], max_epochs=-1, max_steps=200)
    trainer.fit(Poisoned(), loader(rows=96), ckpt_path=tmp_path / "half.ckpt")
    assert first.restores == second.restores == 1


@pytest.mark.parametrize("argument", ["snapshot_every_n_steps", "patience"])
def test_counts_must_be_positive(argument):
    """The message quotes the call."""
    with pytest.raises(ValueError, match=rf"DivergenceRollback\({argument}=0\).*at least 1"):
        DivergenceRollback(**{argument: 0})
