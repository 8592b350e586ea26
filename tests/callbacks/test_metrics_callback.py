"""`MetricsCallback`: metrics are current whenever a callback or a scheduler of Lightning looks at them."""

import csv

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from lightning_clip import GradientClipping, GradientMonitor, NoClip, NormClip, StrategySwitcher
from lightning_clip.core.record.step_buffer import StepBuffer
from tests.support.training import Net, loader, quiet_trainer


class Validated(Net):
    def validation_step(self, batch, batch_idx):
        pass


def fit(module, *callbacks, **options):
    trainer = quiet_trainer(callbacks=list(callbacks), **options)
    trainer.fit(module, loader(), loader() if isinstance(module, Validated) else None)
    return trainer


@pytest.mark.parametrize("ours_first", [True, False])
@pytest.mark.parametrize(("module", "at_epoch_end"), [(Net, True), (Validated, None), (Validated, False)])
def test_early_stopping_sees_the_norm_of_each_short_epoch(ours_first, module, at_epoch_end):
    """An epoch of 6 batches is shorter than `log_every_n_steps`, and EarlyStopping sees the norm of its last batch."""
    seen = []

    class Watched(EarlyStopping):
        def _evaluate_stopping_criteria(self, current):
            seen.append(float(current))
            return super()._evaluate_stopping_criteria(current)

    clipping = GradientClipping(NormClip(0.7))
    stopping = Watched("grad_norm/total", patience=100, check_on_train_epoch_end=at_epoch_end)
    fit(module(), *([clipping, stopping] if ours_first else [stopping, clipping]), max_epochs=3)
    assert seen == pytest.approx([clipping.history[step].norm_before for step in (5, 11, 17)])


def test_a_checkpoint_at_every_step_sees_the_norm_of_that_step(tmp_path):
    """`ModelCheckpoint(monitor="grad_norm/total", every_n_train_steps=1)` keeps the step with the smallest norm."""
    clipping = GradientClipping(NormClip(0.7))
    best = ModelCheckpoint(tmp_path, monitor="grad_norm/total", every_n_train_steps=1, filename="{step}")
    fit(Net(), clipping, best, enable_checkpointing=True)
    smallest = min(clipping.history, key=lambda record: record.norm_before)
    assert float(best.best_model_score) == pytest.approx(smallest.norm_before)
    assert best.best_model_path.endswith(f"step={smallest.step + 1}.ckpt")


def test_the_device_is_read_only_for_checkpoints_that_look(tmp_path, monkeypatch):
    """A checkpoint every 4 steps makes us read every 4 steps, and one that monitors something else never does."""
    flushes = []
    original = StepBuffer.flush
    monkeypatch.setattr(
        StepBuffer, "flush", lambda buffer, *count: flushes.append(len(buffer)) or original(buffer, *count)
    )
    ours = ModelCheckpoint(tmp_path, monitor="grad_norm/total", every_n_train_steps=4)
    fit(Net(), GradientMonitor(), ours, enable_checkpointing=True, max_epochs=1)
    assert [count for count in flushes if count] == [4, 2]


def test_a_scheduler_sees_the_norm_of_each_step():
    """`ReduceLROnPlateau` with `interval="step"` gets the norm of the step before."""
    seen = []

    class Plateau(torch.optim.lr_scheduler.ReduceLROnPlateau):
        def step(self, metrics, epoch=None):
            seen.append(float(metrics))

    class Scheduled(Net):
        def configure_optimizers(self):
            optimizer = super().configure_optimizers()
            scheduler = {"scheduler": Plateau(optimizer), "interval": "step", "monitor": "grad_norm/total"}
            return {"optimizer": optimizer, "lr_scheduler": scheduler}

    monitor = GradientMonitor()
    fit(Scheduled(), monitor)
    assert seen == pytest.approx([record.norm_before for record in monitor.history])


def test_the_rung_is_current_at_the_end_of_a_short_epoch():
    """`clip/rung` can be monitored, too."""
    trainer = fit(Net(), GradientClipping(NoClip()), StrategySwitcher([NormClip(1.0)]), max_epochs=1)
    assert float(trainer.callback_metrics["clip/rung"]) == 0.0


