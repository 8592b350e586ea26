"""`DivergenceRollback`: rolls back to the last good state."""

import math
from functools import cache

import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.optim import lr_scheduler as lr

from lightning_clip import (
    AutoClip,
    DivergenceRollback,
    GradientClipping,
    NoClip,
    NormClip,
    StrategySwitcher,
)
from tests.support.poisoned_steps import Poisoned
from tests.support.training import Net, loader, quiet_trainer, weights_of

pytestmark = pytest.mark.filterwarnings("ignore:DivergenceRollback. step")


@cache
def clean_loss(kind):
    """That of a run without poison."""
    return final_loss(Poisoned(kind=kind))[0]


def final_loss(module, *callbacks, max_steps=300):
    trainer = quiet_trainer(callbacks=list(callbacks), max_epochs=-1, max_steps=max_steps)
    trainer.fit(module, loader(rows=96))
    with torch.no_grad():
        losses = [torch.nn.functional.mse_loss(module.net(x), y) for x, y in loader(rows=96, batch_size=96)]
    return float(losses[0]), trainer


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("factor", [math.nan, 1e20])
def test_a_poisoned_run_ends_like_the_clean_one(kind, factor):
    """The final loss is within 5% of that of a clean run."""
    clean = clean_loss(kind)
    rollback, clipping = DivergenceRollback(snapshot_every_n_steps=50), GradientClipping(NoClip())
    saved, _ = final_loss(Poisoned(kind=kind, steps=[150], factor=factor), rollback, clipping)
    assert saved == pytest.approx(clean, rel=0.05)
    if kind == "sgd" or math.isnan(factor):  # Adam recovers from one large step
        assert rollback.restores == 1
        (event,) = [event for event in clipping.history.events if event.kind == "rollback"]
        assert event.message == "diverged for 3 steps: rolled back to step 150"
        lost, _ = final_loss(Poisoned(kind=kind, steps=[150], factor=factor))
        assert not lost < 2 * clean


def test_rollbacks_are_bounded():
    """One divergence more than allowed stops training with finite weights."""
    module, rollback = Poisoned(steps=range(100, 600)), DivergenceRollback(max_restores=2)
    _, trainer = final_loss(module, rollback)
    assert rollback.restores == 3
    assert trainer.global_step == 109
    assert all(value.isfinite().all() for value in weights_of(module).values())


def test_the_learning_rate_falls_at_each_rollback():
    """Two rollbacks with a factor of 0.5 leave a quarter of the learning rate, also in the scheduler's base rates."""

    class Scheduled(Poisoned):
        def configure_optimizers(self):
            optimizer = super().configure_optimizers()
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, step_size=10_000)]

    module = Scheduled(steps=[50, 150])
    _, trainer = final_loss(module, DivergenceRollback(lr_factor=0.5), max_steps=200)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.01 / 4)
    assert trainer.lr_scheduler_configs[0].scheduler.base_lrs == pytest.approx([0.01 / 4])


def test_a_rollback_can_climb_the_ladder():
    """With `tighten=True` the run continues one rung higher."""
    clipping, switcher = GradientClipping(NoClip()), StrategySwitcher([NormClip(1.0)])
    silent = StrategySwitcher([NormClip(1.0)])
    switcher.ladder.climb_at = (1e9,)  # ignores the detector
    final_loss(Poisoned(steps=[100]), clipping, switcher, DivergenceRollback(tighten=True), max_steps=120)
    assert switcher.rung == 1
    assert clipping.history[-1].strategy == "NormClip(1.0)"
    assert silent.rung == 0


def test_tightening_needs_a_ladder():
    """The message names the remedy."""
    with pytest.raises(MisconfigurationException, match=r"needs a StrategySwitcher.*Add one"):
        final_loss(Net(), DivergenceRollback(tighten=True), max_steps=2)


def test_a_checkpoint_is_never_saved_with_non_finite_weights(tmp_path):
    """While the weights are NaN, a checkpoint contains the last good state."""
    module = Poisoned(steps=[120])
    rollback = DivergenceRollback(snapshot_every_n_steps=50, patience=10)
    _, trainer = final_loss(module, rollback, max_steps=125)
    assert not all(value.isfinite().all() for value in weights_of(module).values())
    trainer.save_checkpoint(tmp_path / "saved.ckpt")
    saved = torch.load(tmp_path / "saved.ckpt", weights_only=True)
    assert all(value.isfinite().all() for value in saved["state_dict"].values())
    assert all(v["momentum_buffer"].isfinite().all() for v in saved["optimizer_states"][0]["state"].values())


