"""`loss_course`: where the loss of a run began, where it ended, and how much it swung from step to step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightning_clip.core.record.step_record import StepRecord

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
        usual: The median over the last fifth.
        lowest: The lowest mean over a fifth of the run.
        noise: The standard error of `first - last`, from the scatter of the losses.
        swing: The mean factor between a loss and the next, over the second half; 1 if the losses are not positive.
        nonfinite_step: The first step whose loss is NaN or infinite; `None` if there is none.
    """

    steps: int
    start: float
    first: float
    last: float
    usual: float
    lowest: float
    noise: float
    swing: float
    nonfinite_step: int | None

    @property
    def fell(self) -> bool:
        """Whether the loss is lower at the end than at first, by more than chance explains."""
        return self.first - self.last > max(2 * self.noise, 0.02 * abs(self.first))

    @property
    def rose(self) -> bool:
        """Whether the loss is clearly higher at the end than it has been."""
        return self.last - self.lowest > max(3 * self.noise, 0.3 * abs(self.lowest))


def loss_course(records: Sequence[StepRecord]) -> LossCourse | None:
    """Summarize the losses of a run.

    Args:
        records: The steps of one optimizer from the beginning of the run, in order.

    Returns:
        The course; `None` if there are too few finite losses.
    """
    known = [record for record in records if record.loss is not None]
    losses = np.array([record.loss for record in known if record.loss is not None and math.isfinite(record.loss)])
    if len(losses) < FEWEST_LOSSES:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        fifths = np.array_split(losses, 5)
        means = [float(part.mean()) for part in fifths]
        noise = math.sqrt(sum(float(part.var()) / len(part) for part in (fifths[0], fifths[-1])))
    half = losses[len(losses) // 2 :]
    swing = float(np.exp(np.mean(np.abs(np.diff(np.log(half)))))) if (half > 0).all() else 1.0
    bad = next((record.step for record in known if record.loss is not None and not math.isfinite(record.loss)), None)
    return LossCourse(
        len(losses),
        float(np.median(losses[:3])),
        means[0],
        means[-1],
        float(np.median(fifths[-1])),
        min(means),
        noise,
        swing,
        bad,
    )
