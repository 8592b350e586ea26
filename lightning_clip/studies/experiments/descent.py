"""`descend`: gradient descent on the weight and the bias of one recurrent unit, without a Trainer."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import nn

from lightning_clip.core.clip import clip_
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.record.step_buffer import StepBuffer
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.studies.experiments.one_unit import error_and_gradient

PARAMETER = "weight and bias"
"""What the one parameter is called, `(2,)`."""


@dataclass(slots=True)
class Descent:
    """Where gradient descent went.

    Attributes:
        points: The weight and the bias after each step, the start first.
        errors: The error at each of them.
        events: What each step did, not yet read.
        is_finite: Whether all points and gradients were.
    """

    points: list[tuple[float, float]] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    events: StepBuffer = field(default_factory=StepBuffer)
    is_finite: bool = True

    @property
    def longest_step(self) -> float:
        """The longest way between a point and the next; 0 where no step was made."""
        return max((math.dist(before, after) for before, after in pairwise(self.points)), default=0.0)


@torch.no_grad()
def descend(strategy: ClipStrategy, start: tuple[float, float], *, lr: float, steps: int) -> Descent:
    """Go down from a point.

    Args:
        strategy: Decides on each gradient.
        start: The weight and the bias at first.
        lr: Learning rate.
        steps: How many.

    Returns:
        The way; it ends at a point that is not finite, or before a step whose gradient is not.
    """
    param = nn.Parameter(torch.tensor(start, dtype=torch.double))
    descent = Descent()
    for step in range(steps + 1):
        w, b = param.tolist()
        error, *gradient = error_and_gradient(w, b)
        descent.points.append((w, b))
        descent.errors.append(error)
        if step == steps:
            break
        param.grad = torch.tensor(gradient, dtype=torch.double)
        grads = Gradients([PARAMETER], [param], step=step)
        descent.events.add(clip_(grads, strategy, loss=torch.tensor(error)))
        descent.is_finite = all(map(math.isfinite, (w, b, *gradient)))
        if not descent.is_finite:
            break
        if param.grad is not None:  # as it is where the step is skipped
            param.sub_(param.grad, alpha=lr)
    return descent
