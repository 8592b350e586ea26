"""One run, one life: callbacks that were used before behave like new ones, bit for bit."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.tuner import Tuner
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_clip import (
    AutoClip,
    BadStepCapture,
    ClipThresholdFinder,
    DivergenceRollback,
    GradientClipping,
    GradientMonitor,
    LoggerReport,
    NoClip,
    NonFiniteGuard,
    NormClip,
    RecurrentSpectrumMonitor,
    SkipBatches,
    StrategySwitcher,
    TemporalGradientMonitor,
)
from lightning_clip.core import SpikeDetector
from tests.support.training import assert_same_weights, quiet_trainer, weights_of
from tests.support.values import assert_same_values


class Net(LightningModule):
    """A small recurrent network with a spike at step 6 of each run, in automatic or manual optimization."""

    def __init__(self, *, manual: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn = nn.RNN(2, 3, batch_first=True)
        self.head = nn.Linear(3, 1)
        self.lr, self.batch_size = 0.05, 2
        self.automatic_optimization = not manual

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = nn.functional.mse_loss(self.head(self.rnn(x)[0][:, -1]), y)
        if self.global_step == 6:
            loss = 1e4 * loss
        if not self.automatic_optimization:
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)

    def train_dataloader(self):
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(20, 10, 2, generator=generator)
        return DataLoader(TensorDataset(x, x.sum(dim=(1, 2))[:, None]), batch_size=self.batch_size)


pytestmark = [
    pytest.mark.filterwarnings("ignore:DivergenceRollback. step"),
    pytest.mark.filterwarnings("ignore:.*resuming from a checkpoint that ended before the epoch ended.*"),
]

CAPTURES = TemporaryDirectory()
KITS: dict[str, Callable[[], list[Callback]]] = {
    "clipping": lambda: [GradientClipping(AutoClip(50, window=8), flush_every_n_steps=3)],
    "monitor": lambda: [GradientMonitor(flush_every_n_steps=3), LoggerReport()],
    "guard": lambda: [GradientClipping(), NonFiniteGuard()],
    "switcher": lambda: [
        GradientClipping(NoClip()),
        StrategySwitcher([AutoClip(window=8), NormClip(0.1)], detector=SpikeDetector(warmup_steps=3)),
    ],
    "rollback": lambda: [
        DivergenceRollback(snapshot_every_n_steps=2, patience=1, detector=SpikeDetector(warmup_steps=3)),
        GradientClipping(AutoClip(window=8)),
    ],
    "finder": lambda: [GradientClipping(), ClipThresholdFinder(num_steps=6)],
    "capture": lambda: [
        GradientMonitor(),
        BadStepCapture(folder=CAPTURES.name, detector=SpikeDetector(warmup_steps=3)),
    ],
    "skip": lambda: [GradientMonitor(), SkipBatches({(0, 3), (1, 2)})],
    "temporal": lambda: [GradientMonitor(), TemporalGradientMonitor(every_n_steps=4)],
    "spectrum": lambda: [GradientMonitor(), RecurrentSpectrumMonitor(every_n_steps=4)],
}


def state_of(callbacks: list[Callback]) -> dict[str, Any]:
    """Everything that the callbacks would save, without what differs between any two runs."""
    states = {callback.state_key: deepcopy(callback.state_dict()) for callback in callbacks}
    for state in states.values():
        state.pop("seconds", None)
        state.pop("run_id", None)
    return states


def fit(callbacks: list[Callback], *, manual: bool, max_steps: int = 14, **options: Any) -> Net:
    """One run of a new network with a new Trainer."""
    net = Net(manual=manual)
    quiet_trainer(max_epochs=-1, max_steps=max_steps, callbacks=callbacks).fit(net, **options)
    return net


@pytest.fixture(params=KITS)
def kit(request) -> Callable[[], list[Callback]]:
    return KITS[request.param]


def kits(short, value: Any) -> list[Any]:
    """Every kit with a value; those that are not in the short form are slow."""
    marks = {name: () if name in short else pytest.mark.slow for name in KITS}
    return [pytest.param(kit, value, id=f"{name}-{value}", marks=marks[name]) for name, kit in KITS.items()]


IN_MANUAL = ("clipping", "rollback", "finder", "skip")  # what changes the steps themselves
both_modes = pytest.mark.parametrize(("kit", "manual"), [*kits(KITS, False), *kits(IN_MANUAL, True)])


@cache
def expected(kit, manual) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Weights and states after one run with new callbacks."""
    callbacks = kit()
    return weights_of(fit(callbacks, manual=manual)), state_of(callbacks)


