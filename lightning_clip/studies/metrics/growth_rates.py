"""`GrowthRates`: the growth rate of the gradient through time, as a monitor measures it and exactly."""

from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from lightning_clip.callbacks.monitors.temporal_gradient_monitor import TemporalGradientMonitor
from lightning_clip.functional.gradient_flow import gradient_flow, random_directions
from lightning_clip.functional.temporal import growth_rate, norms_by_lag
from lightning_clip.modules.recurrent_module import RecurrentModule
from lightning_clip.studies.metrics.study_metric import StudyMetric

__all__ = ["GrowthRates"]


class GrowthRates(StudyMetric):
    """Compares two measurements of how fast the gradient grows back through time, on the first training batch.

    A `TemporalGradientMonitor` among the callbacks measures it in one backward pass of the fused layer. The exact value
    comes from running the network step by step: it is the gradient of the same loss with respect to each state.

    The metrics, with rates per time step, are `difference`, the absolute difference of the two growth rates;
    `growth_rate_exact`; `r_squared`, how well a single rate fits; `horizon`, the largest lag at which 1% of the
    gradient is left, in time steps; and `growth_rate`, as measured by the monitor.

    Raises:
        MisconfigurationException: At fit, if there is no such monitor, or if the model is not a recurrent module.
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
                "GrowthRates needs a TemporalGradientMonitor to compare with: add one to the callbacks."
            )
        if not isinstance(pl_module, RecurrentModule):
            raise MisconfigurationException(
                "GrowthRates needs a recurrent module of this package, for instance RNNModule or LSTMModule, because "
                f"it has to know the inputs of the recurrent layer: use one instead of {type(pl_module).__name__}."
            )

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._exact is None and self._monitor is not None and isinstance(pl_module, RecurrentModule):
            inputs = pl_module.encoder(batch[0][: self._monitor.rows]).transpose(0, 1)
            direction = random_directions(inputs.shape[1], pl_module.hidden_size)
            steps = self._monitor.max_steps
            flow = gradient_flow(pl_module.recurrent, inputs, direction=direction, max_steps=steps, exact=True)
            self._exact, _ = growth_rate(norms_by_lag(flow).cpu())
