"""`ClipThresholdFinder` measures, sets the threshold, and leaves no trace."""

import csv
import random

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric

from lightning_clip import (
    ClipThresholdFinder,
    DivergenceRollback,
    GradientClipping,
    JsonlSink,
    NoClip,
    NonFiniteGuard,
    NormClip,
    RichGradientReport,
    StrategySwitcher,
    load_record,
)
from tests.support.training import (
    Net,
    TwoOptimizers,
    loader,
    quiet_trainer,
    weights_of,
)
from tests.support.values import assert_same_values


class Forgetless(LightningModule):
    """Everything that training can change: buffers, counters, metrics, schedulers, and four random generators."""

    def __init__(self, *, manual: bool = False, kind: type = torch.optim.SGD, **options: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.3), nn.Tanh(), nn.Linear(6, 1))
        self.register_buffer("seen", torch.zeros(()), persistent=False)
        self.metric = MeanMetric()
        self.batches, self.losses, self.state = 0, [], None
        self.generator = torch.Generator().manual_seed(3)
        self.automatic_optimization = not manual
        self.kind, self.options = kind, {"lr": 0.05, **options}

    def training_step(self, batch, batch_idx):
        x, y = batch
        noise = random.random() + np.random.rand() + torch.rand((), generator=self.generator)
        carried = torch.zeros(()) if self.state is None else self.state
        loss = nn.functional.mse_loss(self.net(x + 0.01 * noise + 0.01 * carried + 0.01 * self.batches), y)
        loss = loss * (1 + 0.01 * self.seen) * (1 + 0.01 * len(self.losses))
        self.state = loss.detach() / (1 + loss.detach())
        self.batches += 1
        self.seen += 1
        self.losses.append(float(loss.detach()))
        self.metric.update(loss.detach())
        self.log("train_loss", loss)
        if not self.automatic_optimization:
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            self.lr_schedulers().step()
        return loss

    def configure_optimizers(self):
        optimizer = self.kind(self.parameters(), **self.options)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 0.1, total_steps=18, cycle_momentum="momentum" in self.options
        )
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


def shuffled() -> DataLoader:
    data = torch.Generator().manual_seed(0)
    x, y = torch.randn(24, 4, generator=data), 10 * torch.randn(24, 1, generator=data)
    return DataLoader(TensorDataset(x, y), batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(1))


def everything_of(module: Forgetless, trainer) -> dict:
    """What the run left behind."""
    return {
        "weights": weights_of(module),
        "optimizer": trainer.optimizers[0].state_dict(),
        "scheduler": trainer.lr_scheduler_configs[0].scheduler.state_dict(),
        "loop": trainer.fit_loop.state_dict(),
        "seen": module.seen.clone(),
        "plain": [module.batches, module.losses, module.state],
        "metric": module.metric.compute(),
        "random": [random.random(), np.random.rand(), torch.rand(())],
        "metrics": dict(trainer.callback_metrics),
    }


def run(module, *callbacks, data=None, **options):
    seed_everything(5, verbose=False)
    trainer = quiet_trainer(callbacks=list(callbacks), **{"max_epochs": 3, **options})
    trainer.fit(module, data if data is not None else shuffled())
    return trainer


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.Adagrad])
@pytest.mark.parametrize("manual", [False, True], ids=["automatic", "manual"])
def test_a_run_with_the_finder_equals_one_with_its_threshold(manual, kind):
    """Weights, optimizer, scheduler, progress, buffers, attributes, metrics and random states are the same."""
    options = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    finder, clipping = ClipThresholdFinder(num_steps=8), GradientClipping(NormClip(7.0))
    found = Forgetless(manual=manual, kind=kind, **options)
    left = everything_of(found, run(found, finder, clipping))
    (threshold,) = finder.thresholds
    given = Forgetless(manual=manual, kind=kind, **options)
    expected = everything_of(given, run(given, GradientClipping(NormClip(threshold))))
    assert threshold != 7.0
    assert_same_values(left, expected)
    assert clipping.run.strategy == f"NormClip(max_norm={threshold!r}, norm_type=2.0, eps=1e-06, min_scale=0.0)"
    assert clipping.strategy.max_norm == 7.0


