"""`GradientObserver`: overriding the strategy of an observer, and the callbacks that do it."""

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer

from lightning_clip import (
    DivergenceRollback,
    GradientClipping,
    GradientMonitor,
    NoClip,
    NonFiniteGuard,
    NormClip,
    StrategySwitcher,
)
from lightning_clip.callbacks.step.strategy_chooser import StrategyChooser
from tests.support.training import ManualNet, Net, TwoOptimizers, assert_same_weights, loader, quiet_trainer


class Chooser(pl.Callback):
    """Overrides the strategy of an observer at given steps; `None` returns to its own."""

    def __init__(self, observer, strategies, *, index=0):
        self.observer, self.strategies, self.index = observer, strategies, index
        self.calls = []

    def choose_strategy(self, observer, trainer, context):
        index = context.index
        self.calls.append((observer, trainer.global_step, float(context.original.total_norm()), index))
        if observer is self.observer and index == self.index and trainer.global_step in self.strategies:
            observer.override_strategy(index, self.strategies[trainer.global_step])


def fit(module, *callbacks, **options):
    trainer = quiet_trainer(callbacks=list(callbacks), max_epochs=1, **options)
    trainer.fit(module, loader())
    return trainer


def labels(observer, optimizer=0):
    return [record.strategy for record in observer.history if record.optimizer == optimizer]


def test_a_strategy_overrides_the_observers_own_until_it_is_taken_back():
    """The override acts from the step at which it is set, and `None` returns to the observer's own strategy."""
    clipping = GradientClipping(NoClip())
    fit(Net(), clipping, Chooser(clipping, {2: NormClip(0.5), 4: None}))
    assert labels(clipping) == ["NoClip()"] * 2 + ["NormClip(0.5)"] * 2 + ["NoClip()"] * 2
    assert [record.clipped for record in clipping.history] == [False, False, True, True, False, False]
    assert clipping.history[2].norm_after == pytest.approx(0.5, rel=1e-5)


def test_an_override_is_of_one_optimizer():
    """The other optimizer keeps its own strategy."""
    clipping = GradientClipping(NoClip())
    fit(TwoOptimizers(), clipping, Chooser(clipping, {0: NormClip(0.5), 1: NormClip(0.5)}, index=1))
    assert set(labels(clipping, 0)) == {"NoClip()"}
    assert set(labels(clipping, 1)) == {"NormClip(0.5)"}


def test_taking_back_what_was_never_set_changes_nothing():
    """`None` without an earlier override is allowed, and leaves the weights of a run without it."""
    clipping, plain, expected = GradientClipping(NormClip(0.5)), Net(), Net()
    clipping.override_strategy(0, None)
    fit(plain, clipping)
    fit(expected, GradientClipping(NormClip(0.5)))
    assert_same_weights(plain, expected)


def test_an_override_leaves_the_observers_own_strategies_and_their_state():
    """What acts is the override; `strategies`, which the checkpoint contains, stay the observer's own."""
    clipping = GradientClipping(NormClip(2.0))
    fit(Net(), clipping, Chooser(clipping, {0: NormClip(0.5)}))
    assert set(labels(clipping)) == {"NormClip(0.5)"}
    assert repr(clipping.strategies) == repr([NormClip(2.0)])
    assert clipping.state_dict()["strategy"] == repr(NormClip(2.0))


@pytest.mark.parametrize("chooser_first", [True, False])
def test_every_chooser_is_called_before_every_decision_of_every_observer(chooser_first):
    """It gets the observer, step, gradients before clipping and optimizer, wherever it stands in the list."""
    observers = [GradientClipping(NormClip(0.5)), GradientMonitor()]
    choosers = [Chooser(None, {}), Chooser(None, {})]
    fit(Net(), *(choosers + observers if chooser_first else observers + choosers))
    norms = [record.norm_before for record in observers[0].history]
    expected = [(one, step, pytest.approx(norms[step], rel=1e-5), 0) for step in range(6) for one in observers]
    assert [chooser.calls for chooser in choosers] == [expected, expected]


def test_the_latest_chooser_wins():
    """Of two overrides of the same step, the one of the later callback acts."""
    clipping = GradientClipping(NoClip())
    fit(Net(), clipping, Chooser(clipping, {0: NormClip(0.5)}), Chooser(clipping, {0: NormClip(0.2)}))
    assert set(labels(clipping)) == {"NormClip(0.2)"}


