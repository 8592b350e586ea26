"""`clip_`: measure, decide, apply, and say what happened."""

import torch
from torch import Tensor

from lightning_clip.core.actions import Keep
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.record.pending_step import PendingStep
from lightning_clip.core.strategy import ClipStrategy


@torch.no_grad()
def clip_(
    grads: Gradients, strategy: ClipStrategy, *, optimizer_index: int = 0, loss: Tensor | None = None
) -> PendingStep:
    """Let a strategy decide on gradients and apply its decision in place.

    Everything in the returned event stays on the device; pass it to an `StepBuffer` to read many at once.

    Args:
        grads: What an optimizer is about to apply.
        strategy: The rule.
        optimizer_index: Which optimizer this is, when there are several.
        loss: The loss that the gradients are of, `()`, for the record.

    Returns:
        What the gradients were and what was done.

    Example:
        >>> from lightning_clip import NormClip
        >>> layer = torch.nn.Linear(2, 1)
        >>> (100 * layer(torch.ones(1, 2)).sum()).backward()
        >>> event = clip_(Gradients.of_module(layer), NormClip(1.0))
        >>> round(float(event.norm_before), 2), round(float(layer.weight.grad[0, 0]), 4)
        (173.21, 0.5774)
    """
    norm_before = grads.total_norm()
    param_norms = grads.norms()
    action = strategy.decide(grads)
    action.apply_(grads)
    measured = grads.remeasured() if action.coefs is None else None
    return PendingStep(
        step=grads.step,
        optimizer=optimizer_index,
        strategy=strategy.label,
        names=grads.names,
        norm_before=norm_before,
        param_norms=param_norms,
        coefs=action.coefs,
        norm_after=measured.total_norm() if measured else None,
        param_norms_after=measured.norms() if measured else None,
        threshold=action.threshold,
        skipped=action.skipped,
        watched=action.watched,
        loss=None if loss is None else loss.detach(),
        changed=not isinstance(action, Keep),
    )