@both_modes
def test_a_second_fit_equals_one_with_new_callbacks(kit, manual):
    """The objects of an earlier run, in a new Trainer, as in folds; and copies of them, as in a cross-validation."""
    callbacks = kit()
    fit(callbacks, manual=manual, max_steps=9)
    weights, state = expected(kit, manual)
    for used in (deepcopy(callbacks), callbacks):
        net = fit(used, manual=manual)
        assert_same_weights(net, weights)
        assert_same_values(state_of(used), state)


@both_modes
def test_a_second_model_in_the_same_trainer_begins_anew(kit, manual):
    """Another module is another run, whatever the Trainer's step says."""
    callbacks = kit()
    trainer = quiet_trainer(max_epochs=-1, max_steps=5, callbacks=callbacks)
    trainer.fit(Net(manual=manual))
    trainer.fit_loop.epoch_loop.max_steps = 10
    trainer.fit(Net(manual=manual))
    for callback in callbacks:
        if isinstance(callback, GradientMonitor | GradientClipping):
            assert [record.step for record in callback.history] == list(range(5, 10))


@both_modes
def test_the_same_trainer_continues_its_run(kit, manual):
    """Fitting on in one Trainer equals one longer fit."""
    callbacks = kit()
    net = Net(manual=manual)
    trainer = quiet_trainer(max_epochs=1, callbacks=callbacks)
    trainer.fit(net)
    trainer.fit_loop.max_epochs = 2
    trainer.fit(net)
    longer = kit()
    quiet_trainer(max_epochs=2, callbacks=longer).fit(Net(manual=manual))
    records = [[r.step for r in c.history] for c in (*callbacks, *longer) if isinstance(c, GradientClipping)]
    assert all(steps == list(range(20)) for steps in records)
    if not isinstance(callbacks[0], DivergenceRollback):  # Lightning makes new optimizers, without momentum
        assert set(state_of(callbacks)) == set(state_of(longer))


