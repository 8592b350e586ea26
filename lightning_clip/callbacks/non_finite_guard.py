"""`NonFiniteGuard`: handles steps whose gradients are NaN or infinite."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch.optim import Optimizer
from typing_extensions import override

from lightning_clip._checks import check_choice, check_count
from lightning_clip._compat import grad_scaler
from lightning_clip._errors import NonFiniteError
from lightning_clip.callbacks._gradient_observer import observers
from lightning_clip.callbacks._trainer import reset_carried_state
from lightning_clip.callbacks.step.action_point import StepCallback
from lightning_clip.callbacks.step.context import StepContext
from lightning_clip.core.buffers import BufferKeeper
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.names import plain_name
from lightning_clip.core.optimizer_state import non_finite_moments
from lightning_clip.core.record.run_info import Event

GuardAction = Literal["skip", "raise", "stop", "zero", "ignore"]


class NonFiniteGuard(StepCallback):
    """Handle optimizer steps whose gradients contain NaN or infinity ("bad steps").

    A step is not bad if its norm overflows while every element is finite. The decision needs the norm on the host, so
    on an accelerator this callback reads one number per step. Distributed processes agree: if one of them finds a bad
    step, all of them act on it. In fp16 mixed precision the gradient scaler itself skips bad steps and lowers its
    scale; until the scale is below 1, the guard only counts them.

    A gradient can be finite and yet so large that its square is not, which makes Adam's second moment infinite and
    freezes its weights; after such a step the guard looks at the optimizer's state, and warns (`"raise"` raises,
    `"stop"` stops).

    What the forward pass of a bad step has poisoned is mended too, unless the action is `"ignore"`: NaN or infinity in
    floating-point buffers, such as BatchNorm's running statistics, is replaced by the values before the step, and rows
    of a `StatefulMixin` whose carried state became NaN or infinite start afresh.

    Args:
        action: The action at a bad step. `"skip"` leaves parameters and optimizer state exactly as they are
            (learning-rate schedulers and `global_step` still advance). `"raise"` raises immediately. `"stop"` skips the
            step and stops training with finite weights. `"zero"` sets all gradients to zero, which still moves
            parameters through momentum and weight decay. `"ignore"` only counts.
        max_consecutive: The largest number of bad steps in a row; the next one raises. `"ignore"` has no limit.

    Attributes:
        total: The number of bad steps so far.
        consecutive: The number of bad steps in a row, up to now.
        last_good_norm: The total norm at the latest finite step; `None` before the first.

    Raises:
        ArgumentError: An argument is out of range.
        MisconfigurationException: At fit, if the parallel strategy hides the gradients.
        NonFiniteError: While fitting; the message names the step, the batch, the first bad parameters and the last good
            norm.

    Example:
        >>> NonFiniteGuard("skip", max_consecutive=5).max_consecutive
        5
    """

    def __init__(self, action: GuardAction = "skip", *, max_consecutive: int = 10) -> None:
        super().__init__()
        check_choice("NonFiniteGuard", get_args(GuardAction), action=action)
        check_count("NonFiniteGuard", max_consecutive=max_consecutive)
        self.action = action
        self.max_consecutive = max_consecutive
        self.total = 0
        self.consecutive = 0
        self.last_good_norm: float | None = None
        self._buffers: BufferKeeper | None = None
        self._suspects: list[Optimizer] = []
        self._has_told_of_moments = False

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._buffers is None:
            self._buffers = BufferKeeper(pl_module)

    @override
    def look(self, trainer: Trainer, pl_module: LightningModule, context: StepContext) -> None:
        context.is_finite()

    @override
    def act(self, trainer: Trainer, pl_module: LightningModule, context: StepContext) -> None:
        grads = context.original
        if trainer.strategy.reduce_boolean_decision(context.is_finite()):
            self.consecutive = 0
            if len(grads):
                norm = float(grads.total_norm())
                self.last_good_norm = norm or self.last_good_norm  # a gradient of zero says nothing
                if _square_overflows(norm, grads):
                    self._suspects.append(context.optimizer)
                if self._buffers is not None:
                    self._buffers.refresh()
            else:  # the module may have returned no loss because of a bad batch
                self._mend(pl_module)
            return
        self.total += 1
        self.consecutive += 1
        scaler = grad_scaler(trainer)
        calibrating = scaler is not None and scaler.get_scale() >= 1.0
        message = self._describe(grads, trainer, calibrating=calibrating)
        if not calibrating:
            if self._is_too_much():
                self._tell(trainer, message, stops=True)
                raise NonFiniteError(message)
            self._act(trainer, context)
        self._mend(pl_module)
        if self.consecutive == 1:
            self._tell(trainer, message, stops=self.action == "stop" and not calibrating)

    def _act(self, trainer: Trainer, context: StepContext) -> None:
        if self.action == "zero":
            torch._foreach_zero_(context.original.locals)
        elif self.action != "ignore":
            context.skip()
            trainer.should_stop = trainer.should_stop or self.action == "stop"

    def _mend(self, pl_module: LightningModule) -> None:
        """Leave no NaN behind from the forward pass of a step that is not made."""
        if self.action != "ignore":
            if self._buffers is not None:
                self._buffers.mend_()
            reset_carried_state(pl_module, non_finite_only=True)

    def _is_too_much(self) -> bool:
        return self.action == "raise" or (self.action != "ignore" and self.consecutive > self.max_consecutive)

    def _describe(self, grads: Gradients, trainer: Trainer, *, calibrating: bool) -> str:
        bad = grads.non_finite_names()
        where = f"first in {_shown(bad)}" if bad else "on another process"
        last = "no finite step so far" if self.last_good_norm is None else f"last good norm {self.last_good_norm:.4g}"
        remedy = "Lower the learning rate, or clip earlier with GradientClipping."
        if calibrating:
            remedy = "The gradient scaler skips the step and lowers its scale."
        return (
            f"NonFiniteGuard({self.action!r}): the gradient became NaN or infinite at step {grads.step} "
            f"(epoch {grads.epoch}, batch {trainer.fit_loop.batch_idx}, {self.consecutive} in a row): "
            f"{where}; {last}. {remedy}"
        )

    def _tell(self, trainer: Trainer, message: str, *, stops: bool) -> None:
        """Record what happened, and that training ends because of it."""
        for observer in observers(trainer):
            observer.add_event(Event(trainer.global_step, "non-finite", message))
            if stops:
                observer.add_event(Event(trainer.global_step, "stop", f"NonFiniteGuard({self.action!r}) ends training"))

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        suspects, self._suspects = self._suspects, []
        for optimizer in suspects if self.action != "ignore" else ():
            self._check_moments(trainer, pl_module, optimizer)

    def _check_moments(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """The squares of a huge gradient overflow in Adam's second moment, and the weight never moves again."""
        found = non_finite_moments(optimizer)
        if not trainer.strategy.reduce_boolean_decision(bool(found), all=False) or self._has_told_of_moments:
            return
        self._has_told_of_moments = True
        names = {id(param): plain_name(name) for name, param in pl_module.named_parameters()}
        bad = list(dict.fromkeys(names.get(id(param), "a parameter without a name") for param, _ in found))
        message = (
            f"NonFiniteGuard({self.action!r}): after step {trainer.global_step - 1}, "
            f"{found[0][1] if found else 'a moment'!r} of {type(optimizer).__name__} is infinite for {_shown(bad)}: "
            "these weights no longer move. Clip with GradientClipping(NormClip(1.0)), and resume from an earlier "
            "checkpoint."
        )
        self._tell(trainer, message, stops=self.action in ("raise", "stop"))
        if self.action == "raise":
            raise NonFiniteError(message)
        trainer.should_stop = trainer.should_stop or self.action == "stop"
        rank_zero_warn(message)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._buffers = None

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        super().on_exception(trainer, pl_module, exception)
        self._buffers = None

    @override
    def _reset(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.total = self.consecutive = 0
        self.last_good_norm = None
        self._buffers, self._suspects, self._has_told_of_moments = None, [], False

    @override
    def _save(self) -> dict[str, Any]:
        return {"total": self.total, "consecutive": self.consecutive, "last_good_norm": self.last_good_norm}

    @override
    def _load(self, state: dict[str, Any]) -> None:
        self.total = state["total"]
        self.consecutive = state["consecutive"]
        self.last_good_norm = state["last_good_norm"]

    @override
    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_buffers": None, "_suspects": []}


def _square_overflows(norm: float, grads: Gradients) -> bool:
    """Whether the square of a gradient may be infinite in the precision of its parameter."""
    return norm > 250 and norm**2 > min(torch.finfo(tensor.dtype).max for tensor in grads.tensors)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
