"""`LargestNorm`: how large gradients have become."""

from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from lightning_clip.callbacks._gradient_observer import observers
from lightning_clip.studies.metrics.study_metric import StudyMetric

__all__ = ["LargestNorm"]


class LargestNorm(StudyMetric):
    """The largest finite total 2-norm of the gradients before clipping, as `max_norm`."""

    def __init__(self) -> None:
        super().__init__()
        self._largest: float | None = None

    @property
    @override
    def metrics(self) -> dict[str, float | None]:
        return {"max_norm": self._largest}

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._largest = max(
            total.max for observer in observers(trainer) for total in observer.history.aggregates.values()
        )
