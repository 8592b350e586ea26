"""`run_trial`: train for a while as the run itself would, and put everything back."""

from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities.seed import isolate_rng

from lightning_clip._compat import data_source, with_trial_loop
from lightning_clip.callbacks._trainer import stateful_parts
from lightning_clip.callbacks.finder._kept_state import KeptState
from lightning_clip.callbacks.step.action_point import StepCallback, only
from lightning_clip.core.snapshot import Snapshot


def run_trial(trainer: Trainer, pl_module: LightningModule, callback: StepCallback) -> None:
    """Train with one callback alone until it sets `trainer.should_stop`, and undo the training.

    The data are read from where the run will begin. There is no validation, no logging and no checkpoint, and no other
    callback takes part. Restored are weights, buffers, optimizers, schedulers, gradient scaler, progress, metrics,
    random states, and plain attributes of modules and data sets.

    Args:
        trainer: The trainer, in `on_fit_start`.
        pl_module: The module being trained.
        callback: The only callback that acts.
    """
    parts = stateful_parts(trainer, pl_module, [])
    snapshot = Snapshot(parts, step=trainer.global_step)
    kept = KeptState(pl_module, trainer.datamodule, data_source(trainer))  # type: ignore[attr-defined]
    with isolate_rng(), _own_settings(trainer, pl_module, callback):
        try:
            with with_trial_loop(trainer), only(trainer, callback):
                trainer.fit_loop.run()
        finally:
            pl_module.zero_grad()
            snapshot.restore(parts)
            kept.restore()


@contextmanager
def _own_settings(trainer: Trainer, pl_module: LightningModule, callback: StepCallback) -> Iterator[None]:
    """Replace what the trainer does besides training, for a while."""
    names = ("callbacks", "loggers", "limit_val_batches", "gradient_clip_val", "should_stop")
    before = {name: getattr(trainer, name) for name in names}
    schedulers = trainer.strategy.lr_scheduler_configs
    trainer.callbacks = [callback]  # type: ignore[attr-defined]  # set while the Trainer is built
    trainer.loggers = [DummyLogger()] if trainer.loggers else []
    trainer.limit_val_batches = 0
    trainer.gradient_clip_val = None
    if pl_module.automatic_optimization:  # there is no validation whose metric they could wait for
        trainer.strategy.lr_scheduler_configs = [one for one in schedulers if not one.reduce_on_plateau]
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(trainer, name, value)
        trainer.strategy.lr_scheduler_configs = schedulers
