"""`growth_of`: whether a norm exploded, and how far it grew before the run ended or the norm became NaN or infinite."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightning_clip.core.record.history import History
from lightning_clip.core.record.step_record import StepRecord

GROWTH_FACTOR = 100.0
"""The growth from the lowest norm in the window to the last one; less counts as noise."""

LEVEL_FACTOR = 10.0
"""How far the last norms must be above the median of the first half of the window."""

SUSTAINED_STEPS = 3
"""The number of last norms that must be above that level; one is enough if the next is NaN or infinite."""

STEADY_STEPS = 8
"""Growth over fewer steps is not called steady."""

STEADY_R_SQUARED = 0.95
"""How much of the logarithm of the norm a straight line must explain where growth is steady."""


@dataclass(frozen=True, slots=True)
class Growth:
    """A norm that grew out of bounds.

    Attributes:
        factor: The last norm divided by the lowest.
        steps: Optimizer steps between the two.
        first_norm: The lowest norm of the window.
        last_norm: The norm at the last finite step.
        start: The step with the lowest norm.
        leader: The parameter with the largest gradient at the first step that is ten times above the lowest; `None` if
            it was not recorded.
        rate: By how much the norm grew per step, as a fraction; `None` if it did not grow steadily.
    """

    factor: float
    steps: int
    first_norm: float
    last_norm: float
    start: StepRecord
    leader: str | None
    rate: float | None


def growth_of(history: History, optimizer: int) -> Growth | None:
    """How far the norm before clipping grew before the end of the run.

    Args:
        history: The record of a run.
        optimizer: Position of the optimizer.

    Returns:
        The growth over the last steps; `None` if it was small, or if a checkpoint of an earlier version had lost the
        records of those steps.
    """
    end, steps = history.aggregates[optimizer].first_nonfinite, history.landmarks[optimizer]
    if end is not None and steps.bad_at(end) is None:
        return None
    own = list(steps.lead_up)
    if len(own) < 2:
        return None
    norms = np.array([record.norm_before for record in own])
    lowest = int(norms.argmin())
    level = float(np.median(norms[: max(1, len(norms) // 2)]))
    sustained = norms[-SUSTAINED_STEPS:] if end is None else norms[-1:]
    if norms[-1] < GROWTH_FACTOR * norms[lowest] or sustained.min() < LEVEL_FACTOR * level:
        return None
    return Growth(
        factor=float(norms[-1] / norms[lowest]),
        steps=own[-1].step - own[lowest].step,
        first_norm=float(norms[lowest]),
        last_norm=float(norms[-1]),
        start=own[lowest],
        leader=next((one.top_param for one in own[lowest:] if one.norm_before >= 10 * norms[lowest]), None),
        rate=_steady_rate(norms[lowest:]),
    )


def _steady_rate(norms: NDArray[np.float64]) -> float | None:
    if len(norms) < STEADY_STEPS:
        return None
    steps, logs = np.arange(len(norms)), np.log(norms)
    slope = float(np.polyfit(steps, logs, 1)[0])
    r_squared = float(np.corrcoef(steps, logs)[0, 1]) ** 2
    return math.expm1(min(slope, 700.0)) if r_squared >= STEADY_R_SQUARED else None
