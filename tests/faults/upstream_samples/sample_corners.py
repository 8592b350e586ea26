"""Tests in the style of Lightning's own: loops, loaders, loggers and callbacks that are seldom used."""

import pickle
from copy import deepcopy
from datetime import timedelta
from unittest.mock import Mock

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    DeviceStatsMonitor,
    GradientAccumulationScheduler,
    LambdaCallback,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelPruning,
    OnExceptionCheckpoint,
    Timer,
    WeightAveraging,
)
from lightning.pytorch.demos.boring_classes import BoringModel, RandomDataset
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.loops.fit_loop import _FitLoop
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from torch import nn
from torch.utils.data import DataLoader


def quick(tmp_path, **options):
    defaults = {"default_root_dir": tmp_path, "max_epochs": 2, "limit_train_batches": 4, "limit_val_batches": 1}
    return Trainer(**{**defaults, "enable_progress_bar": False, "enable_model_summary": False, **options})


@pytest.mark.parametrize(
    "options", [{"max_epochs": 0}, {"max_steps": 0}, {"max_steps": 3}, {"max_time": "00:00:00:09"}]
)
def test_limits(tmp_path, options):
    quick(tmp_path, **options).fit(BoringModel())


def test_should_stop_from_the_start(tmp_path):
    class Model(BoringModel):
        def on_train_start(self):
            self.trainer.should_stop = True

    quick(tmp_path, min_steps=2).fit(Model())


def test_trainers_can_be_pickled_and_copied(tmp_path):
    trainer = quick(tmp_path, logger=False)
    pickle.loads(pickle.dumps(trainer))
    trainer.fit(BoringModel())
    assert pickle.loads(pickle.dumps(trainer)).global_step == 8
    assert deepcopy(trainer).global_step == 8


def test_a_training_step_that_takes_the_iterator(tmp_path):
    class Model(BoringModel):
        def training_step(self, dataloader_iter):
            batch, _, _ = next(dataloader_iter)
            return self.step(batch)

    trainer = quick(tmp_path)
    trainer.fit(Model())
    assert trainer.global_step == 8


@pytest.mark.parametrize("mode", ["min_size", "max_size_cycle", "max_size"])
def test_several_loaders(tmp_path, mode):
    class Model(BoringModel):
        def training_step(self, batch, batch_idx):
            return sum(self.step(part) for part in batch.values() if part is not None)

        def train_dataloader(self):
            loaders = {name: DataLoader(RandomDataset(32, size)) for name, size in (("a", 3), ("b", 5))}
            return CombinedLoader(loaders, mode)

    quick(tmp_path).fit(Model())


def test_an_optimizer_step_that_is_left_out(tmp_path):
    class Model(BoringModel):
        def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
            if batch_idx % 2:
                optimizer_closure()
                return
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    model, trainer = Model(), quick(tmp_path)
    trainer.fit(model)
    assert trainer.current_epoch == 2


def test_toggled_optimizers(tmp_path):
    class Model(BoringModel):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False
            self.other = nn.Linear(32, 2)

        def training_step(self, batch, batch_idx):
            for optimizer, layer in zip(self.optimizers(), (self.layer, self.other), strict=True):
                with optimizer.toggle_model(sync_grad=bool(batch_idx % 2)):
                    self.manual_backward(layer(batch).sum())
                    optimizer.step()
                    optimizer.zero_grad()

        def configure_optimizers(self):
            return [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in (self.layer, self.other)]

    trainer = quick(tmp_path)
    trainer.fit(Model())
    assert trainer.global_step == 16


