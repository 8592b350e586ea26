"""`NonFiniteGuard`: handles steps whose gradients are NaN or infinite."""

import copy

import pytest
import torch

from lightning_clip import GradientClipping, NonFiniteGuard, NormClip
from tests.support.training import ManualNet, Net, assert_same_weights, loader, quiet_trainer, weights_of

KINDS = ["sgd", "adam", "adamw", "rmsprop"]


class Poisoned(Net):
    """Multiplies the loss by NaN at the given batches."""

    bad_batches = (2,)

    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) * (float("nan") if batch_idx in self.bad_batches else 1.0)


def fit(module, *callbacks, **options):
    trainer = quiet_trainer(callbacks=list(callbacks), max_epochs=1, **options)
    trainer.fit(module, loader())
    return trainer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("guard_first", [True, False])
def test_a_skip_leaves_parameters_and_optimizer_state_as_they_were(kind, guard_first):
    """After a skipped last step the state equals that of a run that ended before it, bit for bit."""
    callbacks = [NonFiniteGuard("skip"), GradientClipping(NormClip(0.7))]
    module, shorter = Poisoned(kind), Net(kind)
    module.bad_batches = (5,)
    skipped = fit(module, *(callbacks if guard_first else callbacks[::-1]))
    reference = fit(shorter, GradientClipping(NormClip(0.7)), limit_train_batches=5)
    assert_same_weights(module, shorter)
    assert repr(skipped.optimizers[0].state_dict()) == repr(reference.optimizers[0].state_dict())
    record = callbacks[1].history[-1]
    assert (record.step, record.skipped, record.finite, record.norm_after) == (5, True, False, 0.0)
    assert callbacks[1].history.aggregates[0].skipped == 1
    assert record.loss is not None


def test_it_skips_in_manual_optimization():
    """A bad step is skipped in manual optimization, too."""

    class Manual(ManualNet):
        def training_step(self, batch, batch_idx):
            x, y = batch
            return super().training_step((x * (float("nan") if batch_idx == 2 else 1.0), y), batch_idx)

    module = Manual()
    fit(module, NonFiniteGuard("skip"))
    assert all(value.isfinite().all() for value in weights_of(module).values())


def test_raise_names_parameters_step_batch_and_last_good_norm():
    """The first bad step raises before any weight changes, and the message names all of these."""
    module = Poisoned()
    with pytest.raises(
        FloatingPointError,
        match=r"the gradient became NaN or infinite at step 2 .*batch 2.*net\.0\.weight.*last good norm \d",
    ):
        fit(module, NonFiniteGuard("raise"))
    assert all(value.isfinite().all() for value in weights_of(module).values())


def test_too_many_in_a_row_raise():
    """After `max_consecutive` skips in a row, the next bad step raises."""
    module = Poisoned()
    module.bad_batches = (1, 2, 3, 4)
    guard = NonFiniteGuard("skip", max_consecutive=2)
    with pytest.raises(FloatingPointError, match=r"step 3 .*3 in a row"):
        fit(module, guard)
    assert guard.total == 3


def test_stop_ends_with_finite_weights():
    """The bad step is skipped, and no further batch is trained on."""
    module = Poisoned()
    trainer = fit(module, NonFiniteGuard("stop"))
    assert trainer.global_step == 3
    assert all(value.isfinite().all() for value in weights_of(module).values())


def test_zero_moves_by_momentum_only():
    """Unlike a skip, zeroing lets momentum move the weights, by a finite amount."""
    zeroed, skipped = Poisoned(), Poisoned()
    zeroed.bad_batches = skipped.bad_batches = (5,)
    fit(zeroed, NonFiniteGuard("zero"))
    fit(skipped, NonFiniteGuard("skip"))
    assert all(value.isfinite().all() for value in weights_of(zeroed).values())
    assert not torch.equal(zeroed.net[0].weight, skipped.net[0].weight)


def test_ignore_only_counts():
    """The weights become NaN, and the guard counts every bad step."""
    module, guard = Poisoned(), NonFiniteGuard("ignore", max_consecutive=1)
    fit(module, guard)
    assert guard.total == 4  # once the weights are NaN, every step is bad
    assert not all(value.isfinite().all() for value in weights_of(module).values())


def test_an_overflowing_norm_is_not_a_non_finite_gradient():
    """A finite gradient of 1e27 overflows a float32 norm; it is clipped, and the step is made."""

    class Huge(Net):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) * 1e27

    guard, clipping = NonFiniteGuard("raise"), GradientClipping(NormClip(0.7))
    fit(Huge(), guard, clipping)
    assert guard.total == 0
    assert clipping.history[0].norm_before > 1e20
    assert clipping.history[0].norm_after == pytest.approx(0.7, rel=1e-5)


def test_the_counts_are_saved():
    """Counts and last good norm survive a `state_dict` round trip."""
    guard = NonFiniteGuard()
    guard.total, guard.consecutive, guard.last_good_norm = 7, 3, 0.25
    restored = NonFiniteGuard()
    restored.load_state_dict(copy.deepcopy(guard.state_dict()))
    assert (restored.total, restored.consecutive, restored.last_good_norm) == (7, 3, 0.25)


@pytest.mark.parametrize(
    ("arguments", "message"), [({"action": "retry"}, "action"), ({"max_consecutive": 0}, "at least 1")]
)
def test_bad_arguments_are_rejected(arguments, message):
    """The message quotes the call."""
    with pytest.raises(ValueError, match=rf"NonFiniteGuard\(.*{message}"):
        NonFiniteGuard(**arguments)
