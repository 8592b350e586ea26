"""Tests in the style of Lightning's own: Trainers, tuners and checkpoints in several lives."""

import os
from copy import deepcopy
from unittest.mock import MagicMock, Mock

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import BatchSizeFinder, EarlyStopping, LearningRateFinder, ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel
from lightning.pytorch.tuner import Tuner
from lightning_utilities.test.warning import no_warning_call
from torch.utils.data import DataLoader


class Tuned(BoringModel):
    def __init__(self, lr=0.1, batch_size=2):
        super().__init__()
        self.lr, self.batch_size = lr, batch_size

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)

    def train_dataloader(self):
        return DataLoader(super().train_dataloader().dataset, batch_size=self.batch_size)


def quick(tmp_path, **options):
    defaults = {"default_root_dir": tmp_path, "max_epochs": 1, "limit_train_batches": 4, "limit_val_batches": 1}
    return Trainer(**{**defaults, "enable_progress_bar": False, "enable_model_summary": False, **options})


def test_lr_find_resets_the_trainer(tmp_path):
    trainer = quick(tmp_path)
    before = {name: getattr(trainer, name) for name in ("callbacks", "loggers", "global_step", "max_steps")}
    with no_warning_call(UserWarning, match="Please add the following callbacks"):
        Tuner(trainer).lr_find(Tuned(), num_training=5)
    assert {name: getattr(trainer, name) for name in before} == before


@pytest.mark.parametrize("again", [False, True])
def test_lr_find_then_fit(tmp_path, again):
    seed_everything(1)
    model, trainer = Tuned(), quick(tmp_path, max_epochs=2, limit_train_batches=None, limit_val_batches=0)
    tuner = Tuner(trainer)
    options = {"num_training": 12, "early_stop_threshold": None}
    results = [tuner.lr_find(model, **options).results for _ in range(1 + again)]
    assert all(len(result["lr"]) == 12 for result in results)
    trainer.fit(model)
    assert trainer.global_step == 64


@pytest.mark.parametrize("mode", ["power", "binsearch"])
def test_batch_size_finder_then_fit(tmp_path, mode):
    model = Tuned()
    trainer = quick(tmp_path)
    Tuner(trainer).scale_batch_size(model, mode=mode, max_trials=2, steps_per_trial=2)
    trainer.fit(model)
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".scale")]


@pytest.mark.parametrize("finder", [LearningRateFinder(num_training_steps=6), BatchSizeFinder(max_trials=2)])
def test_finders_as_callbacks(tmp_path, finder):
    trainer = quick(tmp_path, callbacks=[deepcopy(finder)])
    trainer.fit(Tuned())
    assert trainer.global_step == 4


def test_lr_finder_in_every_epoch(tmp_path):
    class Often(LearningRateFinder):
        def on_train_epoch_start(self, trainer, pl_module):
            self.lr_find(trainer, pl_module)

    trainer = quick(tmp_path, max_epochs=3, callbacks=[Often(num_training_steps=5)])
    trainer.fit(Tuned())
    assert trainer.current_epoch == 3


