"""`GradientObserver`: the base of `GradientClipping` and `GradientMonitor`, which clips, records and logs."""

from collections.abc import Sequence
from contextlib import suppress
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from lightning_clip._compat import grad_scaler, should_log
from lightning_clip.callbacks._metrics import GroupBy, check_recording, metrics_of, warn_of_empty_groups
from lightning_clip.callbacks._metrics_callback import MetricsCallback
from lightning_clip.callbacks._recorder import Recorder
from lightning_clip.callbacks._strategy_state import label_of, restore_strategies, starting_strategies
from lightning_clip.callbacks._trainer import (
    OtherClipping,
    clipping_by_module,
    clipping_by_trainer,
    describe_run,
    place_of,
)
from lightning_clip.callbacks._worker_exit import at_worker_exit
from lightning_clip.callbacks.step.action_point import StepCallback
from lightning_clip.callbacks.step.context import StepContext
from lightning_clip.callbacks.step.own_steps import OwnSteps
from lightning_clip.callbacks.step.strategy_chooser import is_strategy_chooser
from lightning_clip.core.clip import clip_
from lightning_clip.core.record.aggregate import Aggregate
from lightning_clip.core.record.history import History
from lightning_clip.core.record.measurements import Measurement
from lightning_clip.core.record.pending_step import PendingStep
from lightning_clip.core.record.run_info import Event, RunInfo
from lightning_clip.core.recurrent.gates import GateMeter
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.sinks.sink import Sink
from lightning_clip.strategies.no_clip import NoClip

if TYPE_CHECKING:
    from lightning_clip.reports.record import RunRecord


