"""`loss_course`: where the loss of a run began, where it ended, and how much it swung from step to step."""

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


def _finite(records: Iterable[StepRecord]) -> NDArray[np.float64]:
    return np.array([one.loss for one in records if one.loss is not None and math.isfinite(one.loss)])
