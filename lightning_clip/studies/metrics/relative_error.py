"""`RelativeError`: the error on test data beside that of predicting the mean, for targets in different units."""

import torch
from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from lightning_clip.callbacks.non_finite_guard import NonFiniteGuard
from lightning_clip.studies.metrics.stop_when_solved import evaluating
from lightning_clip.studies.metrics.study_metric import StudyMetric

__all__ = ["RelativeError"]


class RelativeError(StudyMetric):
    """The mean squared error on test data divided by the variance of their targets, as `test_relative_mse`.

    0 is perfect, and 1 is as good as predicting the mean. It does not depend on the unit of the target, so that runs
    with and without a standardized target can be compared. A run that diverged has none.
    """

    _relative: float | None = None

    @property
    @override
    def metrics(self) -> dict[str, float | None]:
        return {"test_relative_mse": self._relative}

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        guards = [one for one in trainer.callbacks if isinstance(one, NonFiniteGuard)]  # type: ignore[attr-defined]
        if any(guard.total for guard in guards):
            return
        predictions, targets = [], []
        with evaluating(pl_module):
            for inputs, target in trainer.datamodule.test_dataloader():  # type: ignore[attr-defined]
                predictions.append(pl_module(inputs).double().flatten())
                targets.append(target.double().flatten())
        target = torch.cat(targets)
        error = (torch.cat(predictions) - target).square().mean() / target.var(correction=0)
        self._relative = float(error)
