"""`MetricsCallback`: the base of callbacks whose metrics are logged, and monitored by other callbacks."""

from abc import abstractmethod

from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from lightning_clip._compat import should_log
from lightning_clip.callbacks._metrics import is_looked_at, is_validation_of_fit, publish, show
from lightning_clip.callbacks._run_callback import RunCallback


class MetricsCallback(RunCallback):
    """A callback whose metrics are up to date whenever a callback or a scheduler of Lightning looks at them.

    They are logged when Lightning logs. `ModelCheckpoint` and `ReduceLROnPlateau` may look after a batch, and every
    callback that monitors a metric looks at the end of a validation or of an epoch.
    """

    @abstractmethod
    def _metrics(self, trainer: Trainer) -> dict[str, float]:
        """The metrics after the latest finished batch, by key; may read the device."""

    @property
    def _trainer(self) -> Trainer | None:
        """The trainer of the run; `None` before the first run, and in a copy."""
        return self._of_trainer() if self._of_trainer is not None else None

    def _publish_if_due(self, trainer: Trainer) -> None:
        """Log the metrics if Lightning logs after this batch; read them otherwise only if something looks at them."""
        if should_log(trainer):
            publish(trainer, self._metrics(trainer))
        elif is_looked_at(trainer):
            show(trainer, self._metrics(trainer))

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_validation_of_fit(trainer):
            show(trainer, self._metrics(trainer))

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        show(trainer, self._metrics(trainer))