def test_the_measured_steps_are_not_clipped_at_the_given_threshold():
    """The first norms are those of a run without clipping, and no threshold of the callback changes what is found."""
    found = []
    for given in (1e-9, 1e9):
        finder = ClipThresholdFinder(num_steps=12, statistic="p100", max_update_ratio=None)
        run(Forgetless(), finder, GradientClipping(NormClip(given)))
        found += finder.thresholds
    plain = GradientClipping(NoClip())
    run(Forgetless(), plain, max_epochs=1)
    first = ClipThresholdFinder(num_steps=1, max_update_ratio=None)
    run(Forgetless(), first, GradientClipping(), max_epochs=1)
    assert found[0] == found[1]
    assert first.thresholds == [float(f"{plain.history[0].norm_before:.3g}")]


def test_the_second_step_is_short_where_a_step_of_sgd_would_be_long():
    """The threshold of SGD moves the weights by at most a tenth of their norm, momentum included; Adam has no limit."""
    module = Net("sgd", lr=0.5, momentum=0.9)
    weight_norm = float(torch.cat([param.detach().flatten() for param in module.parameters()]).norm())
    finder = ClipThresholdFinder(num_steps=5)
    run(module, finder, GradientClipping(), data=loader())
    assert finder.thresholds == [float(f"{0.1 * weight_norm * (1 - 0.9) / 0.5:.3g}")]
    free = ClipThresholdFinder(num_steps=5)
    run(Net("adam", lr=0.001), free, GradientClipping(), data=loader())
    assert free.thresholds[0] > 10 * finder.thresholds[0]


def test_each_optimizer_has_its_own_threshold():
    """The larger gradients of one optimizer do not decide about the other one."""
    finder, clipping = ClipThresholdFinder(num_steps=4, max_update_ratio=None), GradientClipping()
    run(TwoOptimizers(), finder, clipping, data=loader())
    first, second = finder.thresholds
    assert first != second
    assert [strategy.max_norm for strategy in clipping.strategies] == [first, second]
    assert clipping.run.strategy.count("NormClip") == 2


@pytest.mark.parametrize(("field", "steps"), [("max_steps", 3), ("max_epochs", 1)])
def test_a_short_run_is_measured_no_longer_than_it_is(field, steps, monkeypatch):
    """A scheduler that knows the length of the run is never stepped beyond it."""
    finder, meters = ClipThresholdFinder(num_steps=200), []
    measure = finder.measure
    monkeypatch.setattr(finder, "measure", lambda *a, **k: meters.append(measure(*a, **k)) or meters[-1])
    run(Forgetless(), finder, GradientClipping(), **{"max_epochs": -1, field: steps})
    assert len(meters[0].samples[0].norms) == (steps if field == "max_steps" else 6)


def test_nothing_that_others_see_contains_the_measured_steps(tmp_path):
    """Records, loggers, checkpoints and the callbacks of this package know the run alone."""
    sink = JsonlSink(tmp_path / "run.jsonl")
    callbacks = [
        ClipThresholdFinder(num_steps=5),
        GradientClipping(sinks=[sink]),
        StrategySwitcher([NormClip(0.1)]),
        NonFiniteGuard(),
        DivergenceRollback(),
        RichGradientReport(),
        ModelCheckpoint(tmp_path / "saved", save_top_k=-1, every_n_train_steps=6),
    ]
    logger = CSVLogger(tmp_path, flush_logs_every_n_steps=1)
    trainer = run(Net(), *callbacks, data=loader(), logger=logger, log_every_n_steps=1, enable_checkpointing=True)
    assert [record.step for record in load_record(sink.path).history] == list(range(18))
    assert trainer.global_step == 18
    assert len(list(tmp_path.glob("saved/*.ckpt"))) == 3
    with (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").open() as file:
        logged = [int(row["step"]) for row in csv.DictReader(file) if row["grad_norm/total"]]
    assert logged == list(range(18))


def test_a_resumed_run_is_not_measured_again(tmp_path, monkeypatch):
    """The threshold is part of the checkpoint, whatever the norms are now."""
    finder = ClipThresholdFinder(num_steps=5)
    run(Net(), finder, GradientClipping(), data=loader()).save_checkpoint(tmp_path / "a.ckpt")
    again, clipping = ClipThresholdFinder(num_steps=5), GradientClipping()
    monkeypatch.setattr(again, "measure", lambda *args, **options: pytest.fail("measured again"))
    trainer = quiet_trainer(callbacks=[clipping, again], max_epochs=4)
    trainer.fit(Net(), loader(), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert again.thresholds == finder.thresholds == [clipping.strategies[0].max_norm]
    assert len(clipping.history) == 24
