"""`StepContext`: what this package's callbacks share about one optimizer step, so that norms are measured once."""

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from lightning_clip._compat import forget_unscaling, found_non_finite, grad_scaler, is_fused, is_unscaled, uncompiled
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.names import KnownNames
from lightning_clip.core.record.pending_step import PendingStep


@dataclass(slots=True)
class StepContext:
    """One optimizer step, as this package's callbacks see it one after the other.

    Attributes:
        original: The gradients with the norms they had before any of these callbacks changed them.
        current: The gradients as the next callback finds them.
        skipped: Whether the step is skipped, `()` or a `bool`.
        steps: What the callbacks recorded for this step so far.
        seen_by: The `id` of each callback that has requested this context.
    """

    original: Gradients
    current: Gradients
    skipped: Tensor | bool = False
    steps: list[PendingStep] = field(default_factory=list)
    seen_by: set[int] = field(default_factory=set)

    def add(self, step: PendingStep) -> None:
        """Add what a callback did. If one callback skips the step, it is marked as skipped for all of them.

        Args:
            step: What the callback recorded.
        """
        if step.changed:
            self.current = self.current.remeasured()
        self.steps.append(step)
        self._mark(step.skipped)

    def count(self, own_step: int) -> None:
        """Tell strategies how many steps this optimizer alone has completed, which is what schedules count.

        Args:
            own_step: The number of steps that this optimizer completed before this one.
        """
        self.original.own_step = self.current.own_step = own_step

    def skip(self) -> None:
        """Remove the gradients, so that the step changes neither parameters nor optimizer state."""
        for param in self.original.params:
            param.grad = None
        self._mark(True)

    def _mark(self, skipped: Tensor | bool) -> None:
        if skipped is not False:
            self.skipped = skipped if self.skipped is False else self.skipped | skipped
        for step in self.steps:
            step.note(skipped=self.skipped)


_contexts: WeakKeyDictionary[Optimizer, StepContext] = WeakKeyDictionary()
_names: WeakKeyDictionary[Optimizer, KnownNames] = WeakKeyDictionary()
_unscaled_at: WeakKeyDictionary[Optimizer, int] = WeakKeyDictionary()


def step_context(callback: Callback, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> StepContext:
    """Return the context of the step that the optimizer is about to make, shared by this package's callbacks.

    Args:
        callback: The callback that requests the context. A second request by the same callback starts a new context,
            because LBFGS evaluates a step several times.
        trainer: The trainer, while it is fitting.
        pl_module: The module being trained.
        optimizer: The optimizer that is about to step.

    Returns:
        The context; its gradients are unscaled, even for fused optimizers.
    """
    context, step = _contexts.get(optimizer), trainer.global_step
    if context is None or context.original.step != step or id(callback) in context.seen_by:
        context = _contexts[optimizer] = _begin(trainer, pl_module, optimizer, step)
    context.seen_by.add(id(callback))
    return context


def release(trainer: Trainer) -> None:
    """Release the gradients of a step that was not made, for instance because the gradient scaler skipped it.

    Args:
        trainer: The trainer, after a batch or after an exception.
    """
    for optimizer in trainer.optimizers:
        _contexts.pop(optimizer, None)


def _begin(trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer, step: int) -> StepContext:
    names, scaler = _parameter_names(pl_module, optimizer), grad_scaler(trainer)
    if scaler is not None and not _unscale(scaler, optimizer, step):
        nothing = Gradients([], [], step=step, epoch=trainer.current_epoch, optimizer=optimizer)
        return StepContext(nothing, nothing, skipped=True)
    grads = Gradients.of_optimizer(optimizer, names, step=step, epoch=trainer.current_epoch)
    context = StepContext(grads, grads)
    if scaler is not None:
        found = found_non_finite(scaler, optimizer)
        context.skipped = ~torch.isfinite(grads.total_norm()) if found is None else found.to(grads.device)
    return context


def _unscale(scaler: GradScaler, optimizer: Optimizer, step: int) -> bool:
    """Unscale the gradients if necessary; return whether the optimizer will step with them.

    If `training_step` returned `None`, Lightning neither unscales nor steps. The gradients, if any, come from earlier
    batches of an accumulation and are still scaled. With a fused optimizer this shows only at the next step.
    """
    if not is_fused(optimizer):
        return is_unscaled(scaler, optimizer)
    if all(param.grad is None for group in optimizer.param_groups for param in group["params"]):
        return False
    if _unscaled_at.get(optimizer, step) != step:
        forget_unscaling(scaler, optimizer)
    if not is_unscaled(scaler, optimizer):
        scaler.unscale_(optimizer)
        _unscaled_at[optimizer] = step
    return True


def _parameter_names(pl_module: LightningModule, optimizer: Optimizer) -> dict[int, str]:
    """Return the names of the module's parameters, found again whenever parameters have been exchanged."""
    known = _names.get(optimizer)
    if known is None:
        optimizer.register_step_post_hook(_forget)
        known = _names[optimizer] = KnownNames()
    return known.of(pl_module, optimizer)


@uncompiled
def _forget(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    """Release the gradients after the step, so that they live no longer than without this package."""
    _contexts.pop(optimizer, None)
    _unscaled_at.pop(optimizer, None)
