"""`loss_course`: where the loss of a run began, ended, and how much it swung; `reach_of`: what an update does to it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.core.record.trajectory import MeanTrajectory

FEWEST_LOSSES = 20
"""With fewer finite losses nothing is said about their course."""


@dataclass(frozen=True, slots=True)
class LossCourse:
    """The losses of a run, each of one batch.

    Attributes:
        steps: The number of finite losses.
        start: The median of the first three losses.
        first: The mean over the first fifth.
        last: The mean over the last fifth.
        usual: The median over the last fifth, or over as much of it as the record holds.
        lowest: The lowest mean over a fifth of the run.
        noise: The standard error of `first - last`, from the scatter of the losses.
        swing: The mean factor between a loss and the next, over as much of the second half as the record holds; 1 if
            the losses are not positive.
    """

    steps: int
    start: float
    first: float
    last: float
    usual: float
    lowest: float
    noise: float
    swing: float

    @property
    def fell(self) -> bool:
        """Whether the loss is lower at the end than at first, by more than chance explains."""
        return self.first - self.last > max(2 * self.noise, 0.02 * abs(self.first))

    @property
    def may_have_fallen(self) -> bool:
        """Whether the loss is lower at the end, and perhaps by a fifth: noise then hides the progress."""
        return self.last < self.first and self.first - self.last + 2 * self.noise > 0.2 * abs(self.first)

    @property
    def rose(self) -> bool:
        """Whether the loss is clearly higher at the end than it has been."""
        return self.last - self.lowest > max(3 * self.noise, 0.3 * abs(self.lowest))


def loss_course(
    whole: MeanTrajectory, opening: Sequence[StepRecord], latest: Sequence[StepRecord]
) -> LossCourse | None:
    """Summarize the losses of a run.

    Args:
        whole: The finite losses of the whole run.
        opening: The first steps of one optimizer.
        latest: Its latest steps, as many as the record holds.

    Returns:
        The course; `None` if there are too few finite losses.
    """
    if whole.steps < FEWEST_LOSSES:
        return None
    fifths = np.array_split(whole.values(), 5)
    lengths = np.array_split(whole.lengths(), 5)
    with np.errstate(over="ignore", invalid="ignore"):
        means = [float(np.average(part, weights=weight)) for part, weight in zip(fifths, lengths, strict=True)]
        noise = math.sqrt(sum(float(part.var()) / len(part) for part in (fifths[0], fifths[-1])))
    held = _finite(latest)
    fifth, half = held[-(whole.steps // 5) :], held[-(whole.steps - whole.steps // 2) :]
    swing = 1.0
    if len(half) > 1 and (half > 0).all():
        swing = float(np.exp(np.mean(np.abs(np.diff(np.log(half))))))
    return LossCourse(
        steps=whole.steps,
        start=float(np.median(_finite(opening)[:3])),
        first=means[0],
        last=means[-1],
        usual=float(np.median(fifth)) if len(fifth) else means[-1],
        lowest=min(means),
        noise=noise,
        swing=swing,
    )


def reach_of(
    losses: LossCourse, latest: Sequence[StepRecord], *, moved: int | None, momentum: float = 0.0
) -> float | None:
    """The fraction of the loss by which one update changes it at the end of a run, to first order.

    The length of the update times the norm of the gradient is what the loss changes by where it is a plane. Updates
    that train a network change a fraction of the loss; where it is many times the loss, they overshoot.

    Args:
        losses: The course of the loss.
        latest: The latest steps of the optimizer, as many as the record holds.
        moved: The number of elements that an adaptive optimizer moves by about its rate at each step; `None` for SGD,
            whose update is the rate times the gradient.
        momentum: The momentum of SGD, which makes updates longer.

    Returns:
        The fraction, from medians over the last fifth of the run; `None` if the learning rate is unknown, or if losses
        are not positive, so that 0 is nothing that they could fall to.
    """
    latest = latest[-max(1, losses.steps // 5) :]
    samples = [one for one in latest if one.is_sample and one.learning_rate is not None]
    if not samples or not (_finite(latest) > 0).all() or not losses.usual:
        return None
    rate, before, after = (
        float(np.median([getattr(one, name) for one in samples]))
        for name in ("learning_rate", "norm_before", "norm_after")
    )
    update = rate * math.sqrt(moved) if moved is not None else rate * after / max(1 - momentum, 1e-3)
    return update * before / losses.usual


def _finite(records: Iterable[StepRecord]) -> NDArray[np.float64]:
    return np.array([one.loss for one in records if one.loss is not None and math.isfinite(one.loss)])
