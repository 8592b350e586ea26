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
        loss: The training loss of the batch; in manual optimization, where `training_step` returns none, the sum of
            what was passed backward for this step. `None` if unknown.
        epoch: The epoch of the step, from 0; `None` if unknown, as in records of the first version.
        first_batch: The index in its epoch of the first batch whose gradients were accumulated, from 0; `batch` if
            gradients are not accumulated, and in manual optimization.
        batch: The index in its epoch of the batch that made the step, from 0; `None` if unknown.
        learning_rate: The learning rate of the optimizer's first parameter group; `None` if unknown.
        top_param: The parameter with the largest gradient before clipping; the first that is NaN if there is one.
        top_share: Its fraction of the squared `norm_before`, in [0, 1]; `None` unless `is_sample`.
        watched: The factors that shadowed strategies would have applied, by strategy label.
        params: The gradient norms by parameter; `None` where they have been counted and released. They are not written
            to files and not compared.
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
    epoch: int | None = None
    first_batch: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    top_param: str | None = None
    top_share: float | None = None
    watched: dict[str, float] = field(default_factory=dict)
    params: ParamNorms | None = field(default=None, compare=False)

    @property
    def is_sample(self) -> bool:
        """Whether `norm_before` says something about the gradients: it is finite, and there was a gradient."""
        return self.finite and self.norm_before > 0

    def without_params(self) -> "StepRecord":
        """Return the record without the norms of parameters, which take up most of its memory."""
        return StepRecord(
            self.step,
            self.optimizer,
            self.strategy,
            self.norm_before,
            self.norm_after,
            self.threshold,
            self.clip_coef,
            self.clipped,
            self.finite,
            self.skipped,
            self.loss,
            self.epoch,
            self.first_batch,
            self.batch,
            self.learning_rate,
            self.top_param,
            self.top_share,
            self.watched,
        )