@pytest.mark.filterwarnings("ignore:.*training_step. returned .None.")
def test_a_batch_without_a_gradient_keeps_the_norm_before_it():
    """Its norm of 0 is logged nowhere, so that EarlyStopping never takes it for the smallest."""

    class Absent(Net):
        def training_step(self, batch, batch_idx):
            return None if batch_idx == 5 else super().training_step(batch, batch_idx)

    monitor = GradientMonitor()
    trainer = fit(Absent(), monitor, max_epochs=1, log_every_n_steps=1)
    assert float(trainer.callback_metrics["grad_norm/total"]) == pytest.approx(monitor.history[4].norm_before)


def test_rows_have_an_epoch_and_logged_metrics_have_our_keys(tmp_path):
    """As Lightning's own rows and metrics do."""
    trainer = fit(Net(), GradientMonitor(), logger=CSVLogger(tmp_path), log_every_n_steps=2)
    trainer.logger.save()
    with open(trainer.logger.experiment.metrics_file_path) as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["epoch"]), int(row["step"])) for row in rows] == [
        (0, 1), (0, 3), (0, 5), (1, 7), (1, 9), (1, 11)
    ]  # fmt: skip
    assert trainer.logged_metrics["grad_norm/total"] == trainer.callback_metrics["grad_norm/total"]


def test_observers_with_names_have_their_own_keys():
    """The name begins the key; the observer without a name keeps the plain keys."""
    wide, tight = GradientClipping(NormClip(2.0), name="wide"), GradientClipping(NormClip(0.7))
    metrics = fit(Net(), wide, tight).callback_metrics
    assert float(metrics["wide/grad_norm/total"]) == pytest.approx(wide.history[-1].norm_before)
    assert float(metrics["grad_norm/total"]) == pytest.approx(tight.history[-1].norm_before)
    assert "tight/grad_norm/total" not in metrics


@pytest.mark.parametrize("monitor_first", [True, False])
def test_a_monitor_beside_clipping_has_its_own_keys(monitor_first):
    """Without names, the clipping callback has the plain keys, wherever it stands."""
    clipping, monitor = GradientClipping(NormClip(0.7)), GradientMonitor()
    metrics = fit(Net(), *([monitor, clipping] if monitor_first else [clipping, monitor])).callback_metrics
    assert float(metrics["grad_norm/total_clipped"]) == pytest.approx(clipping.history[-1].norm_after)
    assert float(metrics["GradientMonitor/grad_norm/total"]) == pytest.approx(monitor.history[-1].norm_before)


def test_validation_before_training_shows_nothing_of_an_earlier_run():
    """The sanity check of a second fit does not publish the metrics of the first."""

    class Look(pl.Callback):
        seen = None

        def on_sanity_check_end(self, trainer, pl_module):
            self.seen = dict(trainer.callback_metrics)

    monitor, look = GradientMonitor(), Look()
    fit(Validated(), monitor, look)
    fit(Validated(), monitor, look)
    assert look.seen == {}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_norm_that_is_not_finite_stops_early_and_reaches_no_logger(tmp_path, bad):
    """EarlyStopping sees it instead of an older value; some loggers would fail at it."""

    class Bad(Net):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) * (bad if self.current_epoch == 1 else 1.0)

    logger = CSVLogger(tmp_path)
    stopping = EarlyStopping("grad_norm/total", patience=100, check_finite=True)
    trainer = fit(Bad(), GradientMonitor(), stopping, max_epochs=5, logger=logger, log_every_n_steps=1)
    assert trainer.current_epoch == 2
    logger.save()
    with open(logger.experiment.metrics_file_path) as file:
        norms = [row["grad_norm/total"] for row in csv.DictReader(file)]
    assert [bool(norm) for norm in norms] == [True] * 6 + [False] * 6


def test_the_rung_has_the_name_of_its_clipping():
    """Two switchers are refused, and a name keeps the keys of other callbacks apart."""
    clipping = GradientClipping(NoClip(), name="wide")
    trainer = fit(Net(), clipping, StrategySwitcher([NormClip(1.0)]), log_every_n_steps=1)
    assert {"wide/clip/rung", "wide/grad_norm/total"} <= trainer.callback_metrics.keys()
