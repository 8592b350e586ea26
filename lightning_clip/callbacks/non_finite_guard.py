"""`NonFiniteGuard`: what to do with a step whose gradients are not finite."""

from typing import Any, Literal, get_args

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer
from typing_extensions import override

from lightning_clip.callbacks.gradient_observer import observers
from lightning_clip.callbacks.step_context import StepContext, step_context
from lightning_clip.compat import grad_scaler
from lightning_clip.core.checks import check_choice, check_count
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.records import RunEvent

GuardAction = Literal["skip", "raise", "stop", "zero", "ignore"]


class NonFiniteGuard(Callback):
    """Act on optimizer steps whose gradients hold a NaN or an infinity.

    A norm that overflows while every element is finite is not such a step. The decision needs the norm on the host:
    on an accelerator this callback reads one number each step. In fp16 mixed precision the gradient scaler skips such
    steps by itself and lowers its scale; the guard then only counts, and raises once the scale has fallen below 1.

    Args:
        action: `"skip"` leaves parameters and optimizer state exactly as they were (learning-rate schedulers and
            `global_step` still advance); `"raise"` raises at once; `"stop"` skips and ends the training with finite
            weights; `"zero"` sets all gradients to zero, which still moves parameters through momentum and weight
            decay; `"ignore"` only counts.
        max_consecutive: How many such steps in a row are borne; the next one raises. Not for `"ignore"`.

    Attributes:
        total: How many such steps there have been.
        consecutive: How many of them in a row, up to now.
        last_good_norm: Total norm at the latest finite step; `None` before the first.

    Raises:
        ValueError: An argument is out of its range.
        FloatingPointError: While fitting; names the step, the batch, the first bad parameters and the last good norm.

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

    @override
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        context = step_context(self, trainer, pl_module, optimizer)
        if context.original.is_finite():
            self.consecutive = 0
            self.last_good_norm = float(context.original.total_norm())
            return
        self.total += 1
        self.consecutive += 1
        message = self._describe(context.original, trainer)
        if self._is_too_much(trainer):
            raise FloatingPointError(message)
        self._act(trainer, context)
        if self.consecutive == 1:
            for observer in observers(trainer):
                observer.add_event(RunEvent(trainer.global_step, "non-finite", message))

    def _act(self, trainer: Trainer, context: StepContext) -> None:
        if self.action == "zero":
            torch._foreach_zero_(context.original.locals)
        elif self.action != "ignore":
            if grad_scaler(trainer) is None:
                context.skip()
            trainer.should_stop = trainer.should_stop or self.action == "stop"

    def _is_too_much(self, trainer: Trainer) -> bool:
        if self.action == "raise":
            return True
        scaler = grad_scaler(trainer)
        calibrating = scaler is not None and scaler.get_scale() >= 1.0
        return self.action != "ignore" and self.consecutive > self.max_consecutive and not calibrating

    def _describe(self, grads: Gradients, trainer: Trainer) -> str:
        bad = grads.non_finite_names()
        shown = ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
        last = "no finite step before" if self.last_good_norm is None else f"last good norm {self.last_good_norm:.4g}"
        return (
            f"NonFiniteGuard({self.action!r}): the gradient is not finite at step {grads.step} "
            f"(epoch {grads.epoch}, batch {trainer.fit_loop.batch_idx}, {self.consecutive} in a row): "
            f"first in {shown}; {last}. Lower the learning rate, or clip earlier with GradientClipping."
        )

    @override
    def state_dict(self) -> dict[str, Any]:
        return {
            "version": 1,
            "total": self.total,
            "consecutive": self.consecutive,
            "last_good_norm": self.last_good_norm,
        }

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.total = state_dict["total"]
        self.consecutive = state_dict["consecutive"]
        self.last_good_norm = state_dict["last_good_norm"]
