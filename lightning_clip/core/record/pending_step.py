"""`PendingStep`: what happened at one optimizer step, as tensors that have not been read from the device."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(slots=True)
class PendingStep:
    """What happened at one optimizer step, as tensors that have not been read.

    Attributes:
        step: The number of optimizer steps completed before this one.
        optimizer: The optimizer's position in `trainer.optimizers`.
        strategy: The label of the strategy that decided.
        names: The `n` parameters that had a gradient.
        norm_before: Total 2-norm before the action, `()`.
        param_norms: 2-norm of each gradient before the action, `(n,)`.
        coefs: The factor applied to all gradients, `()`, or to each, `(n,)`; `None` where the effect was measured.
        norm_after: Total 2-norm after the action, `()`; `None` where it follows from `coefs`.
        param_norms_after: 2-norm of each gradient after the action, `(n,)`; `None` where it follows from `coefs`.
        threshold: The limit in force, a number or `()`; `None` when there is no single one.
        skipped: Whether the optimizer step was skipped, `()` or a `bool`.
        watched: Factors that strategies which were only asked would have applied, each `()`, by strategy label.
        loss: The training loss of the batch, `()`, if known.
        gate_norms: 2-norms of the blocks of a recurrent gradient before the action, each `(gates,)`, by parameter.
        changed: Whether the action may have changed the gradients.
    """

    step: int
    optimizer: int
    strategy: str
    names: tuple[str, ...]
    norm_before: Tensor
    param_norms: Tensor
    coefs: Tensor | None
    norm_after: Tensor | None = None
    param_norms_after: Tensor | None = None
    threshold: Tensor | float | None = None
    skipped: Tensor | bool = False
    watched: Mapping[str, Tensor] = field(default_factory=dict)
    loss: Tensor | None = None
    gate_norms: Mapping[str, Tensor] = field(default_factory=dict)
    changed: bool = True

    def note(
        self,
        *,
        gate_norms: Mapping[str, Tensor] | None = None,
        loss: Tensor | None = None,
        skipped: Tensor | bool | None = None,
    ) -> None:
        """Add what becomes known after the decision.

        Args:
            gate_norms: 2-norms of the blocks of recurrent gradients before the action, by parameter.
            loss: The training loss of the batch, `()`; it is kept without its graph.
            skipped: Whether the optimizer step is skipped, `()` or a `bool`.
        """
        if gate_norms is not None:
            self.gate_norms = gate_norms
        if loss is not None:
            self.loss = loss.detach()
        if skipped is not None:
            self.skipped = skipped