@pytest.mark.parametrize("fn", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize("value", [True, 1, 2])
def test_fast_dev_run(tmp_path, fn, value):
    trainer = Trainer(default_root_dir=tmp_path, fast_dev_run=value, enable_progress_bar=False)
    getattr(trainer, fn)(BoringModel())
    assert not trainer.loggers or type(trainer.loggers[0]).__name__ == "DummyLogger"
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("automatic", [True, False])
def test_no_optimizer(tmp_path, automatic):
    model = BoringModel()
    model.automatic_optimization = automatic
    model.configure_optimizers = lambda: None
    with pytest.warns(UserWarning, match="will run with no optimizer"):
        quick(tmp_path).fit(model)


def test_several_fits_of_one_trainer(tmp_path):
    model, trainer = BoringModel(), quick(tmp_path)
    for epochs in (1, 2, 3):
        trainer.fit_loop.max_epochs = epochs
        trainer.fit(model)
        assert trainer.global_step == 4 * epochs
        trainer.validate(model)
        trainer.test(model, verbose=False)
        trainer.predict(model)


def test_a_second_model_in_one_trainer(tmp_path):
    trainer = quick(tmp_path, max_epochs=2)
    trainer.fit(BoringModel())
    trainer.fit_loop.max_epochs = 4
    trainer.fit(BoringModel())
    assert trainer.global_step == 16


def test_resume_gives_the_same_weights(tmp_path):
    def weights(trainer, **options):
        seed_everything(1)
        model = BoringModel()
        trainer.fit(model, **options)
        return model.state_dict()

    whole = weights(quick(tmp_path, max_epochs=4, logger=False))
    first = quick(tmp_path, max_epochs=2, logger=False)
    weights(first)
    path = first.checkpoint_callback.best_model_path
    with no_warning_call(UserWarning, match="Please add the following callbacks"):
        resumed = weights(quick(tmp_path, max_epochs=4, logger=False), ckpt_path=path)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("fn", ["validate", "test", "predict"])
def test_best_checkpoint_in_other_stages(tmp_path, fn):
    class Scored(BoringModel):
        def validation_step(self, batch, batch_idx):
            self.log("score", -batch_idx)

    model, trainer = Scored(), quick(tmp_path, callbacks=[ModelCheckpoint(monitor="score", save_top_k=1)])
    trainer.fit(model)
    getattr(trainer, fn)(ckpt_path="best")
    assert trainer.ckpt_path == trainer.checkpoint_callback.best_model_path


def test_a_checkpoint_before_training(tmp_path):
    model, trainer = BoringModel(), quick(tmp_path)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    quick(tmp_path).fit(BoringModel(), ckpt_path=tmp_path / "a.ckpt")


def test_weights_only_checkpoint(tmp_path):
    trainer = quick(tmp_path)
    trainer.fit(BoringModel())
    trainer.save_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    assert "callbacks" not in torch.load(tmp_path / "a.ckpt", weights_only=True)


def test_mock_callbacks(tmp_path):
    one, two = Mock(spec=Callback, model=Callback()), MagicMock(spec=Callback)

    class Configured(BoringModel):
        def configure_callbacks(self):
            return [two]

    trainer = quick(tmp_path, callbacks=[one], enable_checkpointing=False)
    trainer.fit(Configured())
    assert trainer.callbacks[-1] == two
    assert one.method_calls == two.method_calls
    assert [name for name, *_ in one.method_calls].count("on_train_batch_end") == 4


def test_configure_callbacks_twice(tmp_path):
    mock = Mock(spec=Callback)

    class Configured(BoringModel):
        def configure_callbacks(self):
            return mock

    model = Configured()
    trainer = Trainer(default_root_dir=tmp_path, fast_dev_run=True, enable_checkpointing=False)
    before = trainer.callbacks.copy()
    trainer.fit(model)
    assert trainer.callbacks == [*before, mock]
    trainer.test(model, verbose=False)
    assert trainer.callbacks == [*before, mock]


@pytest.mark.parametrize("hook", ["setup", "on_fit_start", "on_train_start", "on_train_batch_start", "on_train_end"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_exceptions(tmp_path, hook, error):
    class Raises(Callback):
        seen = None

        def on_exception(self, trainer, pl_module, exception):
            self.seen = exception

    def fail(*args, **kwargs):
        raise error("mine")

    callback = Raises()
    setattr(callback, hook, fail)
    trainer = quick(tmp_path, callbacks=[callback])
    with pytest.raises(SystemExit if error is KeyboardInterrupt else error):
        trainer.fit(BoringModel())
    assert isinstance(callback.seen, error)
    assert trainer.interrupted


def test_early_stopping_and_stopped_epochs(tmp_path):
    class Counted(BoringModel):
        def validation_step(self, batch, batch_idx):
            self.log("val", 1.0)

    trainer = quick(tmp_path, max_epochs=10, callbacks=[EarlyStopping("val", patience=1)])
    trainer.fit(Counted())
    assert trainer.current_epoch == 2


def test_missing_monitor_is_still_an_error(tmp_path):
    trainer = quick(tmp_path, callbacks=[EarlyStopping("giraffe")])
    with pytest.raises(RuntimeError, match="conditioned on metric `giraffe` which is not available"):
        trainer.fit(BoringModel())


@pytest.mark.parametrize("batches", [0, 1])
def test_few_or_no_batches(tmp_path, batches):
    trainer = quick(tmp_path, limit_train_batches=batches, max_epochs=2)
    trainer.fit(BoringModel(), datamodule=BoringDataModule())
    assert trainer.global_step == 2 * batches


def test_errors_of_configuration_are_theirs(tmp_path):
    model = BoringModel()
    model.configure_optimizers = lambda: 1
    with pytest.raises(MisconfigurationException, match="Unknown configuration for model optimizers"):
        Trainer(default_root_dir=tmp_path, fast_dev_run=True).fit(model)
