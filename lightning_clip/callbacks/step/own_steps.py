"""`OwnSteps`: how many steps each optimizer has completed, where Lightning counts those of all optimizers together."""

from collections.abc import Mapping
from typing import Self

from lightning.pytorch import Trainer


class OwnSteps:
    """Counts the steps of each optimizer of a run.

    With a single optimizer, they are Lightning's `global_step`. With several, each optimizer has a count of its own.

    Args:
        completed: The number of steps completed so far, by the optimizer's position; 0 if it is missing.
    """

    def __init__(self, completed: Mapping[int, int] | None = None) -> None:
        self._completed = dict(completed or {})
        self._at: dict[int, int] = {}

    @classmethod
    def shared_evenly(cls, trainer: Trainer) -> Self:
        """Start to count where nothing is known but the number of steps of all optimizers together.

        Args:
            trainer: The trainer, at the start of training.
        """
        count = max(1, len(trainer.optimizers))
        return cls(dict.fromkeys(range(count), trainer.global_step // count))

    def before(self, trainer: Trainer, index: int) -> int:
        """Return how many steps an optimizer has completed before the one that it is about to make.

        Args:
            trainer: The trainer, while it is fitting. The same `global_step` again is the same step again, because
                LBFGS evaluates a step several times.
            index: The optimizer's position in `trainer.optimizers`.

        Returns:
            The number of steps.
        """
        now, completed = trainer.global_step, self._completed.get(index, 0)
        if len(trainer.optimizers) == 1:
            completed = now
        elif self._at.get(index, now) != now:
            completed += 1
        self._completed[index], self._at[index] = completed, now
        return completed
