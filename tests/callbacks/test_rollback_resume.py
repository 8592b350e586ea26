"""`DivergenceRollback` judges steps only, and a resumed run rolls back as one that was not interrupted."""

import math

import pytest

from lightning_clip import DivergenceRollback, NonFiniteGuard
from tests.support.poisoned_steps import Poisoned
from tests.support.training import Net, assert_same_weights, loader, quiet_trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:DivergenceRollback. step"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended"),
    pytest.mark.filterwarnings("ignore:`training_step` returned `None`"),
]


def test_the_streak_of_bad_steps_is_saved(tmp_path):
    """A run that is interrupted in a divergence rolls back at the same step as one that is not."""
    whole, first, second = (DivergenceRollback(snapshot_every_n_steps=2, patience=4) for _ in range(3))

    def fit(callback, max_steps, **options):
        module = Poisoned(steps=range(6, 10))
        trainer = quiet_trainer(callbacks=[NonFiniteGuard(), callback], max_epochs=-1, max_steps=max_steps)
        trainer.fit(module, loader(), **options)
        return trainer

    fit(whole, 12)
    fit(first, 8).save_checkpoint(tmp_path / "half.ckpt")
    fit(second, 12, ckpt_path=tmp_path / "half.ckpt")
    assert whole.restores == second.restores == 1
    assert first.restores == 0


@pytest.mark.parametrize("saved_at", [6, 12])
def test_a_resumed_run_rolls_back_to_where_the_whole_run_does(saved_at, tmp_path):
    """A checkpoint is a snapshot too, so both go back to it; the weights are the same, bit for bit."""
    whole, first, second = (DivergenceRollback(snapshot_every_n_steps=10, patience=2) for _ in range(3))

    class Saving(Poisoned):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            if self.global_step == saved_at:
                self.trainer.save_checkpoint(tmp_path / "half.ckpt")

    def fit(module, callback, max_steps, **options):
        trainer = quiet_trainer(callbacks=[callback], max_epochs=-1, max_steps=max_steps)
        trainer.fit(module, loader(), **options)
        return module

    expected = fit(Saving(steps=range(13, 15)), whole, 17)
    fit(Saving(steps=range(13, 15)), first, saved_at)
    resumed = fit(Poisoned(steps=range(13, 15)), second, 17, ckpt_path=tmp_path / "half.ckpt")
    assert whole.restores == second.restores == 1
    assert_same_weights(resumed, expected)


def test_batches_without_a_step_end_no_streak():
    """Every second batch has no loss; the bad steps in between follow each other."""

    class Alternating(Net):
        def training_step(self, batch, batch_idx):
            if batch_idx % 2:
                return None
            return super().training_step(batch, batch_idx) * (math.nan if self.trainer.current_epoch == 1 else 1.0)

    rollback = DivergenceRollback(snapshot_every_n_steps=1, patience=3)
    quiet_trainer(callbacks=[NonFiniteGuard(), rollback], max_epochs=3).fit(Alternating(), loader())
    assert rollback.restores == 1


def test_gradients_of_zero_end_no_streak():
    """Every second loss is masked, so its gradient is zero; the bad steps in between follow each other."""

    class Masked(Net):
        def training_step(self, batch, batch_idx):
            bad = math.nan if self.trainer.current_epoch == 1 else 1.0
            return super().training_step(batch, batch_idx) * (0.0 if batch_idx % 2 else bad)

    rollback = DivergenceRollback(snapshot_every_n_steps=1, patience=3)
    quiet_trainer(callbacks=[NonFiniteGuard(), rollback], max_epochs=3).fit(Masked(), loader())
    assert rollback.restores == 1
