"""`StepRecord`: what happened at one optimizer step, as plain numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class ParamNorms:
    """The gradients of one step, parameter by parameter.

    Attributes:
        names: The `n` parameters that had a gradient.
        before: 2-norm of each before the action, `(n,)`.
        clipped: Whether the action made each smaller, `(n,)`.
        gates: 2-norms of the blocks of recurrent gradients before the action, where they were measured, by parameter.
    """

    names: tuple[str, ...]
    before: NDArray[np.float64]
    clipped: NDArray[np.bool_]
    gates: Mapping[str, list[float]] = field(default_factory=dict)


@dataclass(slots=True)
class StepRecord:
    """What happened at one optimizer step, as plain numbers.

    Attributes:
        step: The number of optimizer steps completed before this one.
        optimizer: The optimizer's position in `trainer.optimizers`.
        strategy: The label of the strategy that decided.
        norm_before: Total 2-norm of the gradients before clipping.
        norm_after: Total 2-norm of what the optimizer was given; 0 where the step was skipped.
        threshold: The limit in force; `None` when there is no single one.
        clip_coef: `norm_after / norm_before`; 1 where nothing was changed or nothing can be said.
        clipped: Whether clipping bound.
        finite: Whether `norm_before` is finite.
        skipped: Whether the optimizer step was skipped.
        loss: The training loss of the batch, if known.
        watched: Factors that strategies which were only asked would have applied, by strategy label.
        params: The gradients parameter by parameter; not written to files.
    """

    step: int
    optimizer: int
    strategy: str
    norm_before: float
    norm_after: float
    threshold: float | None
    clip_coef: float
    clipped: bool
    finite: bool
    skipped: bool
    loss: float | None = None
    watched: dict[str, float] = field(default_factory=dict)
    params: ParamNorms | None = None

    def without_params(self) -> "StepRecord":
        """The same record without the norms of parameters, which take more room than all the rest."""
        norms = self.norm_before, self.norm_after, self.threshold, self.clip_coef
        flags = self.clipped, self.finite, self.skipped
        return StepRecord(self.step, self.optimizer, self.strategy, *norms, *flags, self.loss, self.watched)
