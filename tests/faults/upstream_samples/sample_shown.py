"""Tests in the style of Lightning's own: what is logged, shown and timed."""

import pytest
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning_utilities.test.warning import no_warning_call


def quick(tmp_path, **options):
    defaults = {"default_root_dir": tmp_path, "max_epochs": 1, "limit_train_batches": 4, "limit_val_batches": 0}
    return Trainer(**{**defaults, "enable_progress_bar": False, "enable_model_summary": False, **options})


class Kept(Logger):
    def __init__(self):
        super().__init__()
        self.rows = []

    name, version = "kept", 0

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, dict(metrics)))

    def log_hyperparams(self, *args, **kwargs): ...


def test_what_is_logged_keeps_its_value(tmp_path):
    class Model(BoringModel):
        def training_step(self, batch, batch_idx):
            self.log("a", float(batch_idx), on_step=True, on_epoch=True, prog_bar=True)
            return super().training_step(batch, batch_idx)

    logger = Kept()
    trainer = quick(tmp_path, logger=logger, log_every_n_steps=1)
    trainer.fit(Model())
    assert [(step, row["a_step"]) for step, row in logger.rows if "a_step" in row] == [(n, float(n)) for n in range(4)]
    assert trainer.callback_metrics["a_epoch"] == 1.5
    assert trainer.progress_bar_metrics.keys() == {"a_step", "a_epoch"}


def test_metrics_are_empty_at_the_start_of_each_task(tmp_path):
    class Empty(Callback):
        def on_train_start(self, trainer, pl_module):
            assert trainer.callback_metrics == trainer.progress_bar_metrics == trainer.logged_metrics == {}

        on_test_start = on_predict_start = on_train_start

    model, trainer = BoringModel(), quick(tmp_path, callbacks=[Empty()])
    trainer.fit(model)
    trainer.test(model, verbose=False)
    trainer.predict(model)


def test_csv_logger_columns_of_the_user(tmp_path):
    class Model(BoringModel):
        def training_step(self, batch, batch_idx):
            self.log("mine", 1.0)
            return super().training_step(batch, batch_idx)

    trainer = quick(tmp_path, logger=CSVLogger(tmp_path), log_every_n_steps=2)
    trainer.fit(Model())
    assert "mine" in (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text().splitlines()[0]


def test_barebones_warns_of_nothing(tmp_path):
    with no_warning_call(match=".*"):
        trainer = Trainer(barebones=True, accelerator="cpu", max_steps=2)
    with no_warning_call(match="has no effect when"):
        trainer.fit(BoringModel())


@pytest.mark.parametrize("bar", [TQDMProgressBar, RichProgressBar])
def test_progress_bars(tmp_path, bar):
    trainer = quick(tmp_path, callbacks=[bar()], enable_progress_bar=True, max_epochs=2, limit_val_batches=1)
    trainer.fit(BoringModel())
    assert trainer.progress_bar_callback.total_train_batches == 4


def test_a_bar_that_is_torn_down_once(tmp_path):
    class Bar(TQDMProgressBar):
        teardowns = 0

        def teardown(self, *args, **kwargs):
            self.teardowns += 1

    bar = Bar()
    trainer = quick(tmp_path, callbacks=[bar], enable_progress_bar=True)
    trainer.fit(BoringModel())
    assert bar.teardowns == 1


def test_profiler_and_overfit_batches(tmp_path):
    trainer = quick(tmp_path, profiler="simple", overfit_batches=2, max_epochs=2)
    trainer.fit(BoringModel())
    names = trainer.profiler.recorded_durations
    assert len(names["run_training_batch"]) == 4
