"""`growth_of`: whether a norm exploded, and how far it grew before the run ended or the norm became NaN or infinite."""

from dataclasses import dataclass

import numpy as np

from lightning_clip.core.record.history import History

GROWTH_WINDOW = 50
"""The number of last steps to look at."""

GROWTH_FACTOR = 100.0
"""The growth from the lowest norm in the window to the last one; less counts as noise."""

LEVEL_FACTOR = 10.0
"""How far the last norms must be above the median of the first half of the window."""

SUSTAINED_STEPS = 3
"""The number of last norms that must be above that level; one is enough if the next is NaN or infinite."""


@dataclass(frozen=True, slots=True)
class Growth:
    """A norm that grew out of bounds.

    Attributes:
        factor: The last norm divided by the lowest.
        steps: Optimizer steps between the two.
        first_norm: The lowest norm of the window.
        last_norm: The norm at the last finite step.
    """

    factor: float
    steps: int
    first_norm: float
    last_norm: float


def growth_of(history: History, optimizer: int) -> Growth | None:
    """How far the norm before clipping grew before the end of the run.

    Args:
        history: The record of a run.
        optimizer: Position of the optimizer.

    Returns:
        The growth; `None` if it was small, or if the records of those steps are no longer in the window.
    """
    end = history.aggregates[optimizer].first_nonfinite
    own = [record for record in history if record.optimizer == optimizer and (end is None or record.step < end)]
    own = [record for record in own if record.finite and record.norm_before > 0][-GROWTH_WINDOW:]
    if len(own) < 2:
        return None
    norms = np.array([record.norm_before for record in own])
    lowest = int(norms.argmin())
    growth = Growth(
        factor=float(norms[-1] / norms[lowest]),
        steps=own[-1].step - own[lowest].step,
        first_norm=float(norms[lowest]),
        last_norm=float(norms[-1]),
    )
    level = float(np.median(norms[: max(1, len(norms) // 2)]))
    sustained = norms[-SUSTAINED_STEPS:] if end is None else norms[-1:]
    return growth if growth.factor >= GROWTH_FACTOR and sustained.min() >= LEVEL_FACTOR * level else None
