"""`StepContext`: what this package's callbacks share about one optimizer step, so that norms are measured once."""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from lightning_clip._compat import forget_unscaling, found_non_finite, grad_scaler, is_fused, is_unscaled, uncompiled
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.names import KnownNames
from lightning_clip.core.record.pending_step import PendingStep
from lightning_clip.functional.materialize import materialize_
from lightning_clip.functional.norms import combine_norms, tensor_norms


class StepContext:
    """One optimizer step, as this package's callbacks see it one after the other.

    The gradients are collected when the first callback asks for them. They are unscaled, even for fused optimizers.

    Args:
        trainer: The trainer, while it is fitting.
        pl_module: The module being trained.
        optimizer: The optimizer that is about to step.

    Attributes:
        optimizer: The optimizer that is about to step.
        index: Its position in `trainer.optimizers`; their number, if it is not one of them.
        is_only: Whether the trainer has no other optimizer.
        skipped: Whether the step is skipped, `()` or a `bool`.
        steps: What the callbacks recorded for this step so far.
    """

    def __init__(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self._trainer = trainer
        self._pl_module = pl_module
        self._original: Gradients | None = None
        self._current: Gradients | None = None
        self._is_finite: bool | None = None
        self.optimizer = optimizer
        optimizers = trainer.optimizers
        self.index, self.is_only = _position(optimizer, optimizers), len(optimizers) == 1
        self.skipped: Tensor | bool = False
        self.steps: list[PendingStep] = []

    @property
    def original(self) -> Gradients:
        """The gradients with the norms they had before any of these callbacks changed them."""
        if self._original is None:
            self._original = self._current = self._collect()
        return self._original

    @property
    def current(self) -> Gradients:
        """The gradients as the next callback finds them."""
        original = self.original
        if self._current is None:
            self._current = original.remeasured()
        return self._current

    def is_finite(self) -> bool:
        """Return whether every element was finite at first; reads the device once."""
        if self._is_finite is None:
            self._is_finite = self.original.is_finite()
        return self._is_finite

    @torch.no_grad()
    def norms_now(self) -> tuple[Tensor, Tensor]:
        """Measure what the optimizer gets, whoever has changed, exchanged or removed gradients.

        Returns:
            The total 2-norm, `()`, and the 2-norm of each gradient that was there at first, `(n,)`.
        """
        held = [(param, param.grad) for param in self.original.params]
        tensors = [
            torch.zeros_like(param) if grad is None else materialize_(param, grad.detach()) for param, grad in held
        ]
        norms = tensor_norms(tensors)
        return combine_norms(norms), norms

    def add(self, step: PendingStep) -> None:
        """Add what a callback did. If one callback skips the step, it is marked as skipped for all of them.

        Args:
            step: What the callback recorded.
        """
        if step.changed:
            self._current = None
        self.steps.append(step)
        if step.skipped is not False or self.skipped is not False:
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

    def _collect(self) -> Gradients:
        trainer, optimizer = self._trainer, self.optimizer
        step, epoch, scaler = trainer.global_step, trainer.current_epoch, grad_scaler(trainer)
        if scaler is not None and not _unscale(scaler, optimizer, step):
            self.skipped = True
            return Gradients([], [], step=step, epoch=epoch, optimizer=optimizer)
        known = _known_names(optimizer)
        names, params = known.named(self._pl_module, optimizer)
        others = known.of_module.values()
        grads = Gradients(names, params, step=step, epoch=epoch, optimizer=optimizer, other_names=others)
        if scaler is not None:
            found = found_non_finite(scaler, optimizer)
            self.skipped = ~torch.isfinite(grads.total_norm()) if found is None else found.to(grads.device)
        return grads


def _position(optimizer: Optimizer, optimizers: Sequence[Optimizer]) -> int:
    for position, one in enumerate(optimizers):
        if one is optimizer:
            return position
    return len(optimizers)


_names: WeakKeyDictionary[Optimizer, KnownNames] = WeakKeyDictionary()
_unscaled_at: WeakKeyDictionary[Optimizer, int] = WeakKeyDictionary()


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


def _known_names(optimizer: Optimizer) -> KnownNames:
    known = _names.get(optimizer)
    if known is None:
        # Any object with the data of an optimizer is taken; only the classes of PyTorch have hooks, and need them.
        register = getattr(optimizer, "register_step_post_hook", None)
        if register is not None:
            register(_forget)
        known = _names[optimizer] = KnownNames()
    return known


@uncompiled
def _forget(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    """After its step, an optimizer's gradients may be unscaled again."""
    _unscaled_at.pop(optimizer, None)
