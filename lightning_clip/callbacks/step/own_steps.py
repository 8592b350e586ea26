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

    def before(self, index: int, step: int, *, is_only: bool) -> int:
        """Return how many steps an optimizer has completed before the one that it is about to make.

        Args:
            index: The optimizer's position in `trainer.optimizers`.
            step: Lightning's `global_step`. The same again is the same step again, because LBFGS evaluates a step
                several times.
            is_only: Whether the trainer has no other optimizer.

        Returns:
            The number of steps.
        """
        completed = self._completed.get(index, 0)
        if is_only:
            completed = step
        elif self._at.get(index, step) != step:
            completed += 1
        self._completed[index], self._at[index] = completed, step
        return completed
