"""`OwnSteps`: schedules count the steps of their own optimizer."""

import pytest
from torch import nn

from lightning_clip import (
    GradientClipping,
    NoClip,
    NonFiniteGuard,
    NormClip,
    StrategySchedule,
    StrategySwitcher,
    ThresholdSchedule,
)
from lightning_clip.callbacks.step.own_steps import OwnSteps
from tests.support.training import TwoOptimizers, loader, quiet_trainer


class Gan(TwoOptimizers):
    """The discriminator makes two steps, then the generator one."""

    def training_step(self, batch, batch_idx):
        generator, discriminator = self.optimizers()
        turn = generator if batch_idx % 3 == 2 else discriminator
        turn.zero_grad()
        loss = nn.functional.mse_loss(self.discriminator(self.generator(batch[0])), batch[1])
        self.manual_backward(loss)
        turn.step()
        return loss


def schedule():
    return ThresholdSchedule(NormClip(1.0), start=1.0, end=2.0, steps=10)


def fit(callback, *others, max_epochs=2, **options):
    trainer = quiet_trainer(callbacks=[*others, callback], max_epochs=max_epochs)
    trainer.fit(Gan(), loader(), **options)
    return trainer


def limits(callback):
    return {i: [r.threshold for r in callback.history if r.optimizer == i] for i in (0, 1)}


def test_a_threshold_schedule_counts_its_own_optimizers_steps():
    """Each limit rises by a tenth with each step of its own optimizer, and the record keeps the global step."""
    callback = GradientClipping(schedule())
    trainer = fit(callback, NonFiniteGuard())
    for found in limits(callback).values():
        assert found == pytest.approx([min(1 + k / 10, 2.0) for k in range(len(found))])
    assert [record.step for record in callback.history] == list(range(trainer.global_step))


def test_a_strategy_schedule_counts_its_own_optimizers_steps():
    """Each optimizer switches at its own third step."""
    callback = GradientClipping(StrategySchedule({0: NormClip(1.0), 3: NoClip()}))
    fit(callback)
    for index in (0, 1):
        labels = [record.strategy for record in callback.history if record.optimizer == index]
        assert len(labels) > 3
        assert labels == ["NormClip(1.0)"] * 3 + ["NoClip()"] * (len(labels) - 3)


def test_a_switchers_rungs_count_their_own_optimizers_steps():
    """Other rungs take over at each optimizer's own step 4, which only the discriminator has reached."""
    clipping, switcher = GradientClipping(NoClip()), StrategySwitcher({0: [NormClip(1.0)], 4: [NormClip(2.0)]})
    fit(clipping, switcher)
    assert {index: state.own_step for index, state in switcher._states.items()} == {0: 3, 1: 7}
    assert {index: state._rungs()[1].label for index, state in switcher._states.items()} == {
        0: "NormClip(1.0)",
        1: "NormClip(2.0)",
    }


def test_a_resumed_schedule_continues_with_the_same_limits(tmp_path):
    """Stopped after the first epoch and resumed, every limit is the same as without the stop."""
    whole = GradientClipping(schedule())
    fit(whole)
    first = GradientClipping(schedule())
    fit(first, max_epochs=1).save_checkpoint(tmp_path / "half.ckpt")
    second = GradientClipping(schedule())
    fit(second, ckpt_path=tmp_path / "half.ckpt")
    assert limits(second) == limits(whole)


def test_a_checkpoint_without_the_callback_is_shared_evenly(tmp_path):
    """Where only the steps of all optimizers are known, each is assumed to have made its share."""
    fit(NonFiniteGuard(), max_epochs=1).save_checkpoint(tmp_path / "half.ckpt")
    callback = GradientClipping(schedule())
    trainer = quiet_trainer(callbacks=[callback], max_epochs=2)
    with pytest.warns(UserWarning, match="NonFiniteGuard"):
        trainer.fit(Gan(), loader(), ckpt_path=tmp_path / "half.ckpt")
    start = callback.run.start_step // 2
    assert [found[0] for found in limits(callback).values()] == pytest.approx([min(1 + start / 10, 2.0)] * 2)


def test_a_step_that_is_evaluated_twice_counts_once():
    """LBFGS asks several times at the same global step; an optimizer that joins starts at 0."""
    own = OwnSteps()
    assert own.before(0, 7, is_only=True) == 7
    assert [own.before(index, 8, is_only=False) for index in (0, 0, 1)] == [8, 8, 0]
    assert [own.before(index, 12, is_only=False) for index in (1, 1, 0)] == [1, 1, 9]


def test_a_restart_of_the_same_trainer_goes_on():
    """A run that is continued keeps each optimizer's count."""
    callback = GradientClipping(schedule())
    module, trainer = Gan(), quiet_trainer(callbacks=[callback], max_epochs=1)
    trainer.fit(module, loader())
    trainer.fit_loop.max_epochs = 2
    trainer.fit(module, loader())
    whole = GradientClipping(schedule())
    fit(whole)
    assert limits(callback) == limits(whole)
