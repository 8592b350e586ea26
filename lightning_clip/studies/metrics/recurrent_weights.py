"""`RecurrentWeights`: how large recurrent weights are after training."""

import torch
from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from lightning_clip.studies.metrics.study_metric import StudyMetric

__all__ = ["RecurrentWeights"]


class RecurrentWeights(StudyMetric):
    """The largest singular value of all recurrent matrices (`weight_hh`) after training, as `sigma_max`.

    Of an LSTM or GRU it is that of the stacked matrix of all gates.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sigma_max: float | None = None

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
