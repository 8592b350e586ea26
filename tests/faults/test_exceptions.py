"""The user's exception, raised anywhere: it arrives unchanged, the record up to then is kept, the report is printed."""

import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger

from lightning_clip import (
    DivergenceRollback,
    GradientClipping,
    JsonlSink,
    NonFiniteGuard,
    NormClip,
    RichGradientReport,
    StrategySwitcher,
    load_record,
)
from lightning_clip.core import StepBuffer
from tests.support.cells import matrix, sampled
from tests.support.lives import events_of, signaled_after
from tests.support.training import Net, loader, quiet_trainer

STEP = 5


class TwoWordsError(Exception):
    """Cannot be made again from its text, as some libraries' exceptions."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")
        self.second = second


KINDS: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("mine"),
    "two arguments": lambda: TwoWordsError("mine", "alone"),
    "out of memory": lambda: torch.OutOfMemoryError("mine"),
    "group": lambda: BaseExceptionGroup("mine", [KeyError("a"), OSError(28, "No space left on device")]),
    "Ctrl-C": lambda: KeyboardInterrupt("mine"),
}


class Failing:
    """Raises once the run has made five steps."""

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception

    def __call__(self, trainer: pl.Trainer) -> None:
        if trainer.global_step >= STEP:
            raise self.exception


class FailingNet(Net):
    def __init__(self, place: str, fail: Failing) -> None:
        super().__init__()
        self.place, self.fail = place, fail

    def _at(self, place: str) -> None:
        if self.place == place:
            self.fail(self.trainer)

    def training_step(self, batch, batch_idx):
        self._at("training_step")
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss)
        return loss

    def on_before_optimizer_step(self, optimizer):
        self._at("on_before_optimizer_step")

    def lr_scheduler_step(self, scheduler, metric):
        self._at("lr_scheduler_step")
        scheduler.step()

    def validation_step(self, batch, batch_idx):
        self._at("validation_step")

    def on_save_checkpoint(self, checkpoint):
        self._at("on_save_checkpoint")

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        return [optimizer], [{"scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 3), "interval": "step"}]


class FailingCallback(pl.Callback):
    def __init__(self, place: str, fail: Failing) -> None:
        self.place, self.fail = place, fail

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if self.place == "on_train_batch_end":
            self.fail(trainer)


class FailingLoader:
    """Yields batches until the module of the trainer has made its steps."""

    def __init__(self, trainer: pl.Trainer, place: str, fail: Failing) -> None:
        self.trainer, self.place, self.fail = trainer, place, fail

    def __iter__(self):
        for batch in loader():
            if self.place == "data loader":
                self.fail(self.trainer)
            yield batch


class FailingLogger(Logger):
    name, version = "failing", 0

    def __init__(self, place: str, fail: Failing) -> None:
        super().__init__()
        self.place, self.fail, self.trainer = place, fail, None

    def log_metrics(self, metrics, step=None):
        if self.place == "logger":
            self.fail(self.trainer)

    def log_hyperparams(self, *args, **kwargs): ...


PLACES = (
    *("training_step", "on_before_optimizer_step", "lr_scheduler_step", "validation_step", "on_save_checkpoint"),
    *("on_train_batch_end", "data loader", "logger"),
)


def fit_until(place: str, exception: BaseException, folder: Path, ours: list[pl.Callback]) -> BaseException:
    """Fit until the exception is raised at a place, and return what arrives."""
    fail = Failing(exception)
    logger = FailingLogger(place, fail)
    saving = ModelCheckpoint(folder, every_n_train_steps=1)
    callbacks = [*ours, FailingCallback(place, fail), saving]
    trainer = quiet_trainer(
        callbacks=callbacks, logger=logger, log_every_n_steps=1, enable_checkpointing=True, val_check_interval=1
    )
    logger.trainer = trainer
    with pytest.raises(BaseException) as caught:  # noqa: PT011 (it is compared below)
        trainer.fit(FailingNet(place, fail), FailingLoader(trainer, place, fail), loader(rows=4))
    return caught.value


def chain(error: BaseException | None) -> list[tuple[type, str]]:
    """The exception and those that it arose from."""
    return [(type(error), str(error)), *chain(error.__cause__ or error.__context__)] if error is not None else []


@pytest.mark.parametrize(("place", "kind"), matrix(PLACES, KINDS))
@pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty")
def test_an_exception_arrives_unchanged_and_loses_nothing(place, kind, tmp_path, capsys):
    """It is the same object as without this package; every step made is in the history and in the file."""
    alone = fit_until(place, KINDS[kind](), tmp_path / "alone", [])
    exception = KINDS[kind]()
    clipping = GradientClipping(NormClip(0.7), sinks=[JsonlSink(tmp_path / "run.jsonl")])
    ours = [
        DivergenceRollback(),
        NonFiniteGuard(),
        clipping,
        StrategySwitcher([NormClip(0.1)]),
        RichGradientReport(),
    ]
    arrived = fit_until(place, exception, tmp_path / "ours", ours)
    assert chain(arrived) == chain(alone)
    assert arrived is exception or isinstance(arrived, SystemExit)  # what Lightning makes of Ctrl-C
    made = [record.step for record in clipping.history]
    assert made[:STEP] == list(range(STEP))
    record = load_record(tmp_path / "run.jsonl")
    assert [step.step for step in record.history] == made
    assert record.history.parameters.names
    assert capsys.readouterr().out.count("clipped ") >= 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_arrives_although_the_device_cannot_be_read(kind, monkeypatch):
    """After an error on the device every read raises: the steps that are still there are one warning."""

    def fail(buffer: StepBuffer, count: int | None = None) -> None:
        raise RuntimeError("device-side assert triggered")

    class Broken(Net):
        def training_step(self, batch, batch_idx):
            if self.global_step == STEP:
                monkeypatch.setattr(StepBuffer, "flush", fail)
                raise exception
            return super().training_step(batch, batch_idx)

    exception = KINDS[kind]()
    clipping = GradientClipping(NormClip(0.7))
    with (
        pytest.warns(UserWarning, match=rf"The last {STEP} steps cannot be read, .*: device-side assert"),
        pytest.raises((type(exception), SystemExit)) as caught,
    ):
        quiet_trainer(callbacks=[clipping]).fit(Broken(), loader())
    assert caught.value is exception or isinstance(caught.value, SystemExit)


def fit_and_tell(folder: Path) -> None:
    """Train until the end or Ctrl-C, and write down how many steps were made and how many are in the history."""
    clipping = GradientClipping(NormClip(0.7), sinks=[JsonlSink(folder / "run.jsonl")], flush_every_n_steps=3)
    trainer = quiet_trainer(callbacks=[clipping], max_epochs=6)
    with suppress(SystemExit):
        trainer.fit(Net(), loader())
    (folder / "steps").write_text(f"{trainer.global_step} {len(clipping.history)}")


@pytest.fixture(scope="module")
def calls(tmp_path_factory) -> int:
    """How many calls such a training makes."""
    return events_of(partial(fit_and_tell, tmp_path_factory.mktemp("counted")))


@pytest.mark.parametrize("fraction", sampled([(n + 0.5) / 60 for n in range(60)]), ids="{:.3f}".format)
def test_ctrl_c_at_any_point_loses_no_step(calls, fraction, tmp_path):
    """Wherever it arrives, also while records are written: every step made is in the history and in the file."""
    code = signaled_after(partial(fit_and_tell, tmp_path), int((0.3 + 0.65 * fraction) * calls), signal.SIGINT)
    assert code == 0
    made, kept = map(int, (tmp_path / "steps").read_text().split())
    assert 0 < made <= kept
    assert [step.step for step in load_record(tmp_path / "run.jsonl").history] == list(range(kept))
