"""Whether a norm exploded: how far it grew over the last steps before the end, or before it was not finite."""

from dataclasses import dataclass

import numpy as np

from lightning_clip.core.record.history import History

GROWTH_WINDOW = 50
"""How many steps are looked back on."""

GROWTH_FACTOR = 100.0
"""From the lowest norm in the window to the last one: less is taken for noise."""

LEVEL_FACTOR = 10.0
"""What the last norms are above the median of the first half of the window, at least."""

SUSTAINED_STEPS = 3
"""How many last norms must be above that level; one is enough where the next is not finite."""


@dataclass(frozen=True, slots=True)
class Growth:
    """A norm that grew out of bounds.

    Attributes:
        factor: Last norm over first norm.
        steps: Optimizer steps between them.
        first_norm: Lowest norm of the window.
        last_norm: The norm at the last finite step.
    """

    factor: float
    steps: int
    first_norm: float
    last_norm: float


def growth_of(history: History, optimizer: int) -> Growth | None:
    """How far the norm before clipping grew before its end.

    Args:
        history: The record of a run.
        optimizer: Position of the optimizer.

    Returns:
        `None` where it did not grow much, or where the records of those steps are no longer in the window.
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