def test_the_counter_is_saved(tmp_path):
    """The number of rollbacks continues after a resume."""
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


class Late(Poisoned):
    """Adds its first layer to the optimizer when the second epoch starts, as fine-tuning callbacks do."""

    def on_train_epoch_start(self):
        if self.current_epoch == 1:
            self.optimizers().add_param_group({"params": self.net[0].parameters(), "lr": 0.02})

    def configure_optimizers(self):
        return torch.optim.Adam(self.net[2].parameters(), lr=0.01)


@pytest.mark.parametrize("bad", [range(6, 9), range(5, 8), range(7, 10)])
def test_it_rolls_back_after_a_layer_was_unfrozen(bad):
    """Parameters that were added to the optimizer before, during or after the divergence keep training, all finite."""
    module, rollback = Late(steps=bad), DivergenceRollback(snapshot_every_n_steps=100)
    trainer = quiet_trainer(callbacks=[rollback], max_epochs=3)
    trainer.fit(module, loader())
    assert rollback.restores == 1
    assert all(value.isfinite().all() for value in weights_of(module).values())
    assert [group["lr"] for group in trainer.optimizers[0].param_groups] == [0.01, 0.02]


def sequential(optimizer):
    parts = [lr.LinearLR(optimizer, 0.1, total_iters=4), lr.CosineAnnealingLR(optimizer, 40, eta_min=0.005)]
    return lr.SequentialLR(optimizer, parts, milestones=[10])


SCHEDULERS = {
    "OneCycleLR": lambda optimizer: lr.OneCycleLR(optimizer, max_lr=0.1, total_steps=40),
    "CyclicLR": lambda optimizer: lr.CyclicLR(optimizer, 0.01, 0.1, step_size_up=10),
    "SequentialLR": sequential,
    "ChainedScheduler": lambda optimizer: lr.ChainedScheduler([lr.ExponentialLR(optimizer, 0.9)]),
    "CosineAnnealingWarmRestarts": lambda optimizer: lr.CosineAnnealingWarmRestarts(optimizer, 7, eta_min=0.01),
    "LambdaLR": lambda optimizer: lr.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "PolynomialLR": lambda optimizer: lr.PolynomialLR(optimizer, 40),
}


@pytest.mark.parametrize("make", SCHEDULERS.values(), ids=SCHEDULERS)
@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_the_factor_scales_what_schedulers_compute(make):
    """After a rollback, every later learning rate is half of what the schedule gives."""

    class Scheduled(Poisoned):
        rates = ()

        def on_train_batch_end(self, *args):
            self.rates = (*self.rates, self.optimizers().param_groups[0]["lr"])

        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)
            return [optimizer], [{"scheduler": make(optimizer), "interval": "step"}]

    plain, halved = Scheduled(), Scheduled(steps=range(5, 8))
    for module, callbacks in ((plain, []), (halved, [DivergenceRollback(snapshot_every_n_steps=1, lr_factor=0.5)])):
        quiet_trainer(callbacks=callbacks, max_epochs=4).fit(module, loader())
    behind = 3  # the schedule itself goes back to step 5
    assert halved.rates[8:] == pytest.approx([rate / 2 for rate in plain.rates[8 - behind : -behind]], rel=1e-6)


@pytest.mark.parametrize("first", [True, False])
def test_the_place_in_the_list_of_callbacks_does_not_matter(first):
    """The state of the strategies is restored whether the rollback comes before or after the clipping."""
    callbacks = [DivergenceRollback(snapshot_every_n_steps=4), GradientClipping(AutoClip(window=50))]
    quiet_trainer(callbacks=callbacks if first else callbacks[::-1]).fit(Poisoned(steps=range(2, 5)), loader())
    assert callbacks[0].restores == 1


def test_a_scheduler_that_is_not_torchs_is_named():
    """With a factor below 1, a warning at the start says that the scheduler may undo the reduction."""

    class Own:
        def __init__(self, optimizer):
            self.optimizer = optimizer

        def step(self, *args, **options):
            pass

        def state_dict(self):
            return {}

        def load_state_dict(self, state_dict):
            pass

    class Scheduled(Net):
        def configure_optimizers(self):
            optimizer = super().configure_optimizers()
            return [optimizer], [Own(optimizer)]

        def lr_scheduler_step(self, scheduler, metric):
            scheduler.step()

    with pytest.warns(UserWarning, match=r"DivergenceRollback\(lr_factor=0.5\): Own is not .* Derive it"):
        quiet_trainer(callbacks=[DivergenceRollback(lr_factor=0.5)]).fit(Scheduled(), loader())
