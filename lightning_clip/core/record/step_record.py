"""`StepRecord`: what happened at one optimizer step, as plain numbers; `ParamNorms`: the part about parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class ParamNorms:
    """The gradient norms of one step by parameter.

    Attributes:
        names: The `n` parameters that had a gradient.
        before: The 2-norm of each gradient before the action, `(n,)`.
        clipped: Whether each gradient was clipped, `(n,)`.
        gates: The 2-norms of the gate blocks of recurrent gradients before the action, by parameter; empty if they were
            not measured.
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
        norm_before: The total 2-norm of the gradients before clipping; 0 if there was no gradient, for instance because
            every loss was `None`.
        norm_after: The total 2-norm of the gradients that the optimizer received; 0 if the step was skipped.
        threshold: The limit in force; `None` if there is no single limit.
        clip_coef: `norm_after / norm_before`; 1 if nothing was changed or the ratio is undefined.
        clipped: Whether the gradients were clipped.
        finite: Whether `norm_before` is finite.
        skipped: Whether the optimizer step was skipped.
        loss: The training loss of the batch; `None` if unknown.
        watched: The factors that shadowed strategies would have applied, by strategy label.
        params: The gradient norms by parameter; not written to files.
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

    @property
    def is_sample(self) -> bool:
        """Whether `norm_before` says something about the gradients: it is finite, and there was a gradient."""
        return self.finite and self.norm_before > 0

    def without_params(self) -> "StepRecord":
        """Return the record without the norms of parameters, which take up most of its memory."""
        norms = self.norm_before, self.norm_after, self.threshold, self.clip_coef
        flags = self.clipped, self.finite, self.skipped
        return StepRecord(self.step, self.optimizer, self.strategy, *norms, *flags, self.loss, self.watched)
