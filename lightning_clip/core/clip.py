"""`clip_`: the engine that measures gradients, lets a strategy decide, and applies the decision."""

import torch
from torch import Tensor

from lightning_clip._errors import ArgumentTypeError
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.optimizer_state import learning_rate_of
from lightning_clip.core.record.pending_step import PendingStep
from lightning_clip.core.strategy import ClipStrategy


def clip_(
    grads: Gradients, strategy: ClipStrategy, *, optimizer_index: int = 0, loss: Tensor | None = None
) -> PendingStep:
    """Clip gradients in place as a strategy decides.

    Everything in the returned step stays on the device. Pass it to a `StepBuffer` to read many steps at once.

    Args:
        grads: The gradients that an optimizer is about to apply.
        strategy: The clipping strategy.
        optimizer_index: The optimizer's position, if there are several optimizers.
        loss: The loss that the gradients belong to, `()`, for the record.

    Returns:
        The gradients before clipping and what was done to them, not yet read from the device.

    Raises:
        ArgumentTypeError: `grads` or `strategy` is something else.

    Example:
        >>> from lightning_clip import NormClip
        >>> layer = torch.nn.Linear(2, 1)
        >>> (100 * layer(torch.ones(1, 2)).sum()).backward()
        >>> step = clip_(Gradients.of_module(layer), NormClip(1.0))
        >>> round(float(step.norm_before), 2), round(float(layer.weight.grad[0, 0]), 4)
        (173.21, 0.5774)
    """
    if not isinstance(grads, Gradients) or not isinstance(strategy, ClipStrategy):
        raise _wrong(grads, strategy)
    with torch.no_grad():
        norm_before, param_norms = grads.total_norm(), grads.norms()
        action = strategy.decide(grads)
        action.apply_(grads)
        # Measuring sharded gradients takes all processes, so what only this one knows does not decide about it.
        is_idle = action.is_idle and grads.are_plain
        coefs = 1.0 if is_idle else action.coefs if action.factor is None else action.factor
        measured = grads.remeasured() if coefs is None else None
        return PendingStep(
            step=grads.step,
            optimizer=optimizer_index,
            strategy=strategy.label,
            names=grads.names,
            norm_before=norm_before,
            param_norms=param_norms,
            coefs=coefs,
            norm_after=measured.total_norm() if measured else None,
            param_norms_after=measured.norms() if measured else None,
            threshold=action.threshold,
            skipped=action.skipped,
            watched=action.watched,
            loss=None if loss is None else loss.detach(),
            learning_rate=learning_rate_of(grads.optimizer),
            changed=not is_idle and action.factor != 1.0,
        )


def _wrong(grads: object, strategy: object) -> ArgumentTypeError:
    if not isinstance(grads, Gradients):
        given = type(grads).__name__
        return ArgumentTypeError(f"clip_({given}, …): grads must be Gradients, such as Gradients.of_module(module).")
    return ArgumentTypeError(f"clip_(strategy={strategy!r}): it must be a ClipStrategy, such as NormClip(1.0).")
