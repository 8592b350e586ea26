"""`StudyMetric`: a callback that adds numbers to the result of a run; `LargestNorm` and `RecurrentWeights` are two."""

from abc import ABC, abstractmethod

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from lightning_clip.callbacks._gradient_observer import observers

__all__ = ["LargestNorm", "RecurrentWeights", "StudyMetric"]


class StudyMetric(Callback, ABC):
    """Observes the training of a run and adds metrics to its result.

    A study names it under `callbacks` by `class_path` and `init_args`. Each run has its own instance.
    """

    @property
    @abstractmethod
    def metrics(self) -> dict[str, float | None]:
        """The numbers by name, once training has ended; `None` for a metric without a value."""


class LargestNorm(StudyMetric):
    """The largest finite total 2-norm of the gradients before clipping, as `max_norm`."""

    _largest: float | None = None

    @property
    @override
    def metrics(self) -> dict[str, float | None]:
        return {"max_norm": self._largest}

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._largest = max(
            total.max for observer in observers(trainer) for total in observer.history.aggregates.values()
        )


class RecurrentWeights(StudyMetric):
    """The largest singular value of all recurrent matrices (`weight_hh`) after training, as `sigma_max`.

    For an LSTM or GRU, it is that of the stacked matrix of all gates.
    """

    _sigma_max: float | None = None

    @property
    @override
    def metrics(self) -> dict[str, float | None]:
        return {"sigma_max": self._sigma_max}

    @override
    @torch.no_grad()
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        weights = [p for name, p in pl_module.named_parameters() if name.rpartition(".")[2].startswith("weight_hh")]
        values = [float(torch.linalg.matrix_norm(weight.double(), 2)) for weight in weights if weight.isfinite().all()]
        self._sigma_max = max(values, default=None)