class GradientObserver(MetricsCallback, StepCallback):
    """Applies a strategy to each optimizer's gradients at each step, and records what happened.

    Attributes:
        strategies: The copy of the strategy for each optimizer, by position in `trainer.optimizers`.
    """

    def __init__(
        self,
        strategy: ClipStrategy,
        sinks: Sequence[Sink] | None,
        flush_every_n_steps: int,
        group_by: GroupBy,
        name: str,
    ) -> None:
        super().__init__()
        check_recording(type(self).__name__, sinks, flush_every_n_steps, group_by, name)
        self.strategy = strategy
        self.sinks = list(sinks or ())
        self.flush_every_n_steps = flush_every_n_steps
        self.group_by = group_by
        self.name = name
        self.strategies: list[ClipStrategy] = []
        self._overrides: dict[int, ClipStrategy] = {}
        self._recorder = Recorder(self.sinks)
        self._gates = GateMeter(flush_every_n_steps)
        self._own_steps = OwnSteps()
        self._step: PendingStep | None = None
        self._clipping_by_module: OtherClipping | None = None

    @property
    @override
    def state_key(self) -> str:
        return self._generate_state_key(name=self.name) if self.name else type(self).__qualname__

    @property
    def history(self) -> History:
        """The record of the finished batches; reads the device, and changes nothing that is logged or recorded."""
        trainer = self._trainer
        if trainer is not None and trainer.interrupted:
            self._recorder.end_batch()  # the batch will not end by itself
        return self._recorder.history

    @property
    def run(self) -> RunInfo:
        """The description of the run, with its duration so far."""
        return self._recorder.run

    @property
    def record(self) -> "RunRecord":
        """The record so far as one object, which reports, compares and exports itself."""
        from lightning_clip.reports.record import RunRecord  # a training without a report imports none

        return RunRecord(self.run, self.history)

    def total(self, index: int) -> Aggregate | None:
        """Return the totals of one optimizer up to the latest flush, without reading the device.

        Args:
            index: The optimizer's position in `trainer.optimizers`.

        Returns:
            The totals; `None` before the optimizer's first flush.
        """
        return self._recorder.known.aggregates.get(index)

    def override_strategy(self, index: int, strategy: ClipStrategy | None) -> None:
        """Use another strategy for an optimizer from now on.

        Args:
            index: The optimizer's position in `trainer.optimizers`.
            strategy: The strategy; `None` returns to the callback's own.
        """
        if strategy is None:
            self._overrides.pop(index, None)
        else:
            self._overrides[index] = strategy

    def attach(self, sink: Sink) -> None:
        """Open a further sink for the rest of this fit, which receives everything from now on."""
        self._recorder.attach(sink)

    def add_event(self, event: Event) -> None:
        """Add an event, such as a strategy switch, to the history and the sinks."""
        self._recorder.add_event(event)

    def add_measurement(self, measurement: Measurement) -> None:
        """Add a measurement of any kind to the history and to the sinks that accept measurements."""
        self._recorder.add_measurement(measurement)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._gates.watch(pl_module)
        warn_of_empty_groups(type(self).__name__, self.group_by, pl_module)
        self._clipping_by_module = clipping_by_module(pl_module)
        run = describe_run(trainer, pl_module, strategies=self.strategies or [self.strategy])
        self._recorder.begin(run, start_step=trainer.global_step, write=trainer.is_global_zero)
        at_worker_exit(self._recorder.end)

    @override
    def act(self, trainer: Trainer, pl_module: LightningModule, context: StepContext) -> None:
        self._step, index = None, context.index
        context.count(self._own_steps.before(index, context.original.step, is_only=context.is_only))
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set while the Trainer is built
            if is_strategy_chooser(callback):
                callback.choose_strategy(self, trainer, context)
        strategy = self._overrides.get(index) or self._strategy_of(index)
        grads, logged = context.current, self.group_by == "rnn" and should_log(trainer)
        gate_norms = self._gates.measure(grads, index, now=logged)
        self._step = step = clip_(grads, strategy, optimizer_index=index)
        step.gate_norms, step.place = gate_norms, place_of(trainer)
        context.add(step)
        self._recorder.add(step)

    def _strategy_of(self, index: int) -> ClipStrategy:
        while index >= len(self.strategies):  # the optimizer was added after training began
            self.strategies.append(deepcopy(self.strategy))
        return self.strategies[index]

    @override
    def take_note(self, trainer: Trainer, pl_module: LightningModule, context: StepContext) -> None:
        step, self._step = self._step, None
        others = self._clipping_by_module or clipping_by_trainer(trainer)
        if step is not None and others is not None:
            label = others.call if isinstance(self.strategy, NoClip) else step.strategy
            norm, norms = context.norms_now()
            step.note_clipping(label, norm_after=norm, param_norms_after=norms, threshold=others.threshold)

    @override
    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        if not pl_module.automatic_optimization and grad_scaler(trainer) is None:  # a scaler has multiplied the loss
            self._recorder.note_backward(loss)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._recorder.end_batch(outputs):
            self._publish_if_due(trainer)
            if self._recorder.waiting >= self.flush_every_n_steps:
                self._recorder.flush()

    @override
    def _metrics(self, trainer: Trainer) -> dict[str, float]:
        self._recorder.flush()
        metrics = metrics_of(self._recorder.latest, self._recorder.known, self.group_by)
        return {self.key_prefix(trainer) + key: value for key, value in metrics.items()}

    def key_prefix(self, trainer: Trainer) -> str:
        """Return how the keys of the metrics begin: with the name.

        Args:
            trainer: The trainer; one observer without a name needs no prefix, the first that clips.
        """
        if self.name:
            return f"{self.name}/"
        nameless = [*(one for one in observers(trainer) if not one.name), self]
        plain = next((one for one in nameless if not isinstance(one.strategy, NoClip)), nameless[0])
        return "" if self is plain else f"{type(self).__name__}/"

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._recorder.end()

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        super().on_exception(trainer, pl_module, exception)
        with suppress(Warning):  # where warnings are errors, they must not replace the user's exception
            self._recorder.end()

    @override
    def _reset(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.strategies = starting_strategies(self, trainer)
        self._overrides = {}
        self._recorder = Recorder(self.sinks)
        self._gates = GateMeter(self.flush_every_n_steps)
        self._own_steps = OwnSteps.shared_evenly(trainer)

    @override
    def _save(self) -> dict[str, Any]:
        trainer = self._trainer
        return {
            "strategy": label_of(self.strategies or [self.strategy]),
            "strategies": [dict(strategy.state_dict()) for strategy in self.strategies],
            "gates": self._gates.state_dict(),
            **self._recorder.state_dict(steps_made=trainer.global_step if trainer is not None else 0),
        }

    @override
    def _load(self, state: dict[str, Any]) -> None:
        if not state["strategies"]:
            return  # saved before a training began, by the first version
        self._recorder.load_state_dict(state)
        self._own_steps = OwnSteps(
            {index: total.steps + total.empty for index, total in self._recorder.known.aggregates.items()}
        )
        self._gates.load_state_dict(state.get("gates", {"measured": {}}))
        restore_strategies(type(self).__name__, self.strategies, label_of(self.strategies or [self.strategy]), state)


def observers(trainer: Trainer) -> list[GradientObserver]:
    """Return the observers among a trainer's callbacks, in order."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # set while the Trainer is built
    return [callback for callback in callbacks if isinstance(callback, GradientObserver)]
