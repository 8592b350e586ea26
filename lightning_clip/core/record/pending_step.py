"""`PendingStep`: what happened at one optimizer step, as tensors still on the device; `Place`: with which batches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor


class Place(NamedTuple):
    """Where in the data a step was made.

    Attributes:
        epoch: The epoch, from 0.
        first_batch: The index in its epoch of the first batch whose gradients were accumulated, from 0.
        batch: The index in its epoch of the batch that made the step, from 0.
    """

    epoch: int
    first_batch: int
    batch: int


@dataclass(slots=True)
class PendingStep:
    """What happened at one optimizer step, as tensors that have not been read from the device.

    Attributes:
        step: The number of optimizer steps completed before this one.
        optimizer: The optimizer's position in `trainer.optimizers`.
        strategy: The label of the strategy that decided.
        names: The `n` parameters that had a gradient.
        norm_before: The total 2-norm before the action, `()`.
        param_norms: The 2-norm of each gradient before the action, `(n,)`.
        coefs: The factor on all gradients, a number or `()`, or one factor per gradient, `(n,)`; `None` if the effect
            was measured.
        norm_after: The total 2-norm after the action, `()`; `None` if it follows from `coefs`.
        param_norms_after: The 2-norm of each gradient after the action, `(n,)`; `None` if it follows from `coefs`.
        threshold: The limit in force, a number or `()`; `None` if there is no single limit.
        skipped: Whether the optimizer step was skipped, `()` or a `bool`.
        watched: The factors that shadowed strategies would have applied, each `()`, by strategy label.
        loss: The training loss of the batch, `()`; `None` if unknown.
        learning_rate: The learning rate of the first parameter group, a number or `()`; `None` if unknown.
        place: The epoch and the first and last batch of the step; `None` if unknown.
        gate_norms: The 2-norms of the gate blocks of recurrent gradients before the action, each `(gates,)`, by
            parameter.
        changed: Whether the action may have changed the gradients.
    """

    step: int
    optimizer: int
    strategy: str
    names: tuple[str, ...]
    norm_before: Tensor
    param_norms: Tensor
    coefs: Tensor | float | None
    norm_after: Tensor | None = None
    param_norms_after: Tensor | None = None
    threshold: Tensor | float | None = None
    skipped: Tensor | bool = False
    watched: Mapping[str, Tensor] = field(default_factory=dict)
    loss: Tensor | None = None
    learning_rate: Tensor | float | None = None
    place: Place | None = None
    gate_norms: Mapping[str, Tensor] = field(default_factory=dict)
    changed: bool = True

    def note(
        self,
        *,
        gate_norms: Mapping[str, Tensor] | None = None,
        loss: Tensor | None = None,
        skipped: Tensor | bool | None = None,
        place: Place | None = None,
    ) -> None:
        """Fill in what only becomes known after the decision; arguments that are `None` change nothing.

        Args:
            gate_norms: The 2-norms of the gate blocks of recurrent gradients before the action, by parameter.
            loss: What the batch calls its loss; it is detached from its graph. Unless it is one real number, the loss
                stays unknown.
            skipped: Whether the optimizer step is skipped, `()` or a `bool`.
            place: The epoch and the first and last batch of the step.
        """
        if gate_norms is not None:
            self.gate_norms = gate_norms
        if loss is not None and loss.numel() == 1 and not loss.is_complex():
            loss = loss.detach()
            self.loss = loss.reshape(()) if loss.dim() else loss
        if skipped is not None:
            self.skipped = skipped
        if place is not None:
            self.place = place

    def note_clipping(
        self, strategy: str, *, norm_after: Tensor, param_norms_after: Tensor, threshold: float | None
    ) -> None:
        """Take over what else has clipped the gradients since the decision.

        Args:
            strategy: The label of what clipped.
            norm_after: The total 2-norm of what the optimizer gets, `()`.
            param_norms_after: The 2-norm of each of the same gradients, `(n,)`.
            threshold: The limit that was in force; `None` keeps that of the decision.
        """
        self.strategy = strategy
        self.coefs, self.norm_after, self.param_norms_after = None, norm_after, param_norms_after
        self.threshold = self.threshold if threshold is None else threshold
