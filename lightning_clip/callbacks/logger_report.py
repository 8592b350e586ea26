"""`LoggerReport`: events, distributions of gradients and alerts in the Trainer's loggers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from lightning_clip._checks import check_count, check_flag
from lightning_clip._errors import reason_of
from lightning_clip.callbacks._gradient_observer import observers
from lightning_clip.callbacks.gradient_monitor import GradientMonitor
from lightning_clip.callbacks.step.action_point import StepCallback
from lightning_clip.callbacks.step.context import StepContext
from lightning_clip.core.record.run_info import Event
from lightning_clip.sinks.alerts import AlertSink

_MOST_ELEMENTS = 10_000


class LoggerReport(StepCallback):
    """Write what happens in a run to the Trainer's loggers, beside the metrics that are always there.

    - Events (switches, rollbacks, stops, spikes, streaks of skipped steps; see `AlertSink`): as text where the logger
      has `experiment.add_text`, as TensorBoard's does; in every other logger as the number of events so far, under
      `event/<kind>`.
    - Alerts, if asked for: through `experiment.alert(title=…, text=…)`, which the logger of Weights & Biases has.
    - Histograms, if asked for: the gradient of each parameter before clipping, under `grad/<name>`, where the logger
      has `experiment.add_histogram`. Of large gradients every n-th element is taken, so that at most 10,000 leave the
      device for each; NaN and infinity are left out. Between two histograms this costs nothing.

    It uses the record of the trainer's `GradientClipping` or `GradientMonitor`; if there is none, it adds a
    `GradientMonitor`. A logger that fails is reported in one warning, and the training goes on.

    Args:
        events: Whether to write events.
        alerts: Whether to send events through the logger's own alert.
        histograms_every_n_steps: The number of optimizer steps between two histograms; `None` for no histograms.

    Raises:
        ArgumentError: `histograms_every_n_steps` is less than 1.

    Example:
        >>> LoggerReport(histograms_every_n_steps=500).histograms_every_n_steps
        500
    """

    def __init__(
        self, *, events: bool = True, alerts: bool = False, histograms_every_n_steps: int | None = None
    ) -> None:
        super().__init__()
        check_flag(type(self).__name__, events=events, alerts=alerts)
        if histograms_every_n_steps is not None:
            check_count(type(self).__name__, histograms_every_n_steps=histograms_every_n_steps)
        self.events = events
        self.alerts = alerts
        self.histograms_every_n_steps = histograms_every_n_steps
        self._counts: dict[str, int] = {}
        self._next_steps: dict[int, int] = {}
        self._is_attached = self._stands_aside = False

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self._is_attached = False
            if not observers(trainer):
                trainer.callbacks.append(GradientMonitor())  # type: ignore[attr-defined]  # set while it is built

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # Not at the start of training, where the observer may not have begun the run.
        if not self._is_attached and (self.events or self.alerts) and trainer.loggers:
            observers(trainer)[0].attach(AlertSink(lambda event: self._tell(trainer.loggers, event)))
        self._is_attached = True

    def _tell(self, loggers: Sequence[Logger], event: Event) -> None:
        self._counts[event.kind] = self._counts.get(event.kind, 0) + 1
        for logger in loggers:
            experiment = getattr(logger, "experiment", None)
            if self.alerts and callable(alert := getattr(experiment, "alert", None)):
                alert(title=f"{event.kind} at step {event.step:,}", text=event.message)
            if self.events and callable(add_text := getattr(experiment, "add_text", None)):
                add_text(f"event/{event.kind}", event.message, event.step)
            elif self.events:
                logger.log_metrics({f"event/{event.kind}": float(self._counts[event.kind])}, step=event.step)

    @override
    def look(self, trainer: Trainer, pl_module: LightningModule, context: StepContext) -> None:
        every, index = self.histograms_every_n_steps, context.index
        if every is None or self._stands_aside or trainer.global_step < self._next_steps.get(index, 0):
            return
        self._next_steps[index] = (trainer.global_step // every + 1) * every
        if not trainer.is_global_zero:
            return
        try:
            self._write_histograms(trainer, context)
        except Exception as error:
            self._stands_aside = True
            rank_zero_warn(f"LoggerReport cannot write histograms and stands aside: {reason_of(error)}")

    def _write_histograms(self, trainer: Trainer, context: StepContext) -> None:
        experiments = [getattr(logger, "experiment", None) for logger in trainer.loggers]
        able = [one for one in experiments if callable(getattr(one, "add_histogram", None))]
        if not able:
            raise ValueError("no logger of this Trainer has `experiment.add_histogram`, as TensorBoardLogger has.")
        for name, gradient in zip(context.original.names, context.original.locals, strict=True):
            values = _sample(gradient)
            for experiment in able if values.size else ():
                experiment.add_histogram(f"grad/{name}", values, trainer.global_step)  # type: ignore[union-attr]

    @override
    def _reset(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._counts, self._next_steps, self._stands_aside = {}, {}, False

    @override
    def _save(self) -> dict[str, Any]:
        return {"counts": dict(self._counts), "next_steps": dict(self._next_steps)}

    @override
    def _load(self, state: dict[str, Any]) -> None:
        self._counts = {str(kind): int(count) for kind, count in state["counts"].items()}
        self._next_steps = {int(index): int(step) for index, step in state["next_steps"].items()}


def _sample(gradient: Tensor) -> NDArray[np.float64]:
    flat = gradient.detach().reshape(-1)
    values: NDArray[np.float64] = flat[:: -(-flat.numel() // _MOST_ELEMENTS) or 1].cpu().double().numpy()
    return values[np.isfinite(values)]
