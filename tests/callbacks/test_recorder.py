"""`Recorder`: reading in the middle of a batch loses nothing."""

import warnings

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from lightning_clip import GradientClipping, NormClip, StrategySwitcher
from lightning_clip.core.record import step_buffer
from lightning_clip.core.record.columns import unpacked
from lightning_clip.core.switching import Ladder
from tests.support.training import ManualNet, Net, TwoOptimizers, assert_same_weights, loader, quiet_trainer


class Reader(pl.Callback):
    """Reads the history, or saves a checkpoint, in every hook of a batch, and keeps what it saw."""

    def __init__(self, clipping, save_to=None):
        self.clipping, self.save_to, self.seen = clipping, save_to, []

    def _read(self, trainer):
        self.seen.append(len(self.clipping.history))
        if self.save_to is not None:
            trainer.save_checkpoint(self.save_to / f"{trainer.global_step}.ckpt")

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self._read(trainer)

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        self._read(trainer)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self._read(trainer)


def fit(module, *callbacks, **options):
    trainer = quiet_trainer(callbacks=list(callbacks), **options)
    trainer.fit(module, loader())
    return trainer


def rows_of(logger):
    logger.save()
    with open(logger.experiment.metrics_file_path) as file:
        return file.read()


@pytest.mark.parametrize("module", [Net, ManualNet])
@pytest.mark.parametrize("reader_first", [True, False])
@pytest.mark.parametrize("saves", [True, False])
def test_reading_changes_neither_record_nor_logs(tmp_path, module, reader_first, saves):
    """Records with their losses, metrics and weights are those of a run in which nobody looks."""
    runs = []
    for reads in (True, False):
        clipping = GradientClipping(NormClip(0.7))
        reader = [Reader(clipping, tmp_path if saves else None)] if reads else []
        logger = CSVLogger(tmp_path, name=str(reads))
        net = module()
        callbacks = [*reader, clipping] if reader_first else [clipping, *reader]
        fit(net, *callbacks, logger=logger, log_every_n_steps=2)
        runs.append((list(clipping.history), rows_of(logger), net))
    (records, rows, read), (expected, expected_rows, alone) = runs
    assert records == expected
    assert all(record.loss is not None for record in records)
    assert rows == expected_rows
    assert_same_weights(read, alone)


def test_the_steps_of_a_batch_are_shown_when_it_has_ended():
    """In the middle of a batch the history ends with the batch before."""
    clipping = GradientClipping(NormClip(0.7))
    reader = Reader(clipping)
    fit(Net(), clipping, reader, max_epochs=1)
    assert reader.seen[:9] == [0, 0, 1, 1, 1, 2, 2, 2, 3]


def test_a_switcher_that_looks_at_the_history_loses_no_loss():
    """A descent asks how strongly clipping acts, in the middle of a step."""

    class Calm(Net):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) * (1e6 if self.global_step == 12 else 1.0)

    clipping = GradientClipping(NormClip(1e-3))
    switcher = StrategySwitcher([NormClip(1e-4)], ladder=Ladder(calm=10), max_jump=1e9)
    trainer = fit(Calm(), clipping, switcher, max_epochs=10)
    assert [event.data["to_rung"] for event in clipping.history.events] == [1, 0]
    assert [record.step for record in clipping.history] == list(range(trainer.global_step))
    assert all(record.loss is not None for record in clipping.history)


def test_a_checkpoint_saved_before_the_batch_ends_contains_its_step(tmp_path):
    """The history in the checkpoint has as many steps as the run has made, so that a resumed run lacks none."""
    clipping = GradientClipping(NormClip(0.7))
    fit(Net(), Reader(clipping, tmp_path), clipping, max_epochs=1)
    for step in range(1, 7):
        state = torch.load(tmp_path / f"{step}.ckpt", weights_only=True)
        assert state["global_step"] == step
        history = state["callbacks"]["GradientClipping"]["history"]
        assert unpacked(history["records"]["step"]) == list(range(step))
        assert history["aggregates"][0]["steps"] == step


def test_an_exception_in_a_batch_shows_its_step_to_a_report_before_us():
    """A callback that reads the history in `on_exception` sees the step at which the run ended."""

    class Report(pl.Callback):
        def on_exception(self, trainer, pl_module, exception):
            self.seen = len(clipping.history)

    class Failing(Net):
        def optimizer_step(self, *args, **kwargs):
            super().optimizer_step(*args, **kwargs)
            if self.global_step == 3:
                raise RuntimeError("out of luck")

    clipping, report = GradientClipping(NormClip(0.7)), Report()
    with pytest.raises(RuntimeError, match="out of luck"):
        fit(Failing(), report, clipping)
    assert report.seen == len(clipping.history) == 4


