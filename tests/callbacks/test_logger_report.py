"""`LoggerReport`: events, histograms and alerts in loggers, which may lack any of them."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch.loggers import CSVLogger, Logger

from lightning_clip import GradientClipping, GradientMonitor, LoggerReport, NonFiniteGuard
from tests.support.training import Net, assert_same_weights, loader, quiet_trainer


class Experiment:
    """An experiment that can do everything, and keeps what it is given."""

    def __init__(self) -> None:
        self.texts, self.alerts, self.histograms = [], [], []

    def add_text(self, tag, text, step):
        self.texts.append((tag, step))

    def alert(self, *, title, text):
        self.alerts.append((title, text))

    def add_histogram(self, tag, values, step):
        self.histograms.append((tag, step, values))


class Able(Logger):
    """A logger with such an experiment."""

    name, version = "able", "0"

    def __init__(self) -> None:
        self.experiment = Experiment()

    def log_hyperparams(self, params, *args, **kwargs):
        pass

    def log_metrics(self, metrics, step=None):
        pass


class Poisoned(Net):
    """The gradient is NaN at batch 2 of each epoch."""

    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) * (math.nan if batch_idx == 2 else 1.0)


def fit(module, *callbacks, **options):
    trainer = quiet_trainer(callbacks=list(callbacks), **options)
    trainer.fit(module, loader())
    return trainer


def test_events_are_text_and_alerts_are_asked_for():
    """Each event becomes one text at its step; an alert only where alerts are on."""
    for alerts in (False, True):
        logger = Able()
        fit(Poisoned(), LoggerReport(alerts=alerts), GradientClipping(), NonFiniteGuard("skip"), logger=logger)
        assert logger.experiment.texts == [("event/non-finite", 2), ("event/non-finite", 8)]
        titles = [title for title, _ in logger.experiment.alerts]
        assert titles == ["non-finite at step 2", "non-finite at step 8"] * alerts


def test_a_logger_without_text_gets_the_number_of_events(tmp_path: Path):
    """In a CSV file of Lightning, the events of each kind are counted."""
    logger = CSVLogger(tmp_path)
    fit(Poisoned(), GradientMonitor(), NonFiniteGuard("skip"), LoggerReport(), logger=logger)
    with open(logger.experiment.metrics_file_path) as file:
        rows = [(row["step"], row["event/non-finite"]) for row in csv.DictReader(file) if row["event/non-finite"]]
    assert rows == [("2", "1.0"), ("8", "2.0")]


def test_histograms_are_written_at_their_steps_without_nan():
    """The gradient before clipping of each parameter, at the interval, and nothing where no number is finite."""
    logger = Able()
    fit(Poisoned(), LoggerReport(histograms_every_n_steps=4), NonFiniteGuard("skip"), logger=logger)
    found = logger.experiment.histograms
    assert [step for tag, step, _ in found if tag == "grad/net.0.weight"] == [0, 4]  # at step 8, all are NaN
    assert all(np.isfinite(values).all() for _, _, values in found)
    assert {tag: len(values) for tag, step, values in found if step == 0} == {
        "grad/net.0.weight": 12,
        "grad/net.0.bias": 3,
        "grad/net.2.weight": 3,
        "grad/net.2.bias": 1,
    }


def test_a_large_gradient_is_sampled():
    """At most 10,000 elements leave the device for each parameter."""
    logger = Able()

    class Wide(Net):
        def __init__(self):
            super().__init__()
            self.net.append(type(self.net[2])(1, 15_000))

        def training_step(self, batch, batch_idx):
            return self.net(batch[0]).square().mean()

    fit(Wide(), LoggerReport(histograms_every_n_steps=100), logger=logger, max_steps=1)
    assert {len(values) for tag, _, values in logger.experiment.histograms if tag.startswith("grad/net.3")} == {7_500}


def test_no_logger_that_can_draw_histograms_is_one_warning(tmp_path: Path):
    """The warning names what is missing, and the training goes on."""
    with pytest.warns(UserWarning, match=r"no logger of this Trainer has `experiment\.add_histogram`"):
        trainer = fit(Net(), LoggerReport(histograms_every_n_steps=1), logger=CSVLogger(tmp_path))
    assert trainer.global_step == 12


def test_a_logger_that_fails_ends_no_training():
    """One warning, and the weights are those of a run without loggers."""
    logger, watched, plain = Able(), Poisoned(), Poisoned()
    logger.experiment.add_text = None
    logger.log_metrics = lambda metrics, step=None: 1 / ("event/non-finite" not in metrics)
    with pytest.warns(UserWarning, match="AlertSink is set aside"):
        fit(watched, LoggerReport(), NonFiniteGuard("skip"), logger=logger)
    fit(plain, NonFiniteGuard("skip"))
    assert_same_weights(watched, plain)


def test_without_a_logger_there_is_nothing_to_do():
    """`logger=False` is no error, and a record is kept anyway."""
    trainer = fit(Net(), LoggerReport())
    (monitor,) = [one for one in trainer.callbacks if isinstance(one, GradientMonitor)]
    assert len(monitor.history) == 12


def test_an_interval_below_one_is_refused():
    """The call is quoted."""
    with pytest.raises(ValueError, match=r"LoggerReport\(histograms_every_n_steps=0\)"):
        LoggerReport(histograms_every_n_steps=0)


def test_tensorboard_gets_texts_histograms_and_metrics(tmp_path: Path):
    """What TensorBoard's own reader finds in the file of a real logger."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from lightning.pytorch.loggers import TensorBoardLogger

    logger = TensorBoardLogger(tmp_path)
    callbacks = GradientClipping(), NonFiniteGuard("skip"), LoggerReport(histograms_every_n_steps=6)
    fit(Poisoned(), *callbacks, logger=logger, log_every_n_steps=1)
    logger.finalize("success")
    found = accumulator.EventAccumulator(logger.log_dir, {"histograms": 0, "tensors": 0, "scalars": 0}).Reload()
    (text,) = found.Tensors("event/non-finite/text_summary")[:1]
    assert text.step == 2
    assert b"became NaN or infinite at step 2" in text.tensor_proto.string_val[0]
    assert [one.step for one in found.Histograms("grad/net.0.weight")] == [0, 6]
    assert len(found.Scalars("grad_norm/total")) == 10
