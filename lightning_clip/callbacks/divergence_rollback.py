"""`DivergenceRollback`: restores the last good state when training diverges."""

import math
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from typing_extensions import override

from lightning_clip._checks import check_count, check_flag, check_fraction, check_instance
from lightning_clip._compat import grad_scaler
from lightning_clip._errors import NonFiniteError
from lightning_clip.callbacks._gradient_observer import observers
from lightning_clip.callbacks._trainer import reset_carried_state, scale_learning_rates
from lightning_clip.callbacks._training_state import (
    on_any_process,
    training_state,
    warn_of_unknown_schedulers,
    weights_among,
    write_last_good,
)
from lightning_clip.callbacks.step.action_point import StepCallback
from lightning_clip.callbacks.step.context import StepContext
from lightning_clip.callbacks.strategy_switcher import StrategySwitcher
from lightning_clip.core.record.run_info import Event
from lightning_clip.core.snapshot import Snapshot, Stateful, non_finite_tensors, trained_names
from lightning_clip.core.switching import SpikeDetector


class DivergenceRollback(StepCallback):
    """Keep the last good state in host memory, and roll back to it when training diverges.

    A step is bad if its loss or gradient norm is NaN, infinite, or a severe outlier according to the detector. After
    `patience` bad steps in a row, the model, averages of its weights (`WeightAveraging`), optimizers, schedulers,
    gradient scaler and clipping strategies are restored, and the carried state of a `StatefulMixin` starts afresh. The
    data continues, so a poisoned batch is not seen again. A checkpoint is never saved with NaN or infinite weights: it
    contains the last good state instead, and a warning says so. Buffers that are infinite from the start, such as
    causal masks, are no sign of divergence. Loss and norm are read on the host at every step.

    Args:
        snapshot_every_n_steps: A snapshot is taken at each multiple of this number of optimizer steps, or after the
            next good step; and with each checkpoint, because a run resumed from it starts with that snapshot.
        patience: The number of bad steps in a row that count as a divergence.
        max_restores: The largest number of rollbacks. The next divergence rolls back once more and stops training.
        lr_factor: The factor on all learning rates at each rollback, in [0, 1], also on those that torch's schedulers
            compute later; use less than 1 if the learning rate causes the divergence.
        tighten: Whether to climb one rung at each rollback, too; needs a `StrategySwitcher`.
        detector: The detector of outliers, used for the norm and for the loss.

    Attributes:
        restores: The number of rollbacks so far.

    Raises:
        ArgumentError: An argument is out of range.
        MisconfigurationException: At fit, if `tighten=True` and the trainer has no `StrategySwitcher`, or if the
            parallel strategy hides the gradients.
        NonFiniteError: While fitting, if training diverges and the weights have been NaN or infinite from the start.

    Example:
        >>> rollback = DivergenceRollback(snapshot_every_n_steps=200, lr_factor=0.5)
        >>> rollback.restores
        0
    """

    def __init__(
        self,
        *,
        snapshot_every_n_steps: int = 100,
        patience: int = 3,
        max_restores: int = 3,
        lr_factor: float = 1.0,
        tighten: bool = False,
        detector: SpikeDetector | None = None,
    ) -> None:
        super().__init__()
        check_count("DivergenceRollback", snapshot_every_n_steps=snapshot_every_n_steps, patience=patience)
        check_count("DivergenceRollback", at_least=0, max_restores=max_restores)
        check_fraction("DivergenceRollback", lr_factor=lr_factor)
        check_flag("DivergenceRollback", tighten=tighten)
        check_instance("DivergenceRollback", SpikeDetector, or_none=True, detector=detector)
        self.snapshot_every_n_steps = snapshot_every_n_steps
        self.patience = patience
        self.max_restores = max_restores
        self.lr_factor = lr_factor
        self.tighten = tighten
        self.detector = detector or SpikeDetector()
        self.restores = 0
        self._bad_steps = 0
        self._norms, self._losses = deepcopy(self.detector), deepcopy(self.detector)
        self._norm = 0.0
        self._snapshot: Snapshot | None = None
        self._snapshot_lr_scale = 1.0
        self._ignored: set[tuple[int, str]] | None = None

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.tighten and _switcher(trainer) is None:
            raise MisconfigurationException(
                "DivergenceRollback(tighten=True) needs a StrategySwitcher, whose ladder it climbs. "
                "Add one to the callbacks, or remove tighten=True."
            )
        super().on_train_start(trainer, pl_module)
        self._norm = 0.0
        if self.lr_factor < 1:
            warn_of_unknown_schedulers(trainer, f"DivergenceRollback(lr_factor={self.lr_factor!r})")

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # Not at the start of training, where other callbacks may not have begun the run.
        if self._snapshot is None:
            self._take(trainer, pl_module)
        elif not self._bad_steps and not self._snapshot.fits(training_state(trainer, pl_module)):
            self._take(trainer, pl_module)  # a layer was unfrozen, or a scheduler or an optimizer exchanged

    @override
    def look(self, trainer: Trainer, pl_module: LightningModule, context: StepContext) -> None:
        if context.is_finite() or grad_scaler(trainer) is None:  # the scaler handles an overflow itself
            self._norm = max(self._norm, float(context.original.total_norm()), key=_badness)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        is_step = self._norm != 0  # without a gradient, a step is no sample
        readings = [self._norms.read(self._norm)] if is_step else []
        if isinstance(loss, Tensor):
            readings.append(self._losses.read(float(loss)))
        self._norm = 0.0
        is_bad = any(reading.weight >= _SEVERE for reading in readings)
        if trainer.world_size > 1:  # losses differ between ranks, but decisions must not
            is_bad = trainer.strategy.reduce_boolean_decision(is_bad, all=False)
        if is_bad:
            self._bad_steps += 1
            reset_carried_state(pl_module, non_finite_only=True)
        elif is_step:
            self._bad_steps = 0
        if self._bad_steps >= self.patience:
            self._roll_back(trainer, pl_module)
        elif not self._bad_steps and self._is_due(trainer):
            self._take(trainer, pl_module)

    def _is_due(self, trainer: Trainer) -> bool:
        every = self.snapshot_every_n_steps
        return self._snapshot is None or trainer.global_step // every > self._snapshot.step // every

    def _take(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take a snapshot, unless the weights are NaN or infinite."""
        parts = training_state(trainer, pl_module)
        found = non_finite_tensors(parts)
        if self._ignored is None:
            trained = trained_names(pl_module)
            self._ignored = {key for key in found if key[1] not in trained}
        bad = found - self._ignored
        if bad and self._snapshot is not None and not weights_among(bad, parts):
            self._snapshot.restore_tensors(parts, bad)
            bad = non_finite_tensors(parts) - self._ignored
        if not on_any_process(trainer, bool(bad)):
            self._keep(parts, trainer)

    def _keep(self, parts: Sequence[Stateful], trainer: Trainer) -> None:
        self._snapshot = Snapshot(parts, step=trainer.global_step)
        self._snapshot_lr_scale = self.lr_factor**self.restores

    def _roll_back(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._bad_steps = 0
        snapshot = self._snapshot
        if snapshot is None:
            message = "DivergenceRollback: the weights have been NaN or infinite from the first step on."
            for observer in observers(trainer):
                observer.add_event(Event(trainer.global_step, "stop", message))
            raise NonFiniteError(message)
        self.restores += 1
        snapshot.restore(training_state(trainer, pl_module))
        reset_carried_state(pl_module, non_finite_only=False)
        scale = self.lr_factor**self.restores / self._snapshot_lr_scale
        scale_learning_rates(trainer, scale)
        switcher = _switcher(trainer)
        if self.tighten and switcher is not None:
            switcher.climb(trainer.global_step, "the run was rolled back")
        self._announce(trainer, snapshot)

    def _announce(self, trainer: Trainer, snapshot: Snapshot) -> None:
        message = f"diverged for {self.patience} steps: rolled back to step {snapshot.step}"
        if self.lr_factor < 1:
            message += f", learning rate x {self.lr_factor**self.restores:.3g}"
        stops = self.restores > self.max_restores
        if stops:
            message += f"; rolled back {self.restores} times: training stops"
            trainer.should_stop = True
        rank_zero_warn(f"DivergenceRollback: step {trainer.global_step}: {message}")
        data = {"restored_step": snapshot.step, "restores": self.restores}
        for observer in observers(trainer):
            observer.add_event(Event(trainer.global_step, "rollback", message, data))
            if stops:
                observer.add_event(Event(trainer.global_step, "stop", "DivergenceRollback ends training"))

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._snapshot is None or self._ignored is None or not self._snapshot.holds(pl_module):
            return
        parts = training_state(trainer, pl_module)
        bad = non_finite_tensors(parts) - self._ignored
        if on_any_process(trainer, bool(bad)):
            write_last_good(trainer, pl_module, checkpoint, good=self._snapshot, bad=bad)
        elif not self._bad_steps:  # a run that is resumed from here has no earlier snapshot either
            self._keep(parts, trainer)

    @override
    def _reset(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.restores = 0
        self._norms, self._losses = deepcopy(self.detector), deepcopy(self.detector)
        self._snapshot, self._snapshot_lr_scale, self._ignored = None, 1.0, None
        self._bad_steps = 0

    @override
    def _save(self) -> dict[str, Any]:
        return {
            "restores": self.restores,
            "bad_steps": self._bad_steps,
            "norms": self._norms.state_dict(),
            "losses": self._losses.state_dict(),
        }

    @override
    def _load(self, state: dict[str, Any]) -> None:
        self.restores = state["restores"]
        self._bad_steps = state.get("bad_steps", 0)
        self._norms.load_state_dict(state["norms"])
        self._losses.load_state_dict(state["losses"])

    @override
    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_snapshot": None, "_ignored": None}


_SEVERE = 3.0


def _badness(norm: float) -> float:
    return norm if math.isfinite(norm) else math.inf


def _switcher(trainer: Trainer) -> StrategySwitcher | None:
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # set while the Trainer is built
    return next((callback for callback in callbacks if isinstance(callback, StrategySwitcher)), None)