def test_a_loss_that_is_not_one_number_is_not_recorded():
    """In manual optimization, any tensor may be passed backward, and several of them."""

    class Vectors(ManualNet):
        def training_step(self, batch, batch_idx):
            self.optimizers().zero_grad()
            for size in (3, 2):
                losses = self.net(batch[0])[:size]
                self.manual_backward(losses, torch.ones_like(losses))
            self.optimizers().step()

    clipping = GradientClipping(NormClip(0.7))
    fit(Vectors(), clipping)
    assert len(clipping.history) == 12
    assert {record.loss for record in clipping.history} == {None}


def test_a_device_that_cannot_be_read_ends_the_record_and_nothing_else(monkeypatch):
    """One warning, and the training goes on; a checkpoint contains the steps before."""
    expected, module, clipping = Net(), Net(), GradientClipping(NormClip(0.7), flush_every_n_steps=1)
    fit(expected, GradientClipping(NormClip(0.7)))
    read = step_buffer._read

    def failing(pieces):
        if clipping.total(0) is not None and clipping.total(0).steps == 4:
            raise RuntimeError("the device is gone")
        return read(pieces)

    monkeypatch.setattr(step_buffer, "_read", failing)
    told = r"^The last 1 steps cannot be read, and the record ends before them: the device is gone$"
    with pytest.warns(UserWarning, match=told) as caught:
        fit(module, clipping)
    assert sum("record ends before" in str(one.message) for one in caught) == 1
    assert [record.step for record in clipping.history] == [0, 1, 2, 3]
    assert_same_weights(module, expected)


def test_a_record_that_cannot_be_finished_does_not_replace_the_users_exception(monkeypatch):
    """Not even where warnings are errors."""

    class Failing(Net):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            monkeypatch.setattr(step_buffer, "_read", lambda pieces: 1 / 0)
            raise RuntimeError("out of luck")

    with warnings.catch_warnings():
        warnings.filterwarnings("error", "The last .* steps cannot be read")
        with pytest.raises(RuntimeError, match="out of luck"):
            fit(Failing(), GradientClipping(NormClip(0.7)))


class OneLoss(TwoOptimizers):
    """Both optimizers step after the same backward pass."""

    def training_step(self, batch, batch_idx):
        optimizers = self.optimizers()
        loss = self.discriminator(self.generator(batch[0])).mean()
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(0.25 * loss, retain_graph=True)
        self.manual_backward(0.75 * loss)
        for optimizer in optimizers:
            optimizer.step()


def losses_of(module, **options):
    clipping = GradientClipping(NormClip(0.7))
    fit(module, clipping, max_epochs=1, **options)
    return [[one.loss for one in clipping.history if one.optimizer == index] for index in (0, 1)]


def test_in_manual_optimization_each_optimizer_has_the_loss_that_was_passed_backward_for_it():
    """The two losses of a batch are the output of the discriminator, before and after the generator's step."""
    first, second = losses_of(TwoOptimizers())
    assert all(loss is not None for loss in [*first, *second])
    assert [loss / -30 for loss in second] != pytest.approx(first)
    torch.manual_seed(0)
    net, batch = TwoOptimizers(), next(iter(loader()))
    assert first[0] == pytest.approx(net.discriminator(net.generator(batch[0])).mean().item())


def test_optimizers_that_step_after_the_same_backward_passes_share_their_loss():
    """Several backward passes add up."""
    first, second = losses_of(OneLoss())
    assert first == second
    net, batch = TwoOptimizers(), next(iter(loader()))
    assert first[0] == pytest.approx(net.discriminator(net.generator(batch[0])).mean().item())


def test_a_loss_that_the_training_step_returns_goes_first():
    """It is the loss of the batch, also in manual optimization."""

    class Tenfold(ManualNet):
        def training_step(self, batch, batch_idx):
            return 10 * super().training_step(batch, batch_idx)

    plain, tenfold = (GradientClipping(NormClip(0.7)) for _ in range(2))
    fit(ManualNet(), plain)
    fit(Tenfold(), tenfold)
    assert [one.loss for one in tenfold.history] == pytest.approx([10 * one.loss for one in plain.history])