def test_a_callback_is_a_chooser_if_it_has_the_method():
    """`StrategySwitcher` and any callback with `choose_strategy` are; other callbacks are not."""
    assert isinstance(StrategySwitcher([NormClip(1.0)]), StrategyChooser)
    assert isinstance(Chooser(None, {}), StrategyChooser)
    assert not isinstance(NonFiniteGuard(), StrategyChooser)
    assert not isinstance(pl.Callback(), StrategyChooser)


def test_a_chooser_that_chooses_nothing_changes_no_bit():
    """Weights are those of a run without it."""
    chosen, alone = Net("adam"), Net("adam")
    clipping = GradientClipping(NormClip(0.5))
    fit(chosen, clipping, Chooser(clipping, {}))
    fit(alone, GradientClipping(NormClip(0.5)))
    assert_same_weights(chosen, alone)


class AddsAnOptimizer(Net):
    """In manual optimization, the last layer gets an optimizer of its own at the fourth batch."""

    def __init__(self, *, listed):
        super().__init__()
        self.automatic_optimization = False
        self.listed = listed

    def training_step(self, batch, batch_idx):
        if batch_idx == 3:
            second = torch.optim.SGD(self.net[2].parameters(), lr=0.05)
            if self.listed:
                self.trainer.strategy.optimizers = [*self.trainer.strategy.optimizers, second]
            else:
                self.second = LightningOptimizer._to_lightning_optimizer(second, self.trainer.strategy)
        optimizers = [self.optimizers()] if batch_idx < 3 or not self.listed else [*self.optimizers()]
        optimizers += [self.second] if batch_idx >= 3 and not self.listed else []
        for optimizer in optimizers:
            optimizer.zero_grad()
            loss = super().training_step(batch, batch_idx)
            self.manual_backward(loss)
            optimizer.step()

    def configure_optimizers(self):
        return torch.optim.SGD(self.net[0].parameters(), lr=0.05)


@pytest.mark.parametrize("listed", [True, False])
def test_an_optimizer_that_is_added_during_training_gets_a_strategy_of_its_own(listed):
    """It is clipped and recorded from its first step on, whether the trainer lists it or not."""
    clipping = GradientClipping(NormClip(0.5))
    fit(AddsAnOptimizer(listed=listed), clipping)
    assert [record.optimizer for record in clipping.history] == [0, 0, 0, *[0, 1] * 3]
    assert len(clipping.strategies) == 2
    assert clipping.strategies[1] is not clipping.strategies[0]
    assert all(record.norm_after < 0.5001 for record in clipping.history)


@pytest.mark.filterwarnings("ignore:.*returned `None`, this fit will run with no optimizer")
@pytest.mark.parametrize(
    "callbacks",
    [
        lambda: [GradientMonitor()],
        lambda: [GradientClipping(), StrategySwitcher([NormClip(1.0)])],
        lambda: [GradientClipping(), NonFiniteGuard()],
        lambda: [GradientClipping(), DivergenceRollback()],
    ],
)
def test_without_optimizers_there_are_no_steps(callbacks):
    """If a module configures no optimizer, the fit goes on and nothing is recorded."""

    class WithoutOptimizer(Net):
        def configure_optimizers(self):
            return None

    trainer = fit(WithoutOptimizer(), *(used := callbacks()))
    assert trainer.fit_loop.epoch_loop.total_batch_idx == 5
    assert not used[0].history


class Returns(ManualNet):
    """In manual optimization, returns what it is given."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def training_step(self, batch, batch_idx):
        super().training_step(batch, batch_idx)
        return self.output


@pytest.mark.parametrize(
    "output",
    [torch.ones(4), {"loss": torch.ones(4)}, {"loss": torch.ones(0)}, {"other": "high"}, None],
    ids=str,
)
def test_what_is_no_loss_leaves_what_was_passed_backward(output):
    """Manual optimization may return any tensor, or no loss; every step is recorded, with the loss of its backward."""
    clipping, returned = (GradientClipping(NormClip(0.5)) for _ in range(2))
    fit(Returns(output), clipping, log_every_n_steps=1)
    fit(ManualNet(), returned, log_every_n_steps=1)
    assert [record.loss for record in clipping.history] == [record.loss for record in returned.history]