@both_modes
def test_resuming_in_the_same_process_restores_the_checkpoint(kit, manual, tmp_path):
    """The same objects, fitted on from a checkpoint of an earlier step, equal new objects resumed from it."""
    callbacks = kit()
    net = Net(manual=manual)
    trainer = quiet_trainer(max_epochs=-1, max_steps=8, callbacks=callbacks)
    trainer.fit(net)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    fit(callbacks, manual=manual, max_steps=12)  # something else in between
    again = fit(callbacks, manual=manual, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    new = kit()
    fresh = fit(new, manual=manual, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert_same_weights(again, fresh)
    assert_same_values(state_of(callbacks), state_of(new))


def test_a_checkpoint_that_is_only_evaluated_leaves_the_record_alone(kit, tmp_path):
    """Loading a checkpoint to test, validate or predict changes no state of the run."""

    class Evaluated(Net):
        def test_step(self, batch, batch_idx):
            return self.training_step(batch, batch_idx)

        def validation_step(self, batch, batch_idx):
            return self.training_step(batch, batch_idx)

        val_dataloader = Net.train_dataloader

        def predict_step(self, batch, batch_idx):
            return self.rnn(batch[0])[0]

    callbacks, net = kit(), Evaluated()
    trainer = quiet_trainer(max_epochs=-1, max_steps=4, callbacks=callbacks, limit_val_batches=0)
    trainer.fit(net)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    trainer.fit_loop.epoch_loop.max_steps = 9
    trainer.fit(net)
    before = state_of(callbacks)
    trainer.limit_val_batches = 1
    for run in (trainer.test, trainer.validate, trainer.predict):
        run(net, dataloaders=net.train_dataloader(), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
        assert_same_values(state_of(callbacks), before)


SCALED = ("clipping", "rollback", "skip", "temporal")


@pytest.mark.parametrize(("kit", "search"), [*kits(KITS, "lr_find"), *kits(SCALED, "scale_batch_size")])
def test_a_run_after_a_tuner_equals_one_without(kit, search, tmp_path, monkeypatch):
    """A search for a rate or a batch size leaves no trace in the callbacks."""
    monkeypatch.chdir(tmp_path)
    callbacks, net = kit(), Net()
    trainer = quiet_trainer(max_epochs=-1, max_steps=14, callbacks=callbacks)
    if search == "lr_find":
        Tuner(trainer).lr_find(net, num_training=8, update_attr=False)
    else:
        Tuner(trainer).scale_batch_size(net, max_trials=2, steps_per_trial=2)
        net.batch_size = 2
    trainer.fit(net)
    _, state = expected(kit, manual=False)
    records = [[r.step for r in c.history] for c in callbacks if isinstance(c, GradientClipping | GradientMonitor)]
    assert all(steps == list(range(14)) for steps in records)
    assert set(state_of(callbacks)) == set(state)


def test_a_checkpoint_saved_before_training_is_an_empty_state(kit, tmp_path):
    """Its callbacks have no state, and a fit from it begins a new run."""
    callbacks, net = kit(), Net()
    trainer = quiet_trainer(max_epochs=-1, max_steps=14, callbacks=callbacks)
    trainer.strategy.connect(net)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert not torch.load(tmp_path / "a.ckpt", weights_only=True)["callbacks"]
    assert state_of(kit()) == {callback.state_key: {} for callback in callbacks}


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no version": (lambda state: state.pop("version"), r"has version None, expected 1 to 2"),
    "a later version": (lambda state: state.update(version=99), r"has version 99, expected 1 to 2"),
    "a missing key": (
        lambda state: state.pop(sorted(set(state) - {"version", "run_id", "gates", "seconds"})[0]),
        "lacks '",
    ),
}


@cache
def _saved(kit) -> dict[str, Any]:
    """A checkpoint after four steps."""
    trainer = quiet_trainer(max_epochs=-1, max_steps=4, callbacks=kit())
    trainer.fit(Net())
    with TemporaryDirectory() as folder:
        trainer.save_checkpoint(Path(folder) / "a.ckpt")
        return torch.load(Path(folder) / "a.ckpt", weights_only=True)


def checkpoint_of(kit) -> dict[str, Any]:
    """A copy of that checkpoint, to be spoiled."""
    return deepcopy(_saved(kit))


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_state_is_one_clear_error(kit, fault, tmp_path):
    """The error names the callback, the checkpoint and what is wrong, and says how to go on without the state."""
    spoil, message = BROKEN[fault]
    checkpoint = checkpoint_of(kit)
    key = list(checkpoint["callbacks"])[-1]
    spoil(checkpoint["callbacks"][key])
    torch.save(checkpoint, tmp_path / "b.ckpt")
    pattern = rf"{key.split('{')[0]}: the state of this callback in .*b\.ckpt {message}.*remove the key '{key}'"
    with pytest.raises(ValueError, match=pattern):
        fit(kit(), manual=False, max_steps=8, ckpt_path=tmp_path / "b.ckpt", weights_only=True)


def test_a_strategy_state_with_nan_is_one_clear_error(tmp_path):
    """NaN in the window of an adaptive rule is refused instead of clipping by NaN from then on."""
    checkpoint = checkpoint_of(KITS["clipping"])
    checkpoint["callbacks"]["GradientClipping"]["strategies"][0]["norms.values"][0] = torch.nan
    torch.save(checkpoint, tmp_path / "b.ckpt")
    with pytest.raises(ValueError, match=r"GradientClipping: the state of this callback in .* norms\.values holds NaN"):
        fit(KITS["clipping"](), manual=False, max_steps=8, ckpt_path=tmp_path / "b.ckpt", weights_only=True)
