"""`NonFiniteGuard`: handles steps whose gradients are NaN or infinite."""

import lightning.pytorch as pl
import pytest
import torch

from lightning_clip import Chunk, GradientClipping, NoClip, NonFiniteGuard, NormClip, StatefulMixin
from lightning_clip._errors import NonFiniteError
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


def test_the_counts_are_saved(tmp_path):
    """A resumed run continues with the counts and the last good norm of the saved one."""
    module, first = Poisoned(), NonFiniteGuard()
    module.bad_batches = (4, 5)
    saved = fit(module, first)
    saved.save_checkpoint(tmp_path / "saved.ckpt")
    second, seen = NonFiniteGuard(), []

    class Resumed(Net):
        def on_train_start(self):
            seen.append((second.total, second.consecutive, second.last_good_norm))

    trainer = quiet_trainer(callbacks=[second], max_epochs=2)
    trainer.fit(Resumed(), loader(), ckpt_path=tmp_path / "saved.ckpt")
    assert seen == [(2, 2, first.last_good_norm)]
    assert (second.total, second.consecutive) == (2, 0)


class Normalized(Net):
    """Has running statistics, and an additive mask that is -inf from the start; one batch is NaN."""

    def __init__(self, kind="sgd") -> None:
        super().__init__(kind)
        self.norm = torch.nn.BatchNorm1d(4)
        self.register_buffer("mask", torch.full((4, 4), float("-inf")).triu(1))
        self.returns_none = False

    def training_step(self, batch, batch_idx):
        x, y = batch
        x = x * (float("nan") if batch_idx == 3 else 1.0)
        loss = super().training_step((self.norm(x), y), batch_idx)
        return None if self.returns_none and not loss.isfinite() else loss


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
@pytest.mark.parametrize("returns_none", [False, True])
def test_a_skip_leaves_buffers_as_they_were(returns_none):
    """A NaN batch that is skipped, by the guard or by the module, leaves running statistics as without the batch."""
    module, reference = Normalized(), Normalized()
    module.returns_none = returns_none
    fit(module, NonFiniteGuard("skip"))
    batches = [batch for number, batch in enumerate(loader()) if number != 3]
    reference.norm.train()
    for x, _ in batches:
        reference.norm(x)
    assert torch.equal(module.norm.running_mean, reference.norm.running_mean)
    assert torch.equal(module.norm.running_var, reference.norm.running_var)
    assert torch.equal(module.mask, reference.mask)


def test_ignore_leaves_buffers_alone():
    """With `"ignore"`, running statistics become NaN as without the guard."""
    module = Normalized()
    fit(module, NonFiniteGuard("ignore"))
    assert module.norm.running_mean.isnan().all()


class Stream(StatefulMixin, pl.LightningModule):
    """Carries its state through a stream in which one chunk of the first row contains NaN."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head = torch.nn.LSTM(3, 8, batch_first=True), torch.nn.Linear(8, 1)
        self.losses = []

    def training_step(self, chunk, batch_idx):
        loss = self.head(self.run_chunk(self.rnn, chunk.inputs, chunk)).square().mean()
        self.losses.append(float(loss.detach()))
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def stream():
    torch.manual_seed(1)
    inputs = torch.randn(20, 2, 5, 3)
    inputs[6, 0, 2, 1] = torch.nan
    chunks = [Chunk(inputs=x, targets=x[..., :1]) for x in inputs]
    return torch.utils.data.DataLoader(chunks, batch_size=None)


def test_a_skip_resets_rows_of_a_carried_state_that_became_non_finite():
    """One NaN chunk costs one step: the carried state of its row starts afresh, that of the other row goes on."""
    module, guard = Stream(), NonFiniteGuard("skip")
    quiet_trainer(callbacks=[guard], max_epochs=1).fit(module, stream())
    assert guard.total == 1
    assert [step for step, loss in enumerate(module.losses) if not loss < 1e9] == [6]


@pytest.mark.parametrize(
    ("arguments", "message"), [({"action": "retry"}, "action"), ({"max_consecutive": 0}, "at least 1")]
)
def test_bad_arguments_are_rejected(arguments, message):
    """The message quotes the call."""
    with pytest.raises(ValueError, match=rf"NonFiniteGuard\(.*{message}"):
        NonFiniteGuard(**arguments)


class Huge(Net):
    """Has one gradient whose square is infinite in float32, which is finite itself."""

    def on_before_optimizer_step(self, optimizer):
        if self.global_step == 2:
            self.net[0].weight.grad[0, 0] = 1e22


@pytest.mark.parametrize("action", ["skip", "stop"])
def test_an_optimizer_state_that_became_infinite_is_told_once(action):
    """Adam would never move that weight again."""
    guard, clipping = NonFiniteGuard(action), GradientClipping(NoClip())
    trainer = quiet_trainer(callbacks=[guard, clipping])
    told = (
        r"after step 2, 'exp_avg_sq' of Adam is infinite for net\.0\.weight: these weights no longer move\. Clip with"
    )
    with pytest.warns(UserWarning, match=told) as caught:
        trainer.fit(Huge("adam"), loader())
    assert sum("exp_avg_sq" in str(one.message) for one in caught) == 1
    assert [event.kind for event in clipping.history.events] == ["non-finite", "stop"][: 1 + (action == "stop")]
    assert trainer.global_step == (12 if action == "skip" else 3)


def test_an_optimizer_state_that_became_infinite_can_be_an_error():
    """The training ends where the damage was done."""
    with pytest.raises(NonFiniteError, match="after step 2"):
        quiet_trainer(callbacks=[NonFiniteGuard("raise")]).fit(Huge("adam"), loader())


def test_clipped_gradients_leave_the_optimizer_state_finite():
    """What is clipped before the optimizer gets it does no harm."""
    guard = NonFiniteGuard("skip")
    quiet_trainer(callbacks=[guard, GradientClipping(NormClip(1.0))]).fit(Huge("adam"), loader())
    assert guard.total == 0


def test_a_gradient_of_zero_is_no_last_good_norm():
    """The message of a later failure names a norm that says something."""

    class Zeros(Net):
        def on_before_optimizer_step(self, optimizer):
            if self.global_step > 2:
                for param in self.parameters():
                    param.grad.zero_()

    guard = NonFiniteGuard("skip")
    quiet_trainer(callbacks=[guard]).fit(Zeros(), loader())
    assert guard.last_good_norm > 0
