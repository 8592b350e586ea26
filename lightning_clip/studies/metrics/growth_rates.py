"""`GrowthRates`: the gradient through time as a monitor sees it, beside the exact one."""

from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from lightning_clip.callbacks.temporal_gradient_monitor import TemporalGradientMonitor
from lightning_clip.functional.gradient_flow import gradient_flow, random_directions
from lightning_clip.functional.temporal import growth_rate, norms_by_lag
from lightning_clip.modules.recurrent_module import RecurrentModule
from lightning_clip.studies.metrics.study_metric import StudyMetric

__all__ = ["GrowthRates"]


class GrowthRates(StudyMetric):
    """How fast the gradient grows on its way back through time, at the first training batch.

    What a `TemporalGradientMonitor` among the callbacks has measured in one backward pass of the fused layer is
    compared with the exact recursion: the gradient of the same loss with respect to each state, from a run step by
    step.

    Its metrics, rates per step: `difference` of the two growth rates, without sign; `growth_rate_exact`, by the exact
    recursion; `r_squared`, how well one rate fits; `horizon`, the largest lag at which 1 % is left, in steps; and
    `growth_rate`, by the monitor.

    Raises:
        MisconfigurationException: At fit, if there is no such monitor, or the model is not a recurrent module.
    """

    def __init__(self) -> None:
        super().__init__()
        self._monitor: TemporalGradientMonitor | None = None
        self._exact: float | None = None

    @property
    @override
    def metrics(self) -> dict[str, float | None]:
        names = ("difference", "growth_rate_exact", "r_squared", "horizon", "growth_rate")
        if self._exact is None or self._monitor is None or not self._monitor.profiles:
            return dict.fromkeys(names)
        seen = self._monitor.profiles[0]
        difference = abs(seen.growth_rate - self._exact)
        values = difference, self._exact, seen.r_squared, float(seen.horizon), seen.growth_rate
        return dict(zip(names, values, strict=True))

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        self._monitor = next((one for one in callbacks if isinstance(one, TemporalGradientMonitor)), None)
        if self._monitor is None:
            raise MisconfigurationException(
                "GrowthRates compares what a TemporalGradientMonitor measures: add one to the callbacks."
            )
        if not isinstance(pl_module, RecurrentModule):
            raise MisconfigurationException(
                f"GrowthRates needs a recurrent module of this package, for instance RNNModule or LSTMModule: a "
                f"{type(pl_module).__name__} does not say what its recurrent layers read."
            )

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._exact is None and self._monitor is not None and isinstance(pl_module, RecurrentModule):
            inputs = pl_module.encoder(batch[0][: self._monitor.rows]).transpose(0, 1)
            direction = random_directions(inputs.shape[1], pl_module.hidden_size)
            steps = self._monitor.max_steps
            flow = gradient_flow(pl_module.recurrent, inputs, direction=direction, max_steps=steps, exact=True)
            self._exact, _ = growth_rate(norms_by_lag(flow).cpu())