def test_a_loop_of_the_user(tmp_path):
    class Loop(_FitLoop):
        advances = 0

        def advance(self):
            super().advance()
            self.advances += 1

    trainer = quick(tmp_path)
    trainer.fit_loop = Loop(trainer, max_epochs=3)
    trainer.fit(BoringModel())
    assert trainer.fit_loop.advances == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: ModelCheckpoint(folder, every_n_train_steps=1, save_top_k=-1),
        lambda folder: ModelCheckpoint(folder, train_time_interval=timedelta(seconds=0)),
        lambda folder: ModelCheckpoint(folder, save_last=True, filename="{epoch}-{step}-{mine:.2f}", monitor="mine"),
        lambda folder: OnExceptionCheckpoint(folder),
        lambda folder: DeviceStatsMonitor(cpu_stats=True),
        lambda folder: GradientAccumulationScheduler({0: 1, 1: 2}),
        lambda folder: LambdaCallback(on_train_batch_end=lambda *args: None),
        lambda folder: LearningRateMonitor("step", log_momentum=True),
        lambda folder: ModelPruning("l1_unstructured", parameter_names=["weight"], amount=0.1),
        lambda folder: Timer(timedelta(minutes=1)),
        lambda folder: WeightAveraging(),
    ],
)
def test_beside_other_callbacks(tmp_path, make):
    class Model(BoringModel):
        def training_step(self, batch, batch_idx):
            self.log("mine", batch_idx, on_step=True)
            return super().training_step(batch, batch_idx)

    trainer = quick(tmp_path, callbacks=[make(tmp_path / "saved")], logger=CSVLogger(tmp_path), log_every_n_steps=1)
    trainer.fit(Model())
    assert trainer.current_epoch == 2


def test_a_backbone_that_is_unfrozen(tmp_path):
    class Model(BoringModel):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32))

        def forward(self, x):
            return self.layer(self.backbone(x))

        def train_dataloader(self):
            return DataLoader(RandomDataset(32, 16), batch_size=4)

        def configure_optimizers(self):
            return torch.optim.SGD(filter(lambda p: p.requires_grad, self.parameters()), lr=0.01)

    trainer = quick(tmp_path, max_epochs=3, limit_val_batches=0, callbacks=[BackboneFinetuning(1)])
    trainer.fit(Model())
    assert len(trainer.optimizers[0].param_groups) == 2


def test_a_checkpoint_of_an_exception_can_be_resumed(tmp_path):
    class Model(BoringModel):
        def training_step(self, batch, batch_idx):
            if self.global_step == 5 and not self.trainer.ckpt_path:
                raise ValueError("mine")
            return super().training_step(batch, batch_idx)

    with pytest.raises(ValueError, match="mine"):
        quick(tmp_path, callbacks=[OnExceptionCheckpoint(tmp_path, "a")]).fit(Model())
    trainer = quick(tmp_path)
    trainer.fit(Model(), ckpt_path=tmp_path / "a.ckpt")
    assert trainer.global_step == 8


@pytest.mark.parametrize("every", [0, 1, 3])
def test_mocked_and_several_loggers(tmp_path, every):
    loggers = [Mock(spec=Logger, save_dir=str(tmp_path), version=0), CSVLogger(tmp_path)]
    loggers[0].name = "mock"
    trainer = quick(tmp_path, logger=loggers, log_every_n_steps=every, enable_checkpointing=False)
    trainer.fit(BoringModel())
    assert trainer.current_epoch == 2


def test_validation_within_an_epoch_and_the_sanity_check(tmp_path):
    class Model(BoringModel):
        seen = 0

        def on_validation_epoch_end(self):
            self.seen += 1

    model = Model()
    quick(tmp_path, val_check_interval=2, num_sanity_val_steps=1, max_epochs=1).fit(model)
    assert model.seen == 3


@pytest.mark.parametrize("fn", ["validate", "test"])
def test_evaluation_in_the_middle_of_a_fit(tmp_path, fn):
    class Model(BoringModel):
        def on_train_epoch_end(self):
            getattr(Trainer(logger=False, enable_progress_bar=False, enable_checkpointing=False), fn)(
                BoringModel(), verbose=False
            )

    quick(tmp_path).fit(Model())


def test_in_two_processes(tmp_path):
    class Model(BoringModel):
        def on_train_end(self):
            assert self.trainer.world_size == 2

    trainer = quick(tmp_path, accelerator="cpu", devices=2, strategy="ddp_fork", use_distributed_sampler=False)
    trainer.fit(Model())
    trainer.test(Model(), verbose=False)
    assert trainer.state.finished
