"""`StepContext`: what our callbacks share about one optimizer step, so that norms are measured once."""

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from lightning_clip.compat import grad_scaler, unscale_fused_
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.records import StepEvent


@dataclass(slots=True)
class StepContext:
    """One optimizer step as our callbacks see it, one after the other.

    Attributes:
        original: The gradients with the norms they had before any of our callbacks changed them.
        current: The gradients as the next callback finds them.
        skipped: Whether the step is skipped, `()` or a `bool`.
        events: The events of this step so far.
        seen_by: The callbacks that have taken part, by `id`.
    """

    original: Gradients
    current: Gradients
    skipped: Tensor | bool = False
    events: list[StepEvent] = field(default_factory=list)
    seen_by: set[int] = field(default_factory=set)

    def skip(self) -> None:
        """Take the gradients away, so that the step changes neither parameters nor optimizer state."""
        for param in self.original.params:
            param.grad = None
        self.skipped = True
        for event in self.events:
            event.skipped = True


_contexts: WeakKeyDictionary[Optimizer, StepContext] = WeakKeyDictionary()
_names: WeakKeyDictionary[Optimizer, dict[int, str]] = WeakKeyDictionary()


def step_context(callback: Callback, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> StepContext:
    """The context of the step that the optimizer is about to make, the same for each of our callbacks.

    Args:
        callback: Who asks. A callback that asks twice sees a new evaluation (LBFGS makes several in a step).
        trainer: The trainer that is fitting.
        pl_module: The module that is trained.
        optimizer: The optimizer that is about to step.

    Returns:
        The context; its gradients are unscaled, also for fused optimizers.
    """
    context = _contexts.get(optimizer)
    step = trainer.global_step
    if context is None or context.original.step != step or id(callback) in context.seen_by:
        unscale_fused_(trainer, optimizer)
        names = _parameter_names(pl_module, optimizer)
        grads = Gradients.of_optimizer(optimizer, names, step=step, epoch=trainer.current_epoch)
        context = StepContext(grads, grads)
        if grad_scaler(trainer) is not None:  # the scaler skips a step with a non-finite gradient by itself
            context.skipped = ~torch.isfinite(grads.total_norm())
        _contexts[optimizer] = context
    context.seen_by.add(id(callback))
    return context


def _parameter_names(pl_module: LightningModule, optimizer: Optimizer) -> dict[int, str]:
    """Names by `id`, made again when the optimizer has been given further parameters."""
    known = _names.get(optimizer)
    if known is None:
        optimizer.register_step_post_hook(_forget)
    if known is None or len(known) != sum(len(group["params"]) for group in optimizer.param_groups):
        own = {id(param) for group in optimizer.param_groups for param in group["params"]}
        named = ((id(param), name.replace("_orig_mod.", "")) for name, param in pl_module.named_parameters())
        _names[optimizer] = known = {key: name for key, name in named if key in own}
    return known


def _forget(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    """Let go of the gradients once the step has been made, so that they do not live longer than without us."""
    _contexts.pop(optimizer, None)
