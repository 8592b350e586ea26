"""`LearningCurves`: the error on training and validation data after each epoch, in the record of a run."""

import math

from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from lightning_clip.callbacks._gradient_observer import observers
from lightning_clip.core.record.measurements import Measurement
from lightning_clip.studies.comparison.learning_curves import LEARNING_CURVE
from lightning_clip.studies.metrics.study_metric import StudyMetric

__all__ = ["LearningCurves"]


class LearningCurves(StudyMetric):
    """Records a metric of each epoch on training and validation data; a study draws them as `learning-curves.png`.

    A study leaves out validation by default, so its `trainer` needs `limit_val_batches: 1.0`. The samples are
    measurements of kind `"learning-curve"`, one for each epoch, with the keys `epoch`, `train` and `validation`.

    Args:
        metric: The name of the metric without its split: `"mse"` stands for `train_mse` and `val_mse`, which the module
            has to log.
    """

    def __init__(self, metric: str = "mse") -> None:
        super().__init__()
        self.metric = metric
        self._epochs = 0
        self._is_due = False

    @property
    @override
    def metrics(self) -> dict[str, float | None]:
        return {}

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epochs += 1
        self._is_due = True

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._add_latest(trainer)  # the module logs `train_…` after the callbacks have seen the end of its epoch

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._add_latest(trainer)

    def _add_latest(self, trainer: Trainer) -> None:
        logged = trainer.callback_metrics
        names = {"train": f"train_{self.metric}", "validation": f"val_{self.metric}"}
        values = {n: v for n, key in names.items() if key in logged and math.isfinite(v := float(logged[key]))}
        if values and self._is_due:
            self._is_due = False
            sample = Measurement(trainer.global_step, LEARNING_CURVE, {"epoch": float(self._epochs), **values})
            for observer in observers(trainer):
                observer.add_measurement(sample)
